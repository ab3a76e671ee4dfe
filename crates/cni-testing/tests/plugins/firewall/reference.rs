//! The firewall plugin and the reference's one on the same host: the same rules, and each checks and deletes what the other
//! added. `CNI_REFERENCE_DIR` names the folder of containernetworking/plugins 1.9.1:
//! `cargo test -p cni-testing --test plugins -- --ignored firewall::reference`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cni_testing::{Container, Snapshot};
use serde_json::{Value, json};

use crate::bridge::net::make_bridge;
use crate::firewall::iptables::{PROGRAMS, PUBLISHED, filter, lines_with, site};
use crate::firewall::net::Site;

/// A configuration with a prevResult that no bridge plugin made.
pub(crate) fn scene(name: &str, mut prev: Value, keys: Value) -> Value {
    prev["cniVersion"] = json!("1.0.0");
    let mut conf = json!({
        "cniVersion": "1.0.0", "name": name, "type": "firewall", "backend": "iptables", "prevResult": prev,
    });
    crate::bridge::net::set(&mut conf, &keys);
    conf
}

/// Containers of several networks, in this order, each with its configuration.
fn scenes() -> Vec<(&'static str, Value)> {
    let prev = |bridge: &str, addresses: &[&str]| {
        let ips: Vec<Value> = addresses.iter().map(|address| json!({"address": address})).collect();
        json!({"interfaces": [{"name": bridge}], "ips": ips})
    };
    let both =
        |octet: &str, last: &str| [format!("10.{octet}.0.{last}/24"), format!("fd00:{octet}::{last}/64")];
    let dual = |bridge: &str, octet: &str, last: &str| {
        let addresses = both(octet, last);
        prev(bridge, &[&addresses[0], &addresses[1]])
    };
    vec![
        ("open", scene("free", dual("br-free", "10", "2"), json!({}))),
        ("one", scene("blue", dual("br-blue", "11", "2"), json!({"ingressPolicy": "same-bridge"}))),
        ("two", scene("blue", dual("br-blue", "11", "3"), json!({"ingressPolicy": "same-bridge"}))),
        ("three", scene("green", prev("br-green", &["10.12.0.2/24"]), json!({"ingressPolicy": "isolated"}))),
        (
            "four",
            scene("own", prev("br-own", &["fd00:13::2/64"]), json!({"iptablesAdminChainName": "CNI-MINE"})),
        ),
        ("one", scene("blue", dual("br-blue", "11", "2"), json!({"ingressPolicy": "same-bridge"}))),
    ]
}

/// A plugin's executable.
pub(crate) struct Plugin(PathBuf);

impl Plugin {
    /// The release of containernetworking/plugins that is compared with.
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests themselves, not CNI's")]
    pub(crate) fn reference() -> Self {
        let folder = std::env::var_os("CNI_REFERENCE_DIR").expect("CNI_REFERENCE_DIR is set");
        Plugin(Path::new(&folder).join("firewall"))
    }

    pub(crate) fn ours(site: &Site) -> Self {
        Plugin(site.host.bin_dir().join("firewall"))
    }

    fn run(&self, command: &str, container: &Container, conf: &Value) -> bool {
        self.run_with(command, container, conf, &[])
    }

    /// With more variables.
    pub(crate) fn run_with(
        &self,
        command: &str,
        container: &Container,
        conf: &Value,
        env: &[(&str, &str)],
    ) -> bool {
        #[allow(clippy::disallowed_methods, reason = "the runtime's side")]
        let mut child = Command::new(&self.0)
            .env_clear()
            .envs([
                ("CNI_COMMAND", command),
                ("CNI_CONTAINERID", container.id()),
                ("CNI_NETNS", container.netns()),
            ])
            .envs([("CNI_IFNAME", "eth0"), ("CNI_PATH", "/nowhere"), ("PATH", PROGRAMS)])
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", self.0.display()));
        child.stdin.take().unwrap().write_all(conf.to_string().as_bytes()).unwrap();
        child.wait().unwrap().success()
    }

    /// Adds all scenes.
    pub(crate) fn play(&self, site: &Site) -> Vec<(Container, Value)> {
        // Those with a policy need one.
        for bridge in ["br-blue", "br-green"] {
            make_bridge(bridge);
        }
        let played = scenes().into_iter().map(|(id, conf)| (site.host.container(id), conf));
        let played: Vec<_> = played.collect();
        for (container, conf) in &played {
            assert!(self.run("ADD", container, conf), "{}", container.id());
        }
        played
    }
}

pub(crate) fn golden() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/firewall/iptables/rules.txt");
    std::fs::read_to_string(path).unwrap()
}

#[test]
#[ignore = "needs iptables, and the reference's plugins 1.9.1 in $CNI_REFERENCE_DIR: add -- --ignored firewall::reference"]
fn the_golden_rules_are_the_references() {
    let site = site();
    Plugin::reference().play(&site);
    assert_eq!(Snapshot(filter(&site)).to_string(), golden());
}

#[test]
#[ignore = "needs iptables, and the reference's plugins 1.9.1 in $CNI_REFERENCE_DIR: add -- --ignored firewall::reference"]
fn what_the_reference_added_is_checked_kept_by_gc_and_deleted() {
    let site = site();
    let (ours, reference) = (Plugin::ours(&site), Plugin::reference());
    let played = reference.play(&site);
    assert!(played.iter().all(|(container, conf)| ours.run("CHECK", container, conf)));
    let before = filter(&site);
    for name in ["free", "blue", "green", "own"] {
        site.network(name, 99, json!({})).gc(json!([]));
    }
    assert_eq!(filter(&site), before, "whose it is nobody knows");
    assert!(played.iter().all(|(container, conf)| ours.run("DEL", container, conf)));
    assert_eq!(lines_with(&site, "-j ACCEPT"), 0, "{:#?}", filter(&site));
}

#[test]
#[ignore = "needs iptables, and the reference's plugins 1.9.1 in $CNI_REFERENCE_DIR: add -- --ignored firewall::reference"]
fn what_we_added_the_reference_checks_and_deletes() {
    let site = site();
    let (ours, reference) = (Plugin::ours(&site), Plugin::reference());
    let played = ours.play(&site);
    assert!(played.iter().all(|(container, conf)| reference.run("CHECK", container, conf)));
    assert!(played.iter().all(|(container, conf)| reference.run("DEL", container, conf)));
    // It knows nothing of published ports. GC does, by the records, which the reference leaves too.
    assert_eq!(lines_with(&site, "-j ACCEPT"), lines_with(&site, PUBLISHED), "{:#?}", filter(&site));
    assert_eq!((lines_with(&site, PUBLISHED), records()), (8, 8));
    let two = json!({"containerID": "two", "ifname": "eth0"});
    for (name, valid) in
        [("free", json!([])), ("blue", json!([two])), ("green", json!([])), ("own", json!([]))]
    {
        site.network(name, 99, json!({})).gc(valid);
    }
    assert_eq!((lines_with(&site, PUBLISHED), lines_with(&site, "11.0.3/32")), (2, 1), "those of two");
    site.network("blue", 99, json!({})).gc(json!([]));
    assert_eq!((lines_with(&site, "-j ACCEPT"), records()), (0, 0), "{:#?}", filter(&site));
}

/// How many addresses are on record.
fn records() -> usize {
    std::fs::read_dir("/run/cni-plugins-rs/firewall/iptables").unwrap().count()
}
