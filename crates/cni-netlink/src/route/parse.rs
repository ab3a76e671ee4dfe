//! Reading RTM_NEWROUTE: only what `RouteSpec` holds, and what merging needs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{NextHop, RouteSpec};
use crate::attr::{self, Attrs};

/// Length of `struct rtmsg`, and of `struct rtnexthop`.
const RTMSG: usize = 12;
const RTNEXTHOP: usize = 8;

/// linux/rtnetlink.h
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
const RTM_F_CLONED: u32 = 0x200;
const RTNH_F_ONLINK: u8 = 4;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;

const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;

/// A route as found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) route: RouteSpec,
    pub(super) tos: u8,
    /// Nothing about it that `RouteSpec` could not say: protocol boot, no preferred source, no on-link gateway.
    pub(super) plain: bool,
}

/// Reads the payload of RTM_NEWROUTE; `None` for cached routes, for other kinds than unicast, which no `RouteSpec`
/// can say, for other families, and for what is cut short.
pub(super) fn route(payload: &[u8]) -> Option<Found> {
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
