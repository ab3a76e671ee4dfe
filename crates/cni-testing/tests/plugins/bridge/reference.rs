//! Containers that the reference's bridge plugin made and ours deletes, with all that it put into the packet filter; and the
//! other way round where it can.
//!
//! With the reference's plugins in /usr/lib/cni (Debian's 1.1), or in `$CNI_REFERENCE_DIR`; releases before 1.7 know no
//! `ipMasqBackend`, so that with them only iptables is tried.

use cni_testing::{Container, Outcome};
use serde_json::{Value, json};

use crate::bridge::net::{self, set};
use crate::masquerade::Net;
use crate::portmap::net::run;

/// Runs the reference's bridge.
fn theirs(command: &str, container: &Container, conf: &Value) -> Outcome {
    net::theirs("bridge", command, container, conf)
}

/// Those that this release of the reference knows. Older ones do not read `ipMasqBackend`, and so take anything for it.
fn backends() -> &'static [&'static str] {
    let mut net = net("iptables", false);
    net.conf["ipMasqBackend"] = "none".into();
    let outcome = theirs("ADD", &net.container("probe"), &net.conf(5));
    if outcome.code == Some(0) { &["iptables"] } else { &["iptables", "nftables"] }
}

fn net(backend: &'static str, spoof_check: bool) -> Net {
    let mut net = Net::new(backend);
    set(&mut net.conf, &json!({"cniVersion": "1.0.0", "macspoofchk": spoof_check}));
    net
}

/// Of a container, the lines of the ruleset; tables and base chains belong to nobody.
fn rules_of(id: &str) -> Vec<String> {
    let all =
        [run("nft", &["list", "ruleset"]), run("iptables-save", &[]), run("ip6tables-save", &[])].concat();
    all.lines().filter(|line| line.contains(id) || line.contains("CNI-")).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored bridge::reference`"]
fn what_the_reference_added_passes_check_and_is_deleted_with_all_its_rules() {
    for backend in backends() {
        for spoof_check in [false, true] {
            for gone in [false, true] {
                let net = net(backend, spoof_check);
                let mut container = net.container("container-of-go");
                let mut conf = net.conf(5);
                conf["prevResult"] = theirs("ADD", &container, &conf).ok();
                assert!(!rules_of("container-of-go").is_empty());
                net.run("CHECK", &container, &conf).ok();
                if gone {
                    container.kill();
                }
                for _ in 0..2 {
                    net.run("DEL", &container, &conf).ok();
                    assert_eq!(rules_of("container-of-go"), [""; 0], "{backend} {spoof_check} {gone}");
                }
            }
        }
    }
}

#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored bridge::reference`"]
fn what_we_added_by_iptables_the_reference_deletes() {
    let net = net("iptables", false);
    let container = net.container("container-of-ours");
    let conf = net.add(&container, 5);
    assert!(!rules_of("container-of-ours").is_empty());
    theirs("DEL", &container, &conf).ok();
    assert_eq!(rules_of("container-of-ours"), [""; 0]);
}

#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored bridge::reference`"]
fn iptables_rules_are_the_references_to_the_letter() {
    let rules = [false, true].map(|ours| {
        let net = net("iptables", false);
        let container = net.container("one");
        let command = |conf| {
            if ours { net.run("ADD", &container, conf) } else { theirs("ADD", &container, conf) }
        };
        command(&net.conf(5)).ok();
        ["iptables-save", "ip6tables-save"].map(|program| {
            let text = run(program, &["-t", "nat"]);
            let lines = text.lines().filter(|line| line.starts_with("-A") || line.starts_with(":CNI"));
            lines.map(|line| line.split(" [").next().unwrap().to_owned()).collect::<Vec<_>>()
        })
    });
    assert_eq!(rules[1], rules[0]);
    assert_eq!(rules[0][0].len(), 4, "{rules:?}");
}
