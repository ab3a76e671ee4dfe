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
//! the last rule that leads to it. In one thing the reference is not followed: a second subnet's ACCEPT stands before
//! MASQUERADE too, or its packets would never reach it.

use std::collections::HashSet;
use std::net::IpAddr;

use cni_iptables::{Family, Found, Iptables, Rule, Table};
use cni_nftables::Nft;
use ipnet::IpNet;

use super::{not_masqueraded, of_family};
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
    Ok(iptables.update(nft, TABLE, |table| additions(table, owner, &of(addresses, table.family())))?)
}

fn additions(table: &mut Table<'_>, owner: &Owner, addresses: &[IpNet]) -> cni_iptables::Result<()> {
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
    for address in addresses {
        table.append_unique(POSTROUTING, rules.jump(&IpNet::from(address.addr())))?;
    }
    Ok(())
}

pub(super) fn del(nft: &mut Nft, owner: &Owner, addresses: &[IpNet], path: &str) -> Result<()> {
    let chain = chain(&owner.network, &owner.container_id);
    let rules = Rules::new(owner, &chain);
    // Old releases of the reference matched the whole subnet.
    let wanted: Vec<Rule> = addresses
        .iter()
        .flat_map(|address| [rules.jump(&IpNet::from(address.addr())), rules.jump(&address.trunc())])
        .collect();
    let plan = |table: &mut Table<'_>| {
        if !table.has_chain(&chain)? {
            return Ok(());
        }
        let is_wanted = |found: &Found| wanted.is_empty() || wanted.iter().any(|wanted| found.is(wanted));
        table.delete_matching(POSTROUTING, |found| found.leads_to(&chain) && is_wanted(found))?;
        if table.rules(POSTROUTING)?.iter().filter(|found| found.leads_to(&chain)).all(is_wanted) {
            table.delete_chain(&chain)?;
        }
        Ok(())
    };
    // Without its addresses the other family would be looked at for nothing.
    let families = if addresses.is_empty() { FAMILIES.to_vec() } else { families(addresses) };
    update_wherever(nft, &families, path, plan)
}

/// The network's name is in the comments, so that no record beside the rules is needed.
pub(super) fn gc(nft: &mut Nft, network: &str, valid: &[Owner], path: &str) -> Result<()> {
    let valid: HashSet<&str> = valid.iter().map(|owner| owner.container_id.as_str()).collect();
    update_wherever(nft, &FAMILIES, path, |table| {
        let mut stale = Vec::new();
        for name in table.chains()?.into_iter().filter(|name| is_name(name)) {
            if is_of(&table.rules(&name)?, &name, network, |id| !valid.contains(id)) {
                stale.push(name);
            }
        }
        for chain in &stale {
            table.delete_matching(POSTROUTING, |found| found.leads_to(chain))?;
        }
        stale.iter().try_for_each(|chain| table.delete_chain(chain))
    })
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
