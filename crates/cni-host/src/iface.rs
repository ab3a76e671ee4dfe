//! Setting up a container's interface from an IPAM result, and checking it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use cni_netlink::{
    Addr, AddrFlags, LinkChange, LinkKind, LinkMonitor, NextHop, RouteMonitor, RouteSpec, Socket,
};
use ipnet::IpNet;

use crate::{Error, Result, point_to_point, sysctl_write};

/// Duplicate address detection takes one to two seconds (RFC 4862: a random delay of up to one, then one of waiting).
const DAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The kernel's worker needs microseconds; on a busy host, as long as others hold the lock that it needs (RTNL).
const RECEPTION_TIMEOUT: Duration = Duration::from_secs(10);

/// RT_SCOPE_LINK of rtnetlink(7). Routes of this scope and narrower ones go to hosts on the link: they have no gateway.
pub(crate) const SCOPE_LINK: u8 = 253;

/// What an interface gets. Plain values, so that this crate need not know the specification's types.
#[derive(Clone, Debug, Default)]
pub struct IfaceConfig {
    /// Addresses, each with its gateway.
    pub addresses: Vec<(IpNet, Option<IpAddr>)>,
    /// Routes; their next hops' indices are filled in here, and a missing gateway is the first gateway of the family.
    /// A route without next hops gets one. Host bits of a destination are ignored.
    pub routes: Vec<RouteSpec>,
    /// Do duplicate address detection for IPv6 and wait for its end, at most ten seconds; without it addresses are usable
    /// at once.
    pub dad: bool,
    /// The gateway is the only neighbour: the way to an address's subnet is through its gateway, and the gateway is on the
    /// link, by routes in place of the kernel's own. Every address needs its gateway then.
    pub point_to_point: bool,
}

impl IfaceConfig {
    /// The first gateway of the family, which routes without one of their own go through.
    fn gateway(&self, family_of: &IpNet) -> Option<IpAddr> {
        let mut gateways = self.addresses.iter().filter_map(|(_, gateway)| *gateway);
        gateways.find(|gateway| gateway.is_ipv4() == family_of.addr().is_ipv4())
    }

    fn ipv6(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.addresses.iter().filter_map(|(address, _)| match address.addr() {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        })
    }

    fn has(&self, addr: &Addr) -> bool {
        self.addresses.iter().any(|(address, _)| *address == addr.address)
    }

    /// A route of this configuration as it goes to the kernel.
    fn complete(&self, route: &RouteSpec, index: u32) -> RouteSpec {
        let on_link = route.scope.is_some_and(|scope| scope >= SCOPE_LINK);
        let default = if on_link { None } else { self.gateway(&route.dst) };
        let hop = |gateway: Option<IpAddr>| NextHop { index, gateway: gateway.or(default) };
        let next_hops = match &route.next_hops[..] {
            [] => vec![hop(None)],
            hops => hops.iter().map(|given| hop(given.gateway)).collect(),
        };
        RouteSpec { dst: route.dst.trunc(), next_hops, table: table_of(route), ..route.clone() }
    }
}

/// RT_TABLE_UNSPEC, which a result may well have as its zero value, is the main table to the kernel.
fn table_of(route: &RouteSpec) -> Option<u32> {
    route.table.filter(|table| *table != 0)
}

/// Call inside the container's namespace. Enables IPv6 on lo and the interface when there are IPv6 addresses
/// (disable_ipv6=0, keep_addr_on_down=1), sets arp_notify and ndisc_notify, adds the addresses, sets the link up and adds the
/// routes (equal destinations become one multipath route). On return the addresses can be bound to, and packets to them
/// are received.
///
/// The kernel announces the addresses to the neighbours when the link comes up, where arp_notify and ndisc_notify could be
/// set. That is lost where the way out opens later than the link: through a port of a bridge, and on a link that was up
/// before. Call [`crate::announce`] then, as soon as packets get through.
///
/// A step that fails ends it; the interface is the caller's to delete.
pub fn configure_iface(socket: &mut Socket, index: u32, ifname: &str, config: &IfaceConfig) -> Result<()> {
    prepare_sysctls(ifname, config)?;
    let failed = |source| Error::Iface { op: "set up", ifname: ifname.to_owned(), source };
    // Opened before the changes whose effects it waits for.
    let monitor = (config.dad && config.ipv6().next().is_some()).then(LinkMonitor::open);
    let monitor = monitor.transpose().map_err(failed)?;
    for (address, _) in &config.addresses {
        let flags = AddrFlags { nodad: !config.dad };
        match config.point_to_point {
            true => socket.addr_add_noprefixroute(index, *address, flags),
            false => socket.addr_add(index, *address, flags),
        }
        .map_err(failed)?;
    }
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    socket.link_change(index, &up).map_err(failed)?;
    if let Some(mut monitor) = monitor {
        let addrs = wait_for_dad(&mut monitor, socket, index, config).map_err(failed)?;
        refuse_duplicates(&addrs, ifname, config)?;
    }
    if config.point_to_point {
        // First: they are what the other routes' gateways are reached by.
        for (route, src) in point_to_point::routes(&config.addresses, index) {
            socket.route_add_src(&route, src).map_err(failed)?;
        }
    }
    for route in &config.routes {
        socket.route_add_ecmp(&config.complete(route, index)).map_err(failed)?;
    }
    // Last, since it comes by itself: mostly there is nothing left to wait for.
    wait_for_reception(socket, config).map_err(failed)
}

/// Before the addresses are added: a disabled interface refuses them, and DAD and notifications are decided when they come.
fn prepare_sysctls(ifname: &str, config: &IfaceConfig) -> Result<()> {
    // Where these are absent or read-only the address works all the same; only notices and waits differ.
    let prefer = |key: String, value: &str| {
        let _ = sysctl_write(&key, value);
    };
    prefer(format!("net/ipv4/conf/{ifname}/arp_notify"), "1");
    let Some(address) = config.ipv6().next() else { return Ok(()) };

    if !Path::new("/proc/sys/net/ipv6").exists() {
        return Err(Error::NoIpv6 { address: address.into(), ifname: ifname.to_owned() });
    }
    sysctl_write("net/ipv6/conf/lo/disable_ipv6", "0")?;
    sysctl_write(&format!("net/ipv6/conf/{ifname}/disable_ipv6"), "0")?;
    sysctl_write(&format!("net/ipv6/conf/{ifname}/keep_addr_on_down"), "1")?;
    prefer(format!("net/ipv6/conf/{ifname}/ndisc_notify"), "1");
    // The link-local address, which the kernel adds itself, follows accept_dad and not our flags.
    prefer(format!("net/ipv6/conf/{ifname}/accept_dad"), if config.dad { "1" } else { "0" });
    if config.dad {
        // Own probes that a hairpin port sends back are not taken for another host's (RFC 7527).
        prefer(format!("net/ipv6/conf/{ifname}/enhanced_dad"), "1");
    }
    Ok(())
}

fn wait_for_dad(
    monitor: &mut LinkMonitor,
    socket: &mut Socket,
    index: u32,
    config: &IfaceConfig,
) -> cni_netlink::Result<Vec<Addr>> {
    let settled = |addrs: &[Addr]| {
        let mut ours = addrs.iter().filter(|addr| config.has(addr));
        ours.all(|addr| addr.dadfailed || !addr.tentative)
    };
    monitor.wait_addrs(socket, index, DAD_TIMEOUT, settled)
}

fn wait_for_reception(socket: &mut Socket, config: &IfaceConfig) -> cni_netlink::Result<()> {
    let mut monitor = None;
    for address in config.ipv6() {
        if socket.route_get(address.into())?.is_some_and(|way| way.local) {
            continue;
        }
        let monitor = match &mut monitor {
            Some(monitor) => monitor,
            None => monitor.insert(RouteMonitor::open()?),
        };
        monitor.wait_local(socket, address, RECEPTION_TIMEOUT)?;
    }
    Ok(())
}

fn refuse_duplicates(addrs: &[Addr], ifname: &str, config: &IfaceConfig) -> Result<()> {
    match addrs.iter().find(|addr| addr.dadfailed && config.has(addr)) {
        Some(addr) => {
            Err(Error::DuplicateAddress { address: addr.address.addr(), ifname: ifname.to_owned() })
        }
        None => Ok(()),
    }
}

/// Call inside the container's namespace: every address and route of `config` is there.
///
/// A route is compared by destination, table and, where given, gateway and metric. Its MTU and advmss are not: the
/// reference makes routes without them, and its containers must pass too. Routes of the main table may have been moved since
/// to where the interface's packets are routed instead, as the plugins `sbr` and `vrf` do.
pub fn check_iface(socket: &mut Socket, index: u32, ifname: &str, config: &IfaceConfig) -> Result<()> {
    let failed = |source| Error::Iface { op: "check", ifname: ifname.to_owned(), source };
    let addrs = socket.addr_dump(index).map_err(failed)?;
    for (address, _) in &config.addresses {
        if !addrs.iter().any(|addr| addr.address == *address) {
            return Err(Error::Mismatch(format!("{ifname} has no address {address}")));
        }
    }
    refuse_duplicates(&addrs, ifname, config)?;
    let point_to_point = if config.point_to_point { &config.addresses[..] } else { &[] };
    let to_gateways = point_to_point::routes(point_to_point, index);
    let mut tables = Tables::new(socket, index, config);
    for route in to_gateways.iter().map(|(route, _)| route).chain(&config.routes) {
        if !tables.have(route).map_err(failed)? {
            return Err(Error::Mismatch(format!("{ifname} has no route {}", describe(route))));
        }
    }
    Ok(())
}

/// The interface's routes, each table read once, whatever is asked: who is in the container may have made any number of routes, and
/// rules that lead to them.
struct Tables<'a> {
    socket: &'a mut Socket,
    index: u32,
    config: &'a IfaceConfig,
    read: HashMap<Option<u32>, Vec<RouteSpec>>,
    instead: Option<Vec<u32>>,
}

impl<'a> Tables<'a> {
    fn new(socket: &'a mut Socket, index: u32, config: &'a IfaceConfig) -> Self {
        Tables { socket, index, config, read: HashMap::new(), instead: None }
    }

    fn have(&mut self, route: &RouteSpec) -> cni_netlink::Result<bool> {
        let wanted = table_of(route);
        if self.has(wanted, route)? {
            return Ok(true);
        }
        if wanted.is_some() {
            return Ok(false);
        }
        if self.instead.is_none() {
            self.instead = Some(tables_instead(self.socket, self.index, self.config)?);
        }
        for table in self.instead.clone().unwrap_or_default() {
            if self.has(Some(table), route)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn has(&mut self, table: Option<u32>, route: &RouteSpec) -> cni_netlink::Result<bool> {
        let routes = match self.read.entry(table) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(unread) => unread.insert(self.socket.route_dump(self.index, table)?),
        };
        Ok(routes.iter().any(|found| fulfils(found, route)))
    }
}

/// The tables by which packets of the interface are routed before the main one, or in place of it: those that rules from one
/// of its addresses lead to, and that of the vrf it is in.
fn tables_instead(socket: &mut Socket, index: u32, config: &IfaceConfig) -> cni_netlink::Result<Vec<u32>> {
    let hosts: Vec<IpNet> = config.addresses.iter().map(|(address, _)| IpNet::from(address.addr())).collect();
    let rules = socket.rule_dump()?.into_iter().filter(|found| found.plain).map(|found| found.rule);
    let mut tables: Vec<u32> =
        rules.filter(|rule| hosts.contains(&rule.src)).map(|rule| rule.table).collect();
    if let Some(master) = socket.link_by_index(index)?.master
        && let Some(LinkKind::Vrf { table }) = socket.link_by_index(master)?.settings
    {
        tables.push(table);
    }
    tables.sort_unstable();
    tables.dedup();
    Ok(tables)
}

/// Whether a route that was found is the one that is wanted.
fn fulfils(found: &RouteSpec, wanted: &RouteSpec) -> bool {
    let mut gateways = wanted.next_hops.iter().filter_map(|hop| hop.gateway);
    found.dst == wanted.dst.trunc()
        && wanted.metric.is_none_or(|metric| metric == 0 || found.metric == Some(metric))
        && gateways.all(|gateway| found.next_hops.iter().any(|hop| hop.gateway == Some(gateway)))
}

/// `to 10.0.0.0/8 via 10.1.0.1 metric 5 table 100`
fn describe(route: &RouteSpec) -> String {
    let mut text = format!("to {}", route.dst.trunc());
    for gateway in route.next_hops.iter().filter_map(|hop| hop.gateway) {
        text += &format!(" via {gateway}");
    }
    if let Some(metric) = route.metric {
        text += &format!(" metric {metric}");
    }
    if let Some(table) = route.table {
        text += &format!(" table {table}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: u32 = 7;

    fn config(addresses: &[(&str, Option<&str>)]) -> IfaceConfig {
        let parse = |(address, gateway): &(&str, Option<&str>)| {
            (address.parse().unwrap(), gateway.map(|gateway| gateway.parse().unwrap()))
        };
        IfaceConfig { addresses: addresses.iter().map(parse).collect(), ..IfaceConfig::default() }
    }

    fn route(dst: &str, gateway: Option<&str>) -> RouteSpec {
        let gateway = gateway.map(|gateway| gateway.parse().unwrap());
        RouteSpec { next_hops: vec![NextHop { index: 0, gateway }], ..RouteSpec::new(dst.parse().unwrap()) }
    }

    fn gateway_of(config: &IfaceConfig, route: &RouteSpec) -> Option<IpAddr> {
        let complete = config.complete(route, INDEX);
        let [hop] = complete.next_hops[..] else { panic!("one next hop: {complete:?}") };
        assert_eq!(hop.index, INDEX);
        hop.gateway
    }

    #[test]
    fn a_route_without_a_gateway_gets_the_first_of_its_family() {
        let config = config(&[
            ("fd00::5/64", Some("fd00::1")),
            ("10.2.0.5/16", None),
            ("10.1.0.5/16", Some("10.1.0.1")),
            ("10.3.0.5/16", Some("10.3.0.1")),
        ]);
        let gateway = |dst| gateway_of(&config, &route(dst, None)).map(|gateway| gateway.to_string());
        assert_eq!(gateway("0.0.0.0/0").as_deref(), Some("10.1.0.1"));
        assert_eq!(gateway("::/0").as_deref(), Some("fd00::1"));
        let own = route("0.0.0.0/0", Some("10.1.0.9"));
        assert_eq!(gateway_of(&config, &own), own.next_hops[0].gateway);
    }

    #[test]
    fn a_route_has_no_gateway_where_there_is_none() {
        let config = config(&[("10.1.0.5/16", None), ("fd00::5/64", Some("fd00::1"))]);
        assert_eq!(gateway_of(&config, &route("192.0.2.0/24", None)), None);
    }

    /// The kernel refuses a gateway for a route of link scope (net/ipv4/fib_semantics.c, fib_check_nh).
    #[test]
    fn a_route_of_link_scope_gets_no_gateway() {
        let config = config(&[("10.1.0.5/16", Some("10.1.0.1"))]);
        let on_link = RouteSpec { scope: Some(SCOPE_LINK), ..route("192.0.2.0/24", None) };
        assert_eq!(gateway_of(&config, &on_link), None);
    }

    #[test]
    fn a_route_without_next_hops_gets_one() {
        let config = config(&[("10.1.0.5/16", Some("10.1.0.1"))]);
        let bare = RouteSpec { next_hops: Vec::new(), ..route("192.0.2.0/24", None) };
        assert_eq!(gateway_of(&config, &bare), Some("10.1.0.1".parse().unwrap()));
    }

    #[test]
    fn host_bits_of_a_destination_are_masked_and_the_rest_is_kept() {
        let given = RouteSpec {
            metric: Some(5),
            table: Some(100),
            scope: Some(0),
            mtu: Some(1400),
            advmss: Some(1360),
            ..route("192.0.2.77/24", Some("10.1.0.1"))
        };
        let complete = IfaceConfig::default().complete(&given, INDEX);
        let next_hops = vec![NextHop { index: INDEX, ..given.next_hops[0] }];
        assert_eq!(complete, RouteSpec { dst: "192.0.2.0/24".parse().unwrap(), next_hops, ..given });
    }

    #[test]
    fn a_route_found_fulfils_what_is_asked_of_it_and_no_more() {
        let found = RouteSpec { metric: Some(5), mtu: Some(1400), ..route("192.0.2.0/24", Some("10.1.0.1")) };
        let metric = |metric| RouteSpec { metric, ..route("192.0.2.9/24", None) };
        for wanted in
            [metric(None), metric(Some(0)), metric(Some(5)), route("192.0.2.0/24", Some("10.1.0.1"))]
        {
            assert!(fulfils(&found, &wanted), "{wanted:?}");
        }
        for wanted in [metric(Some(6)), route("192.0.2.0/25", None), route("192.0.2.0/24", Some("10.1.0.2"))]
        {
            assert!(!fulfils(&found, &wanted), "{wanted:?}");
        }
    }
}
