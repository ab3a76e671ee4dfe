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

use cni_iptables::{Change, Family, Iptables, Rule, Saved, holders};
use ipnet::IpNet;

use super::{both, not_masqueraded, of_family};
use crate::owner::hex_digest;
use crate::{Owner, Result};

const TABLE: &str = "nat";
const POSTROUTING: &str = "POSTROUTING";

/// What the comment match of the kernel takes (XT_MAX_COMMENT_LEN, less the NUL).
const MAX_COMMENT: usize = 255;

pub(super) fn add(owner: &Owner, addresses: &[IpNet], path: &str) -> Result<()> {
    let mut families = Vec::new();
    for (family, addresses) in by_family(addresses) {
        if !addresses.is_empty() {
            families.push((Iptables::find(family, path)?, family, addresses));
        }
    }
    for (iptables, family, addresses) in families {
        iptables.update(TABLE, |saved| additions(saved, owner, family, &addresses))?;
    }
    Ok(())
}

fn additions(saved: &Saved, owner: &Owner, family: Family, addresses: &[IpNet]) -> Change {
    let chain = chain(&owner.network, &owner.container_id);
    let rules = Rules::new(owner, &chain);
    let mut change = Change::default();
    change.ensure_chain(saved, &chain);
    for address in addresses {
        let own_subnet = rules.own_subnet(address);
        if saved.has_chain(&chain) {
            change.insert_unique(saved, &chain, own_subnet);
        } else {
            change.append_unique(saved, &chain, own_subnet);
        }
    }
    change.append_unique(saved, &chain, rules.masquerade(family));
    for address in addresses {
        change.append_unique(saved, POSTROUTING, rules.jump(&IpNet::from(address.addr())));
    }
    change
}

pub(super) fn del(owner: &Owner, addresses: &[IpNet], path: &str) -> Result<()> {
    let chain = chain(&owner.network, &owner.container_id);
    let rules = Rules::new(owner, &chain);
    let plan = |saved: &Saved| {
        let mut change = Change::default();
        // Old releases of the reference matched the whole subnet.
        let wanted: Vec<Rule> = addresses
            .iter()
            .flat_map(|address| [rules.jump(&IpNet::from(address.addr())), rules.jump(&address.trunc())])
            .collect();
        let leads_there = |rule: &&Rule| rule.target() == Some(&chain);
        let is_wanted = |rule: &Rule| wanted.is_empty() || wanted.iter().any(|wanted| wanted.is_same(rule));
        change.delete_matching(saved, POSTROUTING, |rule| leads_there(&rule) && is_wanted(rule));
        if saved.rules(POSTROUTING).iter().filter(leads_there).all(is_wanted) {
            change.delete_chain(saved, &chain);
        }
        change
    };
    let family = |family: Family, of_it: Vec<IpNet>| {
        // Without its addresses the other family would be looked at for nothing.
        if addresses.is_empty() || !of_it.is_empty() {
            update_holders(family, path, &chain, plan)
        } else {
            Ok(())
        }
    };
    let [(four, addresses4), (six, addresses6)] = by_family(addresses);
    both(family(four, addresses4), family(six, addresses6))
}

/// The network's name is in the comments, so that no record beside the rules is needed.
pub(super) fn gc(network: &str, valid: &[Owner], path: &str) -> Result<()> {
    let is_valid = |id: &str| valid.iter().any(|owner| owner.container_id == id);
    let plan = |saved: &Saved| {
        let mut change = Change::default();
        let mut stale: Vec<&str> =
            saved.chains().filter(|name| is_of(saved, name, network, |id| !is_valid(id))).collect();
        stale.sort_unstable();
        for chain in &stale {
            change.delete_matching(saved, POSTROUTING, |rule| rule.target() == Some(chain));
        }
        for chain in stale {
            change.delete_chain(saved, chain);
        }
        change
    };
    both(
        update_holders(Family::Ipv4, path, POSTROUTING, plan),
        update_holders(Family::Ipv6, path, POSTROUTING, plan),
    )
}

/// Whether a rule in the chain says by its comment that the chain is this network's, of a container that `pick` picks, and
/// the chain's name says so too.
fn is_of(saved: &Saved, name: &str, network: &str, pick: impl Fn(&str) -> bool) -> bool {
    let id_of = |rule: &Rule| {
        let rest = rule.comment()?.strip_prefix(&format!("name: \"{network}\" id: \""))?;
        Some(rest.strip_suffix('"')?.to_owned())
    };
    let mut ids = saved.rules(name).iter().filter_map(id_of);
    ids.any(|id| chain(network, &id) == name && pick(&id))
}

pub(super) fn check(owner: &Owner, addresses: &[IpNet], path: &str) -> Result<()> {
    let chain = chain(&owner.network, &owner.container_id);
    let rules = Rules::new(owner, &chain);
    for (family, addresses) in by_family(addresses) {
        if addresses.is_empty() {
            continue;
        }
        let saved = Iptables::find(family, path)?.save(TABLE)?;
        for address in &addresses {
            let lacks = |chain: &str| {
                not_masqueraded(
                    address.addr(),
                    &format!("a rule of chain {chain} of table {TABLE} is missing"),
                )
            };
            let jumps = [rules.jump(&IpNet::from(address.addr())), rules.jump(&address.trunc())];
            if !jumps.iter().any(|jump| saved.has_rule(POSTROUTING, jump)) {
                return Err(lacks(POSTROUTING));
            }
            for rule in [rules.own_subnet(address), rules.masquerade(family)] {
                if !saved.has_rule(&chain, &rule) {
                    return Err(lacks(&chain));
                }
            }
        }
    }
    Ok(())
}

/// Rules for which there is no program any more must not keep a container from being deleted.
fn update_holders(family: Family, path: &str, chain: &str, plan: impl Fn(&Saved) -> Change) -> Result<()> {
    let holders = match holders(family, path, TABLE, chain) {
        Err(cni_iptables::Error::NotFound { .. }) => return Ok(()),
        found => found?,
    };
    for iptables in holders {
        iptables.update(TABLE, &plan)?;
    }
    Ok(())
}

fn by_family(addresses: &[IpNet]) -> [(Family, Vec<IpNet>); 2] {
    [(Family::Ipv4, of_family(addresses, true)), (Family::Ipv6, of_family(addresses, false))]
}

/// As the reference names it (plugins v1.9.1, pkg/utils/utils.go, FormatChainName).
fn chain(network: &str, container_id: &str) -> String {
    format!("CNI-{}", hex_digest(&format!("{network}{container_id}"), 24))
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
