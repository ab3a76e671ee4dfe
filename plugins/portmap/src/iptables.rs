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

mod attachment;
mod holders;
mod order;
mod rules;

pub(crate) use attachment::Attachment;
use attachment::delete_chain;
pub(crate) use holders::{Chained, holders, mappings};
use rules::{DNAT, PREFIX, PodChain, chain_name, entries, forward, jump_to_masquerading};
use rules::{masquerading, pod_chains, port_of, read_comment};

const TABLE: &str = "nat";
const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// Maps the ports, for the families that the container has an address of, in place of what an earlier ADD of the attachment
/// mapped.
pub(crate) fn add(
    nft: &mut Nft,
    config: &Config,
    pod: &Pod,
    attachment: &Attachment<'_>,
    path: &str,
) -> Result<()> {
    let chains = pod_chains(config, pod);
    let mut families: Vec<Family> = chains.iter().map(|(family, _)| *family).collect();
    if families.is_empty() {
        return Ok(());
    }
    let mut undo = Undo::default();
    undo.push("remove the container's iptables rules", move || {
        del(&mut Nft::new(), attachment, path, &mut Vec::new())
    });
    families.extend(attachment.families().filter(|family| !chains.iter().any(|(of, _)| of == family)));
    let name = chain_name(&pod.owner.network, &pod.owner.container_id);
    Iptables::find(&families, path)?.update(nft, TABLE, |table| {
        match chains.iter().find(|(family, _)| *family == table.family()) {
            Some((_, chain)) => plan(table, config, chain, attachment),
            None if table.has_chain(&name)? => attachment.take(table, &name, &mut Vec::new()),
            None => Ok(()),
        }
    })?;
    undo.commit();
    Ok(())
}

fn plan(
    table: &mut Table<'_>,
    config: &Config,
    chain: &PodChain,
    attachment: &Attachment<'_>,
) -> cni_iptables::Result<()> {
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
    attachment.put(table, chain)
}

/// Compares with what ADD made, wherever it is. Another container's rule that stands before it and has the port is an error too.
pub(crate) fn check(nft: &mut Nft, config: &Config, pod: &Pod, path: &str) -> Result<()> {
    for (family, chain) in pod_chains(config, pod) {
        let (name, jumps) = (chain.name.clone(), chain.jumps.clone());
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
        if let Some((forward, earlier)) = order::first_taken(nft, family, &name, &jumps, path)? {
            return Err(Error::failed(format!(
                "{forward} is chain {earlier}'s, which comes before {name} in chain {DNAT} of table {TABLE}"
            )));
        }
    }
    Ok(())
}

/// Removes what the reference's plugin or this one made for the attachment, and adds the mappings that were in it to `gone`.
pub(crate) fn del(
    nft: &mut Nft,
    attachment: &Attachment<'_>,
    path: &str,
    gone: &mut Vec<Forward>,
) -> Result<()> {
    let owner = attachment.owner();
    let chain = chain_name(&owner.network, &owner.container_id);
    // What an earlier try has found stays: flows to it are stale as well.
    Ok(Iptables::wherever(&FAMILIES, path).update(nft, TABLE, |table| {
        // The older one is not without this one.
        if table.has_chain(&chain)? { attachment.take(table, &chain, gone) } else { Ok(()) }
    })?)
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
    Ok(Iptables::wherever(&FAMILIES, path).update(nft, TABLE, |table| {
        let family = table.family();
        let of_rule = |rule: &Found| {
            let (of, container_id) = read_comment(rule.comment()?)?;
            let chain = chain_name(network, container_id);
            let stale = of == network && !valid.contains(container_id) && rule.leads_to(&chain);
            stale.then_some(chain)
        };
        let chains: BTreeSet<String> = table.rules(DNAT)?.iter().filter_map(of_rule).collect();
        for chain in chains {
            let rules = table.rules(&chain)?;
            gone.extend(rules.iter().filter_map(|found| forward(found.rule()?, family)));
            delete_chain(table, &chain)?;
        }
        Ok(())
    })?)
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

/// Whether iptables is installed. Whether the kernel agrees shows when it runs.
pub(crate) fn is_usable(path: &str) -> Result<()> {
    Iptables::find(&[Family::Ipv4], path)?;
    Ok(())
}
