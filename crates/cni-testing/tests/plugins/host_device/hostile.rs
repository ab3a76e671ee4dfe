//! Issue 14, part 3: who may change links in the container decides by nothing that he writes there what comes to the host.

use std::os::fd::AsFd;

use cni_netlink::{LinkChange, MacAddr, NewVeth, Socket};
use cni_testing::Container;
use serde_json::json;

use crate::bridge::net::{link, link_in};
use crate::host_device::net::{ALIAS, Net};

fn rename(container: &Container, name: &str, change: &LinkChange<'_>) {
    let index = link_in(container, name).index;
    container.ns().socket().unwrap().link_change(index, change).unwrap();
}

/// A pair of the container's own, `name` with this alias and the address of the device.
fn forge(container: &Container, name: &str, mac: MacAddr) {
    let mut inside = container.ns().socket().unwrap();
    let peer_mac = MacAddr([2, 0, 0, 0, 0, 9]);
    let pair = NewVeth { name, mac, master: None, peer_name: "evil", peer_mac, peer_netns: None, mtu: None };
    inside.link_add_veth(&pair).unwrap();
    rename(container, name, &LinkChange { alias: Some("uplink"), ..LinkChange::default() });
}

fn is_forged(name: &str) -> bool {
    Socket::open().unwrap().link_by_name(name).is_ok_and(|link| link.peer_netnsid.is_none())
}

#[test]
fn a_link_with_a_forged_alias_stays_and_the_device_comes() {
    for taken_name in ["zz", "eth0"] {
        let net = Net::layer2(json!({}));
        let container = net.host.container("one");
        let before = net.host.snapshot();
        let mac = link("uplink").mac.unwrap();
        net.add(&container);
        rename(
            &container,
            "eth0",
            &LinkChange { alias: Some("x"), name: Some("hidden"), ..LinkChange::default() },
        );
        forge(&container, taken_name, mac);
        net.del(&container).ok();
        assert_eq!(link("uplink").alias.as_deref(), Some(ALIAS));
        assert!(link_in(&container, taken_name).alias.is_some());
        net.host.snapshot().assert_same(&before);
    }
}

/// The same by GC, which is told where the device went by the record alone.
#[test]
fn a_collection_believes_no_alias_either() {
    let net = Net::layer2(json!({}));
    let container = net.host.container("one");
    let mac = link("uplink").mac.unwrap();
    net.add(&container);
    rename(
        &container,
        "eth0",
        &LinkChange { alias: Some("x"), name: Some("hidden"), ..LinkChange::default() },
    );
    forge(&container, "eth0", mac);
    net.gc(&[]);
    assert_eq!(link("uplink").alias.as_deref(), Some(ALIAS));
}

#[test]
fn the_device_cannot_be_replaced_under_its_index() {
    let net = Net::layer2(json!({}));
    let container = net.host.container("one");
    let mac = link("uplink").mac.unwrap();
    net.add(&container);
    let index = link_in(&container, "eth0").index;
    let mut inside = container.ns().socket().unwrap();
    inside.link_del(index).unwrap();
    // Indices are given one after the other, or as the container asks.
    #[allow(clippy::disallowed_methods, reason = "the container's own program")]
    let ip = |args: String| {
        let mut ip = std::process::Command::new("ip");
        let status = container.ns().run(|| ip.args(args.split(' ')).status()).unwrap().unwrap();
        assert!(status.success(), "ip {args}");
    };
    ip(format!("link add eth0 index {index} address {mac} type veth peer name evil index 77"));
    ip("link set eth0 alias uplink".to_owned());
    net.del(&container).ok();
    assert!(!is_forged("uplink"));
    assert_eq!(link_in(&container, "eth0").index, index);
}

#[test]
fn without_a_record_no_link_that_has_a_kind_is_moved() {
    let net = Net::layer2(json!({}));
    let container = net.host.container("one");
    let mac = link("uplink").mac.unwrap();
    let gone = container.ns().as_fd();
    let away = LinkChange { netns: Some(gone), ..LinkChange::default() };
    Socket::open().unwrap().link_change(link("uplink").index, &away).unwrap();
    forge(&container, "eth0", mac);
    let outcome = net.del(&container);
    outcome.ok();
    assert!(outcome.stderr.contains("eth0 is left in the container"), "{outcome:?}");
    assert!(Socket::open().unwrap().link_by_name("uplink").is_err());
    assert_eq!(link_in(&container, "eth0").kind, "veth");
}
