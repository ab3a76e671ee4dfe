//! Addresses.

use cni_netlink::{Addr, AddrFlags, LinkChange, Socket};
use ipnet::IpNet;
use nix::libc;

use crate::support::{Container, bridge, in_netns, veth};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

const NODAD: AddrFlags = AddrFlags { nodad: true };

fn is_usable_on(addr: &Addr, index: u32) -> bool {
    addr.index == index && !addr.tentative && !addr.dadfailed
}

#[test]
fn addresses_of_both_families_are_added_listed_and_removed() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let br0 = bridge(&mut host).index;
        let (v4, v6) = (net("10.1.2.3/16"), net("2001:db8::5/64"));
        host.addr_add(br0, v4, NODAD).unwrap();
        host.addr_add(br0, v6, NODAD).unwrap();
        let usable = |host: &mut Socket| -> Vec<IpNet> {
            let addrs = host.addr_dump(br0).unwrap();
            assert!(addrs.iter().all(|addr| is_usable_on(addr, br0)), "{addrs:?}");
            addrs.iter().map(|addr| addr.address).collect()
        };
        assert_eq!(usable(&mut host), [v4, v6]);

        host.addr_del(br0, v4).unwrap();
        assert_eq!(usable(&mut host), [v6]);
        host.addr_del(br0, v6).unwrap();
        assert_eq!(usable(&mut host), []);
    });
}

#[test]
fn an_address_can_be_added_without_the_route_to_its_subnet() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let br0 = bridge(&mut host).index;
        host.link_change(br0, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
        let (v4, v6) = (net("10.1.2.3/16"), net("2001:db8::5/64"));
        host.addr_add_noprefixroute(br0, v4, NODAD).unwrap();
        host.addr_add_noprefixroute(br0, v6, NODAD).unwrap();
        let addrs = host.addr_dump(br0).unwrap();
        let is_there = |address| addrs.iter().any(|addr| addr.address == address && is_usable_on(addr, br0));
        assert!(is_there(v4) && is_there(v6), "{addrs:?}");
        let routes = host.route_dump(br0, None).unwrap();
        assert!(!routes.iter().any(|route| [v4.trunc(), v6.trunc()].contains(&route.dst)), "{routes:?}");
    });
}

#[test]
fn addresses_of_other_links_are_not_listed() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let br0 = bridge(&mut host).index;
        let container = Container::new();
        let veth0 = veth(&mut host, &container, None).index;
        host.addr_add(br0, net("10.1.2.3/16"), AddrFlags::default()).unwrap();
        host.addr_add(veth0, net("10.2.2.3/16"), AddrFlags::default()).unwrap();
        let addrs = host.addr_dump(veth0).unwrap();
        assert_eq!(addrs.iter().map(|addr| addr.address).collect::<Vec<_>>(), [net("10.2.2.3/16")]);
    });
}

#[test]
fn second_add_and_second_removal_are_told_apart_from_other_errors() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let br0 = bridge(&mut host).index;
        for address in [net("10.1.2.3/16"), net("2001:db8::5/64")] {
            host.addr_add(br0, address, NODAD).unwrap();
            let error = host.addr_add(br0, address, NODAD).unwrap_err();
            assert!(error.is_exists(), "{error}");
            let start = format!("cannot add address {address} to the link with index {br0}: File exists");
            assert!(error.to_string().starts_with(&start), "{error}");

            host.addr_del(br0, address).unwrap();
            let error = host.addr_del(br0, address).unwrap_err();
            assert!(error.is_not_found(), "{error}");
        }
    });
}

#[test]
fn link_that_is_gone_is_not_found() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let error = host.addr_add(999, net("10.1.2.3/16"), NODAD).unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENODEV), "{error}");
        assert!(host.addr_dump(999).unwrap_err().is_not_found());
    });
}

#[test]
fn ipv6_address_is_tentative_unless_detection_is_left_out() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let mut container = Container::new();
        let near = veth(&mut host, &container, None);
        let up = LinkChange { up: Some(true), ..Default::default() };
        container.socket.link_change(near.peer.unwrap(), &up).unwrap();
        host.link_change(near.index, &up).unwrap();
        host.addr_add(near.index, net("2001:db8::1/64"), AddrFlags::default()).unwrap();
        host.addr_add(near.index, net("2001:db8::2/64"), NODAD).unwrap();
        let addrs = host.addr_dump(near.index).unwrap();
        let tentative = |text| addrs.iter().find(|addr| addr.address == net(text)).unwrap().tentative;
        assert!(tentative("2001:db8::1/64"));
        assert!(!tentative("2001:db8::2/64"));
    });
}

#[test]
fn broadcast_address_is_the_networks_last() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let br0 = bridge(&mut host).index;
        host.addr_add(br0, net("10.1.2.3/16"), NODAD).unwrap();
        host.addr_add(br0, net("10.9.0.1/32"), NODAD).unwrap();
        host.link_change(br0, &LinkChange { up: Some(true), ..Default::default() }).unwrap();
        let table = std::fs::read_to_string("/proc/thread-self/net/fib_trie").unwrap();
        let broadcasts: Vec<_> =
            table.lines().zip(table.lines().skip(1)).filter(|(_, kind)| kind.contains("BROADCAST")).collect();
        assert!(!broadcasts.is_empty());
        assert!(broadcasts.iter().all(|(address, _)| address.contains("10.1.255.255")), "{broadcasts:?}");
    });
}
