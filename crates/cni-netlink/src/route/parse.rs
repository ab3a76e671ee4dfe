//! Reading RTM_NEWROUTE: only what `RouteSpec` holds, and what merging needs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use nix::libc::{RTA_DST, RTA_GATEWAY, RTA_METRICS, RTA_MULTIPATH, RTA_OIF, RTA_PREFSRC, RTA_PRIORITY};
use nix::libc::{RTA_TABLE, RTM_F_CLONED, RTN_LOCAL, RTN_UNICAST, RTPROT_BOOT};

use super::{NextHop, RouteSpec, Way};
use crate::attr::{self, Attrs};
use crate::uapi::{AF_INET, AF_INET6, RTA_VIA, RTAX_ADVMSS, RTAX_MTU, RTNH_F_ONLINK};

/// Length of `struct rtmsg`, and of `struct rtnexthop`.
pub(super) const RTMSG: usize = 12;
pub(super) const RTNEXTHOP: usize = 8;

/// A route as found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(super) route: RouteSpec,
    pub(super) tos: u8,
    /// Nothing about it that `RouteSpec` could not say: protocol boot, no preferred source, no on-link gateway.
    pub(super) plain: bool,
}

/// Reads the payload of RTM_NEWROUTE; `None` for cached routes, for other kinds than unicast, which no `RouteSpec`
/// can say, for other families, and for what is cut short.
pub(crate) fn route(payload: &[u8]) -> Option<Found> {
    let [family, prefix_len, source_len, tos, table, protocol, scope, kind] = *payload.first_chunk()?;
    let flags = attr::u32_at(payload, 8)?;
    if kind != RTN_UNICAST || flags & RTM_F_CLONED != 0 {
        return None;
    }
    let mut dst: IpAddr = match family {
        AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut route = RouteSpec {
        dst: IpNet::new(dst, prefix_len).ok()?,
        next_hops: Vec::new(),
        metric: None,
        table: Some(table.into()),
        scope: Some(scope),
        mtu: None,
        advmss: None,
    };
    let mut plain = protocol == RTPROT_BOOT && source_len == 0 && flags & u32::from(RTNH_F_ONLINK) == 0;
    let (mut index, mut gateway) = (None, None);
    for (kind, value) in Attrs::after(payload, RTMSG) {
        match kind {
            RTA_DST => dst = attr::ip(value)?,
            RTA_OIF => index = attr::u32(value),
            RTA_GATEWAY => gateway = attr::ip(value),
            RTA_VIA => gateway = via(value),
            RTA_PRIORITY => route.metric = attr::u32(value),
            RTA_PREFSRC => plain = false,
            RTA_METRICS => {
                route.mtu = Attrs(value).find(RTAX_MTU).and_then(attr::u32);
                route.advmss = Attrs(value).find(RTAX_ADVMSS).and_then(attr::u32);
            }
            RTA_MULTIPATH => plain &= multipath(value, &mut route.next_hops),
            RTA_TABLE => route.table = attr::u32(value),
            _ => {}
        }
    }
    route.dst = IpNet::new(dst, prefix_len).ok()?;
    if let Some(index) = index {
        route.next_hops.insert(0, NextHop { index, gateway });
    }
    Some(Found { route, tos, plain })
}

/// Reads the answer to RTM_GETROUTE for one address.
pub(crate) fn way(payload: &[u8]) -> Option<Way> {
    let kind = attr::u8_at(payload, 7)?;
    let index = Attrs::after(payload, RTMSG).find(RTA_OIF).and_then(attr::u32)?;
    Some(Way { index, local: kind == RTN_LOCAL })
}

/// Reads the next hops of RTA_MULTIPATH, up to one that is cut short; whether they are plain and weigh the same.
fn multipath(mut value: &[u8], hops: &mut Vec<NextHop>) -> bool {
    let mut plain = true;
    while let Some(hop) = attr::u16_at(value, 0).and_then(|length| value.get(..usize::from(length))) {
        let (Some(&flags), Some(&weight), Some(index)) = (hop.get(2), hop.get(3), attr::u32_at(hop, 4))
        else {
            break;
        };
        let attributes = || Attrs::after(hop, RTNEXTHOP);
        let gateway = attributes().find(RTA_GATEWAY).and_then(attr::ip);
        let gateway = gateway.or_else(|| attributes().find(RTA_VIA).and_then(via));
        hops.push(NextHop { index, gateway });
        plain &= flags & RTNH_F_ONLINK == 0 && weight == 0;
        value = value.get(attr::align(hop.len())..).unwrap_or_default();
    }
    plain
}

/// `struct rtvia`: family and address.
fn via(value: &[u8]) -> Option<IpAddr> {
    attr::ip(value.get(2..)?)
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::golden;

    /// What `ip route show table all` is answered after the command, by Linux 6.18 with br0 as link 2.
    fn read(hex: &str) -> Found {
        let datagram = golden::bytes(hex);
        route(golden::message(&datagram).payload).unwrap()
    }

    fn hops(found: &Found) -> String {
        found.route.to_string()
    }

    /// ip route add 10.5.0.0/16 mtu 1400 advmss 1300 metric 7 nexthop via 10.1.0.1 dev br0
    /// nexthop via 10.1.0.2 dev br0 weight 2
    const MULTIPATH: &str = "6c000000 18002200 01000000 46030000
        02100000 fe030001 00000000
        08000f00 fe000000 08000100 0a050000 08000600 07000000
        14000800 08000200 78050000 08000800 14050000
        24000900 10000000 02000000 08000500 0a010001 10000001 02000000 08000500 0a010002";

    #[test]
    fn multipath_is_read_with_its_metrics() {
        let found = read(MULTIPATH);
        let text = "route 10.5.0.0/16 via 10.1.0.1 dev 2 via 10.1.0.2 dev 2 metric 7 table 254";
        assert_eq!(hops(&found), text);
        assert_eq!((found.route.mtu, found.route.advmss), (Some(1400), Some(1300)));
        assert_eq!(found.route.scope, Some(0));
        assert!(!found.plain, "the second next hop weighs more");
        assert!(read(&MULTIPATH.replace("10000001", "10000000")).plain);
    }

    /// ip route add 10.7.0.0/16 via inet6 2001:db8::1 dev br0 table 1000
    #[test]
    fn ipv6_gateway_of_an_ipv4_route_is_read() {
        let found = read(
            "4c000000 18002200 01000000 46030000
             02100000 fc030001 00000000
             08000f00 e8030000 08000100 0a070000 16001200 0a002001 0db80000 00000000 00000000 00010000
             08000400 02000000",
        );
        assert_eq!(hops(&found), "route 10.7.0.0/16 via 2001:db8::1 dev 2 table 1000");
        assert!(found.plain);
    }

    /// ip -6 route add default via 2001:db8::1 dev br0
    #[test]
    fn default_route_has_no_destination() {
        let found = read(
            "74000000 18002200 01000000 46030000
             0a000000 fe030001 00000000
             08000f00 fe000000 08000600 00040000 14000500 20010db8 00000000 00000000 00000001
             08000400 02000000
             24000c00 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
             05001400 00000000",
        );
        assert_eq!(hops(&found), "route ::/0 via 2001:db8::1 dev 2 metric 1024 table 254");
    }

    /// ip address add 10.1.2.3/16 dev br0 makes this one.
    const CONNECTED: &str = "3c000000 18002200 01000000 46030000
        02100000 fe02fd01 00000000
        08000f00 fe000000 08000100 0a010000 08000700 0a010203 08000400 02000000";

    #[test]
    fn connected_route_is_not_plain() {
        let found = read(CONNECTED);
        assert_eq!(hops(&found), "route 10.1.0.0/16 dev 2 table 254");
        assert_eq!(found.route.scope, Some(253));
        assert!(!found.plain);
    }

    #[test]
    fn other_kinds_and_cached_routes_are_left_out() {
        for (unicast, other) in
            [("fe02fd01 00000000", "fe02fd02 00000000"), ("fe02fd01 00000000", "fe02fd01 00020000")]
        {
            let datagram = golden::bytes(&CONNECTED.replace(unicast, other));
            assert!(route(golden::message(&datagram).payload).is_none(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(payload: Vec<u8>) {
            let _ = route(&payload);
        }

        #[test]
        fn no_damage_panics(changes: Vec<(prop::sample::Index, u8)>, cut: prop::sample::Index) {
            let mut payload = golden::bytes(MULTIPATH).split_off(16);
            for (at, byte) in changes {
                let at = at.index(payload.len());
                payload[at] = byte;
            }
            payload.truncate(cut.index(payload.len()));
            let _ = route(&payload);
        }
    }
}
