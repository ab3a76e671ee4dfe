//! Which devices are away: one file an attachment in `/run/cni-plugins-rs/host-device`.
//!
//! The device itself tells its name on the host in its alias, as the reference has it, and a DEL needs no more than that. The
//! record adds what the alias cannot hold, and what a container cannot change: whose the device is, the alias it had, and
//! by what it is known again when it has been renamed or has come back to the host without a DEL. The folder is gone
//! after a reboot, as the containers are.

use cni_host::{Owner, StateDir};
use cni_interface::io_failure;
use cni_netlink::Link;
use cni_plugin::{Result, log};
use cni_types::IfName;
use serde::{Deserialize, Serialize, Serializer};

/// A device that is away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) network: String,
    #[serde(rename = "containerID")]
    pub(crate) container_id: String,
    pub(crate) ifname: String,
    pub(crate) netns: String,
    /// Its name on the host.
    #[serde(serialize_with = "as_text")]
    pub(crate) device: IfName,
    /// Its alias there; empty for none.
    pub(crate) alias: String,
    /// IFLA_INFO_KIND; a device that has one dies with its namespace.
    pub(crate) kind: String,
    /// Its hardware address when it left.
    pub(crate) address: String,
    /// The one that nobody can change; empty for none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) permanent_address: Vec<u8>,
    /// Written when the device has been moved, and so missing when the ADD was killed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) moved: Option<Moved>,
}

/// By what a device is known in the container, where all else can be made up: who may change links there may write what he likes
/// into an alias, give a link any name, address and index, but not make one whose other end is on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Moved {
    index: u32,
    /// The link that it stands on or is a pair with, and where that is as the container sees it.
    peer: Option<u32>,
    peer_netnsid: Option<i32>,
}

impl Moved {
    pub(crate) fn of(link: &Link) -> Self {
        Moved { index: link.index, peer: link.peer, peer_netnsid: link.peer_netnsid }
    }
}

impl Record {
    pub(crate) fn new(owner: &Owner, netns: &str, link: &Link) -> Result<Self> {
        // An alias that is the name itself is what the reference, or a killed ADD, left.
        let alias = link.alias.clone().filter(|alias| *alias != link.name).unwrap_or_default();
        Ok(Record {
            network: owner.network.clone(),
            container_id: owner.container_id.clone(),
            ifname: owner.ifname.clone(),
            netns: netns.to_owned(),
            device: IfName::new(link.name.as_str())?,
            alias,
            kind: link.kind.clone(),
            address: link.address_text().unwrap_or_default(),
            permanent_address: link.permanent_address.clone(),
            moved: None,
        })
    }

    /// Whether a link in the container is the device.
    pub(crate) fn is_inside(&self, link: &Link) -> bool {
        let same = self.is_of_make(link);
        match &self.moved {
            Some(moved) => same && *moved == Moved::of(link),
            // The container has not been started yet by a runtime whose ADD was killed.
            None => {
                let carries = link.alias.as_deref() == Some(self.device.as_str());
                same && carries && link.address_text().unwrap_or_default() == self.address
            }
        }
    }

    /// Whether a link has what the device cannot lose.
    pub(crate) fn is_of_make(&self, link: &Link) -> bool {
        link.kind == self.kind && link.permanent_address == self.permanent_address
    }

    pub(crate) fn owner(&self) -> Owner {
        Owner {
            network: self.network.clone(),
            container_id: self.container_id.clone(),
            ifname: self.ifname.clone(),
        }
    }
}

/// The folder of records.
#[derive(Debug)]
pub(crate) struct Records {
    state: StateDir,
}

impl Records {
    pub(crate) fn host() -> Self {
        Records { state: StateDir::new("host-device") }
    }

    /// Writes a record, whole or not at all.
    pub(crate) fn set(&self, record: &Record) -> Result<()> {
        if self.state.is_read_only() {
            log::warn(format_args!(
                "{} is read-only: {} is not recorded, and its alias is all that DEL will know it by",
                self.state.path().display(),
                record.device
            ));
            return Ok(());
        }
        self.write(&name(&record.owner()), record)
    }

    /// Writes the network that goes with an attachment's device ([`crate::kept`]).
    pub(crate) fn set_network(&self, owner: &Owner, network: &impl Serialize) -> Result<()> {
        if self.state.is_read_only() { Ok(()) } else { self.write(&network_name(owner), network) }
    }

    /// That network, as it was written.
    pub(crate) fn network(&self, owner: &Owner) -> Option<String> {
        self.state.read(&network_name(owner))
    }

    /// Forgets an attachment's device.
    pub(crate) fn remove(&self, owner: &Owner) -> Result<()> {
        self.delete(&network_name(owner))?;
        // Last: without it nobody looks for the other.
        self.delete(&name(owner))
    }

    /// Removes what an ADD left that was killed while it wrote the record, before it touched the device.
    pub(crate) fn remove_unfinished(&self, owner: &Owner) -> Result<()> {
        self.state.remove_unfinished(&name(owner));
        Ok(())
    }

    /// That of an attachment.
    pub(crate) fn find(&self, owner: &Owner) -> Option<Record> {
        self.read(&name(owner)).filter(|record| record.owner() == *owner)
    }

    /// One of the device with this name.
    pub(crate) fn of_device(&self, name: &str) -> Option<Record> {
        self.all().into_iter().find(|record| record.device.as_str() == name)
    }

    /// All that there are.
    pub(crate) fn all(&self) -> Vec<Record> {
        let names = self.state.names().into_iter().filter(|name| !name.ends_with(NETWORK));
        names.filter_map(|name| self.read(&name)).collect()
    }

    /// What cannot be read is none: a DEL then goes by the alias, as for a device that the reference moved.
    fn read(&self, name: &str) -> Option<Record> {
        serde_json::from_str(&self.state.read(name)?).ok()
    }

    fn write(&self, name: &str, content: &impl Serialize) -> Result<()> {
        self.state.write(name, &serde_json::to_vec(content)?).map_err(io_failure)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.state.remove(name).map_err(io_failure)
    }
}

/// The name of an attachment's record.
fn name(owner: &Owner) -> String {
    owner.digest(32)
}

/// What the name of a network's file ends in.
const NETWORK: &str = ".network";

fn network_name(owner: &Owner) -> String {
    format!("{}{NETWORK}", name(owner))
}

fn as_text<S: Serializer>(name: &IfName, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn record(container_id: &str) -> Record {
        Record {
            network: "blue".into(),
            container_id: container_id.into(),
            ifname: "net1".into(),
            netns: "/run/netns/blue".into(),
            device: IfName::new("ens3").unwrap(),
            alias: "uplink".into(),
            kind: String::new(),
            address: "02:00:00:00:00:01".into(),
            permanent_address: Vec::new(),
            moved: None,
        }
    }

    fn records() -> (tempfile::TempDir, Records) {
        let root = tempfile::tempdir().unwrap();
        let records = Records { state: StateDir::at(root.path().join("run/host-device")) };
        (root, records)
    }

    #[test]
    fn a_record_is_found_by_its_owner_until_it_is_removed() {
        let (_root, records) = records();
        let (one, two) = (record("c1"), record("c2"));
        assert_eq!((records.find(&one.owner()), records.all()), (None, Vec::new()));
        records.set(&one).unwrap();
        records.set(&two).unwrap();
        let newer = Record { alias: String::new(), ..one.clone() };
        records.set(&newer).unwrap();
        assert_eq!(records.find(&one.owner()), Some(newer));
        assert_eq!(records.all().len(), 2);
        for _ in 0..2 {
            records.remove(&one.owner()).unwrap();
        }
        assert_eq!(records.all(), [two]);
    }

    #[test]
    fn a_record_is_for_root_and_names_its_parts() {
        let (_root, records) = records();
        records.set(&record("c1")).unwrap();
        let path = records.state.path().join(name(&record("c1").owner()));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let expected = r#"{"network":"blue","containerID":"c1","ifname":"net1","netns":"/run/netns/blue","device":"ens3","alias":"uplink","kind":"","address":"02:00:00:00:00:01"}"#;
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }

    #[test]
    fn what_is_damaged_or_anothers_is_no_record() {
        let (_root, records) = records();
        let one = record("c1");
        records.set(&one).unwrap();
        let path = records.state.path().join(name(&one.owner()));
        fs::write(records.state.path().join(format!("{}.new", name(&record("c3").owner()))), "{").unwrap();
        for content in [
            String::new(),
            "{".to_owned(),
            serde_json::to_string(&record("c2")).unwrap(),
            serde_json::to_string(&one).unwrap().replace("ens3", "../ens3"),
        ] {
            fs::write(&path, &content).unwrap();
            assert_eq!(records.find(&one.owner()), None, "{content}");
        }
    }
}
