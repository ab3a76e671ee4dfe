//! Which address an attachment gets: the one asked for, the one it held before the machine went down, or the next in turn.

use std::net::IpAddr;

use cni_plugin::Undo;

use crate::config::Plan;
use crate::error::Error;
use crate::lease::{Contents, Holder};
use crate::range::RangeSet;
use crate::store::{Lease, Miss, Reserved, Session};

/// How many addresses in a row may turn out taken before it is asked which are free at all: first the index, then the folder.
const PROBES: usize = 16;

/// Takes one address of each set, in their order. On failure what it took is given back.
pub(crate) fn allocate(
    session: &mut Session<'_>,
    plan: &Plan,
    holder: Holder<'_>,
) -> Result<Vec<IpAddr>, Error> {
    let held = session.held(holder, Miss::Trusted)?;
    let mut undo = Undo::default();
    let mut requested = plan.requested.clone();
    let mut addresses = Vec::with_capacity(plan.sets.len());
    let mut kept = Vec::new();

    for (index, set) in plan.sets.iter().enumerate() {
        let wanted =
            requested.iter().position(|&ip| set.range_of(ip).is_some()).map(|at| requested.remove(at));
        let set = Set { index, set, holder };
        if let Some(lease) = set.of_before_boot(&held, wanted)? {
            addresses.push(lease.address);
            kept.push(lease.address);
            continue;
        }
        let address = match wanted {
            Some(address) => set.take_requested(session, address)?,
            None => set.take_next(session)?,
        };
        let session = &*session;
        undo.push("release an address", move || session.release(address).map_err(Error::coded));
        session.set_last_reserved(index, address)?;
        addresses.push(address);
    }
    if !requested.is_empty() {
        let unmet: Vec<String> = requested.iter().map(IpAddr::to_string).collect();
        return Err(Error::RequestedOutside(unmet.join(" ")));
    }

    kept.iter().try_for_each(|&address| session.renew(address))?;
    undo.commit();
    session.note(holder, &now_held(held, &addresses));
    Ok(addresses)
}

/// What the holder has after `addresses` were given to it.
fn now_held(mut held: Vec<Lease>, addresses: &[IpAddr]) -> Vec<Lease> {
    for &address in addresses {
        match held.iter_mut().find(|lease| lease.address == address) {
            Some(lease) => lease.before_boot = false,
            None => held.push(Lease { address, before_boot: false, any_ifname: false }),
        }
    }
    held
}

/// One range set, and who wants an address of it.
#[derive(Clone, Copy)]
struct Set<'a> {
    index: usize,
    set: &'a RangeSet,
    holder: Holder<'a>,
}

impl Set<'_> {
    /// The lease to be handed out once more, since it is of before the boot. A lease of this boot is one that a running
    /// container uses: that is refused, unless another address is asked for, which the reference lets pass.
    fn of_before_boot(&self, held: &[Lease], wanted: Option<IpAddr>) -> Result<Option<Lease>, Error> {
        let is_meant =
            |address| wanted.map_or(self.set.range_of(address).is_some(), |wanted| wanted == address);
        let mut here = held.iter().filter(|lease| is_meant(lease.address));
        if let Some(lease) = here.clone().find(|lease| !lease.before_boot) {
            let id = self.holder.id.to_owned();
            return Err(Error::Duplicate { set: self.index, address: lease.address, id });
        }
        Ok(here.find(|lease| !self.set.is_gateway(lease.address)).copied())
    }

    fn take_requested(&self, session: &Session<'_>, address: IpAddr) -> Result<IpAddr, Error> {
        if self.set.is_gateway(address) {
            return Err(Error::RequestedGateway { set: self.index, address });
        }
        let holder = match session.reserve(address, self.holder)? {
            Reserved::Done => return Ok(address),
            Reserved::Taken(Contents::Held { id, ifname }) => format!(": held by {ifname} of {id}"),
            Reserved::Taken(Contents::HeldByContainer { id }) => format!(": held by {id}"),
            Reserved::Taken(_) => String::new(),
        };
        Err(Error::RequestedTaken { set: self.index, address, ranges: self.set.to_string(), holder })
    }

    /// The next free address after the one that was handed out last: a container that crashes and comes back at once gets
    /// another, which nobody's cache still takes for the old one's.
    fn take_next(&self, session: &Session<'_>) -> Result<IpAddr, Error> {
        let last = session.folder().last_reserved(self.index);
        for address in self.set.round_robin(last).take(PROBES) {
            if session.reserve(address, self.holder)? == Reserved::Done {
                return Ok(address);
            }
        }
        if let Some(taken) = session.taken() {
            let free = self.set.round_robin_of(last, |span| taken.free_in(self.set.is_ipv4(), span));
            for address in free.take(PROBES) {
                if session.reserve(address, self.holder)? == Reserved::Done {
                    return Ok(address);
                }
            }
        }
        loop {
            let taken = session.folder().addresses()?;
            for address in self.set.round_robin(last).filter(|address| !taken.contains(address)) {
                if session.reserve(address, self.holder)? == Reserved::Done {
                    return Ok(address);
                }
            }
            if session.reclaim()? == 0 {
                return Err(Error::Exhausted { set: self.index, ranges: self.set.to_string() });
            }
        }
    }
}

#[cfg(test)]
#[path = "allocator_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "nearly_full_tests.rs"]
mod nearly_full;
