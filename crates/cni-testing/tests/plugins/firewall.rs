//! The firewall plugin: what it says to a runtime, whatever the backend.

mod firewalld;
mod iptables;
pub(crate) mod net;
mod nftables;
mod no_bridge;
mod owners;
mod policy;
mod published;
mod reapply;
mod reference;
mod trouble;

use cni_testing::Host;
use serde_json::{Value, json};

use crate::firewall::net::Site;

fn conf(keys: Value) -> Value {
    let mut conf = json!({
        "cniVersion": "1.0.0",
        "name": "blue",
        "type": "firewall",
        "backend": "nftables",
        "prevResult": {"cniVersion": "1.0.0", "ips": [{"address": "10.11.0.5/24"}]},
    });
    crate::bridge::net::set(&mut conf, &keys);
    conf
}

#[test]
fn versions_begin_with_0_4_0() {
    let host = Host::new();
    let answer = host.plugin("firewall").env("CNI_COMMAND", "VERSION").raw(b"{}").ok();
    assert_eq!(answer, json!({"cniVersion": "1.1.0", "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]}));
    let container = host.container("c1");
    let (code, _) =
        host.plugin("firewall").add(&container, "eth0", &conf(json!({"cniVersion": "0.3.1"}))).err();
    assert_eq!(code, 1);
}

#[test]
fn the_result_is_passed_on_in_every_version() {
    let site = Site::new("nftables");
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        let container = site.host.container(&format!("c-{version}"));
        let prev = json!({
            "cniVersion": version,
            "interfaces": [{"name": "br0"}, {"name": "eth0", "sandbox": "/run/netns/x"}],
            "ips": [{"version": "4", "address": "10.11.0.5/24", "gateway": "10.11.0.1", "interface": 1}],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dns": {"nameservers": ["10.11.0.1"]},
        });
        let conf = conf(json!({"cniVersion": version, "prevResult": prev}));
        let result = site.host.plugin("firewall").add(&container, "eth0", &conf).ok();
        assert_eq!(result["cniVersion"], version);
        for key in ["interfaces", "routes", "dns"] {
            assert_eq!(result[key], prev[key], "{version} {key}");
        }
        assert_eq!(result["ips"][0]["address"], "10.11.0.5/24");
        site.host.plugin("firewall").check(&container, "eth0", &conf).ok();
        site.host.plugin("firewall").del(&container, "eth0", &conf).ok();
    }
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_done() {
    let site = Site::new("nftables");
    let container = site.host.container("c1");
    let before = site.host.snapshot();
    for (keys, code, text) in [
        (json!({"prevResult": null}), 7, "required prevResult is missing"),
        (json!({"ingressPolicy": "closed"}), 7, "ingressPolicy: unknown policy \"closed\""),
        (
            json!({"ingressPolicy": "isolated"}),
            7,
            "ingressPolicy isolated is about no bridge: prevResult names no interface",
        ),
        (json!({"iptablesAdminChainName": "two words"}), 7, "iptablesAdminChainName: cannot use"),
        (json!({"backend": 5}), 6, "backend: "),
    ] {
        let (found, msg) = site.host.plugin("firewall").add(&container, "eth0", &conf(keys)).err();
        assert_eq!(found, code, "{msg}");
        assert!(msg.starts_with(text), "{msg}");
    }
    site.host.snapshot().assert_same(&before);
}

#[test]
fn del_and_gc_do_not_mind_what_add_would_refuse() {
    let site = Site::new("nftables");
    let net = site.network("blue", 11, json!({}));
    let one = net.join("one");
    let empty = site.network("none", 12, json!({}));
    let broken = net.with(json!({"ingressPolicy": "closed", "iptablesAdminChainName": "two words"}));
    broken.del(&one).ok();
    assert!(!site.rules().to_string().contains("cni:blue:one"), "{}", site.rules());
    broken.gc(json!([]));

    let mut conf = net.conf(&one.result);
    net.add(&one).ok();
    conf["prevResult"] = json!({"cniVersion": "9.9.9"});
    site.host.plugin("firewall").del(&one.container, "eth0", &conf).ok();
    assert!(!site.rules().to_string().contains("cni:blue:one"), "{}", site.rules());
    empty.gc(json!([]));
}

#[test]
fn a_del_of_what_was_never_added_makes_nothing() {
    let site = Site::new("nftables");
    let net = site.network("blue", 11, json!({}));
    let one = net.join_bridge("one");
    let before = site.rules();
    net.del(&one).ok();
    net.del_without_prev(&one).ok();
    net.gc(json!([]));
    site.rules().assert_same(&before);
}

/// Issue 14, part 3: iptables takes `br+` for every bridge that begins with br.
#[test]
fn a_policy_is_for_one_bridge_and_not_for_a_pattern() {
    let site = Site::new("nftables");
    let container = site.host.container("c1");
    for name in ["+", "br+", "br*", "a\";drop", "a\\", "-x", "!x", "a/b", "longer-than-a-name-can-be"] {
        for backend in ["nftables", "iptables"] {
            let before = site.host.snapshot();
            let prev = json!({"interfaces": [{"name": name}], "ips": [{"address": "10.11.0.5/24"}]});
            let mut conf = conf(json!({"backend": backend, "ingressPolicy": "isolated", "prevResult": prev}));
            let (code, msg) = site.host.plugin("firewall").add(&container, "eth0", &conf).err();
            assert!(code == 7 && msg.contains("ingressPolicy"), "{backend} {name}: {code} {msg}");
            site.host.snapshot().assert_same(&before);
            // Whoever asks for no policy is let through all the same, and nothing keeps a DEL.
            if backend == "nftables" {
                conf["ingressPolicy"] = "".into();
                site.host.plugin("firewall").add(&container, "eth0", &conf).ok();
            }
            site.host.plugin("firewall").del(&container, "eth0", &conf).ok();
        }
    }
}
