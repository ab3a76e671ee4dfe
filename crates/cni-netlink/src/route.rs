//! Routes: `ip route`.

mod build;
mod default;
mod found;
pub(crate) mod parse;

pub use found::FoundRoute;

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use nix::libc;
use nix::libc::{RT_TABLE_MAIN, RT_TABLE_UNSPEC, RTM_DELROUTE, RTM_GETROUTE, RTM_NEWROUTE};

use crate::socket::Request;
use crate::{Result, Socket};

/// The number of a table: the main one for none, and for RT_TABLE_UNSPEC, as the kernel takes it.
fn table_id(table: Option<u32>) -> u32 {
    table.filter(|table| *table != RT_TABLE_UNSPEC.into()).unwrap_or(RT_TABLE_MAIN.into())
}

/// One way out of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The link's index.
    pub index: u32,
    /// The router; `None` when the destination is on the link.
    pub gateway: Option<IpAddr>,
}

/// A route, to be added or as found; in one that was found the kernel's choices are filled in. One to be added is
/// [`RouteSpec::new`] with what is to be otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// Destination; a prefix length of 0 is the default route. Host bits must be zero.
    pub dst: IpNet,
    /// One, or several for a multipath route.
    pub next_hops: Vec<NextHop>,
    /// RTA_PRIORITY, iproute2's metric. The kernel takes 1024 for `None` with IPv6.
    pub metric: Option<u32>,
    /// `None`, or 0, for the main table.
    pub table: Option<u32>,
    /// RT_SCOPE_*: 0 universe, 200 site, 253 link, 254 host; `None` to choose as iproute2 does (link without a gateway, IPv4).
    pub scope: Option<u8>,
    /// RTAX_MTU
    pub mtu: Option<u32>,
    /// RTAX_ADVMSS
    pub advmss: Option<u32>,
}

impl RouteSpec {
    /// A route of the main table that has no way out yet.
    pub fn new(dst: IpNet) -> Self {
        RouteSpec {
            dst,
            next_hops: Vec::new(),
            metric: None,
            table: None,
            scope: None,
            mtu: None,
            advmss: None,
        }
    }
}

/// Where packets to an address go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Way {
    /// The interface they leave by; lo for the host's own addresses.
    pub index: u32,
    /// RTN_LOCAL: the address is the host's own, or one of 127.0.0.0/8.
    pub local: bool,
}

impl Socket {
    /// The way to an address, by all rules and tables (`ip route get`); `None` when there is none, or one that refuses.
    pub fn route_get(&mut self, dst: IpAddr) -> Result<Option<Way>> {
        self.way(dst, None)
    }

    /// The same by one link only (`ip route get ADDRESS oif NAME`). Of an IPv6 address that several links have it tells
    /// whether this one's is among the host's own.
    pub fn route_get_oif(&mut self, dst: IpAddr, index: u32) -> Result<Option<Way>> {
        self.way(dst, Some(index))
    }

    fn way(&mut self, dst: IpAddr, index: Option<u32>) -> Result<Option<Way>> {
        let way = self.get(
            Request::of(RTM_GETROUTE, &build::get(dst, index)),
            || format!("find the route to {dst}"),
            parse::way,
        );
        match way {
            Ok(way) => Ok(Some(way)),
            // What the kinds of route that refuse answer (net/ipv4/fib_semantics.c, fib_props), and no route at all.
            Err(error)
                if matches!(
                    error.errno(),
                    Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Adds a route, failing with EEXIST when there is one to the same destination, metric and table.
    pub fn route_add(&mut self, route: &RouteSpec) -> Result<()> {
        self.route_new(route, NLM_F_CREATE | NLM_F_EXCL, "add")
    }

    /// The same with a preferred source address (RTA_PREFSRC): whoever has not chosen one sends from it. It must be an
    /// address of the host's; an IPv6 one must not be tentative (net/ipv6/route.c, ip6_route_info_create).
    pub fn route_add_src(&mut self, route: &RouteSpec, src: IpAddr) -> Result<()> {
        let message = Request::of(RTM_NEWROUTE, &build::add(route, Some(src)));
        self.change(message, NLM_F_CREATE | NLM_F_EXCL, || format!("add {route} src {src}"))
    }

    /// The same behind others to that destination, by other links say (`ip route append`).
    pub fn route_append_src(&mut self, route: &RouteSpec, src: IpAddr) -> Result<()> {
        let message = Request::of(RTM_NEWROUTE, &build::add(route, Some(src)));
        self.change(message, NLM_F_CREATE | NLM_F_APPEND, || format!("add {route} src {src}"))
    }

    /// Adds a route in the place of one to the same destination, metric and table, if there is one, whatever way that leads
    /// (`ip route replace`).
    pub fn route_replace(&mut self, route: &RouteSpec) -> Result<()> {
        self.route_new(route, NLM_F_CREATE | NLM_F_REPLACE, "add")
    }

    /// Adds a next hop to a route that may be there already: equal destinations become one multipath route (the
    /// reference's RouteAddEcmp). EEXIST when that way is there already.
    ///
    /// For IPv6 the kernel merges by itself what has a gateway. For IPv4 it would put the new route before the old one,
    /// which then never carries a packet; so it is merged here, when the old one is such a route too and leaves by the
    /// same interface. Other routes to the destination stay behind the new one, as with the reference: a second
    /// network's default route wins and does not share its traffic with the first one's.
    pub fn route_add_ecmp(&mut self, route: &RouteSpec) -> Result<()> {
        if matches!(route.dst, IpNet::V6(_)) {
            return self.route_new(route, NLM_F_CREATE, "add");
        }
        let exists = match self.route_add(route) {
            Err(error) if error.is_exists() => error,
            done => return done,
        };
        let Some(found) = self.route_first(route)?.filter(|found| found.merges_with(route)) else {
            return self.route_new(route, NLM_F_CREATE, "add");
        };
        let mut merged = RouteSpec { next_hops: found.route.next_hops, ..route.clone() };
        let new = route.next_hops.iter().filter(|hop| !merged.next_hops.contains(hop)).copied();
        let new: Vec<_> = new.collect();
        if new.is_empty() {
            return Err(exists);
        }
        merged.next_hops.extend(new);
        self.route_new(&merged, NLM_F_REPLACE, "add a next hop to")
    }

    /// Removes a route. Of an IPv6 multipath route one next hop can be removed; of an IPv4 one all must be named.
    pub fn route_del(&mut self, route: &RouteSpec) -> Result<()> {
        let message = Request::of(RTM_DELROUTE, &build::delete(route));
        self.change(message, 0, || format!("remove {route}"))
    }

    /// Routes of one table (main for `None`) whose way out is this link, both families.
    pub fn route_dump(&mut self, index: u32, table: Option<u32>) -> Result<Vec<RouteSpec>> {
        let table = table_id(table);
        let found = self.dump(
            Request::of(RTM_GETROUTE, &build::dump(None, Some(index), table)),
            || format!("list the routes of table {table} by the link with index {index}"),
            // Kernels before 4.20 ignore both filters.
            |payload| {
                parse::route(payload).filter(|found| found.route.leaves_by(index) && found.is_of(table))
            },
        )?;
        Ok(found.into_iter().map(|found| found.route).collect())
    }

    fn route_new(&mut self, route: &RouteSpec, flags: u16, verb: &str) -> Result<()> {
        let message = Request::of(RTM_NEWROUTE, &build::add(route, None));
        self.change(message, flags, || format!("{verb} {route}"))
    }

    /// The IPv4 route that NLM_F_REPLACE would replace: the first of equal destination, metric and table, whatever
    /// way it leads (net/ipv4/fib_trie.c, fib_table_insert).
    fn route_first(&mut self, route: &RouteSpec) -> Result<Option<parse::Found>> {
        let table = table_id(route.table);
        let metric = route.metric.unwrap_or(0);
        let found = self.dump(
            Request::of(RTM_GETROUTE, &build::dump(Some(route.dst), None, table)),
            || format!("list the routes of table {table}"),
            |payload| {
                parse::route(payload).filter(|found| {
                    found.route.dst == route.dst
                        && found.route.metric.unwrap_or(0) == metric
                        && found.tos == 0
                        && found.is_of(table)
                })
            },
        )?;
        Ok(found.into_iter().next())
    }
}

impl RouteSpec {
    fn leaves_by(&self, index: u32) -> bool {
        self.next_hops.iter().any(|hop| hop.index == index)
    }
}

impl parse::Found {
    fn is_of(&self, table: u32) -> bool {
        self.route.table == Some(table)
    }

    /// Whether it was added as `route` is about to be, by the same interface.
    fn merges_with(&self, route: &RouteSpec) -> bool {
        let same_way = |hop: &NextHop| route.next_hops.iter().all(|new| new.index == hop.index);
        self.plain
            && self.route.scope == Some(build::scope(route))
            && (self.route.mtu, self.route.advmss) == (route.mtu, route.advmss)
            && self.route.next_hops.iter().all(same_way)
    }
}

/// `route 10.1.0.0/16 via 10.0.0.1 dev 2 metric 5 table 100`, in iproute2's words.
impl std::fmt::Display for RouteSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "route {}", self.dst)?;
        for hop in &self.next_hops {
            if let Some(gateway) = hop.gateway {
                write!(f, " via {gateway}")?;
            }
            write!(f, " dev {}", hop.index)?;
        }
        for (name, value) in [("metric", self.metric), ("table", self.table)] {
            if let Some(value) = value {
                write!(f, " {name} {value}")?;
            }
        }
        Ok(())
    }
}
