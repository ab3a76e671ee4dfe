//! `useInterfaceNetwork`: the device's addresses, routes and rules go with it into the container, and back.
//!
//! Which ones is as with the reference's 1.10.0: addresses that are valid everywhere, of IPv6 those that were given for good;
//! unicast routes of any table but the local one that leave by the device alone, but for what the kernel and routers make;
//! rules from those addresses to the tables of those routes, which stay on the host too. What cannot be had whole is refused, and
//! the device given back: an interface with half of its routes would be worse than none.

use std::net::IpAddr;

use cni_host::{configure_iface, sysctl_write};
use cni_interface::{absent_is_fine, iface_config};
use cni_netlink::{FoundAddr, FoundRoute, Link, LinkChange, RouteSpec, Socket, WholeRule};
use cni_plugin::{Context as _, Error, Request, Result, Undo, log};
use cni_types::{CniResult, IpConfig, Route};
use ipnet::IpNet;

use crate::config::Config;
use crate::device::{has_gateway, routes_of};
use crate::moving::Inside;

/// What failed, where it is not IPAM's.
const COPY: &str = "cannot copy the device's network (useInterfaceNetwork)";

/// RT_SCOPE_LINK of rtnetlink(7)
const LINK: u8 = 253;

/// RT_TABLE_MAIN and RT_TABLE_LOCAL of rtnetlink(7)
const MAIN: u32 = 254;
const LOCAL: u32 = 255;

// errno(3)
const EINVAL: i32 = 22;
const ENETUNREACH: i32 = 101;
const EHOSTUNREACH: i32 = 113;

/// What goes along.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Network {
    /// Whether the device was up.
    pub(crate) up: bool,
    /// IPv4 first.
    pub(crate) addresses: Vec<FoundAddr>,
    /// In the order in which they can be made.
    pub(crate) routes: Vec<FoundRoute>,
    /// As the container gets them; none that it has already.
    pub(crate) rules: Vec<WholeRule>,
}

/// Refuses what has no interface, and so no network.
pub(crate) fn expect_interface(config: &Config, is_in_userspace: bool) -> Result<()> {
    if config.with_network && is_in_userspace {
        let driver = "its driver gives the device to a program (DPDK), and it has no interface";
        return Err(Error::config(format!("useInterfaceNetwork: {driver}")));
    }
    Ok(())
}

/// Runs the IPAM plugin's ADD and arms its release. Where a network goes along the answer need not have an address.
pub(crate) fn ipam_add<'a, C>(
    network: Option<&Network>,
    req: &'a Request<C>,
    undo: &mut Undo<'a>,
) -> Result<CniResult> {
    if network.is_none() {
        return cni_interface::ipam_add(req, undo);
    }
    let result = req.ipam_add()?;
    undo.push("release the IPAM lease", || req.ipam_del());
    Ok(result)
}

impl Network {
    /// What goes along with the device to the container, where it is called `ifname`.
    pub(crate) fn of(
        host: &mut Socket,
        device: &Link,
        inside: &mut Inside<'_>,
        ifname: &str,
    ) -> Result<Self> {
        let mut addresses = host.addr_dump_found(device.index)?;
        addresses.retain(|found| found.scope() == 0 && (is_ipv4(found) || found.is_permanent()));
        addresses.sort_by_key(|found| !is_ipv4(found));
        let mut routes = routes_of(host, device.index)?;
        routes.retain(goes_along);
        routes.sort_by_key(has_gateway);
        for route in &routes {
            let is_own = |src: IpAddr| addresses.iter().any(|found| found.addr.address.addr() == src);
            if let Some(src) = route.src.filter(|src| !is_own(*src)) {
                let why = format!("packets by it are sent from {src}, which does not go along");
                return Err(Error::failed(format!("cannot copy the {}: {why}", route.spec)));
            }
        }
        warn_of_shared(host, device)?;
        let there = inside.socket.rule_dump_whole()?;
        let found = host.rule_dump_whole()?.into_iter().filter(|rule| is_for(rule, &addresses, &routes));
        let rules = found.map(|rule| rule.renamed(&device.name, ifname));
        let rules = rules.filter(|rule| !there.contains(rule)).collect();
        Ok(Network { up: device.up, addresses, routes, rules })
    }

    /// Gives the addresses to the device in the container, and sets it up: IPAM's routes may need them.
    pub(crate) fn give_addresses(&self, inside: &mut Inside<'_>, link: &Link) -> Result<()> {
        if self.addresses.iter().any(|found| !is_ipv4(found)) {
            inside.netns.run(|| allow_ipv6(&link.name))??;
        }
        for found in &self.addresses {
            // Nobody else has it: until now it was the host's.
            inside.socket.addr_put(&found.for_good().on(link.index)).context(COPY)?;
        }
        Ok(inside.socket.link_change(link.index, &LinkChange { up: Some(true), ..LinkChange::default() })?)
    }

    /// Adds the routes, behind those of IPAM, and the rules. What is on the device goes when it is taken back, by whoever does that;
    /// rules have to be removed.
    pub(crate) fn give_routes<'a>(
        &self,
        inside: &mut Inside<'a>,
        link: &Link,
        undo: &mut Undo<'a>,
    ) -> Result<()> {
        for route in &self.routes {
            put_route(&mut inside.socket, link.index, &route.on(link.index)).context(COPY)?;
        }
        let netns = inside.netns;
        for rule in &self.rules {
            match inside.socket.rule_put(rule) {
                Err(error) if error.is_exists() => continue,
                done => done.context(COPY)?,
            }
            let added = rule.clone();
            undo.push("remove the copied rule", move || absent_is_fine(netns.socket()?.rule_take(&added)));
        }
        Ok(())
    }

    /// Gives the interface what IPAM's result has beyond: an address that came along cannot be added twice, and routes need no
    /// address of IPAM's.
    pub(crate) fn configure_rest(
        &self,
        inside: &mut Inside<'_>,
        link: &Link,
        result: &CniResult,
    ) -> Result<()> {
        let mut rest = iface_config(&result.ips, &result.routes, false);
        for route in &mut rest.routes {
            // As for any result: a route without a gateway is through the first of its family, unless it is on the link.
            let mut gateways = result.ips.iter().filter_map(|ip| ip.gateway);
            let first = gateways.find(|gateway| gateway.is_ipv4() == route.dst.addr().is_ipv4());
            let on_link = route.scope.is_some_and(|scope| scope >= LINK);
            for hop in route.next_hops.iter_mut().filter(|hop| hop.gateway.is_none() && !on_link) {
                hop.gateway = first;
            }
        }
        rest.addresses.retain(|(address, _)| !self.has(*address));
        let Inside { netns, socket } = inside;
        netns.run(|| configure_iface(socket, link.index, &link.name, &rest))??;
        Ok(())
    }

    fn has(&self, address: IpNet) -> bool {
        self.addresses.iter().any(|found| found.addr.address == address)
    }

    /// Adds what was copied to IPAM's result.
    pub(crate) fn tell(&self, result: &mut CniResult) {
        for address in self.addresses.iter().map(|found| found.addr.address) {
            if !result.ips.iter().any(|ip| ip.address == address) {
                result.ips.push(IpConfig { interface: None, address, gateway: None });
            }
        }
        for route in &self.routes {
            let spec = &route.spec;
            result.routes.extend(spec.next_hops.iter().map(|hop| Route {
                priority: spec.metric.filter(|metric| *metric != 0),
                table: spec.table,
                scope: spec.scope.filter(|scope| *scope != 0),
                ..Route::new(spec.dst, hop.gateway)
            }));
        }
    }
}

fn is_ipv4(found: &FoundAddr) -> bool {
    found.addr.address.addr().is_ipv4()
}

fn goes_along(route: &FoundRoute) -> bool {
    let is_link_local = match route.spec.dst {
        IpNet::V4(_) => false,
        IpNet::V6(dst) => dst.prefix_len() >= 10 && dst.addr().is_unicast_link_local(),
    };
    route.spec.table != Some(LOCAL) && !route.by_kernel && !route.is_advertised() && !is_link_local
}

/// Rules that packets from the addresses come to, on their way to the routes.
fn is_for(found: &WholeRule, addresses: &[FoundAddr], routes: &[FoundRoute]) -> bool {
    let rule = &found.rule;
    rule.src.prefix_len() > 0
        && ![0, LOCAL].contains(&rule.table)
        && addresses.iter().any(|found| rule.src.contains(&found.addr.address.addr()))
        && routes.iter().any(|route| route.spec.table == Some(rule.table))
}

/// Routes that leave by other links too are the host's, as with the reference, which says nothing of them.
fn warn_of_shared(host: &mut Socket, device: &Link) -> Result<()> {
    for route in host.route_dump_found(device.index, None)? {
        if goes_along(&route) && route.spec.next_hops.iter().any(|hop| hop.index != device.index) {
            log::warn(format_args!("{} leaves by other links too and is not copied as it is", route.spec));
        }
    }
    Ok(())
}

/// As for the addresses of IPAM.
fn allow_ipv6(ifname: &str) -> Result<()> {
    sysctl_write("net/ipv6/conf/lo/disable_ipv6", "0")?;
    sysctl_write(&format!("net/ipv6/conf/{ifname}/disable_ipv6"), "0")?;
    sysctl_write(&format!("net/ipv6/conf/{ifname}/keep_addr_on_down"), "1")?;
    // The link-local address, which the kernel makes itself, follows this one.
    let _ = sysctl_write(&format!("net/ipv6/conf/{ifname}/accept_dad"), "0");
    Ok(())
}

/// A gateway that was reached by what does not go along, such as an advertised subnet, is on the link all the same.
fn put_route(socket: &mut Socket, index: u32, route: &FoundRoute) -> cni_netlink::Result<()> {
    match put_beside(socket, index, route) {
        Err(error) if has_gateway(route) && is_unreachable(&error) => {
            put_beside(socket, index, &route.on_link())
        }
        done => done,
    }
}

/// Where there is a route to that destination with that metric already, an IPv4 one goes behind it. Of IPv6 the kernel makes one route
/// that shares the packets: as with IPAM's routes where both leave by this link, and what nobody has asked for where the other is by
/// another one.
fn put_beside(socket: &mut Socket, index: u32, route: &FoundRoute) -> cni_netlink::Result<()> {
    let error = match socket.route_put_new(route) {
        Err(error) if error.is_exists() => error,
        done => return done,
    };
    let own: Vec<RouteSpec> = socket.route_dump(index, route.spec.table)?;
    let same = |other: &&RouteSpec| (other.dst, other.metric) == (route.spec.dst, route.spec.metric);
    let mut same = own.iter().filter(same).peekable();
    let is_shared = route.spec.dst.addr().is_ipv6() && same.peek().is_some();
    if same.any(|other| route.spec.next_hops.iter().all(|hop| other.next_hops.contains(hop))) {
        return Ok(());
    }
    match route.spec.dst {
        IpNet::V4(_) => socket.route_put_behind(route),
        IpNet::V6(_) if is_shared => socket.route_put_beside(route, table_of(route)),
        IpNet::V6(_) => Err(error),
    }
}

/// A route that was found has its table filled in.
fn table_of(route: &FoundRoute) -> u32 {
    route.spec.table.unwrap_or(MAIN)
}

fn is_unreachable(error: &cni_netlink::Error) -> bool {
    matches!(error.errno(), Some(EINVAL | ENETUNREACH | EHOSTUNREACH))
}
