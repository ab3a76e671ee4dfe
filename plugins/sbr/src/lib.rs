//! The `sbr` plugin: source-based routing. Chained after the plugin that gives a container a further interface, whose result it
//! passes on: what is sent from that interface's addresses leaves by it, whatever the container's main table says.
//!
//! A rule for each address leads to a table of its own (`from 10.1.0.5 lookup 100`), and the interface's routes move from the main
//! table there, beside a default route by the address's gateway. All of that is in the container's namespace, and dies with it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use cni_host::{LockFile, NetNs};
use cni_interface::{absent_is_fine, all, lock_or_go_on, open_inside};
use cni_netlink::{Rule, Socket};
use cni_plugin::{Call, Context as _, Error, Plugin, Request, Result, Undo, log};
use cni_types::{CniResult, SpecVersion};
use ipnet::IpNet;

mod config;
mod tables;

use config::Config;
pub use config::Wire;
use tables::Source;

/// The plugin's table of functions.
pub const PLUGIN: Plugin<Wire> =
    Plugin { name: "sbr", versions: SpecVersion::ALL, config: Call::read, add, check, del, gc, status };

/// The tables that every namespace has: default, main, local.
const RESERVED: [u32; 3] = [253, 254, 255];
const MAIN: u32 = 254;

/// Others hold the lock for the few milliseconds that an ADD takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn add(req: &Request<Wire>) -> Result<CniResult> {
    let config = Config::new(&req.config)?;
    let result = req.prev_result()?;
    let ifname = req.attachment.ifname.as_str();
    let sources = sources(result, ifname)?;
    let netns = NetNs::open(req.netns()?)?;
    let mut inside = netns.socket()?;
    // Interfaces of one container may be added at one time, by the reference's plugin too: two must not find one table free.
    let lock = LockFile::of(&netns)?;
    let _held = lock.lock(PATIENCE)?;
    let mut undo = Undo::default();
    log::step("route by source address", || match &config {
        Config::Given(table) => sources
            .iter()
            .try_for_each(|source| add_rule(&netns, &mut inside, &rule(source, table.get()), &mut undo)),
        Config::Own(own) => tables::add(&netns, &mut inside, ifname, own, &sources, &mut undo),
    })
    .with_context(|| format!("in {}", netns.path().display()))?;
    undo.commit();
    Ok(result.clone())
}

/// Beyond the reference's, which looks at nothing: each address has its rule and, where there is a gateway, a default route.
fn check(req: &Request<Wire>) -> Result<()> {
    let config = Config::new(&req.config)?;
    let ifname = req.attachment.ifname.as_str();
    let sources = sources(req.prev_result()?, ifname)?;
    let path = req.netns()?;
    let mut inside = NetNs::open(path)?.socket()?;
    let link = inside.link_by_name(ifname).with_context(|| format!("cannot find {ifname} in {path}"))?;
    let rules = host_rules(&mut inside)?;
    for source in &sources {
        let leads = |rule: &&Rule| match &config {
            Config::Given(table) => rule.table == table.get(),
            Config::Own(_) => !RESERVED.contains(&rule.table),
        };
        let host = source.host();
        let of_source = rules.iter().filter(|rule| rule.src == host).find(leads);
        let Some(rule) = of_source else {
            let table = match &config {
                Config::Given(table) => format!("table {table}"),
                Config::Own(_) => "a table".to_owned(),
            };
            return Err(Error::failed(format!("no rule leads from {} to {table}", host.addr())));
        };
        let Config::Own(own) = &config else { continue };
        if own.gateway(host.addr()).or(source.gateway).is_none() {
            continue;
        }
        let routes = inside.route_dump(link.index, Some(rule.table))?;
        let is_default = |dst: &IpNet| dst.prefix_len() == 0 && dst.addr().is_ipv4() == host.addr().is_ipv4();
        if !routes.iter().any(|route| is_default(&route.dst)) {
            let table = rule.table;
            return Err(Error::failed(format!("table {table} has no default route by {ifname}")));
        }
    }
    Ok(())
}

/// Removes the rules from the interface's addresses and, unless the table was given, what this interface has in the tables
/// that they led to. A namespace that is gone took all of it along.
fn del(req: &Request<Wire>) -> Result<()> {
    let Some((netns, mut inside)) = open_inside(req)? else { return Ok(()) };
    let lock = LockFile::of(&netns)?;
    let _held = lock_or_go_on(&lock);
    let link = match inside.link_by_name(req.attachment.ifname.as_str()) {
        Ok(link) => Some(link.index),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    // The interface may have been taken away before, or its addresses.
    let told = req.call.conf.prev_result().ok().flatten();
    let told = told.and_then(|result| sources(result, req.attachment.ifname.as_str()).ok());
    let mut addresses: Vec<IpAddr> =
        told.unwrap_or_default().iter().map(|source| source.address.addr()).collect();
    if let Some(index) = link {
        addresses.extend(inside.addr_dump(index)?.iter().map(|addr| addr.address.addr()));
    }
    let rules = host_rules(&mut inside)?.into_iter().filter(|rule| {
        addresses.contains(&rule.src.addr())
            && req.config.table.is_none_or(|table| i64::from(rule.table) == table)
    });
    let rules: Vec<Rule> = rules.collect();
    let mut outcomes: Vec<Result<()>> =
        rules.iter().map(|rule| absent_is_fine(inside.rule_del(rule))).collect();
    if let (Some(index), None) = (link, req.config.table) {
        // Once each: anybody in the container can have made any number of rules that lead to one.
        let own: BTreeSet<u32> = rules.iter().map(|rule| rule.table).collect();
        outcomes.extend(own.into_iter().map(|table| tables::empty(&mut inside, index, table)));
    }
    all(outcomes)
}

/// Nothing of ADD lies outside the container's namespace, so nothing can be left over.
fn gc(_call: &Call, _wire: &Wire) -> Result<()> {
    Ok(())
}

/// An ADD needs nothing of the host.
fn status(_call: &Call, wire: &Wire) -> Result<()> {
    Config::new(wire).map(drop)
}

/// The interface's addresses by the result. One that is said to be on some other interface is not its own; one that is said to
/// be nowhere is.
fn sources(result: &CniResult, ifname: &str) -> Result<Vec<Source>> {
    let is_own = |index: usize| result.interfaces.get(index).is_none_or(|interface| interface.name == ifname);
    let ips = result.ips.iter().filter(|ip| ip.interface.is_none_or(is_own));
    let sources: Vec<Source> = ips.map(|ip| Source { address: ip.address, gateway: ip.gateway }).collect();
    if sources.is_empty() {
        return Err(Error::config(format!("prevResult has no address on {ifname}")));
    }
    Ok(sources)
}

/// Rules by single addresses and nothing else: what this plugin makes, and the reference's.
fn host_rules(inside: &mut Socket) -> Result<Vec<Rule>> {
    let rules = inside.rule_dump()?.into_iter().filter(|found| found.plain).map(|found| found.rule);
    Ok(rules.filter(|rule| rule.src.prefix_len() == rule.src.max_prefix_len()).collect())
}

fn rule(source: &Source, table: u32) -> Rule {
    Rule { src: source.host(), table, priority: None }
}

fn add_rule<'a>(netns: &'a NetNs, inside: &mut Socket, rule: &Rule, undo: &mut Undo<'a>) -> Result<()> {
    inside.rule_add(rule)?;
    let added = *rule;
    // Of several like it the one that was added last comes first, and is the one that goes.
    undo.push("remove the rule", move || absent_is_fine(netns.socket()?.rule_del(&added)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use cni_types::{Interface, IpConfig};

    use super::*;

    fn of(ips: &[(&str, Option<usize>)]) -> Result<Vec<String>> {
        let interface = |name: &str| Interface { name: name.to_owned(), ..Interface::default() };
        let ip = |(address, interface): &(&str, Option<usize>)| IpConfig {
            interface: *interface,
            address: address.parse().unwrap(),
            gateway: None,
        };
        let result = CniResult {
            interfaces: vec![interface("br0"), interface("net1")],
            ips: ips.iter().map(ip).collect(),
            ..CniResult::default()
        };
        Ok(sources(&result, "net1")?.iter().map(|source| source.host().to_string()).collect())
    }

    #[test]
    fn addresses_of_the_interface_and_of_none_count() {
        let ips = [
            ("10.0.0.1/24", Some(0)),
            ("10.0.0.2/24", Some(1)),
            ("10.0.0.3/24", None),
            ("fd00::4/64", Some(9)),
        ];
        assert_eq!(of(&ips).unwrap(), ["10.0.0.2/32", "10.0.0.3/32", "fd00::4/128"]);
    }

    #[test]
    fn no_address_of_the_interface_is_an_error() {
        for ips in [&[][..], &[("10.0.0.1/24", Some(0))]] {
            assert_eq!(of(ips).unwrap_err().to_string(), "prevResult has no address on net1");
        }
    }
}
