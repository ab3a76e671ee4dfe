//! Which devices are away: one file an attachment in `/run/cni-plugins-rs/host-device`.
//!
//! The device itself tells its name on the host in its alias, as the reference has it, and a DEL needs no more than that. The
//! record adds what the alias cannot hold, and what a container cannot change: whose the device is, the alias it had, and
//! by what it is known again when it has been renamed or has come back to the host without a DEL. The folder is gone
//! after a reboot, as the containers are.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cni_host::{Owner, is_read_only};
use cni_netlink::Link;
use cni_plugin::{Error, Result, log};
use cni_types::{ErrorCode, IfName};
use serde::{Deserialize, Serialize, Serializer};

const FOLDER: &str = "/run/cni-plugins-rs/host-device";

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
    folder: PathBuf,
}

impl Records {
    pub(crate) fn host() -> Self {
        Records { folder: PathBuf::from(FOLDER) }
    }

    /// Writes a record, whole or not at all.
    pub(crate) fn set(&self, record: &Record) -> Result<()> {
        if self.is_read_only() {
            log::warn(format_args!(
                "{} is read-only: {} is not recorded, and its alias is all that DEL will know it by",
                self.folder.display(),
                record.device
            ));
            return Ok(());
        }
        self.write(&self.path(&record.owner()), record)
    }

    /// Whether nothing can be recorded.
    pub(crate) fn is_read_only(&self) -> bool {
        is_read_only(&self.folder)
    }

    /// Writes a file of the folder, whole or not at all.
    pub(crate) fn write(&self, path: &Path, content: &impl Serialize) -> Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&self.folder)
            .map_err(|error| cannot("make", &self.folder, &error))?;
        let temporary = unfinished(path);
        let json = serde_json::to_vec(content)?;
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        let file = cni_host::open_to_write(&mut options, &temporary);
        file.and_then(|mut file| file.write_all(&json)).and_then(|()| fs::rename(&temporary, path)).map_err(
            |error| {
                let _ = fs::remove_file(&temporary);
                cannot("write", path, &error)
            },
        )
    }

    /// Where the network is that went with an attachment's device ([`crate::kept`]).
    pub(crate) fn network_of(&self, owner: &Owner) -> PathBuf {
        self.path(owner).with_extension("network")
    }

    /// Forgets an attachment's device.
    pub(crate) fn remove(&self, owner: &Owner) -> Result<()> {
        let network = self.network_of(owner);
        remove(&unfinished(&network))?;
        remove(&network)?;
        // Last: without it nobody looks for the others.
        remove(&self.path(owner))
    }

    /// Removes what an ADD left that was killed while it wrote the record, before it touched the device.
    pub(crate) fn remove_unfinished(&self, owner: &Owner) -> Result<()> {
        remove(&unfinished(&self.path(owner)))
    }

    /// That of an attachment.
    pub(crate) fn find(&self, owner: &Owner) -> Option<Record> {
        read(&self.path(owner)).filter(|record| record.owner() == *owner)
    }

    /// One of the device with this name.
    pub(crate) fn of_device(&self, name: &str) -> Option<Record> {
        self.all().into_iter().find(|record| record.device.as_str() == name)
    }

    /// All that there are.
    pub(crate) fn all(&self) -> Vec<Record> {
        // No folder is no record.
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|file| file.path());
        files.filter(|path| path.extension().is_none()).filter_map(|path| read(&path)).collect()
    }

    fn path(&self, owner: &Owner) -> PathBuf {
        self.folder.join(owner.digest(32))
    }
}

/// A record while it is being written.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        // A file system that is read-only says so before it looks.
        Err(error) if error.kind() != io::ErrorKind::NotFound && path.exists() => {
            Err(cannot("remove", path, &error))
        }
        _ => Ok(()),
    }
}

/// What cannot be read is none: a DEL then goes by the alias, as for a device that the reference moved.
fn read(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn as_text<S: Serializer>(name: &IfName, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

fn cannot(op: &str, path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorCode::IO_FAILURE, format!("cannot {op} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
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
        let records = Records { folder: root.path().join("run/host-device") };
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
        let path = records.path(&record("c1").owner());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let expected = r#"{"network":"blue","containerID":"c1","ifname":"net1","netns":"/run/netns/blue","device":"ens3","alias":"uplink","kind":"","address":"02:00:00:00:00:01"}"#;
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }

    #[test]
    fn what_is_damaged_or_anothers_is_no_record() {
        let (_root, records) = records();
        let one = record("c1");
        records.set(&one).unwrap();
        let path = records.path(&one.owner());
        fs::write(records.path(&record("c3").owner()).with_extension("new"), "{").unwrap();
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
