//! Routes just as the kernel has them, to be put back after what takes them away, or into another table.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST};
use nix::libc::{RTM_DELROUTE, RTM_GETROUTE, RTM_NEWROUTE};

use super::parse::{self, RTA_MULTIPATH, RTA_PREFSRC, RTA_TABLE, RTMSG, RTNEXTHOP, RTNH_F_ONLINK};
use super::{RouteSpec, build};
use crate::attr::{self, Attrs};
use crate::socket::Request;
use crate::write::{NLMSG_HDR, Writer};
use crate::{Result, Socket};

/// linux/rtnetlink.h
const RTPROT_KERNEL: u8 = 2;
const RTPROT_RA: u8 = 9;
const RTA_OIF: u16 = 4;
const RTA_NH_ID: u16 = 30;
const RTA_CACHEINFO: u16 = 12;

/// A unicast route as found, with all that [`RouteSpec`] has no word for: protocol, preferred source, every metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRoute {
    /// What can be said of it; all of it is filled in.
    pub spec: RouteSpec,
    /// RTA_PREFSRC: the address that packets are sent from.
    pub src: Option<IpAddr>,
    /// RTPROT_KERNEL: made together with an address.
    pub by_kernel: bool,
    /// `struct rtmsg` without what tells of the route's state, as one that is added must not have it.
    header: [u8; RTMSG],
    /// Attributes but for the table and such state.
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Socket {
    /// The unicast routes whose way out is this link, both families: of one table, or of all for `None`.
    pub fn route_dump_found(&mut self, index: u32, table: Option<u32>) -> Result<Vec<FoundRoute>> {
        let wanted = |found: &FoundRoute| {
            found.spec.leaves_by(index) && table.is_none_or(|table| found.spec.table == Some(table))
        };
        self.dump(
            Request::of(RTM_GETROUTE, &build::dump(None, Some(index), table.unwrap_or(0))),
            || format!("list the routes by the link with index {index}"),
            // Kernels before 4.20 ignore both filters.
            |payload| FoundRoute::read(payload).filter(wanted),
        )
    }

    /// The tables that have routes of any kind, each once.
    pub fn route_tables(&mut self) -> Result<Vec<u32>> {
        let message = Request::of(RTM_GETROUTE, &build::dump(None, None, 0));
        let mut tables = self.dump(
            message,
            || "list the routes".into(),
            |payload| {
                let in_header = attr::u8_at(payload, 4).map(u32::from);
                Attrs::after(payload, RTMSG).find(RTA_TABLE).and_then(attr::u32).or(in_header)
            },
        )?;
        tables.sort_unstable();
        tables.dedup();
        Ok(tables)
    }

    /// Puts a route that was found into a table, in the place of one to the same destination with the same metric, by whatever
    /// link.
    pub fn route_put(&mut self, route: &FoundRoute, table: u32) -> Result<()> {
        self.put(route, table, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// The same beside others to that destination: IPv4's before them, IPv6's as one more next hop of one with gateways. EEXIST
    /// when it is there already.
    pub fn route_put_beside(&mut self, route: &FoundRoute, table: u32) -> Result<()> {
        self.put(route, table, NLM_F_CREATE)
    }

    /// The same where there is none to that destination with that metric; EEXIST when there is.
    pub fn route_put_new(&mut self, route: &FoundRoute) -> Result<()> {
        self.put(route, super::table_id(route.spec.table), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// The same behind others to that destination (`ip route append`).
    pub fn route_put_behind(&mut self, route: &FoundRoute) -> Result<()> {
        self.put(route, super::table_id(route.spec.table), NLM_F_CREATE | NLM_F_APPEND)
    }

    fn put(&mut self, route: &FoundRoute, table: u32, flags: u16) -> Result<()> {
        let op = || format!("add {}", RouteSpec { table: Some(table), ..route.spec.clone() });
        let mut message = route.message(RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_ACK | flags, table);
        self.connection.change(&mut message, &op)
    }

    /// Removes a route that was found, and no other that is like it.
    pub fn route_take(&mut self, route: &FoundRoute) -> Result<()> {
        let table = super::table_id(route.spec.table);
        let mut message = route.message(RTM_DELROUTE, NLM_F_REQUEST | NLM_F_ACK, table);
        self.connection.change(&mut message, &|| format!("remove {}", route.spec))
    }
}

impl FoundRoute {
    /// What of it is one link's own. Of IPv6 routes to one destination by gateways the kernel makes one multipath route, whatever links
    /// they leave by, and each next hop can come and go alone. `None` for an IPv4 one that leaves by other links too: somebody
    /// wanted it so.
    pub fn only_by(mut self, index: u32) -> Option<Self> {
        if self.spec.next_hops.iter().all(|hop| hop.index == index) {
            return Some(self);
        }
        if self.spec.dst.addr().is_ipv4() {
            return None;
        }
        self.spec.next_hops.retain(|hop| hop.index == index);
        for (kind, value) in &mut self.attributes {
            if *kind == RTA_MULTIPATH {
                *value = hops(value)
                    .filter(|hop| attr::u32_at(hop, 4) == Some(index))
                    .flatten()
                    .copied()
                    .collect();
            }
        }
        Some(self)
    }

    /// RTPROT_RA: a router advertised it.
    pub fn is_advertised(&self) -> bool {
        self.header[5] == RTPROT_RA
    }

    /// The same by another link, or by the same one after its index has changed; for one that leaves by one link only. Of a next
    /// hop that is an object of its own the way remains, since its number is one of its namespace's.
    #[must_use]
    pub fn on(&self, index: u32) -> Self {
        let mut moved = self.clone();
        moved.spec.next_hops.iter_mut().for_each(|hop| hop.index = index);
        moved.attributes.retain(|(kind, _)| *kind != RTA_NH_ID);
        for (kind, value) in &mut moved.attributes {
            match *kind {
                RTA_OIF => *value = index.to_ne_bytes().to_vec(),
                RTA_MULTIPATH => {
                    let mut hops: Vec<Vec<u8>> = hops(value).map(<[u8]>::to_vec).collect();
                    hops.iter_mut().for_each(|hop| hop[4..8].copy_from_slice(&index.to_ne_bytes()));
                    *value = hops.concat();
                }
                _ => {}
            }
        }
        moved
    }

    /// The same with gateways that are taken to be on the link, whatever other routes say (`onlink`).
    #[must_use]
    pub fn on_link(&self) -> Self {
        let mut moved = self.clone();
        moved.header[8] |= RTNH_F_ONLINK;
        for (kind, value) in &mut moved.attributes {
            if *kind == RTA_MULTIPATH {
                let mut hops: Vec<Vec<u8>> = hops(value).map(<[u8]>::to_vec).collect();
                hops.iter_mut().for_each(|hop| hop[2] |= RTNH_F_ONLINK);
                *value = hops.concat();
            }
        }
        moved
    }

    /// The kernel's bytes, to be kept somewhere.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.message(0, 0, super::table_id(self.spec.table)).split_off(NLMSG_HDR)
    }

    /// Reads what [`FoundRoute::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes)
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let spec = parse::route(payload)?.route;
        let mut header: [u8; RTMSG] = *payload.first_chunk()?;
        header[8..].copy_from_slice(&(attr::u32_at(payload, 8)? & u32::from(RTNH_F_ONLINK)).to_ne_bytes());
        let attributes = Attrs::after(payload, RTMSG)
            .filter(|(kind, _)| !matches!(*kind, RTA_TABLE | RTA_CACHEINFO))
            .map(|(kind, value)| match kind {
                RTA_MULTIPATH => (kind, without_state(value)),
                _ => (kind, value.to_vec()),
            })
            .collect();
        Some(FoundRoute {
            src: Attrs::after(payload, RTMSG).find(RTA_PREFSRC).and_then(attr::ip),
            by_kernel: header[5] == RTPROT_KERNEL,
            spec,
            header,
            attributes,
        })
    }

    pub(crate) fn message(&self, kind: u16, flags: u16, table: u32) -> Vec<u8> {
        let mut header = self.header;
        let small = u8::try_from(table).ok();
        header[4] = small.unwrap_or(0);
        let mut writer = Writer::default();
        writer.message(kind, flags, 0, &header, |writer| {
            for (kind, value) in &self.attributes {
                writer.attr(*kind, value);
            }
            if small.is_none() {
                writer.attr(RTA_TABLE, &table.to_ne_bytes());
            }
        });
        writer.into_bytes()
    }
}

/// The next hops of RTA_MULTIPATH, up to one that is cut short: `struct rtnexthop` with attributes, padded.
fn hops(mut value: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = usize::from(attr::u16_at(value, 0)?);
        let hop = value.get(..attr::align(length)).filter(|_| length >= RTNEXTHOP)?;
        value = &value[hop.len()..];
        Some(hop)
    })
}

/// Next hops whose flags say nothing but what can be asked for: those of a dead one the kernel refuses.
fn without_state(value: &[u8]) -> Vec<u8> {
    let mut hops: Vec<Vec<u8>> = hops(value).map(<[u8]>::to_vec).collect();
    hops.iter_mut().for_each(|hop| hop[2] &= RTNH_F_ONLINK);
    hops.concat()
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::golden;

    fn read(hex: &str) -> FoundRoute {
        let datagram = golden::bytes(hex);
        FoundRoute::read(golden::message(&datagram).payload).unwrap()
    }

    /// What `ip route show table all` is answered by Linux 6.18 after `ip address add 10.1.2.3/16 dev br0`, br0 being link 2
    /// and without a carrier.
    const CONNECTED: &str = "3c000000 18002200 01000000 46030000
        02100000 fe02fd01 10000000
        08000f00 fe000000 08000100 0a010000 08000700 0a010203 08000400 02000000";

    const CHANGE: u16 = NLM_F_REQUEST | NLM_F_ACK;

    /// ip route replace 10.1.0.0/16 dev br0 proto kernel scope link src 10.1.2.3 table 100, but for iproute2's order
    #[test]
    fn a_route_goes_to_another_table_with_its_protocol_scope_and_source() {
        let found = read(CONNECTED);
        assert_eq!(found.spec.to_string(), "route 10.1.0.0/16 dev 2 table 254");
        assert_eq!((found.src, found.by_kernel), (Some("10.1.2.3".parse().unwrap()), true));
        let flags = CHANGE | NLM_F_CREATE | NLM_F_REPLACE;
        let expected = "34000000 18000505 00000000 00000000
            02100000 6402fd01 00000000
            08000100 0a010000 08000700 0a010203 08000400 02000000";
        assert_eq!(found.message(RTM_NEWROUTE, flags, 100), golden::bytes(expected));
        let expected = "3c000000 18000505 00000000 00000000
            02100000 0002fd01 00000000
            08000100 0a010000 08000700 0a010203 08000400 02000000 08000f00 e8030000";
        assert_eq!(found.message(RTM_NEWROUTE, flags, 1000), golden::bytes(expected));
    }

    /// ip route del 10.1.0.0/16 dev br0 proto kernel scope link src 10.1.2.3
    #[test]
    fn a_route_is_removed_by_all_that_is_known_of_it() {
        let expected = "34000000 19000500 00000000 00000000
            02100000 fe02fd01 00000000
            08000100 0a010000 08000700 0a010203 08000400 02000000";
        assert_eq!(read(CONNECTED).message(RTM_DELROUTE, CHANGE, 254), golden::bytes(expected));
    }

    /// ip route add 10.5.0.0/16 nexthop via 10.1.0.1 dev br0 nexthop via 10.1.0.2 dev br0 weight 2 onlink
    #[test]
    fn state_of_next_hops_is_not_asked_for() {
        let dump = |flags: [&str; 2]| {
            format!(
                "48000000 18002200 01000000 46030000 02100000 fe030001 00000000 08000100 0a050000
                 24000900 1000{}00 02000000 08000500 0a010001 1000{}01 02000000 08000500 0a010002",
                flags[0], flags[1]
            )
        };
        assert_eq!(read(&dump(["10", "14"])).attributes, read(&dump(["00", "04"])).attributes);
        assert!(!read(&dump(["10", "14"])).by_kernel);
    }

    /// An on-link gateway stays one (ip route add default via 192.0.2.1 dev br0 onlink).
    #[test]
    fn an_on_link_gateway_is_asked_for() {
        let found = read(&CONNECTED.replace("fd01 10000000", "0001 14000000"));
        assert_eq!(found.header[8..], [4, 0, 0, 0]);
    }

    /// ip -6 route add default nexthop via fe80::1 dev 2 nexthop via fe80::2 dev 3
    #[test]
    fn of_an_ipv6_multipath_route_each_link_has_its_own_hop() {
        let hop = |index: u8, gateway: u8| {
            format!("1c000000 0{index}000000 14000500 fe800000 00000000 00000000 0000000{gateway}")
        };
        let dump = format!(
            "60000000 18002200 01000000 46030000 0a000000 fe030001 00000000
             08000600 00040000 3c000900 {} {}",
            hop(2, 1),
            hop(3, 2)
        );
        let own = read(&dump).only_by(3).unwrap();
        assert_eq!(own.spec.to_string(), "route ::/0 via fe80::2 dev 3 metric 1024 table 254");
        assert_eq!(own.attributes[1], (RTA_MULTIPATH, golden::bytes(&hop(3, 2))));
        assert_eq!(own.clone().only_by(3), Some(own));
        assert_eq!(read(CONNECTED).only_by(2), Some(read(CONNECTED)));
        assert_eq!(read(CONNECTED).only_by(3), None, "IPv4's is whole or not at all");
    }

    proptest! {
        #[test]
        fn no_damage_panics(changes: Vec<(prop::sample::Index, u8)>, cut: prop::sample::Index) {
            let mut payload = golden::bytes(CONNECTED).split_off(16);
            payload.extend(golden::bytes("14000900 10001000 02000000 08000500 0a010001"));
            for (at, byte) in changes {
                let at = at.index(payload.len());
                payload[at] = byte;
            }
            payload.truncate(cut.index(payload.len()));
            let _ = FoundRoute::read(&payload);
        }
    }
}
