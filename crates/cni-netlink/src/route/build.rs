//! The messages about routes that this crate sends; their bytes are those of iproute2.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteMetric, RouteNextHop, RouteProtocol};
use netlink_packet_route::route::{RouteScope, RouteType, RouteVia};

use super::{MAIN, NextHop, RouteSpec};

/// `ip route add DST ...`
pub(super) fn add(route: &RouteSpec) -> RouteMessage {
    let mut message = destined(route);
    message.header.protocol = RouteProtocol::Boot;
    message.header.kind = RouteType::Unicast;
    message.header.scope = scope(route).into();
    let metrics: Vec<_> = [route.mtu.map(RouteMetric::Mtu), route.advmss.map(RouteMetric::Advmss)]
        .into_iter()
        .flatten()
        .collect();
    if !metrics.is_empty() {
        message.attributes.push(RouteAttribute::Metrics(metrics));
    }
    message
}

/// `ip route del DST ...`: any protocol, and any scope unless one is named.
pub(super) fn delete(route: &RouteSpec) -> RouteMessage {
    let mut message = destined(route);
    message.header.kind = RouteType::Unicast;
    message.header.scope = route.scope.map_or(RouteScope::NoWhere, Into::into);
    message
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

/// What identifies a route: where to, how preferred, which way.
fn destined(route: &RouteSpec) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.dst);
    message.header.destination_prefix_length = route.dst.prefix_len();
    set_table(&mut message, route.table.unwrap_or(MAIN));
    if route.dst.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(route.dst.addr().into()));
    }
    match route.next_hops.as_slice() {
        [hop] => {
            message.attributes.extend(gateway(route.dst, hop));
            message.attributes.push(RouteAttribute::Oif(hop.index));
        }
        hops => {
            let hops = hops.iter().map(|hop| next_hop(route.dst, hop)).collect();
            message.attributes.push(RouteAttribute::MultiPath(hops));
        }
    }
    message.attributes.extend(route.metric.map(RouteAttribute::Priority));
    message
}

fn next_hop(dst: IpNet, hop: &NextHop) -> RouteNextHop {
    let mut next_hop = RouteNextHop::default();
    next_hop.interface_index = hop.index;
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
