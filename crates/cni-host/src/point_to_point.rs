//! The routes of an interface whose only neighbour is its gateway ([`crate::IfaceConfig::point_to_point`]). A veth cannot be a
//! point-to-point link to the kernel (IFF_POINTOPOINT), so routes make it one.

use std::net::IpAddr;

use cni_netlink::{NextHop, RouteSpec};
use ipnet::IpNet;

use crate::iface::SCOPE_LINK;

/// For each address: its gateway on the link, then its subnet through the gateway, each with the address as the preferred
/// source. Addresses with a gateway or a subnet in common have one route, the first one's. A subnet of the address alone needs
/// none.
pub(crate) fn routes(addresses: &[(IpNet, Option<IpAddr>)], index: u32) -> Vec<(RouteSpec, IpAddr)> {
    let mut routes: Vec<(RouteSpec, IpAddr)> = Vec::new();
    for (address, gateway) in addresses {
        let Some(gateway) = *gateway else { continue };
        let to_gateway = RouteSpec {
            next_hops: vec![NextHop { index, gateway: None }],
            scope: Some(SCOPE_LINK),
            ..RouteSpec::new(gateway.into())
        };
        let to_subnet = RouteSpec {
            dst: address.trunc(),
            next_hops: vec![NextHop { index, gateway: Some(gateway) }],
            scope: None,
            ..to_gateway.clone()
        };
        let alone = address.prefix_len() == address.max_prefix_len();
        for route in [Some(to_gateway), (!alone).then_some(to_subnet)].into_iter().flatten() {
            if !routes.iter().any(|(earlier, _)| earlier.dst == route.dst) {
                routes.push((route, address.addr()));
            }
        }
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(addresses: &[(&str, &str)]) -> Vec<String> {
        let parse = |(address, gateway): &(&str, &str)| (address.parse().unwrap(), gateway.parse().ok());
        let addresses: Vec<_> = addresses.iter().map(parse).collect();
        let describe = |(route, src): (RouteSpec, IpAddr)| {
            let scope = if route.scope == Some(SCOPE_LINK) { " scope link" } else { "" };
            format!("{route}{scope} src {src}")
        };
        routes(&addresses, 2).into_iter().map(describe).collect()
    }

    #[test]
    fn the_gateway_is_on_the_link_and_the_subnet_behind_it() {
        assert_eq!(
            described(&[("10.1.0.5/24", "10.1.0.1"), ("fd00::5/64", "fd00::1")]),
            [
                "route 10.1.0.1/32 dev 2 scope link src 10.1.0.5",
                "route 10.1.0.0/24 via 10.1.0.1 dev 2 src 10.1.0.5",
                "route fd00::1/128 dev 2 scope link src fd00::5",
                "route fd00::/64 via fd00::1 dev 2 src fd00::5",
            ]
        );
    }

    #[test]
    fn addresses_with_the_same_gateway_or_subnet_share_its_route() {
        let of = [("10.1.0.5/24", "10.1.0.1"), ("10.1.0.6/24", "10.1.0.1"), ("10.2.0.5/24", "10.1.0.1")];
        assert_eq!(
            described(&of),
            [
                "route 10.1.0.1/32 dev 2 scope link src 10.1.0.5",
                "route 10.1.0.0/24 via 10.1.0.1 dev 2 src 10.1.0.5",
                "route 10.2.0.0/24 via 10.1.0.1 dev 2 src 10.2.0.5",
            ]
        );
    }

    #[test]
    fn an_address_without_neighbours_has_its_gateway_alone() {
        assert_eq!(
            described(&[("10.1.0.5/32", "169.254.1.1"), ("fd00::5/128", "fe80::1")]),
            [
                "route 169.254.1.1/32 dev 2 scope link src 10.1.0.5",
                "route fe80::1/128 dev 2 scope link src fd00::5",
            ]
        );
        assert_eq!(described(&[("10.1.0.5/24", "")]), [""; 0]);
    }
}
