//! The tuning plugin's keys: what each of them does to a container's interface and namespace, and who may.

mod chain;
mod life;
pub(crate) mod net;
mod reference;

use std::net::IpAddr;
use std::time::Duration;

use cni_host::sysctl_read;
use cni_netlink::LinkChange;
use cni_testing::{Container, Outcome};
use serde_json::{Value, json};

use crate::bridge::net::{addresses, set};
use crate::tuning::net::{Net, Pod};

const MAC: &str = "02:00:00:00:00:77";

fn change(pod: &Pod, change: LinkChange<'_>) {
    pod.container.ns().socket().unwrap().link_change(pod.link().index, &change).unwrap();
}

#[test]
fn each_attribute_is_changed_told_checked_and_given_back() {
    let mut net = Net::new(json!({}));
    let pod = net.pod("one", 5);
    change(&pod, LinkChange { allmulti: Some(true), ..LinkChange::default() });
    let before = pod.attributes();
    let mac = Some(MAC.parse().unwrap());
    for (key, value, after, was) in [
        (
            "mac",
            json!(MAC),
            (mac, before.1, before.2, before.3, before.4),
            json!(before.0.unwrap().to_string()),
        ),
        ("mtu", json!(1400), (before.0, 1400, before.2, before.3, before.4), json!(1500)),
        ("promisc", json!(true), (before.0, before.1, true, before.3, before.4), json!(false)),
        ("allmulti", json!(false), (before.0, before.1, before.2, false, before.4), json!(true)),
        ("txQLen", json!(77), (before.0, before.1, before.2, before.3, 77), json!(1000)),
    ] {
        set(&mut net.conf, &json!({key: value}));
        let result = net.add_and_check(&pod);
        assert_eq!(pod.attributes(), after, "{key}");
        let mut expected = pod.result.clone();
        if key == "mac" || key == "mtu" {
            expected["interfaces"][2][key] = value;
        }
        assert_eq!(result, expected, "{key}");
        assert_eq!(net.backup("one").unwrap(), json!({key: was, "owner": "cni:net:one:eth0"}));

        for _ in 0..2 {
            net.del(&pod).ok();
            assert_eq!(pod.attributes(), before, "{key}");
            assert_eq!(net.backup("one"), None);
        }
        let (code, msg) = net.check(&pod).err();
        assert_eq!(code, 999);
        assert!(msg.starts_with("the ") && msg.contains(" of eth0 is "), "{key}: {msg}");
        set(&mut net.conf, &json!({key: null}));
    }
}

#[test]
fn all_attributes_at_once() {
    let net = Net::new(json!({"mac": MAC, "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 0}));
    let pod = net.pod("one", 5);
    let before = pod.attributes();
    net.add_and_check(&pod);
    assert_eq!(pod.attributes(), (Some(MAC.parse().unwrap()), 1400, true, true, 0));
    assert!(net.host.ping("10.88.0.5".parse().unwrap()));
    net.del(&pod).ok();
    assert_eq!(pod.attributes(), before);
}

/// As podman and nerdctl have it in every network: it must not even look for the namespace.
#[test]
fn without_a_key_nothing_is_touched() {
    let net = Net::new(json!({}));
    let mut pod = net.pod("one", 5);
    change(&pod, LinkChange { promisc: Some(true), ..LinkChange::default() });
    let (host, inside) = (net.host.snapshot(), pod.container.snapshot());
    assert_eq!(net.add_and_check(&pod), pod.result);
    net.del(&pod).ok();
    net.host.snapshot().assert_same(&host);
    pod.container.snapshot().assert_same(&inside);

    pod.container.kill();
    assert_eq!(net.add(&pod).ok(), pod.result);
    net.check(&pod).ok();
    net.del(&pod).ok();
}

#[test]
fn promiscuous_mode_that_is_not_wanted_is_switched_off_and_back_on() {
    let net = Net::new(json!({"promisc": false}));
    let pod = net.pod("one", 5);
    change(&pod, LinkChange { promisc: Some(true), ..LinkChange::default() });
    net.add_and_check(&pod);
    assert!(!pod.link().promisc);
    net.del(&pod).ok();
    assert!(pod.link().promisc);
}

#[test]
fn settings_change_in_the_containers_namespace_alone_in_every_spelling() {
    let net = Net::new(json!({"sysctl": {
        "net.ipv4.conf.IFNAME.arp_filter": "1",
        "net/ipv4/conf/IFNAME/arp_ignore": "2",
        "net.ipv6/conf.IFNAME/hop_limit": "33",
        "net.core.somaxconn": "500",
    }}));
    let pod = net.pod_with("one", 5, "eth0.7");
    let host = sysctl_read("net/core/somaxconn").unwrap();
    assert_eq!(net.add_and_check(&pod), pod.result);
    for (key, value) in [
        ("net/ipv4/conf/eth0.7/arp_filter", "1"),
        ("net/ipv4/conf/eth0.7/arp_ignore", "2"),
        ("net/ipv6/conf/eth0.7/hop_limit", "33"),
        ("net/core/somaxconn", "500"),
    ] {
        assert_eq!(pod.sysctl(key), value, "{key}");
        pod.set_sysctl(key, "3");
        let (code, msg) = net.check(&pod).err();
        assert_eq!(code, 999);
        assert!(msg.ends_with(&format!(" is \"3\", not \"{value}\"")), "{msg}");
        pod.set_sysctl(key, value);
    }
    assert_eq!(sysctl_read("net/core/somaxconn").unwrap(), host);
    // They go with the namespace.
    net.del(&pod).ok();
    assert_eq!(pod.sysctl("net/core/somaxconn"), "500");
}

/// Each of these fails in a CHECK that compares texts, or that depends on the order of settings.
#[test]
fn check_holds_for_settings_that_read_otherwise_than_they_were_written() {
    let net = Net::new(json!({"mtu": 1400, "sysctl": {
        "net.ipv4.ip_local_port_range": "20000 30000",
        "net.ipv4.route.flush": "1",
        "net.ipv4.ip_local_reserved_ports": "",
        "net.ipv6.conf.IFNAME.mtu": "1300",
        "net.ipv6.conf.IFNAME.disable_ipv6": "0",
        "net.ipv6.conf.all.disable_ipv6": "1",
    }}));
    let pod = net.pod("one", 5);
    pod.set_sysctl("net/ipv4/ip_local_reserved_ports", "8080");
    net.add_and_check(&pod);
    assert_eq!(pod.sysctl("net/ipv4/ip_local_reserved_ports"), "");
    assert_eq!(pod.sysctl("net/ipv6/conf/eth0/mtu"), "1300");
    assert_eq!(pod.sysctl("net/ipv6/conf/eth0/disable_ipv6"), "0");
}

#[test]
fn keys_that_lead_elsewhere_or_are_there_twice_are_refused() {
    let net = Net::new(json!({}));
    let pod = net.pod("one", 5);
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for key in ["kernel.hostname", "net/../kernel/hostname", "net.ipv4./../../kernel/hostname", "net"] {
        let mut conf = net.with_prev(&pod.result);
        conf["sysctl"] = json!({key: "elsewhere"});
        let (code, msg) = net.host.plugin("tuning").add(&pod.container, "eth0", &conf).err();
        assert_eq!(code, 7);
        assert!(msg.contains(key), "{msg}");
    }
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), hostname);

    // A `Value` cannot hold a key twice.
    let twice = r#""sysctl":{"net.core.somaxconn":"501","net.core.somaxconn":"502"},"#;
    let conf = net.with_prev(&pod.result).to_string().replacen('{', &format!("{{{twice}"), 1);
    let (code, msg) = run(&net, "ADD", &pod.container, &conf).err();
    assert_eq!(code, 7);
    assert!(msg.starts_with(r#"sysctl has the key "net.core.somaxconn" twice"#), "{msg}");
    assert_eq!(run(&net, "CHECK", &pod.container, &conf).err().0, 7);
    run(&net, "DEL", &pod.container, &conf).ok();
    assert!(!["501", "502"].contains(&pod.sysctl("net/core/somaxconn").as_str()));
}

fn run(net: &Net, command: &str, container: &Container, conf: &str) -> Outcome {
    let run = net.host.plugin("tuning").env("CNI_COMMAND", command).env("CNI_CONTAINERID", container.id());
    let run =
        run.env("CNI_NETNS", container.netns()).env("CNI_IFNAME", "eth0").env("CNI_PATH", "/nonexistent");
    run.raw(conf.as_bytes())
}

#[test]
fn the_hosts_allow_list_decides_about_every_source_of_settings() {
    let list = "^net\\.core\\.somaxconn$\n\n  ipv4/conf \n";
    let mut net = Net::with_allow_list(json!({"sysctl": {"net.core.somaxconn": "501"}}), list);
    let pod = net.pod("one", 5);
    let outcome = net.add(&pod);
    outcome.ok();
    assert_eq!(outcome.stderr, "");
    net.host.plugin("tuning").command("STATUS", &net.conf).ok();

    // As it is written: an entry with slashes allows keys with slashes, and any that have it in them.
    set(&mut net.conf, &json!({"sysctl": {"net/ipv4/conf/IFNAME/arp_filter": "1"}}));
    let outcome = net.add(&pod);
    outcome.ok();
    assert!(outcome.stderr.contains("by ipv4/conf, which lacks ^ or $"), "{outcome:?}");

    let refused = json!({"net.ipv4.conf.IFNAME.arp_ignore": "1"});
    for keys in [json!({"sysctl": refused}), json!({"sysctl": null, "args": {"cni": {"sysctl": refused}}})] {
        set(&mut net.conf, &keys);
        set(&mut net.conf, &json!({"mtu": 1400}));
        let status = net.host.plugin("tuning").command("STATUS", &net.conf);
        for outcome in [net.add(&pod), status] {
            let (code, msg) = outcome.err();
            assert_eq!(code, 7);
            assert!(msg.starts_with("sysctl net.ipv4.conf.IFNAME.arp_ignore: /etc/cni/tuning/"), "{msg}");
        }
    }
    assert_eq!((pod.sysctl("net/ipv4/conf/eth0/arp_ignore").as_str(), pod.link().mtu), ("0", 1500));
    // It has no say in what was allowed once.
    pod.set_sysctl("net/ipv4/conf/eth0/arp_ignore", "1");
    set(&mut net.conf, &json!({"mtu": null}));
    net.check(&pod).ok();
}

#[test]
fn an_empty_allow_list_allows_nothing_and_none_everything() {
    let net = Net::with_allow_list(json!({"sysctl": {"net.core.somaxconn": "501"}}), "\n");
    let pod = net.pod("one", 5);
    assert_eq!(net.add(&pod).err().0, 7);
    std::fs::remove_file("/etc/cni/tuning/allowlist.conf").unwrap();
    net.add_and_check(&pod);
    std::fs::create_dir("/etc/cni/tuning/allowlist.conf").unwrap();
    assert_eq!(net.add(&pod).err().0, 5);
}

#[test]
fn args_and_runtime_config_have_their_places() {
    let mut net = Net::new(json!({
        "mac": "02:00:00:00:00:01", "mtu": 1300, "sysctl": {"net.core.somaxconn": "501"},
    }));
    let pod = net.pod("one", 5);
    let add = |net: &Net| {
        let run = net.host.plugin("tuning").env("CNI_ARGS", "IgnoreUnknown=1;MAC=02:00:00:00:00:02;X=1");
        run.add(&pod.container, "eth0", &net.with_prev(&pod.result)).ok()["interfaces"][2]["mac"].clone()
    };
    assert_eq!(add(&net), "02:00:00:00:00:02");
    set(&mut net.conf, &json!({"runtimeConfig": {"mac": "02:00:00:00:00:03"}}));
    assert_eq!(add(&net), "02:00:00:00:00:03");
    let args = json!({"mac": MAC, "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 5,
                      "sysctl": {"net/core/somaxconn": "502"}});
    set(&mut net.conf, &json!({"args": {"cni": args}}));
    assert_eq!(add(&net), MAC);
    assert_eq!(pod.attributes(), (Some(MAC.parse().unwrap()), 1400, true, true, 5));
    assert_eq!(pod.sysctl("net/core/somaxconn"), "502");
}

/// The kernel announces by itself only where `arp_notify` and `ndisc_notify` are set, as the bridge plugin does.
#[test]
fn neighbours_learn_the_new_mac_address_at_once() {
    let net = Net::new(json!({"mac": MAC}));
    let pod = net.pod("one", 5);
    let own = addresses(&pod.result);
    let reached = |address: &IpAddr| net.host.ping(*address);
    assert!(own.iter().all(reached));
    pod.set_sysctl("net/ipv4/conf/eth0/arp_notify", "0");
    pod.set_sysctl("net/ipv6/conf/eth0/ndisc_notify", "0");
    // A neighbour is not replaced by what is heard within a second of the last (locktime).
    std::thread::sleep(Duration::from_millis(1100));
    net.add_and_check(&pod);
    assert!(own.iter().all(reached));
    let servers: Vec<_> = own.iter().map(|address| pod.container.serve((*address, 7000).into())).collect();
    let other = net.pod("two", 6);
    for address in &own {
        other.container.echo_tcp((*address, 7000).into(), "hello").unwrap();
        other.container.echo_udp((*address, 7000).into(), "hello").unwrap();
    }
    drop(servers);
}

#[test]
fn wrong_values_are_refused_by_their_keys_and_change_nothing() {
    let net = Net::new(json!({}));
    let pod = net.pod("one", 5);
    let before = (net.host.snapshot(), pod.attributes());
    for (keys, begin) in [
        (json!({"mtu": -1, "mac": MAC}), "mtu: "),
        (json!({"txQLen": -1, "mac": MAC}), "txQLen: "),
        (json!({"mac": "02:00", "mtu": 1400}), "mac: "),
        (json!({"mac": "ff:ff:ff:ff:ff:ff", "mtu": 1400}), "mac: "),
        (json!({"sysctl": {"net.a": "1", "net/a": "2"}, "mtu": 1400}), "sysctl \"net"),
    ] {
        let mut conf: Value = net.with_prev(&pod.result);
        set(&mut conf, &keys);
        let (code, msg) = net.host.plugin("tuning").add(&pod.container, "eth0", &conf).err();
        assert_eq!(code, 7, "{msg}");
        assert!(msg.starts_with(begin), "{msg}");
        // What could not be set up can be taken down.
        net.host.plugin("tuning").del(&pod.container, "eth0", &conf).ok();
    }
    net.host.snapshot().assert_same(&before.0);
    assert_eq!(pod.attributes(), before.1);
}
