//! Which attachment has rules for which addresses, where the rules themselves do not tell.
//!
//! The reference's chains are named after network and container, and their rules tell addresses, so of two interfaces of a
//! container in one network each looks like the other's. One file an attachment says what is whose:
//!
//! ```text
//! blue                          the network
//! 3f09c1                        the container ID
//! eth0                          the interface
//! /run/netns/c1                 CNI_NETNS
//! 10.88.0.5/16 fd00:88::5/64    the addresses
//! ```

use std::collections::HashSet;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::owner::hex_digest;
use crate::{Owner, Result, StateDir};

/// What is recorded of an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRecord {
    /// Whose it is.
    pub owner: Owner,
    /// The container's namespace; empty when it is not known.
    pub netns: String,
    /// Each with the prefix of its own subnet.
    pub addresses: Vec<IpNet>,
}

/// The records of one plugin, or of one part of several. Where `/run` is read-only nothing is recorded, and a request's
/// prevResult is all that tells addresses.
#[derive(Debug)]
pub struct AddressRecords {
    state: StateDir,
}

impl AddressRecords {
    /// Those in `/run/cni-plugins-rs/<name>`.
    pub fn new(name: &str) -> Self {
        AddressRecords { state: StateDir::new(name) }
    }

    /// Those in some other folder.
    pub fn at(folder: PathBuf) -> Self {
        AddressRecords { state: StateDir::at(folder) }
    }

    /// Writes an attachment's record, in the place of an earlier one.
    pub fn set(&self, record: &AddressRecord) -> Result<()> {
        if self.state.is_read_only() {
            return Ok(());
        }
        let AddressRecord { owner, netns, addresses } = record;
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let lines = [&owner.network, &owner.container_id, &owner.ifname, netns, &addresses.join(" ")];
        let text: String = lines.into_iter().flat_map(|line| [line, "\n"]).collect();
        self.state.write(&name(&owner.comment()), text.as_bytes())
    }

    /// That of an attachment.
    pub fn find(&self, owner: &Owner) -> Option<AddressRecord> {
        self.of_comment(&owner.comment()).filter(|record| record.owner == *owner)
    }

    /// That of the attachment whose elements carry this comment ([`Owner::comment`]).
    pub fn of_comment(&self, comment: &str) -> Option<AddressRecord> {
        read(&self.state.read(&name(comment))?)
    }

    /// Those of all attachments of a container to a network.
    pub fn of_container(&self, network: &str, container_id: &str) -> Vec<AddressRecord> {
        let is_of = |owner: &Owner| owner.network == network && owner.container_id == container_id;
        self.all().into_iter().filter(|record| is_of(&record.owner)).collect()
    }

    /// All that there are.
    pub fn all(&self) -> Vec<AddressRecord> {
        self.state.names().iter().filter_map(|name| read(&self.state.read(name)?)).collect()
    }

    /// Forgets an attachment.
    pub fn remove(&self, owner: &Owner) -> Result<()> {
        self.state.remove(&name(&owner.comment()))
    }

    /// Forgets the network's attachments that are not among the valid ones.
    pub fn retain(&self, network: &str, valid: &[Owner]) -> Result<()> {
        let valid: HashSet<&Owner> = valid.iter().collect();
        let mut stale = self.all();
        stale.retain(|record| record.owner.network == network && !valid.contains(&record.owner));
        stale.iter().try_for_each(|record| self.remove(&record.owner))
    }
}

/// The name of the file: what can be told by an element's comment alone.
fn name(comment: &str) -> String {
    hex_digest(comment, 32)
}

/// What cannot be read is no record.
fn read(text: &str) -> Option<AddressRecord> {
    let mut lines = text.lines().map(str::to_owned);
    let owner = Owner { network: lines.next()?, container_id: lines.next()?, ifname: lines.next()? };
    let netns = lines.next()?;
    let addresses = lines.next()?;
    let addresses =
        addresses.split_whitespace().map(|address| address.parse().ok()).collect::<Option<_>>()?;
    Some(AddressRecord { owner, netns, addresses })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn record(network: &str, container_id: &str, ifname: &str) -> AddressRecord {
        AddressRecord {
            owner: Owner {
                network: network.into(),
                container_id: container_id.into(),
                ifname: ifname.into(),
            },
            netns: "/run/netns/c1".into(),
            addresses: vec!["10.88.0.5/16".parse().unwrap(), "fd00:88::5/64".parse().unwrap()],
        }
    }

    fn records() -> (tempfile::TempDir, AddressRecords) {
        let root = tempfile::tempdir().unwrap();
        let records = AddressRecords::at(root.path().join("portmap"));
        (root, records)
    }

    #[test]
    fn a_record_is_found_by_its_owner_and_by_the_comment_of_its_elements() {
        let (_root, records) = records();
        for one in [record("blue", "c1", "eth0"), record("blue", &"c".repeat(300), "eth1")] {
            assert_eq!(records.find(&one.owner), None);
            records.set(&one).unwrap();
            assert_eq!(records.find(&one.owner).as_ref(), Some(&one));
            assert_eq!(records.of_comment(&one.owner.comment()), Some(one.clone()));
            let empty = AddressRecord { netns: String::new(), addresses: Vec::new(), ..one.clone() };
            records.set(&empty).unwrap();
            assert_eq!(records.find(&one.owner), Some(empty));
            records.remove(&one.owner).unwrap();
            assert_eq!(records.find(&one.owner), None);
        }
    }

    #[test]
    fn those_of_a_container_are_those_of_all_its_interfaces_in_the_network() {
        let (_root, records) = records();
        let all = [
            record("blue", "c1", "eth0"),
            record("blue", "c1", "eth1"),
            record("red", "c1", "eth0"),
            record("blue", "c2", "eth0"),
        ];
        all.iter().for_each(|one| records.set(one).unwrap());
        let mut found = records.of_container("blue", "c1");
        found.sort_by(|a, b| a.owner.ifname.cmp(&b.owner.ifname));
        assert_eq!(found, all[..2]);
        records.retain("blue", &[all[1].owner.clone()]).unwrap();
        assert_eq!(records.of_container("blue", "c1"), all[1..2]);
        assert_eq!(records.all().len(), 2, "that of the other network is kept");
    }

    #[test]
    fn what_is_damaged_is_no_record() {
        let (_root, records) = records();
        let one = record("blue", "c1", "eth0");
        records.set(&one).unwrap();
        let path = records.state.path().join(name(&one.owner.comment()));
        let whole = fs::read_to_string(&path).unwrap();
        for content in ["", "blue\nc1\neth0\n", &whole.replace("/16", "/99"), &whole.replace("c1\n", "c2\n")]
        {
            fs::write(&path, content).unwrap();
            assert_eq!(records.find(&one.owner), None, "{content}");
        }
    }
}
