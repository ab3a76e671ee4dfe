//! The MAC address of a bridge that somebody else made: pinned by the first ADD that makes it a gateway, and one for all.

use cni_netlink::{LinkChange, MacAddr, NewVeth, Socket};
use serde_json::{Value, json};

use crate::bridge::failure::at_once;
use crate::bridge::net::{Net, link, make_bridge};

fn has_no_mac(name: &str) -> bool {
    link(name).mac == Some(MacAddr([0; 6]))
}

/// A bridge as the reference leaves it behind its last container, without an address of its own.
fn empty_bridge() {
    make_bridge("br0");
    let port = add_port("other", [2, 0, 0, 0, 0, 1]);
    Socket::open().unwrap().link_del(port).unwrap();
    assert!(has_no_mac("br0"), "{:?}", link("br0").mac);
}

/// A port that is none of ours.
fn add_port(name: &str, mac: [u8; 6]) -> u32 {
    let mut socket = Socket::open().unwrap();
    let veth = NewVeth {
        name,
        mac: MacAddr(mac),
        master: Some(link("br0").index),
        peer_name: &format!("{name}-far"),
        peer_mac: MacAddr::random(),
        peer_netns: None,
        mtu: None,
    };
    socket.link_add_veth(&veth).unwrap();
    let port = link(name).index;
    socket.link_change(port, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
    port
}

fn add_gateways() {
    let mut socket = Socket::open().unwrap();
    for address in ["10.88.0.1/24", "fd00:88::1/64"] {
        let flags = cni_netlink::AddrFlags { nodad: true };
        socket.addr_add(link("br0").index, address.parse().unwrap(), flags).unwrap();
    }
}

fn mac_of(result: &Value) -> String {
    result["interfaces"][0]["mac"].as_str().unwrap().to_owned()
}

/// The gateway's ADD, which reports the address that the bridge has from then on: whatever ports come and go, and after the
/// last one.
#[track_caller]
fn is_pinned_by_add(net: &Net) -> MacAddr {
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let first = net.add_and_check(&one);
    let mac = link("br0").mac.unwrap();
    assert_eq!(mac_of(&first), mac.to_string());
    let lower = add_port("lower", [2, 0, 0, 0, 0, 0]);
    assert_eq!(link("br0").mac, Some(mac));
    assert_eq!(mac_of(&net.add_and_check(&two)), mac.to_string());
    Socket::open().unwrap().link_del(lower).unwrap();
    net.check(&one, &first).ok();
    for container in [&one, &two] {
        net.del(container).ok();
    }
    assert_eq!(link("br0").mac, Some(mac));
    assert_eq!(mac_of(&net.add_and_check(&one)), mac.to_string());
    mac
}

#[test]
fn a1_a_bridge_without_an_address_gets_one_of_its_own() {
    for gateways_are_there in [false, true] {
        let net = Net::new(json!({}));
        empty_bridge();
        if gateways_are_there {
            add_gateways();
        }
        let MacAddr([first, ..]) = is_pinned_by_add(&net);
        assert_eq!(first & 3, 2, "locally administered and no group's");
    }
}

#[test]
fn a1_without_a_gateway_the_address_goes_on_following_the_ports() {
    let net = Net::layer2(json!({}));
    empty_bridge();
    let container = net.host.container("one");
    net.add_and_check(&container);
    assert!(!has_no_mac("br0"));
    net.del(&container).ok();
    assert!(has_no_mac("br0"));
}

#[test]
fn a2_the_address_is_pinned_where_the_gateways_are_there_already() {
    let net = Net::new(json!({}));
    make_bridge("br0");
    // Lower than any that is made at random.
    let other = add_port("other", [2, 0, 0, 0, 0, 1]);
    let before = link("br0").mac.unwrap();
    assert_eq!(before, MacAddr([2, 0, 0, 0, 0, 1]));
    add_gateways();
    let one = net.host.container("one");
    let result = net.add_and_check(&one);
    assert_eq!(mac_of(&result), before.to_string());
    Socket::open().unwrap().link_del(other).unwrap();
    assert_eq!(link("br0").mac, Some(before), "it went with the port that it came from");
    net.check(&one, &result).ok();
    net.del(&one).ok();
    assert_eq!(is_pinned_by_add(&net), before);
}

/// With 1.10.0 each of them reports another one (seen: 2 to 4 of 4), and its CHECK then fails.
#[test]
fn a1_and_a2_adds_that_run_at_once_agree_on_one_address() {
    for gateways_are_there in [false, true, false, true] {
        let net = Net::new(json!({}));
        empty_bridge();
        if gateways_are_there {
            add_gateways();
        }
        let containers: Vec<_> = (0..6).map(|i| net.host.container(&format!("c{i}"))).collect();
        let outcomes = at_once(&net, &containers);
        let mac = link("br0").mac.unwrap().to_string();
        for (container, outcome) in containers.iter().zip(&outcomes) {
            assert_eq!(mac_of(&outcome.ok()), mac);
            net.check(container, &outcome.ok()).ok();
        }
    }
}
