//! Rules against the kernel, and routes and addresses that are put back.

use std::net::IpAddr;

use cni_netlink::{AddrFlags, FoundRoute, LinkChange, MacAddr, NewVeth, NextHop, RouteSpec, Rule, Socket};

use crate::support::{bridge, in_netns};

fn rule(src: &str, table: u32) -> Rule {
    Rule { src: src.parse().unwrap(), table, priority: None }
}

/// Rules from single addresses, as found.
fn from_addresses(socket: &mut Socket) -> Vec<String> {
    let found = socket.rule_dump().unwrap().into_iter();
    let found = found.filter(|found| found.plain && found.rule.src.prefix_len() > 0);
    found.map(|found| found.rule.to_string()).collect()
}

#[test]
fn rules_of_both_families_come_and_go() {
    in_netns(|| {
        let mut socket = Socket::open().unwrap();
        let before = socket.rule_dump().unwrap();
        assert_eq!(before.len(), 5, "local and main of both families, default of IPv4: {before:?}");
        let wanted = [rule("10.1.0.5/32", 100), rule("2001:db8::5/128", 70_000), rule("10.1.0.5/32", 101)];
        for rule in &wanted {
            socket.rule_add(rule).unwrap();
        }
        let expected = [
            "rule from 10.1.0.5/32 lookup 101 priority 32764",
            "rule from 10.1.0.5/32 lookup 100 priority 32765",
            "rule from 2001:db8::5/128 lookup 70000 priority 32765",
        ];
        assert_eq!(from_addresses(&mut socket), expected);
        for rule in &wanted {
            socket.rule_del(rule).unwrap();
            assert!(socket.rule_del(rule).unwrap_err().is_not_found());
        }
        assert_eq!(socket.rule_dump().unwrap(), before);

        // Only at one place in the list does the kernel refuse a second one.
        let first = Rule { priority: Some(77), ..wanted[0] };
        socket.rule_add(&first).unwrap();
        let error = socket.rule_add(&first).unwrap_err();
        assert!(error.is_exists(), "{error}");
        assert!(error.to_string().starts_with(&format!("cannot add {first}: ")), "{error}");
    });
}

fn spec(dst: &str, index: u32, gateway: Option<&str>) -> RouteSpec {
    RouteSpec {
        dst: dst.parse().unwrap(),
        next_hops: vec![NextHop { index, gateway: gateway.map(|gateway| gateway.parse().unwrap()) }],
        metric: Some(7),
        table: None,
        scope: None,
        mtu: Some(1400),
        advmss: None,
    }
}

/// A bridge with an address of each family, and routes by it.
fn net(socket: &mut Socket) -> u32 {
    let index = bridge(socket).index;
    socket.link_change(index, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
    for address in ["10.1.0.5/16", "2001:db8:1::5/64"] {
        socket.addr_add(index, address.parse().unwrap(), AddrFlags { nodad: true }).unwrap();
    }
    for (dst, gateway) in [
        ("10.3.0.0/16", Some("10.1.0.1")),
        ("10.4.0.0/16", None),
        ("0.0.0.0/0", Some("10.1.0.2")),
        ("2001:db8:3::/48", Some("2001:db8:1::1")),
        ("::/0", Some("fe80::1")),
    ] {
        socket.route_add(&spec(dst, index, gateway)).unwrap();
    }
    let src: IpAddr = "10.1.0.5".parse().unwrap();
    socket.route_add_src(&spec("10.9.0.0/16", index, None), src).unwrap();
    let mut both = spec("10.5.0.0/16", index, Some("10.1.0.1"));
    both.next_hops.push(NextHop { index, gateway: Some("10.1.0.2".parse().unwrap()) });
    socket.route_add(&both).unwrap();
    index
}

/// What is said of routes, the table's number left out.
fn said(routes: &[FoundRoute]) -> Vec<(RouteSpec, Option<IpAddr>, bool)> {
    let mut said: Vec<_> = routes
        .iter()
        .map(|found| (RouteSpec { table: None, ..found.spec.clone() }, found.src, found.by_kernel))
        .collect();
    said.sort_by_key(|(spec, ..)| spec.to_string());
    said
}

#[test]
fn routes_are_put_into_another_table_and_back_with_all_they_have() {
    in_netns(|| {
        let mut socket = Socket::open().unwrap();
        let index = net(&mut socket);
        let routes = socket.route_dump_found(index, Some(254)).unwrap();
        assert!(routes.len() >= 9, "{routes:#?}");
        for table in [100, 1000] {
            for route in &routes {
                socket.route_put(route, table).unwrap();
            }
            let there = socket.route_dump_found(index, Some(table)).unwrap();
            assert_eq!(said(&there), said(&routes));
            let tables = socket.route_tables().unwrap();
            assert!([254, 255, table].iter().all(|table| tables.contains(table)), "{tables:?}");
        }
        for route in &routes {
            socket.route_take(route).unwrap();
            assert!(socket.route_take(route).unwrap_err().is_not_found());
        }
        assert_eq!(socket.route_dump_found(index, Some(254)).unwrap(), []);
        let mut back = routes.clone();
        back.sort_by_key(|route| route.spec.next_hops.iter().any(|hop| hop.gateway.is_some()));
        for route in &back {
            socket.route_put(route, 254).unwrap();
        }
        assert_eq!(said(&socket.route_dump_found(index, Some(254)).unwrap()), said(&routes));
        assert_eq!(socket.route_dump_found(index, None).unwrap().len(), 3 * routes.len());
    });
}

#[test]
fn a_route_that_is_taken_is_that_one_and_no_other_like_it() {
    in_netns(|| {
        let mut socket = Socket::open().unwrap();
        let index = net(&mut socket);
        let mut routes = socket.route_dump_found(index, Some(254)).unwrap();
        let other = RouteSpec { metric: Some(8), ..spec("10.3.0.0/16", index, Some("10.1.0.1")) };
        socket.route_add(&other).unwrap();
        routes.retain(|route| route.spec.dst == other.dst);
        assert_eq!(routes.len(), 1);
        socket.route_take(&routes[0]).unwrap();
        let left = socket.route_dump(index, None).unwrap();
        let left: Vec<_> = left.into_iter().filter(|route| route.dst == other.dst).collect();
        assert_eq!(left.iter().map(|route| route.metric).collect::<Vec<_>>(), [Some(8)]);
    });
}

/// Two links with a default route each, which IPv6 makes one of.
#[test]
fn a_links_own_next_hop_is_taken_and_comes_back_beside_the_others() {
    in_netns(|| {
        let mut socket = Socket::open().unwrap();
        let index = net(&mut socket);
        let other = spec("::/0", index, Some("fe80::2"));
        let (mac, peer_mac) = (MacAddr::random(), MacAddr::random());
        let veth =
            NewVeth { name: "v0", mac, master: None, peer_name: "v1", peer_mac, peer_netns: None, mtu: None };
        socket.link_add_veth(&veth).unwrap();
        let second = socket.link_by_name("v0").unwrap().index;
        socket.link_change(second, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
        let of_second =
            RouteSpec { next_hops: vec![NextHop { index: second, ..other.next_hops[0] }], ..other };
        socket.route_add_ecmp(&of_second).unwrap();
        let defaults = |socket: &mut Socket| {
            let found = socket.route_dump_found(index, Some(254)).unwrap().into_iter();
            found.filter(|found| found.spec.dst == of_second.dst).collect::<Vec<_>>()
        };
        let both = defaults(&mut socket);
        assert!(both.len() == 1 && both[0].spec.next_hops.len() == 2, "{both:?}");
        let own = both[0].clone().only_by(index).unwrap();
        socket.route_take(&own).unwrap();
        assert_eq!(defaults(&mut socket), []);
        assert_eq!(socket.route_dump(second, None).unwrap()[0].next_hops, of_second.next_hops);
        socket.route_put(&own, 100).unwrap();
        assert_eq!(socket.route_dump(index, Some(100)).unwrap()[0].next_hops, own.spec.next_hops);
        socket.route_put_beside(&own, 254).unwrap();
        assert_eq!(defaults(&mut socket)[0].spec.next_hops.len(), 2);
        assert!(socket.route_put_beside(&own, 254).unwrap_err().is_exists());
    });
}

/// Setting a link down takes its IPv6 addresses.
#[test]
fn addresses_that_a_link_lost_are_put_back() {
    in_netns(|| {
        let mut socket = Socket::open().unwrap();
        let index = net(&mut socket);
        for address in ["fe80::77/64", "2001:db8:1::6/128"] {
            socket.addr_add(index, address.parse().unwrap(), AddrFlags { nodad: true }).unwrap();
        }
        let before = socket.addr_dump_found(index).unwrap();
        for up in [false, true] {
            socket.link_change(index, &LinkChange { up: Some(up), ..LinkChange::default() }).unwrap();
        }
        let has = |socket: &mut Socket, address| {
            socket.addr_dump(index).unwrap().iter().any(|addr| addr.address == address)
        };
        let mut lost = 0;
        for found in &before {
            if has(&mut socket, found.addr.address) {
                assert!(socket.addr_put(found).unwrap_err().is_exists());
            } else {
                lost += 1;
                socket.addr_put(found).unwrap();
                assert!(has(&mut socket, found.addr.address));
            }
        }
        assert!(lost >= 3, "{before:#?}");
        assert!(socket.addr_dump(index).unwrap().iter().all(|addr| !addr.dadfailed));
    });
}
