//! The messages about routes that this crate sends; their bytes are those of iproute2.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteMetric, RouteNextHop, RouteProtocol};
use netlink_packet_route::route::{RouteScope, RouteVia};
use nix::libc::RT_TABLE_UNSPEC;
use rtnetlink::{RouteMessageBuilder, RouteNextHopBuilder};

use super::{NextHop, RouteSpec, table_id};

/// `ip route add DST ... [src SRC]`
pub(super) fn add(route: &RouteSpec, src: Option<IpAddr>) -> RouteMessage {
    let metrics = [route.mtu.map(RouteMetric::Mtu), route.advmss.map(RouteMetric::Advmss)];
    let builder = builder(route, src, metrics.into_iter().flatten().collect());
    builder.protocol(RouteProtocol::Boot).scope(scope(route).into()).build()
}

/// `ip route del DST ...`: any protocol, and any scope unless one is named.
pub(super) fn delete(route: &RouteSpec) -> RouteMessage {
    let scope = route.scope.map_or(RouteScope::NoWhere, Into::into);
    builder(route, None, Vec::new()).protocol(RouteProtocol::Unspec).scope(scope).build()
}

/// `ip route show table TABLE [dev INDEX]`, of the destination's family or both. The kernel does not filter by
/// destination.
pub(super) fn dump(of: Option<IpNet>, index: Option<u32>, table: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = of.map_or(AddressFamily::Unspec, family);
    set_table(&mut message, table);
    message.attributes.extend(index.map(RouteAttribute::Oif));
    message
}

/// `ip route get DST [oif INDEX]`
pub(super) fn get(dst: IpAddr, index: Option<u32>) -> RouteMessage {
    let mut message = RouteMessage::default();
    let host = IpNet::from(dst);
    message.header.address_family = family(host);
    message.header.destination_prefix_length = host.prefix_len();
    message.attributes.push(RouteAttribute::Destination(dst.into()));
    message.attributes.extend(index.map(RouteAttribute::Oif));
    message
}

/// A unicast route.
fn builder(route: &RouteSpec, src: Option<IpAddr>, metrics: Vec<RouteMetric>) -> RouteMessageBuilder {
    let mut builder = RouteMessageBuilder::<IpAddr>::new();
    let message = builder.get_mut();
    message.header.address_family = family(route.dst);
    message.header.destination_prefix_length = route.dst.prefix_len();
    if route.dst.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(route.dst.addr().into()));
    }
    let single = if let [hop] = route.next_hops.as_slice() { Some(hop) } else { None };
    message.attributes.extend(single.and_then(|hop| gateway(route.dst, hop)));
    message.attributes.extend(src.map(|src| RouteAttribute::PrefSource(src.into())));
    // The builder would leave the main table in the header beside the attribute of a larger number.
    message.header.table = RT_TABLE_UNSPEC;
    set_table(message, table_id(route.table));
    if let Some(metric) = route.metric {
        builder = builder.priority(metric);
    }
    if let Some(hop) = single {
        builder = builder.output_interface(hop.index);
    }
    if !metrics.is_empty() {
        builder.get_mut().attributes.push(RouteAttribute::Metrics(metrics));
    }
    if route.next_hops.len() > 1 {
        builder = builder.multipath(route.next_hops.iter().map(|hop| next_hop(route.dst, hop)).collect());
    }
    builder
}

fn next_hop(dst: IpNet, hop: &NextHop) -> RouteNextHop {
    let mut next_hop = RouteNextHopBuilder::new(family(dst)).interface(hop.index).build();
    next_hop.attributes.extend(gateway(dst, hop));
    next_hop
}

/// IPv4 through an IPv6 gateway has an attribute of its own (RTA_VIA); the reverse the kernel refuses.
fn gateway(dst: IpNet, hop: &NextHop) -> Option<RouteAttribute> {
    Some(match (dst, hop.gateway?) {
        (IpNet::V4(_), IpAddr::V6(gateway)) => RouteAttribute::Via(RouteVia::Inet6(gateway)),
        (_, gateway) => RouteAttribute::Gateway(gateway.into()),
    })
}

/// The scope asked for, or iproute2's choice.
pub(super) fn scope(route: &RouteSpec) -> u8 {
    let gateway = route.next_hops.iter().any(|hop| hop.gateway.is_some());
    let chosen = match route.dst {
        IpNet::V4(_) if !gateway && route.next_hops.len() == 1 => RouteScope::Link,
        _ => RouteScope::Universe,
    };
    route.scope.unwrap_or(chosen.into())
}

/// The header has one byte for the table's number; a larger one needs the attribute.
fn set_table(message: &mut RouteMessage, table: u32) {
    match u8::try_from(table) {
        Ok(table) => message.header.table = table,
        Err(_) => message.attributes.push(RouteAttribute::Table(table)),
    }
}

fn family(dst: IpNet) -> AddressFamily {
    match dst {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use nix::libc::{RTM_DELROUTE, RTM_GETROUTE, RTM_NEWROUTE};

    use super::*;
    use crate::golden::{CHANGE, CREATE_EXCL, assert_request};
    use crate::socket::Request;

    fn route(dst: &str, gateways: &[&str]) -> RouteSpec {
        let hop = |gateway: &&str| NextHop { index: 2, gateway: Some(gateway.parse().unwrap()) };
        RouteSpec {
            dst: dst.parse().unwrap(),
            next_hops: gateways.iter().map(hop).collect(),
            metric: None,
            table: None,
            scope: None,
            mtu: None,
            advmss: None,
        }
    }

    fn assert_add(route: &RouteSpec, expected: &str) {
        assert_request(Request::of(RTM_NEWROUTE, &add(route, None)), CREATE_EXCL, expected);
    }

    /// ip route add 10.3.0.0/16 via 10.1.0.1 dev br0 mtu 1400 advmss 1300 metric 5
    #[test]
    fn gateway_with_metrics() {
        let plain = route("10.3.0.0/16", &["10.1.0.1"]);
        assert_add(
            &RouteSpec { mtu: Some(1400), advmss: Some(1300), metric: Some(5), ..plain },
            "50000000 18000506 00000000 00000000
             02100000 fe030001 00000000
             08000100 0a030000 08000500 0a010001 08000600 05000000 08000400 02000000
             14000800 08000200 78050000 08000800 14050000",
        );
    }

    /// ip route add 10.4.0.0/16 dev br0 table 1000
    #[test]
    fn without_a_gateway_the_scope_is_link() {
        let next_hops = vec![NextHop { index: 2, gateway: None }];
        assert_add(
            &RouteSpec { next_hops, table: Some(1000), ..route("10.4.0.0/16", &[]) },
            "34000000 18000506 00000000 00000000
             02100000 0003fd01 00000000
             08000100 0a040000 08000f00 e8030000 08000400 02000000",
        );
    }

    /// ip route add default via 10.1.0.1 dev br0
    #[test]
    fn default_route_names_no_destination() {
        assert_add(
            &route("0.0.0.0/0", &["10.1.0.1"]),
            "2c000000 18000506 00000000 00000000
             02000000 fe030001 00000000 08000500 0a010001 08000400 02000000",
        );
    }

    /// ip route add 10.5.0.0/16 nexthop via 10.1.0.1 dev br0 nexthop via 10.1.0.2 dev br0
    #[test]
    fn several_next_hops() {
        assert_add(
            &route("10.5.0.0/16", &["10.1.0.1", "10.1.0.2"]),
            "48000000 18000506 00000000 00000000
             02100000 fe030001 00000000
             08000100 0a050000
             24000900 10000000 02000000 08000500 0a010001 10000000 02000000 08000500 0a010002",
        );
    }

    /// ip -6 route add 2001:db8:2::/48 via 2001:db8::1 dev br0
    #[test]
    fn ipv6_gateway() {
        assert_add(
            &route("2001:db8:2::/48", &["2001:db8::1"]),
            "4c000000 18000506 00000000 00000000
             0a300000 fe030001 00000000
             14000100 20010db8 00020000 00000000 00000000
             14000500 20010db8 00000000 00000000 00000001 08000400 02000000",
        );
    }

    /// ip route add 10.7.0.0/16 via inet6 2001:db8::1 dev br0
    #[test]
    fn ipv4_through_ipv6() {
        assert_add(
            &route("10.7.0.0/16", &["2001:db8::1"]),
            "44000000 18000506 00000000 00000000
             02100000 fe030001 00000000
             08000100 0a070000 16001200 0a002001 0db80000 00000000 00000000 00010000 08000400 02000000",
        );
    }

    /// ip route add 10.1.0.1/32 dev br0 scope link src 10.1.2.3
    /// ip -6 route add 2001:db8::/64 via 2001:db8::1 dev br0 src 2001:db8::5
    #[test]
    fn preferred_source() {
        let next_hops = vec![NextHop { index: 2, gateway: None }];
        let on_link = RouteSpec { next_hops, ..route("10.1.0.1/32", &[]) };
        assert_request(
            Request::of(RTM_NEWROUTE, &add(&on_link, Some("10.1.2.3".parse().unwrap()))),
            CREATE_EXCL,
            "34000000 18000506 00000000 00000000
             02200000 fe03fd01 00000000
             08000100 0a010001 08000700 0a010203 08000400 02000000",
        );
        assert_request(
            Request::of(
                RTM_NEWROUTE,
                &add(&route("2001:db8::/64", &["2001:db8::1"]), Some("2001:db8::5".parse().unwrap())),
            ),
            CREATE_EXCL,
            "60000000 18000506 00000000 00000000
             0a400000 fe030001 00000000
             14000100 20010db8 00000000 00000000 00000000
             14000500 20010db8 00000000 00000000 00000001
             14000700 20010db8 00000000 00000000 00000005 08000400 02000000",
        );
    }

    /// ip route del 10.3.0.0/16 via 10.1.0.1 dev br0 metric 5, with the type that iproute2 leaves open
    #[test]
    fn removal_goes_by_destination_way_and_metric() {
        let plain = route("10.3.0.0/16", &["10.1.0.1"]);
        assert_request(
            Request::of(RTM_DELROUTE, &delete(&RouteSpec { mtu: Some(1400), metric: Some(5), ..plain })),
            CHANGE,
            "3c000000 19000500 00000000 00000000
             02100000 fe00ff01 00000000
             08000100 0a030000 08000500 0a010001 08000600 05000000 08000400 02000000",
        );
    }

    /// ip route get 10.1.0.5 [oif br0], without RTM_F_LOOKUP_TABLE, since the table does not matter
    #[test]
    fn way_to_an_address() {
        assert_request(
            Request::of(RTM_GETROUTE, &get("10.1.0.5".parse().unwrap(), None)),
            0x1,
            "24000000 1a000100 00000000 00000000 02200000 00000000 00000000 08000100 0a010005",
        );
        assert_request(
            Request::of(RTM_GETROUTE, &get("10.1.0.5".parse().unwrap(), Some(2))),
            0x1,
            "2c000000 1a000100 00000000 00000000 02200000 00000000 00000000 08000100 0a010005 08000400 02000000",
        );
    }

    /// ip route show table 1000 dev br0, which asks for one family at a time
    #[test]
    fn dump_of_one_table_and_link() {
        assert_request(
            Request::of(RTM_GETROUTE, &dump(None, Some(2), 1000)),
            0x301,
            "2c000000 1a000103 00000000 00000000 00000000 00000000 00000000
             08000f00 e8030000 08000400 02000000",
        );
    }
}
