//! Setting up a container's interface, and checking it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use cni_host::{
    Error, IfaceConfig, NetNs, announce, check_iface, configure_iface, sysctl_read, sysctl_write,
};
use cni_netlink::{Link, LinkMonitor, NextHop, OperState, RouteSpec, Socket};

use crate::{
    bridge, give_addresses, hide_ipv6_settings, make_proc_sys_read_only, on_private_host, plug, reaches, udp,
};

const SOON: Duration = Duration::from_secs(5);

fn ip(address: &str) -> IpAddr {
    address.split('/').next().unwrap().parse().unwrap()
}

fn config(addresses: &[(&str, Option<&str>)], routes: Vec<RouteSpec>) -> IfaceConfig {
    let addresses =
        addresses.iter().map(|(address, gateway)| (address.parse().unwrap(), gateway.map(ip))).collect();
    IfaceConfig { addresses, routes, ..IfaceConfig::default() }
}

fn route(dst: &str, gateway: Option<&str>) -> RouteSpec {
    RouteSpec {
        dst: dst.parse().unwrap(),
        next_hops: vec![NextHop { index: 0, gateway: gateway.map(ip) }],
        metric: None,
        table: None,
        scope: None,
        mtu: None,
        advmss: None,
    }
}

fn configure(netns: &NetNs, eth0: &Link, config: &IfaceConfig) -> Result<(), Error> {
    let mut socket = netns.socket().unwrap();
    netns.run(|| configure_iface(&mut socket, eth0.index, "eth0", config)).unwrap()
}

fn check(netns: &NetNs, eth0: &Link, config: &IfaceConfig) -> Result<(), Error> {
    let mut socket = netns.socket().unwrap();
    netns.run(|| check_iface(&mut socket, eth0.index, "eth0", config)).unwrap()
}

/// A host with a bridge and one container on it.
fn with_container(test: impl FnOnce(&mut Socket, &Link, NetNs, Link) + Send) {
    on_private_host(|| {
        let mut host = Socket::open().unwrap();
        let br0 = bridge(&mut host);
        let (netns, eth0) = plug(&mut host, &br0, "veth1");
        test(&mut host, &br0, netns, eth0);
    });
}

#[test]
fn addresses_of_both_families_carry_packets_at_once() {
    with_container(|host, br0, netns, eth0| {
        let (peer, _) = plug(host, br0, "veth2");
        give_addresses(&peer, &["10.1.0.2/16", "fd00::2/64"]);
        let config = config(&[("10.1.0.5/16", None), ("fd00::5/64", None)], vec![]);

        configure(&netns, &eth0, &config).unwrap();
        // Bound at once: a tentative address would refuse.
        for (ours, theirs) in [("10.1.0.5", "10.1.0.2"), ("fd00::5", "fd00::2")] {
            assert!(reaches(&udp(&netns, ip(ours)), &udp(&peer, ip(theirs)), SOON), "{ours}");
        }
        check(&netns, &eth0, &config).unwrap();
    });
}

/// The kernel makes the route to an IPv6 address of one's own on a worker, some time after it has added the address.
#[test]
fn packets_to_the_addresses_are_received_on_return() {
    with_container(|_, _, netns, eth0| {
        let mut socket = netns.socket().unwrap();
        for host in 5..55 {
            let address = format!("fd00::{host}/64");
            configure(&netns, &eth0, &config(&[(&address, None)], vec![])).unwrap();
            let way = socket.route_get(ip(&address)).unwrap();
            assert!(way.is_some_and(|way| way.local), "{address}: {way:?}");
        }
    });
}

/// cni#84: the address was another container's a moment ago, and a neighbour still knows that one's hardware address. By
/// a bridge, whose port forwards only some time after both ends are up: announced when it does.
#[test]
fn cni_84_a_reused_address_is_known_by_neighbours_at_once() {
    with_container(|host, br0, first, eth0| {
        let (peer, _) = plug(host, br0, "veth2");
        give_addresses(&peer, &["10.1.0.2/16", "fd00::2/64"]);
        let config = config(&[("10.1.0.5/16", None), ("fd00::5/64", None)], vec![]);
        configure(&first, &eth0, &config).unwrap();
        let clients = [("10.1.0.5", udp(&peer, ip("10.1.0.2"))), ("fd00::5", udp(&peer, ip("fd00::2")))];
        for (address, client) in &clients {
            assert!(reaches(client, &udp(&first, ip(address)), SOON), "first {address}");
        }

        let mut monitor = LinkMonitor::open().unwrap();
        let mut before = "veth1".to_owned();
        for round in 0..10 {
            let gone = host.link_by_name(&before).unwrap();
            host.link_del(gone.index).unwrap();
            before = format!("veth1{round}");
            let (next, eth0) = plug(host, br0, &before);
            configure(&next, &eth0, &config).unwrap();
            let port = host.link_by_name(&before).unwrap().index;
            let is_up = |link: &Link| link.operstate == OperState::Up;
            monitor.wait_link(host, port, SOON, is_up).unwrap();
            announce(&mut next.socket().unwrap(), eth0.index, "eth0").unwrap();
            for (address, client) in &clients {
                // A neighbour that was not told asks again only after seconds.
                assert!(
                    reaches(client, &udp(&next, ip(address)), Duration::from_millis(700)),
                    "{round} {address}"
                );
            }
        }
    });
}

#[test]
fn settings_that_ipv6_needs_are_made_and_only_with_ipv6_addresses() {
    with_container(|_, _, netns, eth0| {
        let read = |key: &str| {
            let key = format!("net/ipv6/conf/{key}");
            netns.run(|| sysctl_read(&key)).unwrap().unwrap()
        };
        let disable = |name| netns.run(|| sysctl_write(name, "1")).unwrap().unwrap();
        disable("net/ipv6/conf/lo/disable_ipv6");
        disable("net/ipv6/conf/eth0/disable_ipv6");

        configure(&netns, &eth0, &config(&[("10.1.0.5/16", None)], vec![])).unwrap();
        assert_eq!(read("lo/disable_ipv6"), "1");
        assert_eq!(read("eth0/disable_ipv6"), "1");
        assert_eq!(netns.run(|| sysctl_read("net/ipv4/conf/eth0/arp_notify")).unwrap().unwrap(), "1");

        configure(&netns, &eth0, &config(&[("fd00::5/64", None)], vec![])).unwrap();
        assert_eq!(read("lo/disable_ipv6"), "0");
        assert_eq!(read("eth0/disable_ipv6"), "0");
        assert_eq!(read("eth0/keep_addr_on_down"), "1");
        assert_eq!(read("eth0/ndisc_notify"), "1");
        assert_eq!(read("eth0/accept_dad"), "0");
    });
}

#[test]
fn routes_get_gateway_table_metric_and_mtu() {
    with_container(|_, _, netns, eth0| {
        let special = RouteSpec {
            metric: Some(5),
            table: Some(100),
            mtu: Some(1400),
            advmss: Some(1360),
            ..route("192.0.2.77/24", Some("10.1.0.9"))
        };
        let routes = vec![
            route("0.0.0.0/0", None),
            route("::/0", None),
            RouteSpec { scope: Some(253), ..route("198.51.100.0/24", None) },
            // The zero values of a result's fields.
            RouteSpec { table: Some(0), metric: Some(0), ..route("203.0.113.0/24", None) },
            RouteSpec { table: Some(0), metric: Some(0), ..route("2001:db8::/32", None) },
            special.clone(),
        ];
        let config = config(&[("10.1.0.5/16", Some("10.1.0.1")), ("fd00::5/64", Some("fd00::1"))], routes);
        configure(&netns, &eth0, &config).unwrap();

        let mut socket = netns.socket().unwrap();
        let mut main = socket.route_dump(eth0.index, None).unwrap();
        main.retain(|route| route.dst.prefix_len() == 0 || route.dst.to_string() == "198.51.100.0/24");
        let gateway = |dst: &str| {
            let found = main.iter().find(|route| route.dst.to_string() == dst);
            found.unwrap_or_else(|| panic!("no route to {dst}: {main:?}")).next_hops[0].gateway
        };
        assert_eq!(gateway("0.0.0.0/0"), Some(ip("10.1.0.1")));
        assert_eq!(gateway("::/0"), Some(ip("fd00::1")));
        assert_eq!(gateway("198.51.100.0/24"), None);
        let [found] = &socket.route_dump(eth0.index, Some(100)).unwrap()[..] else { panic!("one route") };
        assert_eq!(found.dst.to_string(), "192.0.2.0/24");
        assert_eq!(found.next_hops, [NextHop { index: eth0.index, gateway: Some(ip("10.1.0.9")) }]);
        assert_eq!((found.metric, found.mtu, found.advmss), (special.metric, special.mtu, special.advmss));
        check(&netns, &eth0, &config).unwrap();
    });
}

#[test]
fn equal_destinations_become_one_multipath_route() {
    with_container(|_, _, netns, eth0| {
        for (address, dst, gateways) in [
            ("10.1.0.5/16", "192.0.2.0/24", ["10.1.0.1", "10.1.0.2"]),
            ("fd00::5/64", "2001:db8::/32", ["fd00::1", "fd00::2"]),
        ] {
            let routes = gateways.iter().map(|gateway| route(dst, Some(gateway))).collect();
            let config = config(&[(address, None)], routes);
            configure(&netns, &eth0, &config).unwrap();
            let routes = netns.socket().unwrap().route_dump(eth0.index, None).unwrap();
            let mut found: Vec<_> = routes.iter().filter(|route| route.dst.to_string() == dst).collect();
            let route = found.pop().unwrap();
            assert_eq!(found, Vec::<&RouteSpec>::new(), "one route");
            let hops: Vec<_> = route.next_hops.iter().filter_map(|hop| hop.gateway).collect();
            assert_eq!(hops, gateways.map(ip));
            check(&netns, &eth0, &config).unwrap();
        }
    });
}

#[test]
fn with_dad_the_address_is_settled_on_return() {
    with_container(|_, _, netns, eth0| {
        let config =
            IfaceConfig { dad: true, ..config(&[("fd00::5/64", None), ("10.1.0.5/16", None)], vec![]) };
        let start = Instant::now();
        configure(&netns, &eth0, &config).unwrap();
        // It did wait: detection takes a second by itself (RetransTimer).
        assert!(start.elapsed() > Duration::from_millis(500), "{:?}", start.elapsed());
        let addrs = netns.socket().unwrap().addr_dump(eth0.index).unwrap();
        let ours = addrs.iter().find(|addr| addr.address.to_string() == "fd00::5/64").unwrap();
        assert!(!ours.tentative && !ours.dadfailed, "{ours:?}");
        check(&netns, &eth0, &config).unwrap();
    });
}

#[test]
fn with_dad_an_address_that_another_host_has_is_refused_by_name() {
    with_container(|host, br0, netns, eth0| {
        let (peer, _) = plug(host, br0, "veth2");
        give_addresses(&peer, &["fd00::5/64"]);
        let config =
            IfaceConfig { dad: true, ..config(&[("fd00::4/64", None), ("fd00::5/64", None)], vec![]) };
        let text = "cannot use address fd00::5 on eth0: another host on the link has it";
        assert_eq!(configure(&netns, &eth0, &config).unwrap_err().to_string(), text);
        assert_eq!(check(&netns, &eth0, &config).unwrap_err().to_string(), text);
    });
}

#[test]
fn an_address_that_is_there_already_fails_by_name() {
    with_container(|_, _, netns, eth0| {
        let config = config(&[("10.1.0.5/16", None)], vec![]);
        configure(&netns, &eth0, &config).unwrap();
        let error = configure(&netns, &eth0, &config).unwrap_err().to_string();
        assert!(error.starts_with("cannot set up eth0: cannot add address 10.1.0.5/16"), "{error}");
    });
}

#[test]
fn a_route_by_an_unreachable_gateway_fails_by_name() {
    with_container(|_, _, netns, eth0| {
        let config = config(&[("10.1.0.5/16", None)], vec![route("0.0.0.0/0", Some("10.9.0.1"))]);
        let error = configure(&netns, &eth0, &config).unwrap_err().to_string();
        assert!(error.starts_with("cannot set up eth0: cannot add route 0.0.0.0/0 via 10.9.0.1"), "{error}");
    });
}

#[test]
fn check_names_what_is_missing() {
    with_container(|_, _, netns, eth0| {
        let full = config(
            &[("10.1.0.5/16", Some("10.1.0.1"))],
            vec![RouteSpec { metric: Some(5), ..route("192.0.2.0/24", Some("10.1.0.1")) }],
        );
        let missing = |config: &IfaceConfig| match check(&netns, &eth0, config).unwrap_err() {
            Error::Mismatch(text) => text,
            other => panic!("{other}"),
        };
        assert_eq!(missing(&full), "eth0 has no address 10.1.0.5/16");
        configure(&netns, &eth0, &full).unwrap();
        check(&netns, &eth0, &full).unwrap();

        let mut socket = netns.socket().unwrap();
        for route in socket.route_dump(eth0.index, None).unwrap() {
            if route.dst.to_string() == "192.0.2.0/24" {
                socket.route_del(&route).unwrap();
            }
        }
        assert_eq!(missing(&full), "eth0 has no route to 192.0.2.0/24 via 10.1.0.1 metric 5");
        // Another prefix length is another address.
        assert_eq!(missing(&config(&[("10.1.0.5/24", None)], vec![])), "eth0 has no address 10.1.0.5/24");
    });
}

#[test]
fn an_interface_without_addresses_is_only_set_up() {
    with_container(|_, _, netns, eth0| {
        configure(&netns, &eth0, &IfaceConfig::default()).unwrap();
        assert!(netns.socket().unwrap().link_by_index(eth0.index).unwrap().up);
    });
}

/// plugins#102: a kernel started with ipv6.disable=1.
#[test]
fn plugins_102_without_ipv6_in_the_kernel_only_ipv6_addresses_fail() {
    with_container(|_, _, netns, eth0| {
        hide_ipv6_settings();
        let error = configure(&netns, &eth0, &config(&[("10.1.0.5/16", None), ("fd00::5/64", None)], vec![]));
        let text = "cannot add address fd00::5 to eth0: IPv6 is off in this kernel";
        assert_eq!(error.unwrap_err().to_string(), text);
        assert_eq!(netns.socket().unwrap().addr_dump(eth0.index).unwrap(), []);
        configure(&netns, &eth0, &config(&[("10.1.0.5/16", None)], vec![])).unwrap();
    });
}

#[test]
fn a_read_only_proc_sys_stops_only_what_needs_it() {
    with_container(|_, _, netns, eth0| {
        make_proc_sys_read_only();
        configure(&netns, &eth0, &config(&[("10.1.0.5/16", None)], vec![])).unwrap();
        // keep_addr_on_down is 0 in a new namespace.
        let error =
            configure(&netns, &eth0, &config(&[("fd00::5/64", None)], vec![])).unwrap_err().to_string();
        let text = "cannot write /proc/sys/net/ipv6/conf/eth0/keep_addr_on_down: Read-only file system (os error 30)";
        assert_eq!(error, text);
    });
}
