//! Which attachment has which addresses in iptables: [`AddressRecords`] in `/run/cni-plugins-rs/masquerade`.
//!
//! Nothing is on record of what the reference or an earlier release added, nor where `/run` is read-only.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{AddressRecord, AddressRecords, Owner, Result, StateDir};

const NAME: &str = "masquerade";

fn records() -> AddressRecords {
    AddressRecords::new(NAME)
}

/// An attachment's addresses; `None` when it has no record.
pub(super) fn find(owner: &Owner) -> Option<Vec<IpNet>> {
    records().find(owner).map(|record| record.addresses)
}

/// The addresses that other attachments of the same container to the same network have on record.
pub(super) fn of_others(owner: &Owner) -> Vec<IpNet> {
    others(owner).flat_map(|record| record.addresses).collect()
}

/// Before an ADD makes rules, so that DEL finds them all if it is killed before its end. Returns the addresses of an earlier
/// ADD, which stay on record until [`end`].
pub(super) fn begin(owner: &Owner, addresses: &[IpNet]) -> Result<Vec<IpNet>> {
    let earlier = find(owner).unwrap_or_default();
    if earlier != addresses {
        set(owner, [addresses, &without(&earlier, addresses)].concat())?;
    }
    Ok(earlier)
}

/// Once the rules for all others are gone.
pub(super) fn end(owner: &Owner, addresses: &[IpNet]) -> Result<()> {
    set(owner, addresses.to_vec())
}

/// Addresses that another interface of the container had: its late DEL must not take them away.
pub(super) fn take_over(owner: &Owner, addresses: &[IpNet]) -> Result<()> {
    for record in others(owner) {
        let left = without(&record.addresses, addresses);
        if left != record.addresses {
            set(&record.owner, left)?;
        }
    }
    Ok(())
}

/// Once an attachment has no rules any more.
pub(super) fn forget(owner: &Owner) -> Result<()> {
    unless_read_only(records().remove(owner))
}

/// Those of the network's attachments that are not among the valid ones.
pub(super) fn stale(network: &str, valid: &[Owner]) -> Vec<AddressRecord> {
    let valid: std::collections::HashSet<&Owner> = valid.iter().collect();
    let mut stale = records().all();
    stale.retain(|record| record.owner.network == network && !valid.contains(&record.owner));
    stale
}

/// Once those have no rules any more.
pub(super) fn retain(network: &str, valid: &[Owner]) -> Result<()> {
    unless_read_only(records().retain(network, valid))
}

/// The addresses that are not among others, whatever their prefixes.
pub(super) fn without(addresses: &[IpNet], others: &[IpNet]) -> Vec<IpNet> {
    let others: Vec<IpAddr> = others.iter().map(IpNet::addr).collect();
    addresses.iter().copied().filter(|address| !others.contains(&address.addr())).collect()
}

fn set(owner: &Owner, addresses: Vec<IpNet>) -> Result<()> {
    records().set(&AddressRecord { owner: owner.clone(), netns: String::new(), addresses })
}

fn others(owner: &Owner) -> impl Iterator<Item = AddressRecord> {
    let records = records().of_container(&owner.network, &owner.container_id);
    records.into_iter().filter(move |record| record.owner != *owner)
}

/// A record from when `/run` could be written must not keep a container from being deleted. It tells of rules of that container
/// alone, which are gone.
fn unless_read_only(removed: Result<()>) -> Result<()> {
    if removed.is_err() && StateDir::new(NAME).is_read_only() { Ok(()) } else { removed }
}
