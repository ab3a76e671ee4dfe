//! Containers of the reference's tuning plugin and ours: the same configuration gives the same, backups included, and what
//! either changed the other checks and restores. Debian's release, 1.1, knows no `txQLen` and no allow list of patterns, and tells an empty
//! `dns`.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::bridge::net::{set, theirs};
use crate::tuning::net::{Net, Pod};

/// Whether the reference's release speaks 1.1.0 of the specification, as those since 1.6 do.
fn is_recent(pod: &Pod) -> bool {
    let answer = theirs("tuning", "VERSION", &pod.container, &json!({"cniVersion": "1.0.0"})).ok();
    answer["supportedVersions"].as_array().unwrap().contains(&"1.1.0".into())
}

/// Whether this release of the reference knows these keys.
fn knows(pod: &Pod, keys: &Value) -> bool {
    is_recent(pod) || !keys.to_string().contains("txQLen")
}

/// Keys that both plugins take alike.
fn cases() -> Vec<Value> {
    let mac = "02:00:00:00:00:77";
    let sysctl = json!({"net.ipv4.conf.IFNAME.arp_filter": "1", "net/ipv4/conf/IFNAME/arp_ignore": "2"});
    vec![
        json!({}),
        json!({"mac": mac}),
        json!({"promisc": true}),
        json!({"mtu": 1400}),
        json!({"allmulti": true}),
        json!({"allmulti": false}),
        json!({"txQLen": 0}),
        json!({"sysctl": sysctl}),
        json!({"mac": mac, "promisc": true, "mtu": 1400, "allmulti": true, "txQLen": 7, "sysctl": sysctl}),
        json!({"mtu": 1400, "runtimeConfig": {"mac": mac},
               "sysctl": {}, "args": {"cni": {"mtu": 1300, "txQLen": 7, "sysctl": sysctl}}}),
    ]
}

fn file(net: &Net) -> Option<String> {
    std::fs::read_to_string(net.host.dir().join("tuning/one_eth0.json")).ok()
}

/// Without the key that ours has beside the reference's.
fn without_owner(text: &str) -> String {
    match text.split_once("\n \"owner\"") {
        None => text.to_owned(),
        Some((rest, _)) => format!("{}\n}}", rest.strip_suffix(',').unwrap_or(rest)),
    }
}

fn without_dns(mut result: Value) -> Value {
    if result["dns"] == json!({}) {
        set(&mut result, &json!({"dns": null}));
    }
    result
}

/// All that an ADD of either changes.
fn outcome(pod: &Pod) -> Value {
    let link = pod.link();
    json!([
        link.mac.unwrap().to_string(),
        link.mtu,
        link.promisc,
        link.allmulti,
        link.txqlen,
        pod.sysctl("net/ipv4/conf/eth0/arp_filter"),
        pod.sysctl("net/ipv4/conf/eth0/arp_ignore"),
    ])
}

#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored tuning::reference`"]
fn the_same_configuration_gives_the_same() {
    for keys in cases() {
        for version in ["0.3.1", "0.4.0", "1.0.0"] {
            let mut net = Net::new(keys.clone());
            set(&mut net.conf, &json!({"cniVersion": version}));
            let mut pod = net.pod("one", 5);
            // The reference's bridge tells no MTU, and the reference's tuning tells the one from before.
            for interface in pod.result["interfaces"].as_array_mut().unwrap() {
                interface.as_object_mut().unwrap().remove("mtu");
            }
            if !knows(&pod, &keys) {
                continue;
            }
            let before = outcome(&pod);
            let theirs = without_dns(net.theirs("ADD", &pod).ok());
            let (changed, backup) = (outcome(&pod), file(&net));
            net.theirs("DEL", &pod).ok();
            for sysctl in ["arp_filter", "arp_ignore"] {
                pod.set_sysctl(&format!("net/ipv4/conf/eth0/{sysctl}"), "0");
            }
            assert_eq!(outcome(&pod), before);

            assert_eq!(without_dns(net.add(&pod).ok()), theirs, "{keys}");
            assert_eq!(outcome(&pod), changed, "{keys}");
            assert_eq!(file(&net).map(|text| without_owner(&text)), backup, "{keys}");
        }
    }
}

#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored tuning::reference`"]
fn what_either_changed_the_other_checks_and_restores() {
    for keys in cases() {
        for ours_adds in [false, true] {
            let mut net = Net::new(keys.clone());
            set(&mut net.conf, &json!({"cniVersion": "1.0.0"}));
            let mut pod = net.pod("one", 5);
            if !knows(&pod, &keys) {
                continue;
            }
            let before = pod.attributes();
            let prev = pod.result.clone();
            if ours_adds {
                pod.result = net.add(&pod).ok();
                // Older ones do not replace IFNAME in CHECK.
                if is_recent(&pod) || !keys.to_string().contains("IFNAME") {
                    net.theirs("CHECK", &pod).ok();
                }
                net.theirs("DEL", &pod).ok();
            } else {
                pod.result = net.theirs("ADD", &pod).ok();
                net.check(&pod).ok();
                net.del(&pod).ok();
            }
            assert_eq!(pod.attributes(), before, "{keys} {ours_adds}");
            assert_eq!(file(&net), None, "{keys} {ours_adds}");
            assert_eq!(prev["ips"], pod.result["ips"]);
        }
    }
}

#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored tuning::reference`"]
fn both_read_the_allow_list_alike() {
    for (list, key, allowed) in [
        ("arp_filter", "net.ipv4.conf.IFNAME.arp_filter", true),
        ("^net.ipv4.conf.[A-Z]+.arp_filter$", "net.ipv4.conf.IFNAME.arp_filter", true),
        ("^net.ipv4.conf.[[:upper:]]{6}\\.arp", "net.ipv4.conf.IFNAME.arp_filter", true),
        ("net/ipv4", "net.ipv4.conf.IFNAME.arp_filter", false),
        ("eth0", "net.ipv4.conf.IFNAME.arp_filter", false),
        ("\n\n", "net.ipv4.conf.IFNAME.arp_filter", false),
        ("(net", "net.ipv4.conf.IFNAME.arp_filter", false),
        ("net\n(net", "net.ipv4.conf.IFNAME.arp_filter", true),
        ("# net.*x", "net.ipv4.conf.IFNAME.arp_filter", false),
    ] {
        let net = Net::with_allow_list(json!({"cniVersion": "1.0.0", "sysctl": {key: "1"}}), list);
        let pod = net.pod("one", 5);
        if !is_recent(&pod) {
            let why = "skipped: tuning_reference::both_read_the_allow_list_alike needs the reference's plugins of 1.6 or later";
            writeln!(std::io::stderr(), "{why}").unwrap();
            return;
        }
        for outcome in [net.theirs("ADD", &pod), net.add(&pod)] {
            assert_eq!(outcome.code == Some(0), allowed, "{list:?}: {outcome:?}");
        }
    }
}

#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored tuning::reference`"]
fn both_take_keys_alike() {
    for (key, taken) in [
        ("net.ipv4.conf.IFNAME.arp_filter", true),
        ("net/ipv4/conf/IFNAME/arp_filter", true),
        ("net/ipv4.conf.eth0/arp_filter", true),
        ("/net//ipv4/conf/IFNAME/arp_filter/", true),
        ("net.ipv4.conf.IFNAME.IFNAME", false),
        ("net", false),
        ("kernel.hostname", false),
        ("net/../kernel/hostname", false),
        ("net.ipv4.no_such", false),
    ] {
        let net = Net::new(json!({"cniVersion": "1.0.0", "sysctl": {key: "1"}}));
        let pod = net.pod("one", 5);
        for outcome in [net.theirs("ADD", &pod), net.add(&pod)] {
            assert_eq!(outcome.code == Some(0), taken, "{key}: {outcome:?}");
        }
    }
}
