//! Routes.

use std::net::IpAddr;

use cni_netlink::{AddrFlags, LinkChange, NewBridge, NextHop, RouteSpec, Socket};
use nix::libc;

use crate::support::in_netns;

/// A namespace with one network on each of two bridges.
struct Net {
    socket: Socket,
    first: u32,
    second: u32,
}

const FIRST: [&str; 2] = ["10.1.0.5/16", "2001:db8:1::5/64"];
const SECOND: [&str; 2] = ["10.2.0.5/16", "2001:db8:2::5/64"];

fn net() -> Net {
    let mut socket = Socket::open().unwrap();
    let first = network(&mut socket, "br0", FIRST);
    let second = network(&mut socket, "br1", SECOND);
    Net { socket, first, second }
}

fn network(socket: &mut Socket, name: &str, addresses: [&str; 2]) -> u32 {
    socket.link_add_bridge(&NewBridge { name, mac: None, mtu: None, vlan_filtering: false }).unwrap();
    let index = socket.link_by_name(name).unwrap().index;
    socket.link_change(index, &LinkChange { up: Some(true), ..Default::default() }).unwrap();
    for address in addresses {
        socket.addr_add(index, address.parse().unwrap(), AddrFlags { nodad: true }).unwrap();
    }
    index
}

fn route(dst: &str, index: u32, gateway: &str) -> RouteSpec {
    let gateway: Option<IpAddr> = (!gateway.is_empty()).then(|| gateway.parse().unwrap());
    RouteSpec {
        dst: dst.parse().unwrap(),
        next_hops: vec![NextHop { index, gateway }],
        metric: None,
        table: None,
        scope: None,
        mtu: None,
        advmss: None,
    }
}

impl Net {
    /// The routes to this destination that leave by `index`, in the kernel's order.
    fn to(&mut self, dst: &str, index: u32, table: Option<u32>) -> Vec<RouteSpec> {
        let dst = dst.parse().unwrap();
        let routes = self.socket.route_dump(index, table).unwrap();
        routes.into_iter().filter(|route| route.dst == dst).collect()
    }

    /// The gateways of the routes to this destination out of the first network, a list a route.
    fn gateways(&mut self, dst: &str, index: u32) -> Vec<Vec<String>> {
        let gateway = |hop: &NextHop| hop.gateway.map_or("none".into(), |gateway| gateway.to_string());
        let routes = self.to(dst, index, None);
        routes.iter().map(|route| route.next_hops.iter().map(gateway).collect()).collect()
    }
}

#[test]
fn route_is_found_as_it_was_added() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        for (dst, gateway) in [("10.3.0.0/16", "10.1.0.1"), ("2001:db8:3::/48", "2001:db8:1::1")] {
            let wanted = RouteSpec {
                metric: Some(5),
                table: Some(1000),
                mtu: Some(1400),
                advmss: Some(1300),
                ..route(dst, index, gateway)
            };
            net.socket.route_add(&wanted).unwrap();
            let expected = RouteSpec { scope: Some(0), ..wanted.clone() };
            assert_eq!(net.socket.route_dump(index, Some(1000)).unwrap(), [expected]);
            assert_eq!(net.to(dst, index, None), []);
            net.socket.route_del(&wanted).unwrap();
            assert!(net.socket.route_del(&wanted).unwrap_err().is_not_found());
        }
    });
}

#[test]
fn preferred_source_is_the_address_that_packets_come_from() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        for (other, dst) in [("10.1.0.6/16", "10.3.0.1/32"), ("2001:db8:1::6/64", "2001:db8:3::1/128")] {
            let other: ipnet::IpNet = other.parse().unwrap();
            net.socket.addr_add(index, other, AddrFlags { nodad: true }).unwrap();
            net.socket.route_add_src(&route(dst, index, ""), other.addr()).unwrap();
            let dst: ipnet::IpNet = dst.parse().unwrap();
            let any = if dst.addr().is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = std::net::UdpSocket::bind(any).unwrap();
            socket.connect((dst.addr(), 9)).unwrap();
            assert_eq!(socket.local_addr().unwrap().ip(), other.addr());
        }
        // Behind what is there already, by another link.
        let second = net.second;
        for (dst, src) in [("10.3.0.1/32", "10.2.0.5"), ("2001:db8:3::1/128", "2001:db8:2::5")] {
            let src = src.parse().unwrap();
            net.socket.route_append_src(&route(dst, second, ""), src).unwrap();
            let found = net.socket.route_dump_found(second, None).unwrap();
            let found: Vec<_> = found.iter().filter(|found| found.spec.dst == dst.parse().unwrap()).collect();
            assert_eq!(found.iter().map(|found| found.src).collect::<Vec<_>>(), [Some(src)]);
            let dst: ipnet::IpNet = dst.parse().unwrap();
            assert_eq!(net.socket.route_get(dst.addr()).unwrap().unwrap().index, index);
        }
        let foreign = "192.0.2.1".parse().unwrap();
        let error = net.socket.route_add_src(&route("10.4.0.1/32", index, ""), foreign).unwrap_err();
        assert!(error.to_string().contains("route 10.4.0.1/32 dev 2 src 192.0.2.1"), "{error}");
    });
}

/// The kernel makes the local route of an address on a worker, for each link that has it.
#[test]
fn an_address_of_two_links_is_received_on_each() {
    in_netns(|| {
        let mut net = net();
        let shared: IpAddr = "2001:db8:9::1".parse().unwrap();
        let IpAddr::V6(address) = shared else { unreachable!() };
        let mut monitor = cni_netlink::RouteMonitor::open().unwrap();
        for index in [net.first, net.second] {
            assert!(net.socket.route_get_oif(shared, index).unwrap().is_none_or(|way| !way.local));
            net.socket.addr_add(index, shared.into(), AddrFlags { nodad: true }).unwrap();
            let within = std::time::Duration::from_secs(5);
            monitor.wait_local_on(&mut net.socket, index, address, within).unwrap();
            assert!(net.socket.route_get_oif(shared, index).unwrap().unwrap().local);
        }
    });
}

#[test]
fn replacing_takes_the_place_of_a_route_by_another_link() {
    in_netns(|| {
        let mut net = net();
        let (first, second) = (net.first, net.second);
        for dst in ["10.3.0.1/32", "2001:db8:3::1/128"] {
            for index in [first, second] {
                net.socket.route_replace(&route(dst, index, "")).unwrap();
                let other = if index == first { second } else { first };
                assert_eq!((net.to(dst, index, None).len(), net.to(dst, other, None).len()), (1, 0), "{dst}");
            }
        }
    });
}

#[test]
fn default_routes_of_both_families() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        let main = RouteSpec { table: Some(0), ..route("0.0.0.0/0", index, "10.1.0.1") };
        net.socket.route_add(&main).unwrap();
        assert!(net.socket.route_add_ecmp(&main).unwrap_err().is_exists());
        assert_eq!(net.to("0.0.0.0/0", index, Some(0)).len(), 1);
        net.socket.route_add(&route("::/0", index, "2001:db8:1::1")).unwrap();
        assert_eq!(net.gateways("0.0.0.0/0", index), [["10.1.0.1"]]);
        assert_eq!(net.gateways("::/0", index), [["2001:db8:1::1"]]);
        let found = net.to("::/0", index, None).remove(0);
        assert_eq!((found.metric, found.table), (Some(1024), Some(254)));
    });
}

#[test]
fn scope_without_a_gateway_is_link_unless_given() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        net.socket.route_add(&route("10.3.0.0/16", index, "")).unwrap();
        net.socket.route_add(&RouteSpec { scope: Some(0), ..route("10.4.0.0/16", index, "") }).unwrap();
        assert_eq!(net.to("10.3.0.0/16", index, None)[0].scope, Some(253));
        assert_eq!(net.to("10.4.0.0/16", index, None)[0].scope, Some(0));
    });
}

#[test]
fn gateway_may_be_reached_through_a_route_without_one() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        net.socket.route_add(&route("169.254.1.1/32", index, "")).unwrap();
        net.socket.route_add(&route("0.0.0.0/0", index, "169.254.1.1")).unwrap();
        assert_eq!(net.gateways("0.0.0.0/0", index), [["169.254.1.1"]]);
    });
}

#[test]
fn ipv4_route_may_have_an_ipv6_gateway() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        let wanted = route("10.7.0.0/16", index, "2001:db8:1::1");
        net.socket.route_add(&wanted).unwrap();
        assert_eq!(net.gateways("10.7.0.0/16", index), [["2001:db8:1::1"]]);
        net.socket.route_del(&wanted).unwrap();

        let error = net.socket.route_add(&route("2001:db8:7::/48", index, "10.1.0.1")).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot add route 2001:db8:7::/48 via 10.1.0.1 dev "),
            "{error}"
        );
    });
}

#[test]
fn existing_route_is_an_error_of_its_own() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        for (dst, one, two) in
            [("10.3.0.0/16", "10.1.0.1", "10.1.0.2"), ("2001:db8:3::/48", "2001:db8:1::1", "2001:db8:1::2")]
        {
            net.socket.route_add(&route(dst, index, one)).unwrap();
            let error = net.socket.route_add(&route(dst, index, two)).unwrap_err();
            assert!(error.is_exists(), "{error}");
            assert_eq!(net.gateways(dst, index), [[one]]);
        }
    });
}

#[test]
fn gateway_outside_every_network_is_refused_with_the_kernels_reason() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        let error = net.socket.route_add_ecmp(&route("10.3.0.0/16", index, "99.1.1.1")).unwrap_err();
        let expected = format!(
            "cannot add route 10.3.0.0/16 via 99.1.1.1 dev {index}: \
             Network is unreachable (os error 101): Nexthop has invalid gateway"
        );
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.errno(), Some(libc::ENETUNREACH));
    });
}

#[test]
fn equal_destinations_become_one_multipath_route() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        for (dst, gateways) in [
            ("10.3.0.0/16", ["10.1.0.1", "10.1.0.2", "10.1.0.3"]),
            ("0.0.0.0/0", ["10.1.0.1", "10.1.0.2", "10.1.0.3"]),
            ("2001:db8:3::/48", ["2001:db8:1::1", "2001:db8:1::2", "2001:db8:1::3"]),
        ] {
            for gateway in gateways {
                net.socket.route_add_ecmp(&route(dst, index, gateway)).unwrap();
            }
            assert_eq!(net.gateways(dst, index), [gateways]);
            for gateway in gateways {
                let error = net.socket.route_add_ecmp(&route(dst, index, gateway)).unwrap_err();
                assert!(error.is_exists(), "{error}");
            }
            assert_eq!(net.gateways(dst, index), [gateways]);
        }
    });
}

#[test]
fn equal_destinations_of_other_metric_or_table_stay_apart() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        for gateway in ["10.1.0.1", "10.1.0.2"] {
            let plain = route("10.3.0.0/16", index, gateway);
            net.socket.route_add_ecmp(&plain).unwrap();
            net.socket.route_add_ecmp(&RouteSpec { metric: Some(7), ..plain.clone() }).unwrap();
            net.socket.route_add_ecmp(&RouteSpec { table: Some(1000), ..plain.clone() }).unwrap();
        }
        let both = ["10.1.0.1", "10.1.0.2"];
        assert_eq!(net.gateways("10.3.0.0/16", index), [both, both]);
        let metrics: Vec<_> = net.to("10.3.0.0/16", index, None).iter().map(|route| route.metric).collect();
        assert_eq!(metrics, [None, Some(7)]);
        assert_eq!(net.to("10.3.0.0/16", index, Some(1000)).len(), 1);
    });
}

#[test]
fn equal_destinations_of_other_mtu_or_scope_stay_apart() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        net.socket.route_add_ecmp(&route("10.3.0.0/16", index, "10.1.0.1")).unwrap();
        let mtu = Some(1400);
        net.socket.route_add_ecmp(&RouteSpec { mtu, ..route("10.3.0.0/16", index, "10.1.0.2") }).unwrap();
        assert_eq!(net.gateways("10.3.0.0/16", index), [["10.1.0.2"], ["10.1.0.1"]]);

        for scope in [253, 0] {
            let scope = Some(scope);
            net.socket.route_add_ecmp(&RouteSpec { scope, ..route("10.4.0.0/16", index, "") }).unwrap();
        }
        let scopes: Vec<_> = net.to("10.4.0.0/16", index, None).iter().map(|route| route.scope).collect();
        assert_eq!(scopes, [Some(0), Some(253)]);
    });
}

#[test]
fn route_to_the_connected_network_does_not_swallow_the_connected_route() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        for gateway in ["10.1.0.1", "10.1.0.2"] {
            net.socket.route_add_ecmp(&route("10.1.0.0/16", index, gateway)).unwrap();
        }
        let gateways = net.gateways("10.1.0.0/16", index);
        assert_eq!(gateways, [vec!["10.1.0.1", "10.1.0.2"], vec!["none"]]);
    });
}

#[test]
fn route_like_the_connected_one_is_added_beside_it() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        let wanted = route("10.1.0.0/16", index, "");
        net.socket.route_add_ecmp(&wanted).unwrap();
        assert_eq!(net.to("10.1.0.0/16", index, None).len(), 2);
        assert!(net.socket.route_add_ecmp(&wanted).unwrap_err().is_exists());
    });
}

/// Two networks of one container that each bring a default route: the later one is used, as with the reference.
#[test]
fn default_route_of_a_second_network_goes_before_the_first_ones() {
    in_netns(|| {
        let mut net = net();
        let (first, second) = (net.first, net.second);
        net.socket.route_add_ecmp(&route("0.0.0.0/0", first, "10.1.0.1")).unwrap();
        net.socket.route_add_ecmp(&route("0.0.0.0/0", second, "10.2.0.1")).unwrap();
        assert_eq!(net.gateways("0.0.0.0/0", first), [["10.1.0.1"]]);
        assert_eq!(net.gateways("0.0.0.0/0", second), [["10.2.0.1"]]);
        let table = std::fs::read_to_string("/proc/thread-self/net/route").unwrap();
        let defaults = table.lines().filter(|line| line.split('\t').nth(1) == Some("00000000"));
        let links: Vec<_> = defaults.filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(links, ["br1", "br0"]);

        // The second network's route, now the first, merges; the first network's does not touch it.
        net.socket.route_add_ecmp(&route("0.0.0.0/0", second, "10.2.0.2")).unwrap();
        net.socket.route_add_ecmp(&route("0.0.0.0/0", first, "10.1.0.2")).unwrap();
        assert_eq!(net.gateways("0.0.0.0/0", second), [["10.2.0.1", "10.2.0.2"]]);
        assert_eq!(net.gateways("0.0.0.0/0", first), [["10.1.0.2"], ["10.1.0.1"]]);
    });
}

#[test]
fn multipath_route_is_added_and_removed_whole() {
    in_netns(|| {
        let mut net = net();
        let (first, second) = (net.first, net.second);
        for (dst, one, two) in
            [("10.3.0.0/16", "10.1.0.1", "10.2.0.1"), ("2001:db8:3::/48", "2001:db8:1::1", "2001:db8:2::1")]
        {
            let mut both = route(dst, first, one);
            both.next_hops.extend(route(dst, second, two).next_hops);
            net.socket.route_add(&both).unwrap();
            assert_eq!(net.gateways(dst, first), [[one, two]]);
            assert_eq!(net.gateways(dst, second), [[one, two]]);
            net.socket.route_del(&both).unwrap();
            assert!(net.gateways(dst, first).is_empty());
        }
    });
}

#[test]
fn ipv6_next_hops_are_removed_one_by_one() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        for gateway in ["2001:db8:1::1", "2001:db8:1::2"] {
            net.socket.route_add_ecmp(&route("::/0", index, gateway)).unwrap();
        }
        net.socket.route_del(&route("::/0", index, "2001:db8:1::1")).unwrap();
        assert_eq!(net.gateways("::/0", index), [["2001:db8:1::2"]]);
    });
}

#[test]
fn dump_holds_the_links_routes_of_the_main_table_alone() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        let found = net.socket.route_dump(index, None).unwrap();
        let mut dsts: Vec<_> = found.iter().map(|route| route.dst.to_string()).collect();
        dsts.sort();
        assert_eq!(dsts, ["10.1.0.0/16", "2001:db8:1::/64", "fe80::/64"]);
    });
}

#[test]
fn table_that_is_not_there_is_empty_and_link_that_is_not_there_is_not_found() {
    in_netns(|| {
        let mut net = net();
        let index = net.first;
        assert_eq!(net.socket.route_dump(index, Some(4711)).unwrap(), []);
        assert!(net.socket.route_dump(999, None).unwrap_err().is_not_found());
        assert!(net.socket.route_add(&route("10.3.0.0/16", 999, "")).unwrap_err().is_not_found());
    });
}

#[test]
fn route_without_a_next_hop_is_refused() {
    in_netns(|| {
        let mut net = net();
        for dst in ["10.3.0.0/16", "2001:db8:3::/48"] {
            let error =
                net.socket.route_add(&RouteSpec { next_hops: vec![], ..route(dst, 1, "") }).unwrap_err();
            assert!(error.to_string().starts_with(&format!("cannot add route {dst}: ")), "{error}");
        }
    });
}

#[test]
fn the_way_to_an_address_is_that_of_the_routing_tables() {
    in_netns(|| {
        let Net { mut socket, first, second } = net();
        let lo = socket.link_by_name("lo").unwrap().index;
        socket.link_change(lo, &LinkChange { up: Some(true), ..Default::default() }).unwrap();
        let way = |socket: &mut Socket, dst: &str| {
            socket.route_get(dst.parse().unwrap()).unwrap().map(|way| (way.index, way.local))
        };
        for (to_first, to_second, own) in
            [("10.1.7.7", "10.2.7.7", "10.1.0.5"), ("2001:db8:1::7", "2001:db8:2::7", "::1")]
        {
            assert_eq!(way(&mut socket, to_first), Some((first, false)), "{to_first}");
            assert_eq!(way(&mut socket, to_second), Some((second, false)), "{to_second}");
            assert!(way(&mut socket, own).unwrap().1, "{own}");
        }
        for nowhere in ["192.0.2.1", "2001:db8:3::1"] {
            assert_eq!(way(&mut socket, nowhere), None, "{nowhere}");
        }
        assert_eq!(way(&mut socket, "127.0.0.9"), Some((lo, true)));
    });
}
