//! What an interface has, and loses when the kernel takes it down and up again to change its master (drivers/net/vrf.c,
//! cycle_netdev): IPv6 addresses and every route but those of its IPv4 subnets.

use std::net::IpAddr;
use std::time::Duration;

use cni_host::NetNs;
use cni_netlink::{FoundAddr, FoundRoute, RouteMonitor, RouteSpec, Socket};
use cni_plugin::{Error, Result, log};

use crate::MAIN;

/// The kernel makes the local routes of its own addresses itself.
const LOCAL: u32 = 255;

/// The kernel's worker needs microseconds; on a busy host, as long as others hold the lock that it needs (RTNL).
const RECEPTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Addresses and routes of a link.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) index: u32,
    addresses: Vec<FoundAddr>,
    routes: Vec<FoundRoute>,
}

impl Kept {
    /// What the link has now.
    pub(crate) fn of(inside: &mut Socket, index: u32) -> Result<Self> {
        let found = inside.route_dump_found(index, None)?.into_iter();
        let found = found.filter(|route| route.spec.table != Some(LOCAL));
        // Of one that leaves by other interfaces too the kernel takes this one's part, or with IPv4 none.
        let mut routes: Vec<_> = found.filter_map(|route| route.only_by(index)).collect();
        // Those on the link first: the others' gateways are reached by them.
        routes.sort_by_key(|route| route.spec.next_hops.iter().any(|hop| hop.gateway.is_some()));
        Ok(Kept { index, addresses: inside.addr_dump_found(index)?, routes })
    }

    /// Gives the link what it lacks of it. The main table's routes go to the VRF's, where one is given by its index and table.
    pub(crate) fn put_back(&self, netns: &NetNs, inside: &mut Socket, vrf: Option<(u32, u32)>) -> Result<()> {
        let returned = self.put_addresses(inside)?;
        for route in &self.routes {
            let table = match (route.spec.table, vrf) {
                (Some(MAIN), Some((_, table))) => table,
                (table, _) => table.unwrap_or(MAIN),
            };
            // The kernel's own come back with the addresses, if not at once.
            let there = inside.route_dump(self.index, Some(table))?;
            let same = |found: &RouteSpec| (found.dst, found.metric) == (route.spec.dst, route.spec.metric);
            if route.by_kernel && there.iter().any(same) {
                continue;
            }
            // Beside what other interfaces of the VRF have.
            match inside.route_put_beside(route, table) {
                Err(error) if error.is_exists() => {}
                // In a table that is not the VRF's the kernel takes no source address of the VRF's (net/ipv4/fib_semantics.c,
                // fib_valid_prefsrc). Packets of the VRF are not routed by it anyway.
                Err(error) if vrf.is_some_and(|(_, of_vrf)| of_vrf != table) => log::warn(error),
                done => done?,
            }
        }
        match vrf {
            Some((vrf, _)) => wait_for_reception(netns, inside, vrf, &returned),
            None => Ok(()),
        }
    }

    /// The addresses that were lost, and are there again.
    fn put_addresses(&self, inside: &mut Socket) -> Result<Vec<IpAddr>> {
        let there = inside.addr_dump(self.index)?;
        let is_there = |found: &FoundAddr| there.iter().any(|addr| addr.address == found.addr.address);
        let mut returned = Vec::new();
        for found in self.addresses.iter().filter(|found| !is_there(found) && !found.addr.dadfailed) {
            match inside.addr_put(found) {
                // The kernel makes a link-local address itself once the link has a carrier.
                Err(error) if error.is_exists() => {}
                done => done?,
            }
            returned.push(found.addr.address.addr());
        }
        Ok(returned)
    }
}

/// Until packets to the IPv6 addresses that were put back are received in the VRF: the kernel's worker makes their local routes
/// some time after it has answered.
fn wait_for_reception(netns: &NetNs, inside: &mut Socket, vrf: u32, addresses: &[IpAddr]) -> Result<()> {
    let addresses = addresses.iter().filter_map(|address| match address {
        IpAddr::V6(address) if !address.is_unicast_link_local() => Some(*address),
        _ => None,
    });
    let mut addresses = addresses.peekable();
    if addresses.peek().is_none() {
        return Ok(());
    }
    let mut monitor = netns.run(RouteMonitor::open)??;
    addresses
        .try_for_each(|address| monitor.wait_local_on(inside, vrf, address, RECEPTION_TIMEOUT))
        .map_err(Error::from)
}
