//! The nftables backend: an element for each address, so that neither a packet nor a change costs more as containers grow.
//!
//! ```text
//! table ip cni_masquerade {
//!     map sources { type ipv4_addr : verdict
//!         elements = { 10.88.0.5 comment "cni:net:c1:eth0" : goto subnet-10.88.0.0/16 } }
//!     map owners { type ifname : mark
//!         elements = { "0771aa8adb1a0cc" comment "cni:net:c1:eth0" : 0x00000001 } }
//!     chain postrouting { type nat hook postrouting priority 100; policy accept;
//!         ip daddr 224.0.0.0/4 return
//!         ip saddr vmap @sources }
//!     chain subnet-10.88.0.0/16 {
//!         ip daddr 10.88.0.0/16 return
//!         masquerade }
//! }
//! ```
//!
//! `owners` says how many elements an attachment has in `sources`. By it DEL knows whether it has found all of them, without a
//! look at those of all other containers. An earlier release's table
//! has no such map.
//!
//! The same in `ip6 cni_masquerade`. Two tables and not one of family inet, which a kernel built without IPv6 lacks. Not the
//! reference's table either: it empties its base chain at each ADD. Priority 100 is NF_IP_PRI_NAT_SRC.

mod table;

use std::collections::HashSet;

use cni_nftables::{Batch, Element, Nft, Set, Table, Value, Verdict};
use ipnet::IpNet;

use self::table::{
    POSTROUTING, RULES, SIDE4, SIDE6, SUBNET, Side, chain_of_address, element, side, subnet_chain,
};
use super::{not_masqueraded, of_family, reference};
use crate::{Error, Owner, Result};

/// What an attachment has in one family's table.
struct Share {
    side: &'static Side,
    addresses: Vec<IpNet>,
    /// In its map `sources`, one for each address.
    elements: Vec<Element>,
    /// In its map `owners`.
    entry: Element,
}

impl Share {
    fn new(side: &'static Side, owner: &Owner, addresses: &[IpNet]) -> Self {
        let mut addresses = of_family(addresses, side.multicast.addr().is_ipv4());
        // A result may name an address twice.
        let mut seen = HashSet::new();
        addresses.retain(|address| seen.insert(address.addr()));
        let elements: Vec<Element> = addresses.iter().map(|address| element(owner, address)).collect();
        let entry = Element {
            key: vec![Value::IfName(owner.short_key())],
            data: vec![count(elements.len())],
            comment: Some(owner.comment()),
        };
        Share { side, addresses, elements, entry }
    }

    /// Of both families.
    fn both(owner: &Owner, addresses: &[IpNet]) -> [Self; 2] {
        [&SIDE4, &SIDE6].map(|side| Share::new(side, owner, addresses))
    }

    /// Puts it into the table, in the place of what is there, an earlier ADD's and others' who had the addresses.
    fn put(&self, nft: &mut Nft, batch: &mut Batch, owner: &Owner) -> cni_nftables::Result<()> {
        let Side { sources, owners, .. } = self.side;
        let mut own = 0;
        for wanted in &self.elements {
            let found = nft.element(sources, &wanted.key)?;
            own += usize::from(found.as_ref().is_some_and(|found| is_of(owner, found)));
            match found {
                Some(found) if found == *wanted => continue,
                // An earlier owner's, whose late DEL will find that it is not its own any more.
                Some(found) if found.data == wanted.data => drop(batch.delete_element(sources, found.key)),
                Some(found) => delete(batch, sources, found),
                None => {}
            }
            batch.add_element(sources, wanted.clone());
        }
        let entry = nft.element(owners, &self.entry.key)?;
        if entry.as_ref().is_some_and(|entry| is_of(owner, entry) && entry.data != [count(own)]) {
            for found in all_of(nft, owner, self.side)? {
                if !self.elements.iter().any(|wanted| wanted.key == found.key) {
                    delete(batch, sources, found);
                }
            }
        }
        match (entry, self.elements.is_empty()) {
            (None, true) => {}
            (None, false) => drop(batch.add_element(owners, self.entry.clone())),
            (Some(found), true) => drop(batch.delete_element(owners, found.key)),
            (Some(found), false) if found == self.entry => {}
            (Some(found), false) => {
                batch.delete_element(owners, found.key).add_element(owners, self.entry.clone());
            }
        }
        Ok(())
    }

    /// Removes it and whatever else this owner has in the table; without being told of any address, all that there is.
    fn remove(
        &self,
        nft: &mut Nft,
        batch: &mut Batch,
        owner: &Owner,
        is_told: bool,
    ) -> cni_nftables::Result<()> {
        let Side { sources, owners, .. } = self.side;
        let mut found = Vec::new();
        for told in &self.elements {
            found.extend(nft.element(sources, &told.key)?.filter(|found| is_of(owner, found)));
        }
        let entry = nft.element(owners, &self.entry.key)?.filter(|entry| is_of(owner, entry));
        let is_all = match &entry {
            Some(entry) => entry.data == [count(found.len())],
            // An earlier release's, or nobody who has anything here.
            None => is_told && (found.len() == self.elements.len() || found.is_empty()),
        };
        if !is_all {
            found = all_of(nft, owner, self.side)?;
        }
        for element in found {
            if chain_of_address(&element).is_some() {
                // Not to expire: until the kernel frees it, a second later or so, the chain that it leads to could not be deleted.
                delete(batch, sources, element);
            } else {
                batch.remove_element(sources, element);
            }
        }
        if let Some(entry) = entry {
            batch.remove_element(owners, entry);
        }
        Ok(())
    }
}

pub(super) fn add(nft: &mut Nft, owner: &Owner, addresses: &[IpNet]) -> Result<()> {
    let shares = Share::both(owner, addresses);
    let (mut maps, mut setup) = (Batch::default(), Batch::default());
    for share in shares.iter().filter(|share| !share.elements.is_empty()) {
        maps.append(share.side.maps());
        setup.append(share.side.setup(&share.addresses));
    }
    // An earlier release's table has its rules, and no owners.
    nft.update("masquerade addresses", Some(&maps), |nft| {
        // Somebody may have flushed the table, which leaves its elements and takes the rules that look at them.
        let mut batch = if emptied(nft, addresses)?.is_some() { setup.clone() } else { Batch::default() };
        shares.iter().try_for_each(|share| share.put(nft, &mut batch, owner))?;
        Ok(batch)
    })?;
    Ok(())
}

/// What removes this owner's addresses, and what the reference made for it. Those that it is told of are looked for first, and
/// whatever there is only where these are not all, or none is told.
pub(super) fn plan_del(nft: &mut Nft, owner: &Owner, addresses: &[IpNet]) -> cni_nftables::Result<Batch> {
    let mut batch = Batch::default();
    for share in Share::both(owner, addresses) {
        share.remove(nft, &mut batch, owner, !addresses.is_empty())?;
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
            for set in [&side.sources, &side.owners] {
                for found in nft.elements(set)? {
                    let comment = found.comment.as_deref().unwrap_or_default();
                    if Owner::is_of_network(comment, network) && !valid.contains(comment) {
                        // Not to expire, for the sake of its chain.
                        batch.delete_element(set, found.key);
                    }
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
    for chain in nft.chains(&side.table)? {
        if !chain.starts_with(SUBNET) || in_use.contains(&chain) {
            continue;
        }
        match nft.commit(Batch::default().flush_chain(&side.table, &chain).delete_chain(&side.table, &chain))
        {
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
fn emptied(nft: &mut Nft, addresses: &[IpNet]) -> cni_nftables::Result<Option<(&'static Table, String)>> {
    for address in addresses {
        let side = side(address);
        for chain in [POSTROUTING.to_owned(), subnet_chain(address)] {
            if nft.rules(&side.table, &chain)?.len() < RULES {
                return Ok(Some((&side.table, chain)));
            }
        }
    }
    Ok(None)
}

/// Whether what was masqueraded is so still: fails where somebody has flushed a table. One that is not there has never been.
pub(super) fn status(nft: &mut Nft) -> Result<()> {
    nft.probe()?;
    for side in [&SIDE4, &SIDE6] {
        if nft.has_chain(&side.table, POSTROUTING)? && nft.rules(&side.table, POSTROUTING)?.len() < RULES {
            let table = &side.table;
            return Err(Error::Mismatch(format!(
                "chain {POSTROUTING} of table {table} does not have its rules"
            )));
        }
    }
    Ok(())
}

/// Deletes an element, and the chain that no other leads to.
fn delete(batch: &mut Batch, set: &Set, found: Element) {
    let chain = chain_of_address(&found);
    batch.delete_element(set, found.key);
    if let Some(chain) = chain {
        batch.flush_chain(&set.table, &chain).delete_chain(&set.table, &chain);
    }
}

fn is_of(owner: &Owner, found: &Element) -> bool {
    found.comment.as_deref().is_some_and(|comment| owner.owns(comment))
}

/// All that an owner has in `sources`; reads the whole map.
fn all_of(nft: &mut Nft, owner: &Owner, side: &Side) -> cni_nftables::Result<Vec<Element>> {
    let mut found = nft.elements(&side.sources)?;
    found.retain(|found| is_of(owner, found));
    Ok(found)
}

fn count(elements: usize) -> Value {
    Value::Mark(u32::try_from(elements).unwrap_or(u32::MAX))
}

/// Nothing can be left in a kernel that has no nf_tables.
pub(crate) fn unless_unsupported(outcome: cni_nftables::Result<()>) -> Result<()> {
    match outcome {
        Err(error) if !error.is_unsupported() => Err(Error::Nftables(error)),
        _ => Ok(()),
    }
}
