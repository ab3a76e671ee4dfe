//! Gateways: which addresses the bridge gets and which default routes the container, from what IPAM answered; and putting
//! the addresses on the bridge.

use std::net::IpAddr;
use std::time::Duration;

use cni_host::sysctl_write;
use cni_interface::absent_is_fine;
use cni_netlink::{Addr, AddrFlags, Link, LinkMonitor, Socket};
use cni_plugin::{Context as _, Error, Result, Undo};
use cni_types::{CniResult, Route};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::bridge_dev::has_other_ports;
use crate::config::Config;

/// Where the container's interface stands in `interfaces`: after the bridge and the host's end.
const CONTAINER: usize = 2;
/// The kernel's own duplicate address detection takes one to two seconds.
const DAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Completes IPAM's result: each address gets its interface and, as configured, its gateway and default route. Returns
/// the addresses that the bridge needs, IPv4 first.
pub(crate) fn plan(result: &mut CniResult, config: &Config) -> Result<Vec<IpNet>> {
    let mut gateways = Vec::new();
    let mut has_default_route = [false; 2];
    for ip in &mut result.ips {
        ip.interface = Some(CONTAINER);
        if !config.gateway {
            continue;
        }
        let gateway = match ip.gateway {
            Some(gateway) => gateway,
            None => first_address(ip.address)?,
        };
        ip.gateway = Some(gateway);
        if gateway.is_ipv4() != ip.address.addr().is_ipv4() {
            let msg = format!("cannot use gateway {gateway} for {}: it is of the other family", ip.address);
            return Err(Error::failed(msg));
        }
        let found = &mut has_default_route[usize::from(gateway.is_ipv6())];
        if config.default_route && !std::mem::replace(found, true) {
            let dst = default_route(gateway);
            // One without a gateway goes through this very gateway; added twice it would be refused, as it is by the
            // reference.
            let is_there =
                |route: &Route| route.dst == dst && (route.gw.is_some() || *route == Route::new(dst, None));
            if !result.routes.iter().any(is_there) {
                result.routes.push(Route::new(dst, Some(gateway)));
            }
        }
        let address = IpNet::new(gateway, ip.address.prefix_len());
        gateways
            .push(address.map_err(|error| Error::failed(format!("cannot use gateway {gateway}: {error}")))?);
    }
    gateways.sort_by_key(|gateway| gateway.addr().is_ipv6());
    Ok(gateways)
}

/// The first address after the subnet's own.
fn first_address(address: IpNet) -> Result<IpAddr> {
    let next = match address.network() {
        IpAddr::V4(network) => u32::from(network).checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(network) => u128::from(network).checked_add(1).map(|next| IpAddr::V6(next.into())),
    };
    next.ok_or_else(|| {
        Error::failed(format!("cannot find a gateway for {address}: its subnet has no first address"))
    })
}

fn default_route(gateway: IpAddr) -> IpNet {
    if gateway.is_ipv4() { Ipv4Net::default().into() } else { Ipv6Net::default().into() }
}

/// The link that carries the gateways.
pub(crate) struct Carrier<'a> {
    pub(crate) link: &'a Link,
    pub(crate) bridge: u32,
    /// Ports that are no sign of another container: this one's, and that of the gateway's interface.
    pub(crate) ports: [u32; 2],
}

/// Puts the gateways' addresses on the bridge, or on the gateway's interface in its VLAN. All are compared before the
/// first is set.
pub(crate) fn ensure(
    host: &mut Socket,
    carrier: &Carrier<'_>,
    gateways: &[IpNet],
    config: &Config,
    undo: &mut Undo<'_>,
) -> Result<()> {
    let Carrier { link, bridge, ports } = *carrier;
    let index = link.index;
    let present: Vec<IpNet> = host.addr_dump(index)?.iter().map(|addr| addr.address).collect();
    let missing: Vec<IpNet> = gateways.iter().copied().filter(|gateway| !present.contains(gateway)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let in_the_way = |address: &IpNet| {
        !gateways.contains(address) && missing.iter().any(|gateway| conflict(*gateway, *address))
    };
    for other in present.into_iter().filter(in_the_way) {
        if !config.force_address {
            return Err(conflict_error(link, other, &missing));
        }
        absent_is_fine(host.addr_del(index, other))?;
        undo.push("restore the bridge's address", move || {
            add(&mut Socket::open()?, index, other, false).map(drop)
        });
    }
    if missing.iter().any(|gateway| gateway.addr().is_ipv6()) {
        // Where new interfaces have IPv6 off, this one is asked for it. If that cannot be changed, adding the address fails.
        let _ = sysctl_write(&format!("net/ipv6/conf/{}/disable_ipv6", link.name), "0");
    }
    let mut monitor = if config.dad { Some(LinkMonitor::open()?) } else { None };
    for gateway in missing {
        if add(host, index, gateway, config.dad)? {
            let unless_used = move || remove_unused(bridge, ports, index, gateway);
            undo.push("remove the gateway's address", unless_used);
        }
        if let Some(monitor) = &mut monitor {
            wait_for_dad(host, monitor, link, gateway)?;
        }
    }
    Ok(())
}

/// IPv4: any other address. IPv6: one whose subnet overlaps; the link-local address every interface has does not.
fn conflict(gateway: IpNet, other: IpNet) -> bool {
    match (gateway, other) {
        (IpNet::V4(_), IpNet::V4(_)) => true,
        (IpNet::V6(a), IpNet::V6(b)) => a.contains(&b.addr()) || b.contains(&a.addr()),
        _ => false,
    }
}

fn conflict_error(link: &Link, other: IpNet, wanted: &[IpNet]) -> Error {
    let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    Error::failed(format!(
        "cannot set gateway address {} on {}: it already has a different address {other} (forceAddress replaces it)",
        wanted.join(", "),
        link.name
    ))
}

/// Whether the address was not there. Nobody but the bridge can own the gateway's address, so it needs no duplicate address
/// detection, which would leave the first containers without a gateway for a second or two.
fn add(host: &mut Socket, index: u32, address: IpNet, dad: bool) -> Result<bool> {
    match host.addr_add(index, address, AddrFlags { nodad: !dad }) {
        Ok(()) => Ok(true),
        Err(error) if error.is_exists() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn wait_for_dad(host: &mut Socket, monitor: &mut LinkMonitor, link: &Link, gateway: IpNet) -> Result<()> {
    let of_gateway = |addrs: &[Addr]| addrs.iter().copied().find(|addr| addr.address == gateway);
    let ended = |addrs: &[Addr]| of_gateway(addrs).is_none_or(|addr| addr.dadfailed || !addr.tentative);
    let addrs = monitor
        .wait_addrs(host, link.index, DAD_TIMEOUT, ended)
        .with_context(|| format!("cannot set gateway address {gateway} on {}", link.name))?;
    match of_gateway(&addrs) {
        Some(addr) if !addr.dadfailed => Ok(()),
        Some(_) => Err(Error::failed(format!(
            "cannot set gateway address {gateway} on {}: another host has it (duplicate address detection)",
            link.name
        ))),
        None => Err(Error::failed(format!(
            "gateway address {gateway} was removed from {} by somebody",
            link.name
        ))),
    }
}

/// Takes back an address that this ADD set, unless another container has come to the bridge and relies on it.
fn remove_unused(bridge: u32, ports: [u32; 2], index: u32, gateway: IpNet) -> Result<()> {
    let mut host = Socket::open()?;
    if has_other_ports(&mut host, bridge, &ports)? {
        return Ok(());
    }
    absent_is_fine(host.addr_del(index, gateway))
}

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;
