//! The iptables backend: the reference's chains, comments and order to the letter, which others rely on (Nomad deletes
//! POSTROUTING's rules by their comment).
//!
//! ```text
//! -A POSTROUTING -s 10.88.0.5/32 -m comment --comment "name: \"net\" id: \"c1\"" -j CNI-<24 hex digits>
//! -A CNI-<...> -d 10.88.0.0/16 -m comment --comment "name: ..." -j ACCEPT
//! -A CNI-<...> ! -d 224.0.0.0/4 -m comment --comment "name: ..." -j MASQUERADE
//! ```
//!
//! The chain's name has no interface in it, so that two attachments of one container to one network share it: it goes with
//! the last rule that leads to it. Which of these rules are whose is on record ([`records`]). In one thing the reference is not
//! followed: a second subnet's ACCEPT stands before MASQUERADE too, or its packets would never reach it.

use std::collections::HashSet;
use std::net::IpAddr;

use cni_iptables::{Family, Found, Iptables, Rule, Table};
use cni_nftables::Nft;
use ipnet::IpNet;

use super::{not_masqueraded, of_family, records};
use crate::owner::hex_digest;
use crate::{Owner, Result};

const TABLE: &str = "nat";
const POSTROUTING: &str = "POSTROUTING";
/// What the names of containers' chains begin with, and how many hex digits follow.
const PREFIX: &str = "CNI-";
const DIGITS: usize = 24;

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// What the comment match of the kernel takes (XT_MAX_COMMENT_LEN, less the NUL).
const MAX_COMMENT: usize = 255;

pub(super) fn add(nft: &mut Nft, owner: &Owner, addresses: &[IpNet], path: &str) -> Result<()> {
    let families = families(addresses);
    if families.is_empty() {
        return Ok(());
    }
    let iptables = Iptables::find(&families, path)?;
    let earlier = records::begin(owner, addresses)?;
    let mut takes_over = false;
    let added = iptables.update(nft, TABLE, |table| {
        takes_over |= additions(table, owner, &of(addresses, table.family()), &earlier)?;
        Ok(())
    });
    if let Err(error) = added {
        if error.is_unusable() && earlier.is_empty() {
            // Nothing has been changed, and the other backend may be tried, of which nothing is on record.
            let _ = records::forget(owner);
        }
        return Err(error.into());
    }
    if takes_over {
        records::take_over(owner, addresses)?;
    }
    let outdated = records::without(&earlier, addresses);
    if !outdated.is_empty() {
        // Of the other family, or made by the other iptables, which was this host's then.
        del_recorded(nft, owner, &outdated, path)?;
        records::end(owner, addresses)?;
    }
    Ok(())
}

/// What an ADD does in one table, where nothing stays of an `earlier` one's other addresses. Says whether it takes over an address
/// that another interface of the container may have on record.
fn additions(
    table: &mut Table<'_>,
    owner: &Owner,
    addresses: &[IpNet],
    earlier: &[IpNet],
) -> cni_iptables::Result<bool> {
    let chain = chain(&owner.network, &owner.container_id);
    let rules = Rules::new(owner, &chain);
    let is_new = !table.has_chain(&chain)?;
    table.ensure_chain(&chain)?;
    for address in addresses {
        let own_subnet = rules.own_subnet(address);
        if is_new {
            table.append_unique(&chain, own_subnet)?;
        } else {
            table.insert_unique(&chain, own_subnet)?;
        }
    }
    table.append_unique(&chain, rules.masquerade(table.family()))?;
    let jumps = rules.jumps(table)?;
    for address in addresses {
        table.append_unique(POSTROUTING, rules.jump(&IpNet::from(address.addr())))?;
    }
    let outdated = records::without(earlier, addresses);
    rules.delete(table, |jump| rules.is_for(jump, &outdated), addresses)?;
    let new = records::without(addresses, earlier);
    Ok(jumps.iter().any(|jump| rules.is_for(jump, &new)))
}

/// Removes what is for the addresses on record, and of those that DEL is told of what no other interface of the container has
/// on record; where neither is anything, all that no other has.
pub(super) fn del(nft: &mut Nft, owner: &Owner, told: &[IpNet], path: &str) -> Result<()> {
    let record = records::find(owner);
    let own = record.as_deref().unwrap_or_default();
    // Without its addresses the other family would be looked at for nothing.
    let all = [own, told].concat();
    let families = if all.is_empty() { FAMILIES.to_vec() } else { families(&all) };
    del_jumps(nft, owner, &families, path, |rules, jumps| {
        let is_own = |jump: &Found| rules.is_for(jump, own);
        let is_told = |jump: &Found| match record {
            Some(_) => rules.is_for(jump, told),
            None => told.is_empty() || rules.is_for(jump, told) || rules.is_for_subnet(jump, told),
        };
        let (mut meant, mut doubtful) = (Vec::new(), Vec::new());
        for jump in jumps {
            if is_own(&jump) {
                meant.push(jump);
            } else if is_told(&jump) {
                doubtful.push(jump);
            }
        }
        if !doubtful.is_empty() {
            // Read after the rules: an ADD writes its record before it makes any.
            let others = records::of_others(owner);
            doubtful.retain(|jump| !rules.is_for(jump, &others));
            meant.append(&mut doubtful);
        }
        meant
    })?;
    records::forget(owner)
}

/// Removes what is for addresses that the attachment has on record.
fn del_recorded(nft: &mut Nft, owner: &Owner, addresses: &[IpNet], path: &str) -> Result<()> {
    del_jumps(nft, owner, &families(addresses), path, |rules, mut jumps| {
        jumps.retain(|jump| rules.is_for(jump, addresses));
        jumps
    })
}

/// Removes those of the rules that lead to the container's chain that `meant` picks.
fn del_jumps(
    nft: &mut Nft,
    owner: &Owner,
    families: &[Family],
    path: &str,
    meant: impl Fn(&Rules<'_>, Vec<Found>) -> Vec<Found>,
) -> Result<()> {
    let chain = chain(&owner.network, &owner.container_id);
    let rules = Rules::new(owner, &chain);
    update_wherever(nft, families, path, |table| {
        if !table.has_chain(&chain)? {
            return Ok(());
        }
        let meant = meant(&rules, rules.jumps(table)?);
        rules.delete(table, |jump| meant.contains(jump), &[])
    })
}

/// The network's name is in the comments, so that no record is needed; but for what is of one interface of a container that has
/// another, and for names so long that the comments do not tell them.
pub(super) fn gc(nft: &mut Nft, network: &str, valid: &[Owner], path: &str) -> Result<()> {
    let stale = records::stale(network, valid);
    let ids: HashSet<&str> = valid.iter().map(|owner| owner.container_id.as_str()).collect();
    let (of_valid, of_none): (Vec<_>, Vec<_>) =
        stale.into_iter().partition(|record| ids.contains(record.owner.container_id.as_str()));
    let of_none: HashSet<String> =
        of_none.iter().map(|record| chain(network, &record.owner.container_id)).collect();
    update_wherever(nft, &FAMILIES, path, |table| {
        let mut stale = Vec::new();
        for name in table.chains()?.into_iter().filter(|name| is_name(name)) {
            let is_recorded = of_none.contains(&name);
            if is_recorded || is_of(&table.rules(&name)?, &name, network, |id| !ids.contains(id)) {
                stale.push(name);
            }
        }
        for chain in &stale {
            table.delete_matching(POSTROUTING, |found| found.leads_to(chain))?;
        }
        stale.iter().try_for_each(|chain| table.delete_chain(chain))
    })?;
    for record in of_valid {
        del_recorded(nft, &record.owner, &record.addresses, path)?;
    }
    records::retain(network, valid)
}

/// Whether a rule in the chain says by its comment that the chain is this network's, of a container that `pick` picks, and
/// the chain's name says so too.
fn is_of(rules: &[Found], name: &str, network: &str, pick: impl Fn(&str) -> bool) -> bool {
    let id_of = |found: &Found| {
        let rest = found.comment()?.strip_prefix(&format!("name: \"{network}\" id: \""))?;
        Some(rest.strip_suffix('"')?.to_owned())
    };
    let mut ids = rules.iter().filter_map(id_of);
    ids.any(|id| chain(network, &id) == name && pick(&id))
}

pub(super) fn check(nft: &mut Nft, owner: &Owner, addresses: &[IpNet], path: &str) -> Result<()> {
    let chain = chain(&owner.network, &owner.container_id);
    let rules = Rules::new(owner, &chain);
    for family in families(addresses) {
        let mut missing = None;
        let all = Iptables::wherever(&[family], path).look(nft, family, TABLE, |table| {
            let lacking = lacking(table, &rules, &of(addresses, family))?;
            let is_complete = lacking.is_none();
            missing = missing.take().or(lacking);
            Ok(is_complete.then_some(()))
        })?;
        if let (None, Some((address, chain))) = (all, missing) {
            let why = format!("a rule of chain {chain} of table {TABLE} is missing");
            return Err(not_masqueraded(address, &why));
        }
    }
    Ok(())
}

/// The first of these addresses that a rule is missing for, and the chain that it is missing in.
fn lacking(
    table: &mut Table<'_>,
    rules: &Rules<'_>,
    addresses: &[IpNet],
) -> cni_iptables::Result<Option<(IpAddr, String)>> {
    for address in addresses {
        let jumps = [rules.jump(&IpNet::from(address.addr())), rules.jump(&address.trunc())];
        let has_jump = table.has_rule(POSTROUTING, &jumps[0])? || table.has_rule(POSTROUTING, &jumps[1])?;
        if !has_jump {
            return Ok(Some((address.addr(), POSTROUTING.to_owned())));
        }
        for rule in [rules.own_subnet(address), rules.masquerade(table.family())] {
            if !table.has_rule(rules.chain, &rule)? {
                return Ok(Some((address.addr(), rules.chain.to_owned())));
            }
        }
    }
    Ok(None)
}

/// Rules for which there is no program any more must not keep a container from being deleted.
fn update_wherever(
    nft: &mut Nft,
    families: &[Family],
    path: &str,
    plan: impl FnMut(&mut Table<'_>) -> cni_iptables::Result<()>,
) -> Result<()> {
    match Iptables::wherever(families, path).update(nft, TABLE, plan) {
        Err(cni_iptables::Error::NotFound { .. }) => Ok(()),
        done => Ok(done?),
    }
}

/// The families that there are addresses of.
fn families(addresses: &[IpNet]) -> Vec<Family> {
    FAMILIES.into_iter().filter(|family| !of(addresses, *family).is_empty()).collect()
}

fn of(addresses: &[IpNet], family: Family) -> Vec<IpNet> {
    of_family(addresses, family == Family::Ipv4)
}

/// What [`chain`] makes.
fn is_name(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.len() == DIGITS && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// As the reference names it (plugins v1.9.1, pkg/utils/utils.go, FormatChainName).
fn chain(network: &str, container_id: &str) -> String {
    format!("{PREFIX}{}", hex_digest(&format!("{network}{container_id}"), DIGITS))
}

struct Rules<'a> {
    chain: &'a str,
    comment: String,
}

impl<'a> Rules<'a> {
    fn new(owner: &Owner, chain: &'a str) -> Self {
        let mut comment = format!("name: {:?} id: {:?}", owner.network, owner.container_id);
        while comment.len() > MAX_COMMENT {
            comment.pop();
        }
        Rules { chain, comment }
    }

    /// The rules that lead to the chain.
    fn jumps(&self, table: &mut Table<'_>) -> cni_iptables::Result<Vec<Found>> {
        let rules = table.rules(POSTROUTING)?;
        Ok(rules.iter().filter(|found| found.leads_to(self.chain)).cloned().collect())
    }

    /// Whether one of these is for one of the addresses.
    fn is_for(&self, jump: &Found, addresses: &[IpNet]) -> bool {
        addresses.iter().any(|address| jump.is(&self.jump(&IpNet::from(address.addr()))))
    }

    /// Whether one of these is for the whole subnet of one of the addresses, as old releases of the reference made it.
    fn is_for_subnet(&self, jump: &Found, addresses: &[IpNet]) -> bool {
        addresses.iter().any(|address| jump.is(&self.jump(&address.trunc())))
    }

    /// Deletes the rules that lead to the chain and that `meant` picks, with the chain when none is left nor `added`; else with
    /// what the chain has for subnets that no address is in any more.
    fn delete(
        &self,
        table: &mut Table<'_>,
        meant: impl Fn(&Found) -> bool,
        added: &[IpNet],
    ) -> cni_iptables::Result<()> {
        let jumps = self.jumps(table)?;
        let (gone, left): (Vec<&Found>, Vec<&Found>) = jumps.iter().partition(|jump| meant(jump));
        if left.is_empty() && added.is_empty() {
            table.delete_matching(POSTROUTING, |found| found.leads_to(self.chain))?;
            return table.delete_chain(self.chain);
        }
        if gone.is_empty() {
            return Ok(());
        }
        table.delete_matching(POSTROUTING, |found| found.leads_to(self.chain) && meant(found))?;
        // What only iptables itself understands may be for any address.
        let Some(mut sources) = left.iter().map(|jump| jump.source()).collect::<Option<Vec<IpNet>>>() else {
            return Ok(());
        };
        sources.extend(added.iter().map(|address| IpNet::from(address.addr())));
        table.delete_matching(self.chain, |found| {
            let is_unused =
                |net: IpNet| !sources.iter().any(|from| net.contains(from) || from.contains(&net));
            found.destination().is_some_and(|net| is_unused(net) && found.is(&self.own_subnet(&net)))
        })
    }

    fn jump(&self, from: &IpNet) -> Rule {
        self.rule(&["-s", &from.to_string(), "-j", self.chain])
    }

    fn own_subnet(&self, address: &IpNet) -> Rule {
        self.rule(&["-d", &address.to_string(), "-j", "ACCEPT"])
    }

    fn masquerade(&self, family: Family) -> Rule {
        let multicast = if family == Family::Ipv4 { "224.0.0.0/4" } else { "ff00::/8" };
        self.rule(&["!", "-d", multicast, "-j", "MASQUERADE"])
    }

    fn rule(&self, words: &[&str]) -> Rule {
        Rule::new(&[words, &["-m", "comment", "--comment", &self.comment]].concat())
    }
}
