//! The ptp plugin: what its keys do, seen in the kernel and by packets.

mod chain;
mod failure;
mod life;
mod reference;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use cni_host::{sysctl_read, sysctl_write};
use cni_netlink::{Link, RouteSpec, Socket};
use cni_testing::Container;
use serde_json::{Value, json};

use crate::bridge::net::{Net, addresses, link, link_in, set};

/// A neighbour solicitation that is lost is repeated after a second, and an address under duplicate address detection
/// is of use after one or two.
const AT_ONCE: Duration = Duration::from_millis(900);

/// Both families, a default route of each, and `keys` above that.
pub(crate) fn net(keys: Value) -> Net {
    let mut net = Net::new(json!({"type": "ptp", "bridge": null, "isDefaultGateway": null}));
    net.conf["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
    set(&mut net.conf, &keys);
    net
}

/// The same with addresses that are given, each with its gateway.
pub(crate) fn static_net(addresses: &[(&str, &str)]) -> Net {
    let address = |(address, gateway): &(&str, &str)| json!({"address": address, "gateway": gateway});
    let addresses: Vec<Value> = addresses.iter().map(address).collect();
    net(json!({"ipam": {"type": "static", "addresses": addresses}}))
}

/// The host's end, as the result names it.
pub(crate) fn near(result: &Value) -> Link {
    link(result["interfaces"][0]["name"].as_str().unwrap())
}

/// The routes by a link, in iproute2's words.
pub(crate) fn routes(socket: &mut Socket, index: u32) -> Vec<String> {
    let link_local = |route: &RouteSpec| match route.dst.addr() {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let scope = |route: &RouteSpec| route.scope.map_or(String::new(), |scope| format!(" scope {scope}"));
    let found = socket.route_dump(index, None).unwrap();
    let mut found: Vec<String> = found
        .iter()
        .filter(|route| !link_local(route))
        .map(|route| format!("{route}{}", scope(route)).replace(&format!(" dev {index}"), ""))
        .collect();
    found.sort();
    found
}

#[track_caller]
fn at_once(what: &str, reached: impl FnOnce() -> bool) {
    let since = Instant::now();
    assert!(reached(), "{what}");
    assert!(since.elapsed() < AT_ONCE, "{what} took {:?}", since.elapsed());
}

#[test]
fn two_containers_the_gateway_and_the_host_reach_each_other_at_once_over_both_families() {
    let net = net(json!({}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let first = net.add(&one);
    let second = net.add(&two);
    // IPv6 first: it is what might have to settle.
    for (index, address) in addresses(&second).into_iter().enumerate().rev() {
        let from = addresses(&first)[index];
        at_once(&format!("{from} to {address}"), || one.ping(address));
        at_once(&format!("{address} to {from}"), || two.ping(from));
        at_once(&format!("the host to {address}"), || net.host.ping(address));
        let to = SocketAddr::new(address, 7000);
        let _server = two.serve(to);
        assert_eq!(one.echo_udp(to, "hello").unwrap().split(' ').next_back(), Some("hello"));
        let seen = one.echo_tcp(to, "hello").unwrap();
        let peer: SocketAddr = seen.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(peer.ip(), from, "the address arrives as it is");
    }
    for gateway in ["fd00:88::1", "10.88.0.1"] {
        at_once(gateway, || one.ping(gateway.parse().unwrap()) && two.ping(gateway.parse().unwrap()));
    }
    for (container, result) in [(&one, &first), (&two, &second)] {
        net.check(container, result).ok();
        net.del(container).ok();
    }
    assert_eq!(net.leases(), [""; 0]);
}

#[test]
fn ipv6_works_as_soon_as_add_returns_in_either_direction() {
    let net = net(json!({}));
    let other = net.host.container("other");
    let known = addresses(&net.add(&other))[1];
    let mut late = Vec::new();
    for round in 0..12 {
        let container = net.host.container(&format!("c{round}"));
        let address = addresses(&net.add(&container))[1];
        // The first packet of all, each time in another direction.
        let since = Instant::now();
        let reached = match round % 4 {
            0 => container.ping(known),
            1 => other.ping(address),
            2 => container.ping("fd00:88::1".parse().unwrap()),
            _ => net.host.ping(address),
        };
        assert!(reached, "round {round}");
        if since.elapsed() >= AT_ONCE {
            late.push((round, since.elapsed()));
        }
    }
    // Waiting for duplicate address detection anywhere, some or all would be. A single solicitation gets lost on a busy machine.
    assert!(late.len() <= 1, "{late:?}");
}

#[test]
fn the_result_tells_the_hosts_end_and_the_container_in_this_order() {
    let net = net(json!({}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    let interfaces = result["interfaces"].as_array().unwrap();
    assert_eq!(interfaces.len(), 2);
    for (interface, link) in interfaces.iter().zip([near(&result), link_in(&container, "eth0")]) {
        assert_eq!(interface["name"], link.name.as_str());
        assert_eq!(interface["mac"], link.mac.unwrap().to_string());
        assert_eq!(interface["mtu"], link.mtu);
    }
    assert_eq!(interfaces[0].get("sandbox"), None);
    assert_eq!(interfaces[1]["sandbox"], container.netns());
    for ip in result["ips"].as_array().unwrap() {
        assert_eq!(ip["interface"], 1);
    }
    // Of IPAM, as they came.
    assert_eq!(result["routes"], json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]));
}

#[test]
fn the_gateway_is_the_containers_only_neighbour_and_the_host_has_a_route_to_each_address() {
    let net = net(json!({}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    let inside = link_in(&container, "eth0").index;
    assert_eq!(
        routes(&mut container.ns().socket().unwrap(), inside),
        [
            "route 0.0.0.0/0 via 10.88.0.1 table 254 scope 0",
            "route 10.88.0.0/24 via 10.88.0.1 table 254 scope 0",
            "route 10.88.0.1/32 table 254 scope 253",
            "route ::/0 via fd00:88::1 metric 1024 table 254 scope 0",
            "route fd00:88::/64 via fd00:88::1 metric 1024 table 254 scope 0",
            "route fd00:88::1/128 metric 1024 table 254 scope 0",
        ]
    );
    let near = near(&result);
    let mut host = Socket::open().unwrap();
    assert_eq!(
        routes(&mut host, near.index),
        [
            "route 10.88.0.2/32 table 254 scope 254",
            "route fd00:88::1/128 metric 256 table 254 scope 0",
            "route fd00:88::2/128 metric 1024 table 254 scope 0",
        ]
    );
    let addrs = host.addr_dump(near.index).unwrap();
    assert!(addrs.iter().all(|addr| !addr.tentative && !addr.dadfailed), "{addrs:?}");
    let addrs: Vec<String> = addrs.iter().map(|addr| addr.address.to_string()).collect();
    assert_eq!(addrs.iter().filter(|addr| !addr.starts_with("fe80")).count(), 2, "{addrs:?}");
    assert!(addrs.contains(&"10.88.0.1/32".to_owned()) && addrs.contains(&"fd00:88::1/128".to_owned()));
    // One link-local address: the kernel has not added another of its own.
    assert_eq!(addrs.len(), 3, "{addrs:?}");
}

/// Of two addresses the one is taken that goes with the gateway.
#[test]
fn each_subnet_is_reached_from_the_containers_address_in_it() {
    let net = static_net(&[("10.88.0.5/24", "10.88.0.1"), ("10.99.0.5/24", "10.99.0.1")]);
    let container = net.host.container("one");
    net.add_and_check(&container);
    for (to, from) in [
        ("10.88.0.1", "10.88.0.5"),
        ("10.88.0.9", "10.88.0.5"),
        ("10.99.0.1", "10.99.0.5"),
        ("10.99.0.9", "10.99.0.5"),
    ] {
        assert_eq!(source(&container, to), from, "to {to}");
    }
}

fn source(container: &Container, to: &str) -> String {
    let ask = || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((to, 9)).unwrap();
        socket.local_addr().unwrap().ip().to_string()
    };
    container.ns().run(ask).unwrap()
}

#[test]
fn addresses_with_one_gateway_and_addresses_without_a_subnet_are_reached() {
    for ips in [
        [("10.88.0.5/24", "10.88.0.1"), ("10.88.0.6/24", "10.88.0.1")],
        [("10.88.0.5/32", "169.254.1.1"), ("fd00:88::5/128", "fe80::1")],
        [("10.88.0.5/31", "10.88.0.4"), ("fd00:88::5/127", "fd00:88::4")],
    ] {
        let net = static_net(&ips);
        let container = net.host.container("one");
        let result = net.add_and_check(&container);
        for address in addresses(&result) {
            assert!(net.host.ping(address), "{address}");
        }
    }
}

#[test]
fn containers_of_one_gateway_come_and_go_without_taking_it_from_each_other() {
    let net = net(json!({}));
    let containers: Vec<Container> = (0..3).map(|i| net.host.container(&format!("c{i}"))).collect();
    for container in &containers {
        net.add(container);
    }
    for gone in [0, 1] {
        net.del(&containers[gone]).ok();
        for gateway in ["10.88.0.1", "fd00:88::1"] {
            assert!(containers[2].ping(gateway.parse().unwrap()), "{gateway}");
        }
    }
}

#[test]
fn forwarding_is_switched_on_for_the_families_that_have_addresses() {
    let keys = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
    for (address, forwards) in
        [(("10.88.0.5/24", "10.88.0.1"), ["1", "0"]), (("fd00:88::5/64", "fd00:88::1"), ["0", "1"])]
    {
        let net = static_net(&[address]);
        for key in keys {
            sysctl_write(key, "0").unwrap();
        }
        net.add(&net.host.container("one"));
        assert_eq!(keys.map(|key| sysctl_read(key).unwrap()), forwards);
    }
}

#[test]
fn mtu_is_that_of_both_ends() {
    let net = net(json!({"mtu": 1400}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    assert_eq!((near(&result).mtu, link_in(&container, "eth0").mtu), (1400, 1400));
    assert_eq!(result["interfaces"][1]["mtu"], 1400);
}

#[test]
fn dns_of_the_configuration_replaces_that_of_ipam_whole() {
    let mut net = net(json!({}));
    let resolv = net.host.dir().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 192.0.2.53\nsearch ipam.example\n").unwrap();
    net.conf["ipam"]["resolvConf"] = resolv.to_str().unwrap().into();
    let of_ipam = json!({"nameservers": ["192.0.2.53"], "search": ["ipam.example"]});
    assert_eq!(net.add(&net.host.container("one"))["dns"], of_ipam);
    net.conf["dns"] = json!({});
    assert_eq!(net.add(&net.host.container("two"))["dns"], of_ipam);
    net.conf["dns"] = json!({"nameservers": ["192.0.2.1"]});
    assert_eq!(net.add(&net.host.container("three"))["dns"], json!({"nameservers": ["192.0.2.1"]}));
}

#[test]
fn ipv6_works_where_new_interfaces_have_it_off() {
    let net = net(json!({}));
    let off = || sysctl_write("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    off();
    let container = net.host.container("one");
    container.ns().run(off).unwrap();
    net.add_and_check(&container);
    assert!(container.ping("fd00:88::1".parse().unwrap()));
}

/// Nothing but the kernel's own choice of link-local addresses would solicit the container.
#[test]
fn ipv6_is_forwarded_where_the_kernel_makes_no_link_local_addresses() {
    let net = net(json!({}));
    sysctl_write("net/ipv6/conf/default/addr_gen_mode", "1").unwrap();
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    net.add(&one);
    let address = addresses(&net.add_and_check(&two))[1];
    assert!(one.ping(address));
}

#[test]
fn router_advertisements_are_refused_on_the_host_side() {
    // CVE-2020-10749
    let net = net(json!({}));
    let near = near(&net.add(&net.host.container("one")));
    assert_eq!(sysctl_read(&format!("net/ipv6/conf/{}/accept_ra", near.name)).unwrap(), "0");
}

/// The result of plugins before it is not looked at: it makes an interface of its own.
#[test]
fn a_prev_result_does_not_matter_to_add() {
    let mut net = net(json!({}));
    net.conf["prevResult"] = json!({"cniVersion": "1.1.0", "ips": [{"address": "192.0.2.5/24"}]});
    let result = net.add(&net.host.container("one"));
    assert_eq!(addresses(&result), ["10.88.0.2", "fd00:88::2"].map(|ip| ip.parse::<IpAddr>().unwrap()));
}

#[test]
fn the_conflist_of_the_documentation_works_when_pasted() {
    let page = include_str!("../../../../docs/plugins/ptp.md");
    let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let list: Value = serde_json::from_str(block).unwrap();
    // As a runtime makes the plugin's configuration, but for leases in the host's own folder.
    let mut net = net(json!({}));
    net.host.hide(&["/run"]);
    net.conf = list["plugins"][0].clone();
    set(&mut net.conf, &json!({"cniVersion": list["cniVersion"], "name": list["name"]}));
    net.conf["ipam"]["dataDir"] = net.host.dir().join("leases").to_str().unwrap().into();
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    net.add_and_check(&one);
    for address in addresses(&net.add_and_check(&two)) {
        assert!(one.ping(address), "{address}");
    }
}
