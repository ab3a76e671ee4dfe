//! Setting up a container's interface from an IPAM result, and checking it.

use std::net::IpAddr;

use cni_netlink::{RouteSpec, Socket};
use ipnet::IpNet;

use crate::Result;

/// What an interface gets. Plain values, so that this crate need not know the specification's types.
#[derive(Clone, Debug, Default)]
pub struct IfaceConfig {
    /// Addresses, each with its gateway.
    pub addresses: Vec<(IpNet, Option<IpAddr>)>,
    /// Routes; their next hops' indices are filled in here, and a missing gateway is the first gateway of the family.
    pub routes: Vec<RouteSpec>,
    /// Do duplicate address detection for IPv6 and wait for its end, at most ten seconds; without it addresses are usable
    /// at once.
    pub dad: bool,
}

/// Call inside the container's namespace. Enables IPv6 on lo and the interface when there are IPv6 addresses
/// (disable_ipv6=0, keep_addr_on_down=1), sets arp_notify and ndisc_notify, adds the addresses, sets the link up, adds the
/// routes (equal destinations become one multipath route) and announces the addresses.
pub fn configure_iface(socket: &mut Socket, index: u32, ifname: &str, config: &IfaceConfig) -> Result<()> {
    let _ = (socket, index, ifname, config);
    todo!()
}

/// Call inside the container's namespace: every address and route of `config` is there.
pub fn check_iface(socket: &mut Socket, index: u32, ifname: &str, config: &IfaceConfig) -> Result<()> {
    let _ = (socket, index, ifname, config);
    todo!()
}
