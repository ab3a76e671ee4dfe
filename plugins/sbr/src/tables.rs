//! Tables of the interface's own: which ones, and the routes in them.

use std::net::IpAddr;

use cni_host::NetNs;
use cni_interface::{absent_is_fine, all};
use cni_netlink::{FoundRoute, NextHop, RouteSpec, Socket};
use cni_plugin::{Result, Undo};
use ipnet::IpNet;

use crate::config::Own;
use crate::{MAIN, RESERVED, add_rule, rule};

/// The reference's first table.
const FIRST: u32 = 100;

/// RT_SCOPE_LINK of rtnetlink(7)
const SCOPE_LINK: u8 = 253;

/// An address that packets come from.
#[derive(Debug)]
pub(crate) struct Source {
    /// With the length of its subnet's prefix.
    pub(crate) address: IpNet,
    pub(crate) gateway: Option<IpAddr>,
}

impl Source {
    /// The address alone, as rules have it.
    pub(crate) fn host(&self) -> IpNet {
        self.address.addr().into()
    }

    fn is_ipv4(&self) -> bool {
        self.address.addr().is_ipv4()
    }

    /// Whether this route belongs to the address's subnet.
    fn reaches(&self, route: &FoundRoute) -> bool {
        let gateways = route.spec.next_hops.iter().filter_map(|hop| hop.gateway);
        route.src.into_iter().chain(gateways).any(|address| self.address.contains(&address))
    }
}

/// Gives each address a table with a rule, a default route and the interface's routes, which the main table loses.
pub(crate) fn add<'a>(
    netns: &'a NetNs,
    inside: &mut Socket,
    ifname: &str,
    own: &Own,
    sources: &[Source],
    undo: &mut Undo<'a>,
) -> Result<()> {
    let index = inside.link_by_name(ifname)?.index;
    let mut routes = main_routes(inside, index)?;
    // Those on the link first: the others' gateways are reached by them.
    routes.sort_by_key(has_gateway);
    let tables: Vec<u32> = free_tables(inside)?.take(sources.len()).collect();

    let to_empty = tables.clone();
    undo.push("empty the tables", move || {
        let mut inside = netns.socket()?;
        all(to_empty.iter().map(|table| empty(&mut inside, index, *table)).collect::<Vec<_>>())
    });
    for (source, table) in sources.iter().zip(&tables) {
        add_rule(netns, inside, &rule(source, *table), undo)?;
        let configured = own.gateway(source.address.addr());
        if let Some(gateway) = configured.or(source.gateway) {
            inside.route_add(&default_route(source, index, gateway, *table))?;
        }
        for route in &routes {
            // The configured gateway is in the place of what the interface had.
            let replaced = configured.is_some() && is_default(route, source);
            if !replaced && goes_with(route, source, sources) {
                inside.route_put(route, *table)?;
            }
        }
    }

    let before = routes.clone();
    undo.push("give the main table its routes back", move || restore(&mut netns.socket()?, index, &before));
    leave_main(inside, index, own, sources, &routes)
}

/// What of the main table's routes is the interface's own. IPv6's default routes of several interfaces are one route to the kernel,
/// of which the reference sees nothing (multus-cni#706).
fn main_routes(inside: &mut Socket, index: u32) -> Result<Vec<FoundRoute>> {
    let found = inside.route_dump_found(index, Some(MAIN))?.into_iter();
    Ok(found.filter_map(|route| route.only_by(index)).collect())
}

/// The tables that no rule leads to and no route is in, upwards.
fn free_tables(inside: &mut Socket) -> Result<impl Iterator<Item = u32>> {
    let mut taken = inside.route_tables()?;
    taken.extend(inside.rule_dump()?.iter().map(|found| found.rule.table));
    Ok((FIRST..).filter(move |table| !RESERVED.contains(table) && !taken.contains(table)))
}

fn default_route(source: &Source, index: u32, gateway: IpAddr, table: u32) -> RouteSpec {
    RouteSpec { table: Some(table), ..on_link(everywhere(source), NextHop { index, gateway: Some(gateway) }) }
}

fn everywhere(source: &Source) -> IpNet {
    let any = if source.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    any.parse().expect("a prefix")
}

fn on_link(dst: IpNet, hop: NextHop) -> RouteSpec {
    RouteSpec { next_hops: vec![hop], ..RouteSpec::new(dst) }
}

fn is_default(route: &FoundRoute, source: &Source) -> bool {
    route.spec.dst == everywhere(source)
}

fn has_gateway(route: &FoundRoute) -> bool {
    route.spec.next_hops.iter().any(|hop| hop.gateway.is_some())
}

/// Whether the address's table gets this route. As with the reference those of its subnet, and those that name neither a source nor a
/// gateway; beyond it those that belong to no address's subnet, such as the default route by a link-local gateway, which the
/// reference drops (multus-cni#706).
fn goes_with(route: &FoundRoute, source: &Source, sources: &[Source]) -> bool {
    let of_link = route.src.is_none() && !has_gateway(route);
    let of_family = route.spec.dst.addr().is_ipv4() == source.is_ipv4();
    let of_nobody = || of_family && !sources.iter().any(|source| source.reaches(route));
    of_link || source.reaches(route) || of_nobody()
}

/// Takes the routes that were copied from the main table.
fn leave_main(
    inside: &mut Socket,
    index: u32,
    own: &Own,
    sources: &[Source],
    routes: &[FoundRoute],
) -> Result<()> {
    // The hint takes the place of this one: the kernel tells routes apart by their metric too.
    let is_replaced = |route: &RouteSpec| {
        let is_subnet = |source: &Source| source.address.trunc() == route.dst;
        route.metric.unwrap_or_default() == 0 && sources.iter().any(is_subnet)
    };
    for route in routes {
        // IPv6 has no scopes: of its routes only those that are made below are left.
        let stays = own.source_hints && route.spec.scope == Some(SCOPE_LINK) && !is_replaced(&route.spec);
        if !stays {
            absent_is_fine(inside.route_take(route))?;
        }
    }
    let hinted = if own.source_hints { sources } else { &[] };
    for (n, source) in hinted.iter().enumerate() {
        // As with the reference the last of several addresses in one subnet is the one to send from.
        if hinted[n + 1..].iter().any(|later| later.address.trunc() == source.address.trunc()) {
            continue;
        }
        let to_subnet = on_link(source.address.trunc(), NextHop { index, gateway: None });
        let to_subnet = RouteSpec { scope: Some(SCOPE_LINK), ..to_subnet };
        inside.route_append_src(&to_subnet, source.address.addr())?;
    }
    Ok(())
}

/// Makes the main table's routes by the link those that it had.
fn restore(inside: &mut Socket, index: u32, before: &[FoundRoute]) -> Result<()> {
    let now = main_routes(inside, index)?;
    let hints = now.iter().filter(|route| !before.contains(route));
    let mut outcomes: Vec<Result<()>> = hints.map(|route| absent_is_fine(inside.route_take(route))).collect();
    let lost = before.iter().filter(|route| !now.contains(route));
    outcomes.extend(lost.map(|route| Ok(inside.route_put_beside(route, MAIN)?)));
    all(outcomes)
}

/// Removes the link's routes from a table that is not one of every namespace's.
pub(crate) fn empty(inside: &mut Socket, index: u32, table: u32) -> Result<()> {
    if RESERVED.contains(&table) {
        return Ok(());
    }
    let routes = inside.route_dump_found(index, Some(table))?;
    all(routes.iter().map(|route| absent_is_fine(inside.route_take(route))).collect::<Vec<_>>())
}
