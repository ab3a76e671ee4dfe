//! The iptables backend: the reference's chains, rules and comments to the letter, since nerdctl and Nomad read them. Ports
//! are appended, so that of two containers with one port the first has it.

use std::collections::{BTreeSet, HashSet};

use cni_host::Owner;
use cni_iptables::{Family, Found, Iptables, Table};
use cni_nftables::Nft;
use cni_plugin::{Error, Result, Undo};

use crate::Pod;
use crate::config::{Config, Forward};
use crate::nftables::tell_displaced;

mod holders;
mod rules;

pub(crate) use holders::{Chained, holders, mappings};
use rules::{
    DNAT, OLD_PREFIX, OLD_SNAT, PREFIX, PodChain, chain_name, entries, forward, jump_to_masquerading,
};
use rules::{masquerading, pod_chains, port_of, read_comment};

const TABLE: &str = "nat";
const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// Maps the ports, for the families that the container has an address of.
pub(crate) fn add(nft: &mut Nft, config: &Config, pod: &Pod, path: &str) -> Result<()> {
    let chains = pod_chains(config, pod);
    if chains.is_empty() {
        return Ok(());
    }
    let families: Vec<Family> = chains.iter().map(|(family, _)| *family).collect();
    let iptables = Iptables::find(&families, path)?;
    let mut undo = Undo::default();
    let owner = &pod.owner;
    undo.push("remove the container's iptables rules", move || {
        del(&mut Nft::new(), owner, path, &mut Vec::new())
    });
    iptables.update(nft, TABLE, |table| {
        let of_family = chains.iter().find(|(family, _)| *family == table.family());
        of_family.map_or(Ok(()), |(_, chain)| plan(table, config, chain))
    })?;
    undo.commit();
    Ok(())
}

fn plan(table: &mut Table<'_>, config: &Config, chain: &PodChain) -> cni_iptables::Result<()> {
    for (chain, rule) in masquerading(config) {
        table.ensure_chain(chain)?;
        table.append_unique(chain, rule)?;
    }
    if let Some(jump) = jump_to_masquerading(config) {
        table.insert_unique("POSTROUTING", jump)?;
    }
    table.ensure_chain(DNAT)?;
    for (hook, rule) in entries() {
        table.append_unique(hook, rule)?;
    }
    if table.has_chain(&chain.name)? {
        for rule in &chain.rules {
            table.append_unique(&chain.name, rule.clone())?;
        }
    } else {
        // Without comparing each with all of thousands.
        table.replace_chain(&chain.name, chain.rules.clone());
    }
    for rule in &chain.jumps {
        table.append_unique(DNAT, rule.clone())?;
    }
    Ok(())
}

/// Compares with what ADD made, wherever it is.
pub(crate) fn check(nft: &mut Nft, config: &Config, pod: &Pod, path: &str) -> Result<()> {
    for (family, chain) in pod_chains(config, pod) {
        let shared = entries().into_iter().chain(masquerading(config));
        let jump = jump_to_masquerading(config).map(|rule| ("POSTROUTING", rule));
        let mut wanted = vec![(chain.name.as_str(), chain.rules), (DNAT, chain.jumps)];
        wanted.extend(shared.chain(jump).map(|(chain, rule)| (chain, vec![rule])));
        let iptables = Iptables::wherever(&[family], path);
        if let Some((chain, rule)) = iptables.first_missing(nft, family, TABLE, &wanted)? {
            let program = if family == Family::Ipv4 { "iptables" } else { "ip6tables" };
            return Err(Error::failed(format!(
                "chain {chain} of the {program} table {TABLE} does not have the rule: {rule}"
            )));
        }
    }
    Ok(())
}

/// Removes the chains that the reference's plugin or this one made for the container and network, and adds the mappings that
/// were in them to `gone`. They do not tell interfaces.
pub(crate) fn del(nft: &mut Nft, owner: &Owner, path: &str, gone: &mut Vec<Forward>) -> Result<()> {
    let chain = chain_name(&owner.network, &owner.container_id);
    remove(nft, path, gone, |table| {
        // The older one is not without this one.
        Ok(if table.has_chain(&chain)? { vec![chain.clone()] } else { Vec::new() })
    })
}

/// Removes the chains of this network's containers that are not among the valid ones. Which container a chain is for is told
/// by the comment of the rule that leads to it; one that was cut short tells nothing, and its chain is kept.
pub(crate) fn gc(
    nft: &mut Nft,
    network: &str,
    valid: &HashSet<&str>,
    path: &str,
    gone: &mut Vec<Forward>,
) -> Result<()> {
    remove(nft, path, gone, |table| {
        let of_rule = |rule: &Found| {
            let (of, container_id) = read_comment(rule.comment()?)?;
            let chain = chain_name(network, container_id);
            let stale = of == network && !valid.contains(container_id) && rule.leads_to(&chain);
            stale.then_some(chain)
        };
        let chains: BTreeSet<String> = table.rules(DNAT)?.iter().filter_map(of_rule).collect();
        Ok(chains.into_iter().collect())
    })
}

/// Takes these ports from containers whose chains have them, which come before the other backend's.
pub(crate) fn displace(nft: &mut Nft, forwards: &[Forward], owner: &Owner, path: &str) -> Result<()> {
    let mut displaced: Vec<(Forward, String)> = Vec::new();
    let forward = |found: &Found, family: Family| {
        let (protocol, host) = port_of(found.rule()?, family)?;
        forwards.iter().find(|forward| forward.displaces(protocol, host)).copied()
    };
    Iptables::wherever(&FAMILIES, path).update(nft, TABLE, |table| {
        let family = table.family();
        displaced.retain(|(forward, _)| forward.pod.is_ipv4() != (family == Family::Ipv4));
        let chains: BTreeSet<String> = table
            .rules(DNAT)?
            .iter()
            .filter_map(|found| found.target().filter(|target| target.starts_with(PREFIX)).map(str::to_owned))
            .collect();
        for chain in chains {
            // Those that mark the packets as well, or a masqAll of theirs would go on.
            table.delete_matching(&chain, |found| forward(found, family).is_some())?;
            let taken = table.rules(&chain)?;
            let taken = taken.iter().filter_map(|found| forward(found, family));
            displaced.extend(taken.map(|forward| (forward, format!("chain {chain}"))));
        }
        Ok(())
    })?;
    displaced.dedup();
    for (forward, holder) in displaced {
        tell_displaced(&forward, &holder, owner);
    }
    Ok(())
}

/// Whether a chain of a container, whoever's it is, leads from the same port to the same place.
pub(crate) fn maps(nft: &mut Nft, wanted: &Forward, path: &str) -> Result<bool> {
    let family = if wanted.pod.is_ipv6() { Family::Ipv6 } else { Family::Ipv4 };
    let found = Iptables::wherever(&[family], path).look(nft, family, TABLE, |table| {
        for chain in table.chains()?.iter().filter(|chain| chain.starts_with(PREFIX)) {
            let rules = table.rules(chain)?;
            let mut mapped = rules.iter().filter_map(|found| forward(found.rule()?, family));
            if mapped.any(|mapped| mapped == *wanted) {
                return Ok(Some(()));
            }
        }
        Ok(None)
    })?;
    Ok(found.is_some())
}

/// Removes chains and what leads to them, wherever they are.
fn remove(
    nft: &mut Nft,
    path: &str,
    gone: &mut Vec<Forward>,
    chains: impl Fn(&mut Table<'_>) -> cni_iptables::Result<Vec<String>>,
) -> Result<()> {
    // What an earlier try has found stays: flows to it are stale as well.
    Ok(Iptables::wherever(&FAMILIES, path).update(nft, TABLE, |table| {
        let family = table.family();
        for chain in chains(table)? {
            let rules = table.rules(&chain)?;
            gone.extend(rules.iter().filter_map(|found| forward(found.rule()?, family)));
            let old = chain.replacen(PREFIX, OLD_PREFIX, 1);
            for (top, chain) in [(DNAT, &chain), (OLD_SNAT, &old)] {
                table.delete_matching(top, |found| found.leads_to(chain))?;
                table.delete_chain(chain)?;
            }
        }
        Ok(())
    })?)
}

/// Whether iptables is installed. Whether the kernel agrees shows when it runs.
pub(crate) fn is_usable(path: &str) -> Result<()> {
    Iptables::find(&[Family::Ipv4], path)?;
    Ok(())
}
