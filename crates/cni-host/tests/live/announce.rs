//! Announcements, proven by packets: a neighbour that has cached the old hardware address sends to it until told.

use std::net::IpAddr;
use std::time::Duration;

use cni_host::{NetNs, announce};
use cni_netlink::{LinkChange, MacAddr};

use crate::{bridge, give_addresses, on_private_host, plug, reaches, udp};

const SOON: Duration = Duration::from_secs(5);
const IN_VAIN: Duration = Duration::from_millis(200);

/// eth0 of the namespace takes another hardware address, of which the kernel tells nobody by itself.
fn change_mac(netns: &NetNs) -> (u32, MacAddr) {
    let mut socket = netns.socket().unwrap();
    let index = socket.link_by_name("eth0").unwrap().index;
    let mac = MacAddr::random();
    socket.link_change(index, &LinkChange { mac: Some(mac), ..LinkChange::default() }).unwrap();
    (index, mac)
}

fn an_announcement_corrects_a_stale_neighbour(client: &str, server: &str) {
    on_private_host(|| {
        let mut host = cni_netlink::Socket::open().unwrap();
        let br0 = bridge(&mut host);
        let (one, _) = plug(&mut host, &br0, "veth1");
        let (other, _) = plug(&mut host, &br0, "veth2");
        give_addresses(&one, &[client]);
        give_addresses(&other, &[server]);
        let ip = |address: &str| -> IpAddr { address.split('/').next().unwrap().parse().unwrap() };
        let (from, to) = (udp(&one, ip(client)), udp(&other, ip(server)));
        assert!(reaches(&from, &to, SOON), "before");

        let (index, mac) = change_mac(&other);
        assert!(!reaches(&from, &to, IN_VAIN), "the neighbour should still know the old address");

        other.run(|| announce("eth0", index, mac, ip(server))).unwrap().unwrap();
        assert!(reaches(&from, &to, SOON), "after");
    });
}

#[test]
fn an_arp_announcement_corrects_a_stale_neighbour() {
    an_announcement_corrects_a_stale_neighbour("10.1.0.2/16", "10.1.0.5/16");
}

#[test]
fn a_neighbour_advertisement_corrects_a_stale_neighbour() {
    an_announcement_corrects_a_stale_neighbour("fd00::2/64", "fd00::5/64");
}

#[test]
fn an_announcement_on_a_link_that_is_down_or_missing_is_an_error_that_names_it() {
    on_private_host(|| {
        let mut host = cni_netlink::Socket::open().unwrap();
        let br0 = bridge(&mut host);
        host.link_change(br0.index, &LinkChange { up: Some(false), ..LinkChange::default() }).unwrap();
        let announce = |index| {
            announce("br0", index, MacAddr::random(), "10.1.0.5".parse().unwrap()).unwrap_err().to_string()
        };
        assert_eq!(announce(br0.index), "cannot announce an address on br0: Network is down (os error 100)");
        assert_eq!(
            announce(9999),
            "cannot announce an address on br0: No such device or address (os error 6)"
        );
    });
}
