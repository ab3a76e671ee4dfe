//! The tuning plugin through every version and every end an attachment can come to.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::bridge::net::{link_in, set};
use crate::tuning::net::{Net, Pod};

fn everything() -> Value {
    json!({"mac": "02:00:00:00:00:77", "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 7,
           "sysctl": {"net.core.somaxconn": "501"}})
}

#[test]
fn every_version_lives_and_leaves_nothing() {
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let mut net = Net::new(everything());
        set(&mut net.conf, &json!({"cniVersion": version}));
        let pod = net.pod("one", 5);
        let (host, before) = (net.host.snapshot(), pod.attributes());
        let mut expected = pod.result.clone();
        expected["interfaces"][2]["mac"] = net.conf["mac"].clone();
        if version >= "1.0.0" {
            expected["interfaces"][2]["mtu"] = 1400.into();
        }
        let result = net.add(&pod).ok();
        assert_eq!(result, expected, "{version}");
        assert_eq!(result["cniVersion"], version);
        if version >= "0.4.0" {
            net.check(&pod).ok();
        }
        net.del(&pod).ok();
        assert_eq!(pod.attributes(), before);
        net.host.snapshot().without("folder tuning").assert_same(&host);
    }
}

/// Of these libcni sends no prevResult, but another runtime may.
#[test]
fn the_oldest_versions_pass_their_result_on() {
    for version in ["0.1.0", "0.2.0"] {
        let mut net = Net::new(everything());
        let mut pod = net.pod("one", 5);
        set(&mut net.conf, &json!({"cniVersion": version}));
        pod.result =
            json!({"cniVersion": version, "ip4": {"ip": "10.88.0.5/24", "gateway": "10.88.0.1"}, "dns": {}});
        let result = net.add(&pod).ok();
        assert_eq!((&result["ip4"]["ip"], &result["cniVersion"]), (&json!("10.88.0.5/24"), &json!(version)));
        assert_eq!(pod.link().mtu, 1400);
        net.del(&pod).ok();
        assert_eq!(pod.link().mtu, 1500);
    }
}

#[test]
fn without_a_prev_result_nothing_is_done() {
    let net = Net::new(everything());
    let pod = net.pod("one", 5);
    let before = pod.attributes();
    for outcome in [
        net.host.plugin("tuning").add(&pod.container, "eth0", &net.conf),
        net.host.plugin("tuning").check(&pod.container, "eth0", &net.conf),
    ] {
        assert_eq!(outcome.err(), (7, "required prevResult is missing".to_owned()));
    }
    assert_eq!(pod.attributes(), before);
}

/// Every step once is the one that fails, after all that come before it.
#[test]
fn a_failing_add_leaves_nothing() {
    let blocked: fn(&Net) = |net| std::fs::write(net.host.dir().join("tuning"), "").unwrap();
    let nothing: fn(&Net) = |_| {};
    let cases = [
        (json!({}), "/tuning", blocked),
        (json!({"mtu": 70000}), "mtu 70000", nothing),
        (json!({"sysctl": {"net.core.somaxconn": "501", "net.no.such": "1"}}), "net.no.such", nothing),
        (json!({"sysctl": {"net.core.somaxconn": "501", "net.ipv4.ip_forward": "x"}}), "ip_forward", nothing),
    ];
    for (keys, named, prepare) in cases {
        let mut net = Net::new(everything());
        set(&mut net.conf, &keys);
        let pod = net.pod("one", 5);
        prepare(&net);
        let sysctl = pod.sysctl("net/core/somaxconn");
        let before = (net.host.snapshot(), pod.container.snapshot(), pod.attributes());
        let outcome = net.add(&pod);
        let (_, msg) = outcome.err();
        assert!(msg.starts_with("cannot tune eth0 in ") && msg.contains(named), "{msg}");
        assert_eq!(outcome.stderr, "", "undone in silence");
        net.host.snapshot().without("folder tuning").assert_same(&before.0);
        pod.container.snapshot().assert_same(&before.1);
        assert_eq!(pod.attributes(), before.2, "{named}");
        assert_eq!(pod.sysctl("net/core/somaxconn"), sysctl, "{named}");
    }
}

#[test]
fn an_interface_or_namespace_that_is_not_there_is_named() {
    let net = Net::new(everything());
    let mut pod = net.pod("one", 5);
    pod.ifname = "net1";
    for outcome in [net.add(&pod), net.check(&pod)] {
        assert!(outcome.err().1.contains("find link net1"), "{outcome:?}");
    }
    assert!(!net.host.dir().join("tuning/one_net1.json").exists());
    net.del(&pod).ok();
    pod.container.kill();
    for outcome in [net.add(&pod), net.check(&pod)] {
        assert!(outcome.err().1.contains(pod.container.netns()), "{outcome:?}");
    }
}

#[test]
fn the_backup_goes_when_there_is_nothing_left_to_restore() {
    let net = Net::new(everything());
    for end in ["the namespace is gone", "it is not named", "the interface is gone"] {
        let mut pod = net.pod("one", 5);
        net.add_and_check(&pod);
        assert!(net.backup("one").is_some());
        match end {
            "the namespace is gone" => pod.container.kill(),
            "it is not named" => {
                let del = net.host.plugin("tuning").env("CNI_NETNS", "");
                del.del(&pod.container, "eth0", &net.conf).ok();
            }
            _ => pod.container.ns().socket().unwrap().link_del(pod.link().index).unwrap(),
        }
        net.del(&pod).ok();
        assert_eq!(net.backup("one"), None, "{end}");
    }
}

/// A DEL that failed would keep the runtime from asking the plugins before this one.
#[test]
fn what_cannot_be_restored_is_told_and_keeps_nothing_else_from_it() {
    let net = Net::new(everything());
    let pod = net.pod("one", 5);
    let before = pod.attributes();
    net.add_and_check(&pod);
    let file = net.host.dir().join("tuning/one_eth0.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("1500", "70000")).unwrap();
    let outcome = net.del(&pod);
    outcome.ok();
    assert!(outcome.stderr.starts_with("tuning: cannot restore eth0: "), "{outcome:?}");
    assert_eq!(pod.attributes(), (before.0, 1400, before.2, before.3, before.4));
    // Kept for another DEL.
    std::fs::write(&file, text).unwrap();
    net.del(&pod).ok();
    assert_eq!((pod.attributes(), net.backup("one")), (before, None));

    // And a file that somebody cut short.
    std::fs::write(&file, "{").unwrap();
    net.del(&pod).ok();
    assert_eq!(net.backup("one"), None);
}

#[test]
fn twice_in_a_chain_both_give_back_what_was_before_the_first() {
    let first = Net::new(json!({"mtu": 1400, "promisc": true}));
    let pod = first.pod("one", 5);
    let before = pod.attributes();
    first.add(&pod).ok();
    let mut conf = first.conf.clone();
    set(&mut conf, &json!({"mtu": 1300, "promisc": null, "txQLen": 5, "prevResult": pod.result}));
    let second = first.host.plugin("tuning");
    second.add(&pod.container, "eth0", &conf).ok();
    assert_eq!((pod.link().mtu, pod.link().promisc, pod.link().txqlen), (1300, true, 5));
    first.host.plugin("tuning").del(&pod.container, "eth0", &conf).ok();
    first.del(&pod).ok();
    assert_eq!((pod.attributes(), first.backup("one")), (before, None));
}

/// As two networks have it when a container's identity is used again.
#[test]
fn a_late_del_of_another_network_restores_nothing() {
    let mut net = Net::new(everything());
    let pod = net.pod("one", 5);
    net.add_and_check(&pod);
    set(&mut net.conf, &json!({"name": "other"}));
    net.del(&pod).ok();
    set(&mut net.conf, &json!({"name": "net"}));
    net.check(&pod).ok();
    assert!(net.backup("one").is_some());
}

#[test]
fn the_default_folder_is_the_references() {
    let mut net = Net::new(everything());
    net.host.hide(&["/run"]);
    set(&mut net.conf, &json!({"dataDir": null}));
    let pod = net.pod("one", 5);
    net.add_and_check(&pod);
    assert!(std::path::Path::new("/run/cni/tuning/one_eth0.json").is_file());
    net.del(&pod).ok();
    assert_eq!(std::fs::read_dir("/run/cni/tuning").unwrap().count(), 0);
}

#[test]
fn gc_collects_the_backups_of_no_attachment() {
    let mut net = Net::new(everything());
    let pods: Vec<Pod> =
        ["valid", "gone", "other"].into_iter().zip(5..).map(|(id, n)| net.pod(id, n)).collect();
    for pod in &pods[..2] {
        net.add(pod).ok();
    }
    set(&mut net.conf, &json!({"name": "other"}));
    net.add(&pods[2]).ok();
    set(&mut net.conf, &json!({"name": "net"}));
    let theirs = net.host.dir().join("tuning/go_eth0.json");
    std::fs::write(&theirs, r#"{"mtu": 1500}"#).unwrap();

    let gc = |valid: Value| {
        let mut conf = net.conf.clone();
        set(&mut conf, &json!({"cni.dev/valid-attachments": valid}));
        net.host.plugin("tuning").command("GC", &conf).ok();
    };
    let there = || ["valid", "gone", "other", "go"].map(|id| net.backup(id).is_some());
    gc(Value::Null);
    assert_eq!(there(), [true; 4]);
    gc(json!([{"containerID": "valid", "ifname": "eth0"}]));
    assert_eq!(there(), [true, false, true, true]);
    // The interface of what is not valid is its own affair.
    assert_eq!(pods[1].link().mtu, 1400);
    gc(json!([]));
    assert_eq!(there(), [false, false, true, true]);
}

#[test]
fn status_says_what_an_add_would_find() {
    let mut net = Net::new(json!({}));
    let status = |net: &Net| net.host.plugin("tuning").command("STATUS", &net.conf);
    status(&net).ok();
    set(&mut net.conf, &everything());
    let before = net.host.snapshot();
    status(&net).ok();
    net.host.snapshot().assert_same(&before);
    std::fs::write(net.host.dir().join("tuning"), "").unwrap();
    let (code, msg) = status(&net).err();
    assert_eq!(code, 50);
    assert!(msg.contains("/tuning"), "{msg}");
    set(&mut net.conf, &json!({"mtu": -1}));
    assert_eq!(status(&net).err().0, 7);
}

#[test]
fn containers_reach_each_other_at_the_lower_mtu() {
    let net = Net::new(json!({"mtu": 1300}));
    let (one, two) = (net.pod("one", 5), net.pod("two", 6));
    let message = "x".repeat(4000);
    for pod in [&one, &two] {
        net.add_and_check(pod);
        assert_eq!(link_in(&pod.container, "eth0").mtu, 1300);
    }
    for address in ["10.88.0.6", "fd00:88::6"] {
        let address: IpAddr = address.parse().unwrap();
        let _server = two.container.serve((address, 7000).into());
        assert!(one.container.ping(address));
        assert!(one.container.echo_tcp((address, 7000).into(), &message).unwrap().ends_with(&message));
    }
}
