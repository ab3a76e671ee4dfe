//! The default route's interface.

use cni_netlink::{AddrFlags, LinkChange, NextHop, RouteSpec, Socket};

use crate::support::{Container, bridge, in_netns, veth};

fn default(dst: &str, index: u32, gateway: &str, metric: u32) -> RouteSpec {
    RouteSpec {
        dst: dst.parse().unwrap(),
        next_hops: vec![NextHop { index, gateway: Some(gateway.parse().unwrap()) }],
        metric: Some(metric),
        table: None,
        scope: None,
        mtu: None,
        advmss: None,
    }
}

#[test]
fn the_default_routes_interface_is_found_ipv4_first_and_in_the_main_table_alone() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let container = Container::new();
        let (first, second) = (veth(&mut host, &container, None).index, bridge(&mut host).index);
        for (index, address) in
            [(first, "10.1.0.5/16"), (first, "fd01::5/64"), (second, "10.2.0.5/16"), (second, "fd02::5/64")]
        {
            host.addr_add(index, address.parse().unwrap(), AddrFlags { nodad: true }).unwrap();
            host.link_change(index, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
        }
        assert_eq!(host.route_default().unwrap(), None);
        let elsewhere = RouteSpec { table: Some(100), ..default("0.0.0.0/0", first, "10.1.0.1", 1) };
        host.route_add(&elsewhere).unwrap();
        assert_eq!(host.route_default().unwrap(), None);

        host.route_add(&default("::/0", first, "fd01::1", 10)).unwrap();
        assert_eq!(host.route_default().unwrap(), Some(first));
        host.route_add(&default("0.0.0.0/0", second, "10.2.0.1", 500)).unwrap();
        assert_eq!(host.route_default().unwrap(), Some(second));
        host.route_add(&default("0.0.0.0/0", first, "10.1.0.1", 50)).unwrap();
        assert_eq!(host.route_default().unwrap(), Some(first));
    });
}
