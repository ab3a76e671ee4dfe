//! Whose an address is, for the backends whose rules name the address alone.
//!
//! One file an address in `/run/cni-plugins-rs/firewall/<backend>`: the owner, and in a second line what the backend notes. So a late DEL does not take the rules
//! of a container that has the address by now, a DEL without prevResult finds its addresses, and GC knows what is whose. An
//! address without a record is one that the reference's plugin let through: DEL removes its rules as that does, GC keeps them.
//! The folder is gone after a reboot, as the rules are.

use std::collections::HashSet;
use std::net::IpAddr;

use cni_host::{Owner, StateDir};
use cni_interface::io_failure;
use cni_plugin::{Result, log};

use crate::Pod;

/// The records of one backend.
#[derive(Debug)]
pub(crate) struct Records {
    state: StateDir,
}

impl Records {
    pub(crate) fn of(backend: &str) -> Self {
        Records { state: StateDir::new("firewall").below(backend) }
    }

    /// Runs `work` while no other process changes the records.
    pub(crate) fn locked<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.state.is_read_only() {
            log::warn(format_args!(
                "{} is read-only: nothing is recorded, and DEL will go by prevResult",
                self.state.path().display()
            ));
            return work();
        }
        self.state.locked(|| {
            // Nobody else is writing now.
            self.state.remove_all_unfinished();
            work()
        })
    }

    /// Makes addresses this owner's, whoever had them before, with this note. Those that were not.
    pub(crate) fn set_all(&self, addresses: &[IpAddr], owner: &Owner, note: &str) -> Result<Vec<IpAddr>> {
        if addresses.is_empty() {
            return Ok(Vec::new());
        }
        self.locked(|| {
            let new: Vec<IpAddr> =
                addresses.iter().copied().filter(|address| !self.holds(*address, owner)).collect();
            for address in addresses {
                if new.contains(address) || self.note(*address).as_deref() != Some(note) {
                    self.set(*address, owner, note)?;
                }
            }
            Ok(new)
        })
    }

    /// Forgets those of these addresses that are still to be forgotten now that nobody else can change that.
    pub(crate) fn remove_all(&self, addresses: &[IpAddr], pick: impl Fn(&Self) -> Vec<IpAddr>) -> Result<()> {
        if !addresses.iter().any(|address| self.knows(*address)) {
            return self.clean();
        }
        self.locked(|| {
            let still = pick(self);
            still
                .iter()
                .filter(|address| addresses.contains(address))
                .try_for_each(|address| self.remove(*address))
        })
    }

    /// Removes what a plugin left that was killed while it wrote a record.
    pub(crate) fn clean(&self) -> Result<()> {
        if self.has_unfinished() { self.locked(|| Ok(())) } else { Ok(()) }
    }

    /// Makes an address this owner's, whoever had it before. `note` is one line, for [`Records::note`].
    pub(crate) fn set(&self, address: IpAddr, owner: &Owner, note: &str) -> Result<()> {
        if self.state.is_read_only() {
            return Ok(());
        }
        let text = format!("{}\n{note}\n", owner.comment());
        self.state.write(&address.to_string(), text.as_bytes()).map_err(io_failure)
    }

    /// What was noted about an address.
    pub(crate) fn note(&self, address: IpAddr) -> Option<String> {
        self.line(address, 1)
    }

    /// Forgets an address.
    pub(crate) fn remove(&self, address: IpAddr) -> Result<()> {
        self.state.remove(&address.to_string()).map_err(io_failure)
    }

    /// Whether the address is recorded as this owner's.
    pub(crate) fn holds(&self, address: IpAddr, owner: &Owner) -> bool {
        self.whose(address).is_some_and(|whose| owner.owns(&whose))
    }

    /// Whether the address is recorded at all.
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        self.whose(address).is_some()
    }

    /// What a DEL may remove: the recorded addresses of this owner, and those of prevResult that nobody is recorded for.
    pub(crate) fn of_pod(&self, pod: &Pod) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> = pod
            .addresses
            .iter()
            .copied()
            .filter(|address| self.whose(*address).is_none_or(|whose| pod.owner.owns(&whose)))
            .collect();
        let others = self.matching(|whose| pod.owner.owns(whose));
        addresses.extend(others.into_iter().filter(|address| !pod.addresses.contains(address)));
        addresses
    }

    /// What GC removes: the recorded addresses of this network's attachments that are not among the valid ones.
    pub(crate) fn stale(&self, network: &str, valid: &HashSet<String>) -> Vec<IpAddr> {
        self.matching(|whose| Owner::is_of_network(whose, network) && !valid.contains(whose))
    }

    fn matching(&self, wanted: impl Fn(&str) -> bool) -> Vec<IpAddr> {
        let names = self.state.names();
        let addresses = names.iter().filter_map(|name| name.parse().ok());
        addresses.filter(|address| self.whose(*address).is_some_and(|whose| wanted(&whose))).collect()
    }

    /// A record that cannot be read is none.
    fn whose(&self, address: IpAddr) -> Option<String> {
        self.line(address, 0)
    }

    fn line(&self, address: IpAddr, number: usize) -> Option<String> {
        let text = self.state.read(&address.to_string())?;
        text.lines().nth(number).filter(|line| !line.is_empty()).map(str::to_owned)
    }

    /// Whether a plugin was killed while it wrote a record; the next turn removes what it left.
    pub(crate) fn has_unfinished(&self) -> bool {
        self.state.has_unfinished()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn owner(network: &str, container_id: &str) -> Owner {
        Owner { network: network.into(), container_id: container_id.into(), ifname: "eth0".into() }
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 1, 0, last])
    }

    fn records() -> (tempfile::TempDir, Records) {
        let root = tempfile::tempdir().unwrap();
        let records = Records { state: StateDir::at(root.path().join("iptables")) };
        (root, records)
    }

    #[test]
    fn a_del_may_remove_what_is_its_own_and_what_nobody_is_recorded_for() {
        let (_root, records) = records();
        let (mine, other) = (owner("blue", "c1"), owner("blue", "c2"));
        records
            .locked(|| {
                records.set(address(5), &mine, "")?;
                records.set(address(6), &other, "")?;
                records.set("fd00::5".parse()?, &mine, "")
            })
            .unwrap();
        let pod = Pod { owner: mine, addresses: vec![address(5), address(6), address(7)], port: None };
        let fd00: IpAddr = "fd00::5".parse().unwrap();
        assert_eq!(records.of_pod(&pod), [address(5), address(7), fd00]);
        assert_eq!(records.of_pod(&Pod { addresses: Vec::new(), ..pod }).len(), 2);
    }

    #[test]
    fn the_latest_owner_counts_until_it_is_forgotten() {
        let (_root, records) = records();
        let (first, second) = (owner("blue", "c1"), owner("blue", "c2"));
        records.locked(|| records.set(address(5), &first, "")).unwrap();
        records.locked(|| records.set(address(5), &second, "")).unwrap();
        assert!(records.holds(address(5), &second) && !records.holds(address(5), &first));
        records.remove(address(5)).unwrap();
        records.remove(address(5)).unwrap();
        assert!(!records.knows(address(5)));
    }

    #[test]
    fn a_note_is_kept_and_a_record_that_was_not_finished_is_none() {
        let (_root, records) = records();
        let mine = owner("blue", "c1");
        records.locked(|| records.set(address(5), &mine, "trusted")).unwrap();
        assert_eq!(records.note(address(5)).as_deref(), Some("trusted"));
        assert_eq!((records.note(address(6)), records.knows(address(6))), (None, false));
        let files = || fs::read_dir(records.state.path()).unwrap().count();
        assert_eq!(files(), 1);
        // As a process that was killed leaves it.
        fs::write(records.state.path().join("10.1.0.9.new"), "cni:bl").unwrap();
        assert_eq!((records.has_unfinished(), records.matching(|_| true)), (true, vec![address(5)]));
        records.locked(|| records.set(address(6), &mine, "")).unwrap();
        assert!(!records.has_unfinished());
        assert_eq!((files(), records.note(address(6))), (2, None));
    }

    #[test]
    fn gc_takes_this_networks_stale_ones_only() {
        let (_root, records) = records();
        assert!(records.stale("blue", &HashSet::new()).is_empty(), "there is no folder yet");
        let (valid, stale, other) = (owner("blue", "c1"), owner("blue", "c2"), owner("green", "c3"));
        records
            .locked(|| {
                records.set(address(5), &valid, "")?;
                records.set(address(6), &stale, "")?;
                records.set(address(7), &other, "")
            })
            .unwrap();
        fs::write(records.state.path().join(address(8).to_string()), "").unwrap();
        fs::write(records.state.path().join("not-an-address"), stale.comment()).unwrap();
        assert_eq!(records.stale("blue", &HashSet::from([valid.comment()])), [address(6)]);
    }
}
