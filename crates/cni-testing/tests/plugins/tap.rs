//! The tap plugin: frames through it, and every key.

mod life;
pub(crate) mod net;
mod reference;
mod selinux_vm;

use std::net::{IpAddr, SocketAddr};

use cni_host::Tap;
use cni_netlink::{LinkChange, Socket, Tun};
use cni_testing::{Container, Host};
use serde_json::{Value, json};

use crate::bridge::failure::{fails_cleanly, fake_ipam};
use crate::bridge::net::{addresses, link_in, make_bridge, set};
use crate::tap::net::{Cable, layer2, net};

fn tun(container: &Container) -> Tun {
    link_in(container, "eth0").tun.unwrap()
}

fn set_up(container: &Container, name: &str) {
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    container.ns().socket().unwrap().link_change(link_in(container, name).index, &up).unwrap();
}

fn reach_each_other(one: &Container, two: &Container, their_addresses: &[IpAddr]) {
    for &address in their_addresses {
        assert!(one.ping(address), "{address}");
        let at = SocketAddr::new(address, 7777);
        let _server = two.serve(at);
        for echo in [one.echo_tcp(at, "hello"), one.echo_udp(at, "hello")] {
            let echo = echo.unwrap();
            assert!(echo.ends_with(" hello"), "{echo}");
        }
    }
}

#[test]
fn a_program_carries_frames_between_two_containers() {
    for multi_queue in [false, true] {
        let net = net(&json!({"multiQueue": multi_queue}));
        let (one, two) = (net.host.container("one"), net.host.container("two"));
        net.add_and_check(&one);
        let theirs = addresses(&net.add_and_check(&two));
        let _cable = Cable::between(&one, &two, multi_queue);
        reach_each_other(&one, &two, &theirs);
    }
}

#[test]
fn the_result_tells_the_interface_its_addresses_and_the_configurations_dns() {
    let mut net = net(&json!({"dns": {"nameservers": ["192.0.2.53"]}}));
    let resolv = net.host.dir().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 192.0.2.1\n").unwrap();
    net.conf["ipam"]["resolvConf"] = resolv.to_str().unwrap().into();
    net.conf["ipam"]["routes"] = json!([{"dst": "192.0.2.0/24", "gw": "10.88.0.1"}]);
    let container = net.host.container("one");
    let result = net.add(&container);
    let eth0 = link_in(&container, "eth0");
    let expected = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{
            "name": "eth0", "mac": eth0.mac.unwrap().to_string(), "mtu": 1500, "sandbox": container.netns(),
        }],
        "ips": [
            {"interface": 0, "address": "10.88.0.2/24", "gateway": "10.88.0.1"},
            {"interface": 0, "address": "fd00:88::2/64", "gateway": "fd00:88::1"},
        ],
        "routes": [{"dst": "192.0.2.0/24", "gw": "10.88.0.1"}],
        "dns": {"nameservers": ["192.0.2.53"]},
    });
    assert_eq!(result, expected);
    assert!(eth0.up);
    assert_eq!(eth0.alias.as_deref(), Some("cni:net:one:eth0"));
    let tun = tun(&container);
    let is_plain =
        matches!(tun, Tun { tap: true, multi_queue: false, persist: true, owner: None, group: None, .. });
    assert!(is_plain, "{tun:?}");
    net.check(&container, &result).ok();
}

#[test]
fn without_ipam_the_interface_is_up_and_that_is_all() {
    let net = layer2(&json!({}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    assert_eq!(result.get("ips"), None);
    assert!(link_in(&container, "eth0").up);
    net.del(&container).ok();
    assert!(container.ns().socket().unwrap().link_by_name("eth0").is_err());
}

#[test]
fn owner_group_and_queues_are_as_asked_and_check_compares_them() {
    for (keys, expected) in [
        (json!({"owner": 0}), (Some(0), None, false)),
        (json!({"group": 1000}), (None, Some(1000), false)),
        (json!({"owner": 1000, "group": 0}), (Some(1000), Some(0), false)),
        (json!({"owner": 1, "group": 2, "multiQueue": true}), (Some(1), Some(2), true)),
    ] {
        let mut net = layer2(&keys);
        let container = net.host.container("one");
        let result = net.add_and_check(&container);
        let Tun { owner, group, multi_queue, .. } = tun(&container);
        assert_eq!((owner, group, multi_queue), expected, "{keys}");
        for (key, wrong) in [("owner", json!(7)), ("group", json!(7)), ("multiQueue", json!(!multi_queue))] {
            let was = net.conf[key].clone();
            net.conf[key] = wrong;
            let (code, msg) = net.check(&container, &result).err();
            assert!(code == 999 && msg.contains(&format!("{key} of eth0 is ")), "{code}: {msg}");
            set(&mut net.conf, &json!({ key: was }));
        }
        net.check(&container, &result).ok();
    }
}

#[test]
fn the_mtu_is_the_kernels_or_as_asked() {
    for (mtu, is) in [(Value::Null, 1500), (json!(0), 1500), (json!(1400), 1400), (json!(9000), 9000)] {
        // The reference ignores it with owner and group.
        let net = layer2(&json!({"mtu": mtu, "owner": 1, "group": 2}));
        let container = net.host.container("one");
        let result = net.add_and_check(&container);
        assert_eq!((link_in(&container, "eth0").mtu, &result["interfaces"][0]["mtu"]), (is, &json!(is)));
    }
    let mut net = net(&json!({"mtu": 100_000}));
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "ips": [{"address": "10.88.0.5/24"}]}), 0);
    fails_cleanly(&net, &net.host.container("one"), "mtu 100000");
}

#[test]
fn the_last_source_of_a_mac_wins() {
    let args = "IgnoreUnknown=1;K8S_POD_NAME=a;MAC=02:00:00:00:00:02";
    let top = json!({"mac": "02:00:00:00:00:01", "owner": 1, "group": 2});
    let both = json!({"mac": "02:00:00:00:00:01", "runtimeConfig": {"mac": "02:00:00:00:00:03"}});
    let net = layer2(&json!({}));
    for (args, keys, mac) in [("", &top, 1), (args, &top, 2), (args, &both, 3), ("", &both, 3)] {
        let mut conf = net.conf.clone();
        set(&mut conf, keys);
        let container = net.host.container("one");
        let result = net.host.plugin("tap").env("CNI_ARGS", args).add(&container, "eth0", &conf).ok();
        let expected = format!("02:00:00:00:00:0{mac}");
        assert_eq!(result["interfaces"][0]["mac"], expected);
        assert_eq!(link_in(&container, "eth0").mac.unwrap().to_string(), expected);
        conf["prevResult"] = result;
        net.host.plugin("tap").env("CNI_ARGS", args).check(&container, "eth0", &conf).ok();
    }
    let (code, msg) = net
        .host
        .plugin("tap")
        .env("CNI_ARGS", "FOO=1")
        .add(&net.host.container("one"), "eth0", &net.conf)
        .err();
    assert!(code == 4 && msg.contains("FOO"), "{code}: {msg}");
}

#[test]
fn with_bridge_it_is_a_port_of_the_containers_bridge() {
    let mut net = layer2(&json!({"bridge": "br0"}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    one.ns().run(|| make_bridge("br0")).unwrap();
    let result = net.add_and_check(&one);
    let bridge = link_in(&one, "br0").index;
    assert_eq!(link_in(&one, "eth0").master, Some(bridge));

    // Whoever is attached reaches what else is on that bridge.
    net.conf.as_object_mut().unwrap().remove("bridge");
    net.add_and_check(&two);
    for (container, name, address) in [(&one, "br0", "10.88.0.1/24"), (&two, "eth0", "10.88.0.2/24")] {
        let index = link_in(container, name).index;
        container
            .ns()
            .socket()
            .unwrap()
            .addr_add(index, address.parse().unwrap(), Default::default())
            .unwrap();
        set_up(container, name);
    }
    {
        let _cable = Cable::between(&one, &two, false);
        reach_each_other(&two, &one, &["10.88.0.1".parse().unwrap()]);
    }

    net.conf["bridge"] = "br0".into();
    let freed = LinkChange { master: Some(None), ..LinkChange::default() };
    one.ns().socket().unwrap().link_change(link_in(&one, "eth0").index, &freed).unwrap();
    assert!(net.check(&one, &result).err().1.contains("eth0 is not a port of br0"));
    net.del(&one).ok();
    assert_eq!(link_in(&one, "br0").index, bridge);
}

#[test]
fn a_bridge_that_is_not_there_or_none_leaves_nothing() {
    let mut net = net(&json!({"bridge": "br0"}));
    // The host's is not the container's.
    make_bridge("br0");
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "ips": [{"address": "10.88.0.5/24"}]}), 0);
    let container = net.host.container("one");
    fails_cleanly(&net, &container, "bridge: cannot find link br0");
    net.conf["bridge"] = "lo".into();
    fails_cleanly(&net, &container, "cannot set up eth0");
}

#[test]
fn a_host_interface_of_that_name_is_no_obstacle() {
    let net = layer2(&json!({}));
    let index = make_bridge("eth0").index;
    let container = net.host.container("one");
    net.add_and_check(&container);
    net.del(&container).ok();
    assert_eq!(Socket::open().unwrap().link_by_name("eth0").unwrap().index, index);
}

/// Where SELinux is off nothing can have a label. With it on, `tap_selinux_vm`.
#[test]
fn a_label_that_the_kernel_does_not_take_is_refused_and_leaves_nothing() {
    let mut net = net(&json!({"selinuxContext": "no context at all"}));
    let (code, msg) = net.host.plugin("tap").command("STATUS", &net.conf).err();
    assert!(
        code == 50 && msg.starts_with("selinuxContext: cannot write \"no context at all\""),
        "{code}: {msg}"
    );
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "ips": [{"address": "10.88.0.5/24"}]}), 0);
    let code = fails_cleanly(&net, &net.host.container("one"), "/proc/thread-self/attr/exec");
    assert_eq!(code, 999);
}

/// What the plugin does when it executes itself for a label: the device where it is, and nothing else.
#[test]
fn the_plugin_that_is_executed_for_the_device_makes_the_device_alone() {
    let host = Host::new();
    let container = host.container("one");
    let conf = json!({"cniVersion": "1.1.0", "name": "tap", "type": "tap", "owner": 5, "multiQueue": true});
    let run = || host.plugin("tap").env("CNI_NETNS_OVERRIDE", "1").env("CNI_TAP_DEVICE_ONLY", "1");
    let inside = container.snapshot();
    let result = run().add(&container, "t0", &conf).ok();
    assert_eq!(result.get("interfaces"), None);
    container.snapshot().assert_same(&inside);
    let tap = Socket::open().unwrap().link_by_name("t0").unwrap();
    let tun = tap.tun.unwrap();
    let is_as_wanted =
        matches!(tun, Tun { tap: true, multi_queue: true, persist: true, owner: Some(5), group: None, .. });
    assert!(is_as_wanted && !tap.up, "{tap:?}");
    Tap::attach("t0", true).unwrap();
    assert!(run().add(&container, "t0", &conf).err().1.starts_with("cannot add tap t0"));
}

#[test]
fn the_conflist_of_the_documentation_works_when_pasted() {
    let page = include_str!("../../../../docs/plugins/tap.md");
    let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let list: Value = serde_json::from_str(block).unwrap();
    // As a runtime makes the plugin's configuration, but for leases in the host's own folder.
    let mut net = net(&json!({}));
    net.conf = list["plugins"][0].clone();
    set(&mut net.conf, &json!({"cniVersion": list["cniVersion"], "name": list["name"]}));
    net.conf["ipam"]["dataDir"] = net.host.dir().join("leases").to_str().unwrap().into();
    let multi_queue = net.conf["multiQueue"] == true;
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    net.add_and_check(&one);
    let theirs = addresses(&net.add_and_check(&two));
    let _cable = Cable::between(&one, &two, multi_queue);
    for address in theirs {
        assert!(one.ping(address), "{address}");
    }
}
