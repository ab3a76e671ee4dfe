//! The vlan plugin: tagged packets, every key, and every end an attachment can come to. All of it wants 802.1Q, which Debian's
//! kernel has.

use std::net::SocketAddr;

use cni_netlink::{LinkChange, LinkKind, MacAddr, NewLink, Parent};
use cni_testing::Container;
use serde_json::{Value, json};

use crate::bridge::failure::{fails_cleanly, fake_ipam};
use crate::bridge::net::{Net, addresses, link, link_in, set};
use crate::uplink::{self, MASTER, OUTSIDE, Uplink, VLAN, connect, has, ip, tag};

fn uplink_v4(keys: Value) -> Uplink {
    Uplink::v4("vlan", &keys)
}

fn id_of(container: &Container) -> u16 {
    match link_in(container, "eth0").settings {
        Some(LinkKind::Vlan { id }) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn packets_are_tagged_and_reach_their_vlan_alone() {
    let Uplink { mut net, outside } = Uplink::new("vlan", &json!({}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let result = net.add_and_check(&one);
    assert_eq!(id_of(&one), VLAN);
    for address in OUTSIDE.map(ip) {
        assert!(one.ping(address), "{address}");
        let at = SocketAddr::new(address, 7777);
        let _server = outside.serve(at);
        let from = addresses(&result).into_iter().find(|own| own.is_ipv4() == address.is_ipv4()).unwrap();
        for echo in [one.echo_tcp(at, "hello"), one.echo_udp(at, "hello")] {
            let echo = echo.unwrap();
            assert!(echo.contains(&from.to_string()) && echo.ends_with(" hello"), "{echo}");
        }
    }

    // Another VLAN of the same master; outside nobody has it, and then somebody has.
    net.conf["vlanId"] = 200.into();
    net.add_and_check(&two);
    assert_eq!(id_of(&two), 200);
    assert!(!two.ping(ip(OUTSIDE[0])));
    assert!(!two.ping(addresses(&result)[0]), "containers of two VLANs are apart");
    tag(&outside, 200, &[]);
    let v200 = link_in(&outside, "v200").index;
    outside
        .ns()
        .socket()
        .unwrap()
        .addr_add(v200, "10.99.0.1/24".parse().unwrap(), Default::default())
        .unwrap();
    let eth0 = link_in(&two, "eth0").index;
    two.ns().socket().unwrap().addr_add(eth0, "10.99.0.2/24".parse().unwrap(), Default::default()).unwrap();
    assert!(two.ping(ip("10.99.0.1")));
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn the_result_tells_the_interface_its_addresses_and_the_configurations_dns() {
    let Uplink { mut net, outside: _outside } =
        Uplink::new("vlan", &json!({"dns": {"nameservers": ["192.0.2.53"]}}));
    let resolv = net.host.dir().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 192.0.2.1\n").unwrap();
    net.conf["ipam"]["resolvConf"] = resolv.to_str().unwrap().into();
    let container = net.host.container("one");
    let result = net.add(&container);
    let eth0 = link_in(&container, "eth0");
    let expected = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{
            "name": "eth0", "mac": link(MASTER).mac.unwrap().to_string(), "mtu": 1450,
            "sandbox": container.netns(),
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
    assert_eq!(eth0.peer, Some(link(MASTER).index));
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn a4_without_ipam_the_interface_is_up_and_that_is_all() {
    for ipam in [Value::Null, json!({}), json!({"type": ""})] {
        let keys = json!({"ipam": null, "dns": {"nameservers": ["192.0.2.53"]}});
        let Uplink { mut net, outside: _outside } = Uplink::new("vlan", &keys);
        net.conf["ipam"] = ipam;
        let container = net.host.container("one");
        net.host.plugin("vlan").command("STATUS", &net.conf).ok();
        let result = net.add_and_check(&container);
        let eth0 = link_in(&container, "eth0");
        let expected = json!({
            "cniVersion": "1.1.0",
            "interfaces": [{
                "name": "eth0", "mac": eth0.mac.unwrap().to_string(), "mtu": 1450, "sandbox": container.netns(),
            }],
            "dns": {"nameservers": ["192.0.2.53"]},
        });
        assert_eq!(result, expected);
        assert!(eth0.up && id_of(&container) == VLAN);
        let mut inside = container.ns().socket().unwrap();
        inside.addr_add(eth0.index, "10.88.0.9/24".parse().unwrap(), Default::default()).unwrap();
        assert!(container.ping(ip(OUTSIDE[0])));
        net.del(&container).ok();
        assert!(!has(&container, "eth0"));
        // Results of those versions need an address, so that nothing can be told and nothing stays.
        for version in ["0.1.0", "0.2.0"] {
            net.conf["cniVersion"] = version.into();
            assert_eq!(net.try_add(&container).err().0, 999);
            assert!(!has(&container, "eth0"));
        }
    }
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn a_vlan_that_the_master_has_already_is_refused_and_the_first_lives_on() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let result = net.add(&one);
    let mut second = Net { conf: net.conf.clone(), host: net.host };
    fake_ipam(&mut second, &json!({"cniVersion": "1.1.0", "ips": [{"address": "10.88.0.5/24"}]}), 0);
    fails_cleanly(&second, &two, "VLAN device already exists");
    net.host = second.host;
    net.check(&one, &result).ok();
    net.del(&one).ok();
    net.add_and_check(&two);
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn the_first_and_the_last_id_are_taken() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({}));
    for id in [0, 1, 4094] {
        net.conf["vlanId"] = id.into();
        let container = net.host.container("one");
        net.add_and_check(&container);
        assert_eq!(id_of(&container), id);
        net.del(&container).ok();
    }
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn the_mtu_is_the_masters_or_a_smaller_one() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({}));
    for (mtu, is) in [(json!(0), 1450), (Value::Null, 1450), (json!(1450), 1450), (json!(1400), 1400)] {
        net.conf["mtu"] = mtu;
        let container = net.host.container("one");
        let result = net.add_and_check(&container);
        assert_eq!((link_in(&container, "eth0").mtu, &result["interfaces"][0]["mtu"]), (is, &json!(is)));
        net.del(&container).ok();
    }
    net.conf["mtu"] = 1451.into();
    assert_eq!(net.host.plugin("vlan").command("STATUS", &net.conf).err().0, 50);
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0"}), 0);
    let two = net.host.container("two");
    assert_eq!(fails_cleanly(&net, &two, "mtu: 1451 is greater than 1450, that of master eth0"), 7);
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn a_master_that_is_down_is_refused_before_ipam() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({}));
    let down = LinkChange { up: Some(false), ..LinkChange::default() };
    cni_netlink::Socket::open().unwrap().link_change(link(MASTER).index, &down).unwrap();
    let (code, msg) = net.host.plugin("vlan").command("STATUS", &net.conf).err();
    assert_eq!((code, msg.as_str()), (50, "master eth0 is down"));
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "ips": [{"address": "10.88.0.5/24"}]}), 0);
    fails_cleanly(&net, &net.host.container("one"), "master eth0 is down");
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn with_link_in_container_the_master_is_looked_for_there() {
    let keys = json!({"linkInContainer": true, "master": "net0"});
    let Uplink { mut net, outside } = uplink_v4(keys);
    let container = net.host.container("one");
    connect("net0", Some(&container), &outside, &[]);
    let before = container.snapshot();
    net.add_and_check(&container);
    let eth0 = link_in(&container, "eth0");
    assert_eq!((eth0.peer, eth0.peer_netnsid), (Some(link_in(&container, "net0").index), None));
    net.del(&container).ok();
    container.snapshot().assert_same(&before);

    // The host's is not there.
    net.conf["master"] = MASTER.into();
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0"}), 0);
    fails_cleanly(&net, &container, "master: cannot find link eth0");
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn a_vlan_of_a_vlan_carries_both_tags() {
    let Uplink { mut net, outside } = uplink_v4(json!({"vlanId": 7}));
    let mut host = cni_netlink::Socket::open().unwrap();
    let parent = Some(Parent { index: link(MASTER).index, netnsid: None });
    let kind = LinkKind::Vlan { id: VLAN };
    host.link_add(&NewLink { name: "outer", kind, parent, mac: None, mtu: None }).unwrap();
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    host.link_change(link("outer").index, &up).unwrap();
    net.conf["master"] = "outer".into();
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    assert_eq!(link_in(&container, "eth0").peer, Some(link("outer").index));
    assert!(!container.ping(ip(OUTSIDE[0])), "it has the outer tag alone");

    let mut there = outside.ns().socket().unwrap();
    let parent = Some(Parent { index: link_in(&outside, "v100").index, netnsid: None });
    let kind = LinkKind::Vlan { id: 7 };
    there.link_add(&NewLink { name: "inner", kind, parent, mac: None, mtu: None }).unwrap();
    let inner = link_in(&outside, "inner").index;
    there.addr_del(link_in(&outside, "v100").index, "10.88.0.254/24".parse().unwrap()).unwrap();
    // Another address: the kernel takes its time to forget that it asked for the first in vain.
    there.addr_add(inner, "10.88.0.253/24".parse().unwrap(), Default::default()).unwrap();
    there.link_change(inner, &up).unwrap();
    assert!(container.ping(ip("10.88.0.253")));
    net.conf["master"] = MASTER.into();
    assert!(net.check(&container, &result).err().1.contains("eth0 is not on master eth0"));
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn check_finds_what_was_changed() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    let eth0 = link_in(&container, "eth0");
    let mut inside = container.ns().socket().unwrap();
    let fault = |net: &Net, part: &str| {
        let (code, msg) = net.check(&container, &result).err();
        assert!(code == 999 && msg.contains(part), "{code}: {msg}");
    };
    let mut faults = |wrong: &LinkChange<'_>, right: &LinkChange<'_>, part: &str| {
        inside.link_change(eth0.index, wrong).unwrap();
        fault(&net, part);
        inside.link_change(eth0.index, right).unwrap();
        net.check(&container, &result).ok();
    };
    let change = LinkChange::default;
    let mtu = |mtu| LinkChange { mtu: Some(mtu), ..change() };
    faults(&mtu(1300), &mtu(1450), "1300, not 1450");
    let mac = |mac| LinkChange { mac, ..change() };
    faults(&mac(Some(MacAddr::random())), &mac(eth0.mac), "MAC");

    net.conf["vlanId"] = 101.into();
    fault(&net, "the VLAN ID of eth0 is 100, not 101");
    set(&mut net.conf, &json!({"vlanId": VLAN, "master": "nope"}));
    fault(&net, "master: cannot find link nope");
    net.conf["master"] = MASTER.into();
    inside.addr_del(eth0.index, "10.88.0.1/24".parse().unwrap()).unwrap();
    fault(&net, "10.88.0.1/24");
    inside.link_change(eth0.index, &LinkChange { up: Some(false), ..change() }).unwrap();
    fault(&net, "eth0 is down");
    inside.link_del(eth0.index).unwrap();
    fault(&net, "cannot find eth0");
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn the_lease_goes_when_the_namespace_is_gone_or_not_named() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({}));
    let (mut gone, unnamed) = (net.host.container("gone"), net.host.container("unnamed"));
    net.add(&gone);
    net.conf["vlanId"] = 101.into();
    net.add(&unnamed);
    assert_eq!(net.leases().len(), 2);
    gone.kill();
    for _ in 0..2 {
        net.del(&gone).ok();
        net.host.plugin("vlan").env("CNI_NETNS", "").del(&unnamed, "eth0", &net.conf).ok();
        assert_eq!(net.leases(), [""; 0]);
    }
}

/// The kernel takes the link along, and nobody finds its master again.
#[test]
#[ignore = "needs a kernel with vlan"]
fn del_works_when_the_master_is_gone() {
    let Uplink { net, outside } = uplink_v4(json!({}));
    let container = net.host.container("one");
    net.add(&container);
    cni_netlink::Socket::open().unwrap().link_del(link(MASTER).index).unwrap();
    assert!(!has(&container, "eth0"));
    net.del(&container).ok();
    assert_eq!(net.leases(), [""; 0]);
    drop(outside);
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn gc_releases_the_leases_of_no_attachment() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let kept = net.add(&one);
    net.conf["vlanId"] = 101.into();
    net.add(&two);
    net.conf["vlanId"] = VLAN.into();
    let before = net.host.snapshot();
    net.host.plugin("vlan").command("GC", &net.conf).ok();
    net.host.snapshot().assert_same(&before);
    let mut conf = net.conf.clone();
    // What an ADD would refuse does not matter.
    set(
        &mut conf,
        &json!({"cni.dev/valid-attachments": [{"containerID": "one", "ifname": "eth0"}], "vlanId": -1}),
    );
    net.host.plugin("vlan").command("GC", &conf).ok();
    net.check(&one, &kept).ok();
    assert_eq!(net.leases().len(), 1);
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn the_conflist_of_the_documentation_works_when_pasted() {
    let page = include_str!("../../../../../docs/plugins/vlan.md");
    let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let list: Value = serde_json::from_str(block).unwrap();
    // As a runtime makes the plugin's configuration, but for leases in the host's own folder.
    let Uplink { mut net, outside: _outside } = Uplink::new("vlan", &json!({}));
    net.conf = list["plugins"][0].clone();
    set(&mut net.conf, &json!({"cniVersion": list["cniVersion"], "name": list["name"]}));
    net.conf["ipam"]["dataDir"] = net.host.dir().join("leases").to_str().unwrap().into();
    let container = net.host.container("one");
    net.add_and_check(&container);
    for address in OUTSIDE {
        assert!(container.ping(ip(address)), "{address}");
    }
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn every_version_lives_and_leaves_nothing() {
    uplink::every_version_lives_and_leaves_nothing("vlan");
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn del_takes_only_what_is_its_own() {
    uplink::del_takes_only_what_is_its_own("vlan");
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn del_finds_an_interface_that_was_renamed() {
    uplink::del_finds_an_interface_that_was_renamed("vlan");
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn del_works_with_keys_that_add_refuses() {
    uplink::del_works_with_keys_that_add_refuses("vlan");
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn a_failing_add_leaves_nothing() {
    uplink::a_failing_add_leaves_nothing("vlan");
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn status_says_what_an_add_would_find() {
    uplink::status_says_what_an_add_would_find("vlan");
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn an_ipv6_address_that_somebody_has_is_refused() {
    uplink::an_ipv6_address_that_somebody_has_is_refused("vlan");
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn a_master_without_a_carrier_is_not_waited_for() {
    uplink::a_master_without_a_carrier_is_not_waited_for("vlan");
}
