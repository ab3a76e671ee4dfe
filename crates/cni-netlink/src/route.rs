//! Routes: `ip route`.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{Result, Socket};

/// One way out of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct NextHop {
    pub index: u32,
    pub gateway: Option<IpAddr>,
}

/// A route, to be added or as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// Destination; a prefix length of 0 is the default route. Host bits must be zero.
    pub dst: IpNet,
    /// One, or several for a multipath route.
    pub next_hops: Vec<NextHop>,
    /// RTA_PRIORITY, iproute2's metric.
    pub metric: Option<u32>,
    /// `None` for the main table.
    pub table: Option<u32>,
    /// 0 universe, 200 site, 253 link, 254 host; `None` to choose as iproute2 does (link without a gateway, IPv4).
    pub scope: Option<u8>,
    /// RTAX_MTU
    pub mtu: Option<u32>,
    /// RTAX_ADVMSS
    pub advmss: Option<u32>,
}

impl Socket {
    /// Adds a route, failing with EEXIST when there is one to the same destination, metric and table.
    pub fn route_add(&mut self, route: &RouteSpec) -> Result<()> {
        let _ = route;
        todo!()
    }
    /// Adds a next hop to a route that may be there already: equal destinations become one multipath route (the
    /// reference's RouteAddEcmp).
    pub fn route_add_ecmp(&mut self, route: &RouteSpec) -> Result<()> {
        let _ = route;
        todo!()
    }
    /// Removes a route.
    pub fn route_del(&mut self, route: &RouteSpec) -> Result<()> {
        let _ = route;
        todo!()
    }
    /// Routes of one table (main for `None`) whose way out is this link, both families.
    pub fn route_dump(&mut self, index: u32, table: Option<u32>) -> Result<Vec<RouteSpec>> {
        let _ = (index, table);
        todo!()
    }
}
