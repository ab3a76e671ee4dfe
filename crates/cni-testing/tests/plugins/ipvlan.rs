//! The ipvlan plugin: what its keys do, seen in the kernel and by packets, on kernels that have it. A child cannot talk to its
//! master, so packets go from child to child and to a machine outside.

mod life;
mod reference;

use std::net::SocketAddr;

use cni_netlink::{IpvlanMode, LinkKind, NextHop, RouteSpec};
use cni_testing::Container;
use serde_json::{Value, json};

use crate::bridge::failure::{fails_cleanly, fake_ipam};
use crate::bridge::net::{Net, addresses, link, link_in, set};
use crate::uplink::{MASTER, OUTSIDE, Uplink, add_host_addresses, add_link, connect, default_route, has, ip};

fn uplink(keys: Value) -> Uplink {
    Uplink::new("ipvlan", &keys)
}

fn uplink_v4(keys: Value) -> Uplink {
    Uplink::v4("ipvlan", &keys)
}

fn mode(container: &Container) -> IpvlanMode {
    match link_in(container, "eth0").settings {
        Some(LinkKind::Ipvlan { mode }) => mode,
        other => panic!("{other:?}"),
    }
}

/// At layer 3 nobody answers for the containers' addresses: the machine outside has to be told the way to them.
fn tell_the_way(outside: &Container, result: &Value) {
    for address in addresses(result) {
        let mac = link(MASTER).mac.unwrap().to_string();
        let run = |words: &[&str]| {
            #[allow(
                clippy::disallowed_methods,
                reason = "permanent neighbours, which no plugin has any use for"
            )]
            let status = std::process::Command::new("ip").args(words).status().unwrap();
            assert!(status.success());
        };
        let address = address.to_string();
        let words = ["neighbour", "replace", &address, "lladdr", &mac, "dev", MASTER, "nud", "permanent"];
        outside.ns().run(|| run(&words)).unwrap();
    }
}

#[test]
#[ignore = "needs a kernel with ipvlan"]
fn containers_reach_each_other_and_the_outside_in_every_mode_but_not_their_host() {
    for (name, expected) in [("l2", IpvlanMode::L2), ("l3", IpvlanMode::L3), ("l3s", IpvlanMode::L3s)] {
        let Uplink { net, outside } = uplink(json!({ "mode": name }));
        add_host_addresses();
        let (one, two) = (net.host.container("one"), net.host.container("two"));
        let first = net.add_and_check(&one);
        let second = net.add_and_check(&two);
        assert_eq!(mode(&one), expected);
        if expected != IpvlanMode::L2 {
            tell_the_way(&outside, &first);
            tell_the_way(&outside, &second);
        }
        for (index, address) in addresses(&second).into_iter().enumerate() {
            let to = SocketAddr::new(address, 7000);
            let _server = two.serve(to);
            for other in [&one, &outside] {
                assert!(other.ping(address), "{name}: ping {address}");
                let answer = other.echo_udp(to, "hello").unwrap();
                assert_eq!(answer.split(' ').next_back(), Some("hello"), "{name}");
            }
            let seen = one.echo_tcp(to, "hello").unwrap();
            let seen: SocketAddr = seen.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(seen.ip(), addresses(&first)[index], "the address arrives as it is");
            assert!(outside.echo_tcp(to, "hello").is_ok(), "{name}");
            assert!(one.ping(ip(OUTSIDE[index])), "{name}");
        }
        assert!(!net.host.ping(addresses(&first)[0]), "{name}");
        assert!(net.host.ping(ip(OUTSIDE[0])), "{name}");
        for container in [&one, &two] {
            net.del(container).ok();
        }
        assert_eq!(net.leases(), [""; 0]);
    }
}

#[test]
#[ignore = "needs a kernel with ipvlan"]
fn the_result_tells_the_interface_its_addresses_and_the_configurations_dns() {
    let Uplink { net, outside: _outside } =
        uplink(json!({"mtu": 1400, "dns": {"nameservers": ["192.0.2.53"]}}));
    let container = net.host.container("one");
    let result = net.add(&container);
    let eth0 = link_in(&container, "eth0");
    assert_eq!(eth0.mac, link(MASTER).mac);
    let expected = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{
            "name": "eth0", "mac": eth0.mac.unwrap().to_string(), "mtu": 1400, "sandbox": container.netns(),
        }],
        "ips": [
            {"interface": 0, "address": "10.88.0.1/24", "gateway": OUTSIDE[0]},
            {"interface": 0, "address": "fd00:88::1/64", "gateway": OUTSIDE[1]},
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        "dns": {"nameservers": ["192.0.2.53"]},
    });
    assert_eq!(result, expected);
    assert_eq!(eth0.alias.as_deref(), Some("cni:net:one:eth0"));
    assert_eq!(eth0.mtu, 1400);
}

#[test]
#[ignore = "needs a kernel with ipvlan"]
fn an_address_that_a_sibling_has_is_refused_and_leaves_nothing() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({}));
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "ips": [{"address": "10.88.0.5/24"}]}), 0);
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let mut first = Net { host: net.host, conf: net.conf.clone() };
    first.conf["ipam"] = json!({"type": "static", "addresses": [{"address": "10.88.0.5/24"}]});
    let result = first.add(&one);
    net.host = first.host;
    fails_cleanly(&net, &two, "cannot add address 10.88.0.5/24");
    net.conf["ipam"] = first.conf["ipam"].clone();
    net.check(&one, &result).ok();
}

/// A plugin before it gave addresses, and named the interface to use.
fn prev(interfaces: Value) -> Value {
    json!({
        "cniVersion": "1.1.0",
        "interfaces": interfaces,
        "ips": [{"interface": 0, "address": "10.88.0.77/24", "gateway": OUTSIDE[0]}],
        "routes": [{"dst": "192.0.2.0/24"}],
        "dns": {"nameservers": ["192.0.2.1"]},
    })
}

#[test]
#[ignore = "needs a kernel with ipvlan"]
fn chained_without_ipam_it_takes_master_and_addresses_of_the_plugin_before() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({"ipam": null, "master": null}));
    add_link("other0", None);
    default_route("0.0.0.0/0", "other0", 1);
    net.conf["prevResult"] = prev(json!([{"name": MASTER}]));
    let container = net.host.container("one");
    let before = container.snapshot();
    let result = net.add(&container);
    let eth0 = link_in(&container, "eth0");
    assert_eq!(eth0.peer, Some(link(MASTER).index));
    assert_eq!(result["interfaces"].as_array().unwrap().len(), 1);
    assert_eq!(result["interfaces"][0]["sandbox"], container.netns());
    assert_eq!(result["ips"], net.conf["prevResult"]["ips"]);
    assert_eq!(result["routes"], net.conf["prevResult"]["routes"]);
    assert_eq!(result.get("dns"), None);
    net.check(&container, &result).ok();
    assert!(container.ping(ip(OUTSIDE[0])));
    let mut inside = container.ns().socket().unwrap();
    let routes: Vec<RouteSpec> = inside.route_dump(eth0.index, None).unwrap();
    let hop = NextHop { index: eth0.index, gateway: Some(ip(OUTSIDE[0])) };
    assert!(routes.iter().any(|route| route.dst.to_string() == "192.0.2.0/24" && route.next_hops == [hop]));
    net.del(&container).ok();
    container.snapshot().assert_same(&before);

    // The configuration's own words go first.
    net.conf["master"] = "other0".into();
    net.conf["ipam"] = json!({"type": "static", "addresses": [{"address": "10.88.0.78/24"}]});
    let result = net.add(&container);
    assert_eq!(link_in(&container, "eth0").peer, Some(link("other0").index));
    assert_eq!(result["ips"][0]["address"], "10.88.0.78/24");
}

#[test]
fn a_plugin_before_it_that_leaves_no_choice_is_needed() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({"ipam": null, "master": null}));
    let container = net.host.container("one");
    let before = (net.host.snapshot(), container.snapshot());
    let mut refusal = |keys: Value| {
        set(&mut net.conf, &keys);
        let (code, msg) = net.try_add(&container).err();
        assert_eq!(code, 7, "{msg}");
        container.snapshot().assert_same(&before.1);
        net.host.snapshot().assert_same(&before.0);
        msg
    };
    for interfaces in [json!([]), json!([{"name": MASTER}, {"name": "eth1"}])] {
        let msg = refusal(json!({ "prevResult": prev(interfaces) }));
        assert!(msg.starts_with("master: missing, and prevResult has"), "{msg}");
    }
    let without = json!({"cniVersion": "1.1.0", "interfaces": [{"name": MASTER}]});
    for keys in [json!({ "prevResult": without }), json!({"prevResult": null, "master": MASTER})] {
        let msg = refusal(keys);
        assert!(msg.starts_with("ipam: missing"), "{msg}");
    }
}

#[test]
#[ignore = "needs a kernel with ipvlan"]
fn the_master_is_the_interface_of_the_default_route_ipv4_before_ipv6() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({"master": null}));
    net.conf["ipam"] = json!({"type": "static", "addresses": [{"address": "10.88.0.77/24"}]});
    for name in ["six", "four"] {
        add_link(name, None);
    }
    let container = net.host.container("none");
    let (code, msg) = net.try_add(&container).err();
    assert!(code == 7 && msg.starts_with("master: there is no default route"), "{code}: {msg}");
    default_route("::/0", "six", 1);
    net.add_and_check(&container);
    assert_eq!(link_in(&container, "eth0").peer, Some(link("six").index));
    default_route("0.0.0.0/0", "four", 100);
    let container = net.host.container("one");
    net.add_and_check(&container);
    assert_eq!(link_in(&container, "eth0").peer, Some(link("four").index));
}

#[test]
#[ignore = "needs a kernel with ipvlan"]
fn with_link_in_container_the_master_is_looked_for_there() {
    let Uplink { net, outside } = uplink_v4(json!({"linkInContainer": true, "master": "net0"}));
    let container = net.host.container("one");
    connect("net0", Some(&container), &outside, &[]);
    let before = container.snapshot();
    let mut there = outside.ns().socket().unwrap();
    let address = "10.88.0.254/24".parse().unwrap();
    there.addr_del(link_in(&outside, MASTER).index, address).unwrap();
    there.addr_add(link_in(&outside, "net0").index, address, Default::default()).unwrap();
    net.add_and_check(&container);
    let eth0 = link_in(&container, "eth0");
    assert_eq!((eth0.peer, eth0.peer_netnsid), (Some(link_in(&container, "net0").index), None));
    assert!(container.ping(ip(OUTSIDE[0])));
    net.del(&container).ok();
    assert!(!has(&container, "eth0"));
    container.snapshot().assert_same(&before);
}

/// The mode is the master's: whoever comes last sets it for all.
#[test]
#[ignore = "needs a kernel with ipvlan"]
fn check_finds_a_mode_that_another_network_has_changed() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({}));
    let one = net.host.container("one");
    let result = net.add_and_check(&one);
    net.conf["mode"] = "l3".into();
    net.add_and_check(&net.host.container("two"));
    net.conf["mode"] = "l2".into();
    assert!(net.check(&one, &result).err().1.contains("mode of eth0 is l3, not l2"));
}

#[test]
#[ignore = "needs a kernel with ipvlan"]
fn the_conflist_of_the_documentation_works_when_pasted() {
    let page = include_str!("../../../../docs/plugins/ipvlan.md");
    let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let list: Value = serde_json::from_str(block).unwrap();
    // As a runtime makes the plugin's configuration, but for leases in the host's own folder.
    let Uplink { mut net, outside: _outside } = uplink(json!({}));
    net.conf = list["plugins"][0].clone();
    set(&mut net.conf, &json!({"cniVersion": list["cniVersion"], "name": list["name"]}));
    net.conf["ipam"]["dataDir"] = net.host.dir().join("leases").to_str().unwrap().into();
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    net.add_and_check(&one);
    for address in addresses(&net.add_and_check(&two)) {
        assert!(one.ping(address), "{address}");
    }
}
