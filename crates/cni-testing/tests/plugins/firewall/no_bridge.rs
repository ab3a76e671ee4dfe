//! A policy for what is not a bridge of the host: refused by ADD before anything is touched, and in nobody's way afterwards.

use cni_testing::{Container, Host, Snapshot};
use serde_json::{Value, json};

use crate::bridge::net::{make_bridge, set};
use crate::portmap::net::run;

/// A host with a bridge br0 and an uplink up0 to a machine.
fn host() -> (Host, Container) {
    let host = Host::new();
    host.cover("/run");
    make_bridge("br0");
    let machine = host.container("machine");
    host.connect(&machine, "up0", ["192.0.2.1", "2001:db8:1::1"], ["192.0.2.9", "2001:db8:1::9"]);
    (host, machine)
}

/// First interfaces of a result, each with why it has no policy.
fn cases() -> [(Value, &'static str); 4] {
    [
        // As macvlan's result has it. That the host has a bridge of that name is chance.
        (json!({"name": "br0", "sandbox": "/run/netns/x"}), "br0 is inside the container"),
        (json!({"name": "br1"}), "the host has no interface br1"),
        (json!({"name": "up0"}), "up0 is a link of kind veth"),
        (json!({"name": "lo"}), "lo is a device without a kind"),
    ]
}

fn conf(backend: &str, interface: &Value, keys: Value) -> Value {
    let mut conf = json!({
        "cniVersion": "1.1.0", "name": "blue", "type": "firewall", "backend": backend,
        "prevResult": {
            "cniVersion": "1.1.0", "interfaces": [interface],
            "ips": [{"address": "10.11.0.5/24"}, {"address": "fd00:11::5/64"}],
        },
    });
    set(&mut conf, &keys);
    conf
}

/// What is there of the container's, rules and records.
fn of_containers(snapshot: &Snapshot) -> Vec<String> {
    let is_of_it = |line: &&String| line.contains("10.11.0.5") || line.contains("fd00:11::5");
    snapshot.0.iter().filter(is_of_it).cloned().collect()
}

fn is_refused(backend: &str) {
    let (host, _machine) = host();
    let container = host.container("c1");
    let plugin = || host.plugin("firewall");
    let policies = ["same-bridge", "isolated"];
    for (policy, (interface, reason)) in policies.iter().flat_map(|policy| cases().map(|case| (policy, case)))
    {
        let refused = conf(backend, &interface, json!({"ingressPolicy": policy}));
        let before = host.snapshot();
        let expected =
            format!("ingressPolicy {policy} is about no bridge: {reason}; chain this plugin after bridge");
        let (code, msg) = plugin().add(&container, "eth0", &refused).err();
        assert_eq!((code, &msg), (7, &expected));
        host.snapshot().assert_same(&before);
        plugin().del(&container, "eth0", &refused).ok();
        host.snapshot().assert_same(&before);

        // One that was added while it had no policy, or by a release that took it.
        let open = conf(backend, &interface, json!({}));
        plugin().add(&container, "eth0", &open).ok();
        plugin().check(&container, "eth0", &open).ok();
        assert!(!of_containers(&host.snapshot()).is_empty());
        let (code, msg) = plugin().check(&container, "eth0", &refused).err();
        assert_eq!((code, &msg), (7, &expected));
        let mut gc = refused.clone();
        set(&mut gc, &json!({"prevResult": null, "cni.dev/valid-attachments": []}));
        plugin().command("GC", &gc).ok();
        assert_eq!(of_containers(&host.snapshot()), [""; 0]);
        plugin().add(&container, "eth0", &open).ok();
        plugin().del(&container, "eth0", &refused).ok();
        assert_eq!(of_containers(&host.snapshot()), [""; 0]);
    }
}

#[test]
fn a_policy_for_what_is_no_bridge_is_refused_with_nftables() {
    is_refused("nftables");
}

#[test]
#[ignore = "needs iptables: add -- --ignored firewall::no_bridge"]
fn a_policy_for_what_is_no_bridge_is_refused_with_iptables() {
    is_refused("iptables");
}

/// Rules go by the name that a link has, so that one by an alternative name would hold nothing back.
#[test]
#[ignore = "needs iproute2: add -- --ignored firewall::no_bridge"]
fn a_policy_for_an_alternative_name_of_a_bridge_is_refused() {
    let (host, _machine) = host();
    run("ip", &["link", "property", "add", "dev", "br0", "altname", "other0"]);
    let container = host.container("c1");
    let refused = conf("nftables", &json!({"name": "other0"}), json!({"ingressPolicy": "isolated"}));
    let (code, msg) = host.plugin("firewall").add(&container, "eth0", &refused).err();
    assert_eq!(code, 7);
    assert!(msg.contains("other0 is an alternative name of br0"), "{msg}");
}
