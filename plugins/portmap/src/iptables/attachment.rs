//! Which of a container's rules belong to one of its interfaces. The chain is named after network and container alone, so that
//! all interfaces of a container in one network share it; the rules tell the addresses that they lead to, and records whose
//! those are.

use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};

use cni_host::{AddressRecords, Owner};
use cni_iptables::{Family, Found, Rule, Table};

use super::rules::{DNAT, Jump, OLD_PREFIX, OLD_SNAT, PREFIX, PodChain, forward, port_of};
use crate::config::{Forward, Protocol};

/// An interface of a container, and what addresses it is known to have, or to have had.
pub(crate) struct Attachment<'a> {
    owner: &'a Owner,
    addresses: Vec<IpAddr>,
    records: &'a AddressRecords,
    others: OnceCell<Vec<IpAddr>>,
}

impl<'a> Attachment<'a> {
    /// Its recorded addresses, and these.
    pub(crate) fn new(owner: &'a Owner, records: &'a AddressRecords, told: &[IpAddr]) -> Self {
        let recorded = records.find(owner).map(|record| record.addresses).unwrap_or_default();
        let mut addresses = told.to_vec();
        addresses.extend(recorded.iter().map(ipnet::IpNet::addr));
        Attachment { owner, addresses, records, others: OnceCell::new() }
    }

    pub(super) fn owner(&self) -> &Owner {
        self.owner
    }

    /// The families of its addresses.
    pub(super) fn families(&self) -> impl Iterator<Item = Family> {
        let has = |v4: bool| self.addresses.iter().any(|address| address.is_ipv4() == v4);
        [(Family::Ipv4, has(true)), (Family::Ipv6, has(false))]
            .into_iter()
            .filter_map(|(family, has)| has.then_some(family))
    }

    /// Whether what leads to this address is the attachment's. When none of its addresses is known, it was added by the
    /// reference or an earlier release, and all is that no other interface of the container is recorded to have.
    fn has(&self, pod: IpAddr) -> bool {
        if self.addresses.is_empty() { !self.others().contains(&pod) } else { self.addresses.contains(&pod) }
    }

    fn others(&self) -> &[IpAddr] {
        self.others.get_or_init(|| {
            let records = self.records.of_container(&self.owner.network, &self.owner.container_id);
            let others = records.into_iter().filter(|record| record.owner != *self.owner);
            others.flat_map(|record| record.addresses).map(|address| address.addr()).collect()
        })
    }

    /// Makes the container's chain hold what `chain` has for this attachment, and what it has of others.
    pub(super) fn put(&self, table: &mut Table<'_>, chain: &PodChain) -> cni_iptables::Result<()> {
        let there = table.rules(&chain.name)?;
        let others = self.of_others(table, &there);
        if others.is_empty() {
            let same = there.len() == chain.rules.len()
                && there.iter().zip(&chain.rules).all(|(found, rule)| found.is(rule));
            if !same {
                table.replace_chain(&chain.name, chain.rules.clone());
            }
        } else {
            let is_wanted = |found: &Found| chain.rules.iter().any(|rule| found.is(rule));
            self.delete_rules(table, &chain.name, &others, is_wanted)?;
            for rule in &chain.rules {
                table.append_unique(&chain.name, rule.clone())?;
            }
        }
        let is_wanted = |found: &Found| chain.jumps.iter().any(|rule| found.is(rule));
        delete_jumps(table, &chain.name, &others, is_wanted)?;
        chain.jumps.iter().try_for_each(|rule| table.append_unique(DNAT, rule.clone()))
    }

    /// Removes what the attachment has in the container's chain, and the chain when nothing else is in it. Adds its mappings to
    /// `gone`.
    pub(super) fn take(
        &self,
        table: &mut Table<'_>,
        chain: &str,
        gone: &mut Vec<Forward>,
    ) -> cni_iptables::Result<()> {
        let (family, there) = (table.family(), table.rules(chain)?);
        let others = self.of_others(table, &there);
        let mapped = there.iter().filter_map(|found| forward(found.rule()?, family));
        gone.extend(mapped.filter(|mapped| self.has(mapped.pod.ip())));
        if others.is_empty() {
            return delete_chain(table, chain);
        }
        self.delete_rules(table, chain, &others, |_| false)?;
        delete_jumps(table, chain, &others, |_| false)
    }

    /// The mappings of the chain that are not this attachment's.
    fn of_others(&self, table: &Table<'_>, there: &[Found]) -> Vec<Forward> {
        let mapped = there.iter().filter_map(|found| forward(found.rule()?, table.family()));
        mapped.filter(|mapped| !self.has(mapped.pod.ip())).collect()
    }

    /// Deletes the attachment's rules that are not `kept`. Those that mark packets tell no more than the port.
    fn delete_rules(
        &self,
        table: &mut Table<'_>,
        chain: &str,
        others: &[Forward],
        kept: impl Fn(&Found) -> bool,
    ) -> cni_iptables::Result<()> {
        let family = table.family();
        let is_others =
            |port: (Protocol, SocketAddr)| others.iter().any(|other| (other.protocol, other.host) == port);
        let is_own = |rule: &Rule| match forward(rule, family) {
            Some(mapped) => self.has(mapped.pod.ip()),
            None => port_of(rule, family).is_some_and(|port| !is_others(port)),
        };
        table.delete_matching(chain, |found| found.rule().is_some_and(is_own) && !kept(found))
    }
}

/// Deletes the rules that lead to the container's chain, but for those `kept` and those without which one of these mappings would not
/// be come to.
fn delete_jumps(
    table: &mut Table<'_>,
    chain: &str,
    others: &[Forward],
    kept: impl Fn(&Found) -> bool,
) -> cni_iptables::Result<()> {
    let there = table.rules(DNAT)?;
    let mut left: Vec<&Found> = there.iter().filter(|found| found.leads_to(chain)).collect();
    let jumps = left.clone();
    let leads = |found: &Found, other: &Forward| match found.rule().and_then(Jump::of) {
        Some(jump) => jump.protocol == other.protocol && jump.ports.contains(&other.host.port()),
        // With conditions that only iptables understands.
        None => true,
    };
    for jump in jumps {
        let without: Vec<&Found> = left.iter().copied().filter(|found| *found != jump).collect();
        let is_needed =
            |other: &Forward| leads(jump, other) && !without.iter().any(|found| leads(found, other));
        if !kept(jump) && !others.iter().any(is_needed) {
            left = without;
        }
    }
    table.delete_matching(DNAT, |found| found.leads_to(chain) && !left.contains(&found))
}

/// Removes a container's chain, that of an old release of the reference, and what leads to them.
pub(super) fn delete_chain(table: &mut Table<'_>, chain: &str) -> cni_iptables::Result<()> {
    let old = chain.replacen(PREFIX, OLD_PREFIX, 1);
    for (top, chain) in [(DNAT, chain), (OLD_SNAT, &old)] {
        table.delete_matching(top, |found| found.leads_to(chain))?;
        table.delete_chain(chain)?;
    }
    Ok(())
}
