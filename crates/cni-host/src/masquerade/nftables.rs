//! The nftables backend: an element for each address, so that neither a packet nor a change costs more as containers grow.
//!
//! ```text
//! table ip cni_masquerade {
//!     map sources { type ipv4_addr : verdict
//!         elements = { 10.88.0.5 comment "cni:net:c1:eth0" : goto subnet-10.88.0.0/16 } }
//!     chain postrouting { type nat hook postrouting priority 100; policy accept;
//!         ip daddr 224.0.0.0/4 return
//!         ip saddr vmap @sources }
//!     chain subnet-10.88.0.0/16 {
//!         ip daddr 10.88.0.0/16 return
//!         masquerade }
//! }
//! ```
//!
//! The same in `ip6 cni_masquerade`. Two tables and not one of family inet, which a kernel built without IPv6 lacks. Not the
//! reference's table either: it empties its base chain at each ADD. Priority 100 is NF_IP_PRI_NAT_SRC.

use std::collections::HashSet;

use cni_nftables::{Batch, Chain, DataType, Element, Family, Hook, Nft, Op, Policy, Selector, Set};
use cni_nftables::{Statement, Table, Value, Verdict};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{not_masqueraded, of_family, reference};
use crate::{Error, Owner, Result};

const NAME: &str = "cni_masquerade";
const TABLE4: Table = Table { family: Family::Ip, name: NAME };
const TABLE6: Table = Table { family: Family::Ip6, name: NAME };

const POSTROUTING: &str = "postrouting";
const PRIORITY: i32 = 100;
const SUBNET: &str = "subnet-";
/// As many rules has each chain here: one for what is left alone, one for the rest.
const RULES: usize = 2;

/// What is different in the two families.
struct Side {
    table: Table,
    sources: Set,
    multicast: IpNet,
    saddr: Selector,
    daddr: Selector,
}

const SIDE4: Side = Side {
    table: TABLE4,
    sources: Set { table: TABLE4, name: "sources", key: &[DataType::Ipv4Addr], data: &[DataType::Verdict] },
    multicast: IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::new(224, 0, 0, 0), 4)),
    saddr: Selector::IpSaddr,
    daddr: Selector::IpDaddr,
};

const SIDE6: Side = Side {
    table: TABLE6,
    sources: Set { table: TABLE6, name: "sources", key: &[DataType::Ipv6Addr], data: &[DataType::Verdict] },
    multicast: IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8)),
    saddr: Selector::Ip6Saddr,
    daddr: Selector::Ip6Daddr,
};

fn side(address: &IpNet) -> &'static Side {
    if address.addr().is_ipv4() { &SIDE4 } else { &SIDE6 }
}

pub(super) fn add(nft: &mut Nft, owner: &Owner, addresses: &[IpNet]) -> Result<()> {
    let mut setup = Batch::default();
    for (side, addresses) in [(&SIDE4, of_family(addresses, true)), (&SIDE6, of_family(addresses, false))] {
        if !addresses.is_empty() {
            setup.append(side.setup(&addresses));
        }
    }
    let wanted: Vec<(Set, Element)> =
        addresses.iter().map(|address| (side(address).sources, element(owner, address))).collect();
    nft.update("masquerade addresses", None, |nft| {
        // Somebody may have flushed the table, which leaves its elements and takes the rules that look at them.
        let mut batch = if emptied(nft, addresses)?.is_some() { setup.clone() } else { Batch::default() };
        for (set, wanted) in &wanted {
            match nft.element(set, &wanted.key)? {
                Some(found) if found == *wanted => continue,
                // An earlier owner's, whose late DEL will find that it is not its own any more.
                Some(_) => drop(batch.delete_element(set, wanted.key.clone())),
                None => {}
            }
            batch.add_element(set, wanted.clone());
        }
        Ok(batch)
    })?;
    Ok(())
}

/// What removes this owner's addresses, and what the reference made for it.
pub(super) fn plan_del(nft: &mut Nft, owner: &Owner, addresses: &[IpNet]) -> cni_nftables::Result<Batch> {
    let mut batch = Batch::default();
    let of_owner = |found: &Element| found.comment.as_deref().is_some_and(|comment| owner.owns(comment));
    for (set, found) in candidates(nft, addresses)? {
        if !of_owner(&found) {
            continue;
        }
        match chain_of_address(&found) {
            // Not to expire: until the kernel frees it, a second later or so, the chain that it leads to could not be deleted.
            Some(chain) => {
                batch.delete_element(&set, found.key);
                batch.flush_chain(set.table, &chain).delete_chain(set.table, &chain);
            }
            None => drop(batch.remove_element(&set, found)),
        }
    }
    batch.append(reference::delete_masquerade(nft, |comment| reference::is_masquerade_of(comment, owner))?);
    Ok(batch)
}

pub(super) fn gc(nft: &mut Nft, network: &str, valid: &[Owner]) -> Result<()> {
    let references: HashSet<String> = valid.iter().map(reference::start_of_comment).collect();
    let valid = Owner::tags(valid);
    let plan = |nft: &mut Nft| {
        let mut batch = Batch::default();
        for side in [&SIDE4, &SIDE6] {
            for found in nft.elements(&side.sources)? {
                let comment = found.comment.as_deref().unwrap_or_default();
                if Owner::is_of_network(comment, network) && !valid.contains(comment) {
                    // Not to expire, for the sake of its chain.
                    batch.delete_element(&side.sources, found.key);
                }
            }
        }
        let stale = |comment: &str| {
            reference::is_masquerade_in(comment, network)
                && !reference::start(comment).is_some_and(|start| references.contains(start))
        };
        batch.append(reference::delete_masquerade(nft, stale)?);
        Ok(batch)
    };
    let collected = nft
        .update("collect masquerading", None, plan)
        .and_then(|()| [&SIDE4, &SIDE6].into_iter().try_for_each(|side| delete_unused_chains(nft, side)));
    unless_unsupported(collected)
}

/// Deletes the chains of subnets to which no address leads any more.
fn delete_unused_chains(nft: &mut Nft, side: &Side) -> cni_nftables::Result<()> {
    let mut in_use = HashSet::new();
    for found in nft.elements(&side.sources)? {
        if let [Value::Verdict(Verdict::Goto(chain))] = &found.data[..] {
            in_use.insert(chain.clone());
        }
    }
    for chain in nft.chains(side.table)? {
        if !chain.starts_with(SUBNET) || in_use.contains(&chain) {
            continue;
        }
        match nft.commit(Batch::default().flush_chain(side.table, &chain).delete_chain(side.table, &chain)) {
            // An ADD has come in between; or the kernel has yet to free an element that a DEL has had expire. The next GC is
            // early enough for an empty chain.
            Err(error) if error.is_busy() => {}
            // Another GC was faster.
            Err(error) if error.is_not_found() => {}
            done => done?,
        }
    }
    Ok(())
}

pub(super) fn check(nft: &mut Nft, owner: &Owner, addresses: &[IpNet]) -> Result<()> {
    if reference::has_masquerade(nft, owner)? {
        return Ok(());
    }
    for address in addresses {
        let (side, wanted) = (side(address), element(owner, address));
        let differs = |why: &str| Err(not_masqueraded(address.addr(), why));
        match nft.element(&side.sources, &wanted.key)? {
            None => return differs(&format!("it is not in map sources of table {}", side.table)),
            Some(found) if found == wanted => {}
            Some(found) if found.comment == wanted.comment => return differs("its subnet is another one"),
            Some(Element { comment, .. }) => {
                return differs(&format!("it is {} now", comment.as_deref().unwrap_or("somebody else's")));
            }
        }
        if let Some((table, chain)) = emptied(nft, &[*address])? {
            return differs(&format!("chain {chain} of table {table} does not have its rules"));
        }
    }
    Ok(())
}

/// The first of the chains that masquerade these addresses which does not have its rules.
fn emptied(nft: &mut Nft, addresses: &[IpNet]) -> cni_nftables::Result<Option<(Table, String)>> {
    for address in addresses {
        let side = side(address);
        for chain in [POSTROUTING.to_owned(), subnet_chain(address)] {
            if nft.rules(side.table, &chain)?.len() < RULES {
                return Ok(Some((side.table, chain)));
            }
        }
    }
    Ok(None)
}

/// Whether what was masqueraded is so still: fails where somebody has flushed a table. One that is not there has never been.
pub(super) fn status(nft: &mut Nft) -> Result<()> {
    nft.probe()?;
    for side in [&SIDE4, &SIDE6] {
        if nft.has_chain(side.table, POSTROUTING)? && nft.rules(side.table, POSTROUTING)?.len() < RULES {
            let table = side.table;
            return Err(Error::Mismatch(format!(
                "chain {POSTROUTING} of table {table} does not have its rules"
            )));
        }
    }
    Ok(())
}

impl Side {
    /// What does not belong to single addresses. Harmless when done again.
    fn setup(&self, addresses: &[IpNet]) -> Batch {
        let mut batch = Batch::default();
        let base = Chain { name: POSTROUTING, base: Some((Hook::NatPostrouting, PRIORITY, Policy::Accept)) };
        batch.add_table(self.table).add_set(&self.sources);
        batch.add_chain(self.table, &base).flush_chain(self.table, POSTROUTING);
        batch.add_rule(self.table, POSTROUTING, self.leave_alone(self.multicast));
        let lookup = Statement::VerdictMap { key: vec![self.saddr], map: self.sources.name.to_owned() };
        batch.add_rule(self.table, POSTROUTING, vec![lookup]);
        for address in addresses {
            let chain = &subnet_chain(address);
            batch.add_chain(self.table, &Chain { name: chain, base: None }).flush_chain(self.table, chain);
            batch.add_rule(self.table, chain, self.leave_alone(address.trunc()));
            batch.add_rule(self.table, chain, vec![Statement::Masquerade]);
        }
        batch
    }

    /// `ip daddr <net> return`
    fn leave_alone(&self, net: IpNet) -> Vec<Statement> {
        let to_it = Statement::Match { selector: self.daddr, op: Op::Eq, value: Value::Net(net) };
        vec![to_it, Statement::Verdict(Verdict::Return)]
    }
}

fn element(owner: &Owner, address: &IpNet) -> Element {
    Element {
        key: vec![Value::Addr(address.addr())],
        data: vec![Value::Verdict(Verdict::Goto(subnet_chain(address)))],
        comment: Some(owner.comment()),
    }
}

/// `subnet-10.88.0.0/16`, `subnet-fd00_88__/64`: nft takes slashes and underscores in names, but no colons.
fn subnet_chain(address: &IpNet) -> String {
    format!("{SUBNET}{}", address.trunc().to_string().replace(':', "_"))
}

/// The chain that an element leads to, where its subnet is the address alone: no other element can lead there.
fn chain_of_address(found: &Element) -> Option<String> {
    match (&found.key[..], &found.data[..]) {
        ([Value::Addr(address)], [Value::Verdict(Verdict::Goto(chain))]) => {
            (*chain == subnet_chain(&IpNet::from(*address))).then(|| chain.clone())
        }
        _ => None,
    }
}

/// The elements of these addresses, or all of them when there are none.
fn candidates(nft: &mut Nft, addresses: &[IpNet]) -> cni_nftables::Result<Vec<(Set, Element)>> {
    let mut found = Vec::new();
    for (at, address) in addresses.iter().enumerate() {
        // Deleting one twice would fail.
        if addresses[..at].iter().any(|earlier| earlier.addr() == address.addr()) {
            continue;
        }
        let set = side(address).sources;
        found.extend(nft.element(&set, &[Value::Addr(address.addr())])?.map(|element| (set, element)));
    }
    if addresses.is_empty() {
        for side in [&SIDE4, &SIDE6] {
            found.extend(nft.elements(&side.sources)?.into_iter().map(|element| (side.sources, element)));
        }
    }
    Ok(found)
}

/// Nothing can be left in a kernel that has no nf_tables.
pub(crate) fn unless_unsupported(outcome: cni_nftables::Result<()>) -> Result<()> {
    match outcome {
        Err(error) if !error.is_unsupported() => Err(Error::Nftables(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnets_chain_has_a_name_that_nft_can_read() {
        for (address, chain) in [
            ("10.88.0.5/16", "subnet-10.88.0.0/16"),
            ("10.88.0.5/32", "subnet-10.88.0.5/32"),
            ("fd00:88::5/64", "subnet-fd00_88__/64"),
            ("fd00:88::5/128", "subnet-fd00_88__5/128"),
        ] {
            assert_eq!(subnet_chain(&address.parse().unwrap()), chain);
        }
    }
}
