//! What the interface was like before an ADD, for the DEL: `<dataDir>/<container ID>_<interface name>.json`.
//!
//! Name and keys are the reference's, so that either plugin restores what the other changed. `owner` is ours, and the
//! reference passes it over: the name does not tell the network, and GC has to know.

use std::path::Path;

use cni_host::{Owner, StateDir};
use cni_interface::io_failure;
use cni_plugin::{Error, Result};
use cni_types::{ErrorCode, json};
use serde::{Deserialize, Serialize};
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::attributes::Attributes;

/// The file's keys, in the order in which the reference writes them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Wire {
    #[serde(skip_serializing_if = "String::is_empty")]
    mac: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    promisc: Option<bool>,
    #[serde(skip_serializing_if = "is_zero")]
    mtu: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    allmulti: Option<bool>,
    #[serde(rename = "txQLen", skip_serializing_if = "Option::is_none")]
    tx_qlen: Option<u32>,
    /// The text of [`Owner::alias`].
    #[serde(skip_serializing_if = "String::is_empty")]
    owner: String,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backup {
    pub(crate) attributes: Attributes,
    /// Whose it is; empty when the reference wrote it.
    pub(crate) owner: String,
}

impl Backup {
    fn from_json(text: &[u8]) -> Option<Self> {
        let wire: Wire = json::from_slice(text).ok()?;
        let attributes = Attributes {
            // One that is no address of Ethernet cannot have been changed by this plugin.
            mac: wire.mac.parse().ok(),
            promisc: wire.promisc,
            mtu: Some(wire.mtu).filter(|mtu| *mtu != 0),
            allmulti: wire.allmulti,
            txqlen: wire.tx_qlen,
        };
        Some(Backup { attributes, owner: wire.owner })
    }

    fn to_json(&self) -> Result<Vec<u8>> {
        let Attributes { mac, promisc, mtu, allmulti, txqlen } = self.attributes;
        let wire = Wire {
            mac: mac.map(|mac| mac.to_string()).unwrap_or_default(),
            promisc,
            mtu: mtu.unwrap_or(0),
            allmulti,
            tx_qlen: txqlen,
            owner: self.owner.clone(),
        };
        let mut text = Vec::new();
        // Indented by one space, as the reference's.
        wire.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b" ")))?;
        Ok(text)
    }

    /// Whether it is this attachment's, or does not tell.
    pub(crate) fn is_of(&self, owner: &Owner) -> bool {
        self.owner.is_empty() || owner.owns(&self.owner)
    }
}

/// The file of one attachment.
#[derive(Debug)]
pub(crate) struct BackupFile {
    folder: StateDir,
    name: String,
}

impl BackupFile {
    pub(crate) fn of(data_dir: &Path, owner: &Owner) -> Self {
        let name = format!("{}_{}.json", owner.container_id, owner.ifname);
        BackupFile { folder: StateDir::at(data_dir.to_owned()), name }
    }

    /// `None` when there is no file. What cannot be understood is a backup of nothing.
    pub(crate) fn read(&self) -> Result<Option<Backup>> {
        let content = self.folder.try_read(&self.name).map_err(io_failure)?;
        Ok(content.map(|text| Backup::from_json(&text).unwrap_or_default()))
    }

    /// Writes it, whole or not at all, for root only; makes the folder when it is missing.
    pub(crate) fn write(&self, backup: &Backup) -> Result<()> {
        self.folder.write(&self.name, &backup.to_json()?).map_err(io_failure)
    }

    /// Removes it, if it is there.
    pub(crate) fn remove(&self) -> Result<()> {
        self.folder.remove(&self.name).map_err(io_failure)
    }

    /// Removes what an ADD left that was killed while it wrote the file, before it touched the interface.
    pub(crate) fn remove_unfinished(&self) {
        self.folder.remove_unfinished(&self.name);
    }

    /// As it was before: with this content, or not there.
    pub(crate) fn put_back(&self, before: Option<&Backup>) -> Result<()> {
        before.map_or_else(|| self.remove(), |before| self.write(before))
    }
}

/// Removes the files that say they are of this network, and of none of these attachments.
pub(crate) fn collect(data_dir: &Path, network: &str, valid: &[Owner]) -> Result<()> {
    let folder = StateDir::at(data_dir.to_owned());
    let (valid, mut outcomes) = (Owner::tags(valid), Vec::new());
    for name in folder.names() {
        let Some(backup) = folder.read(&name).and_then(|text| Backup::from_json(text.as_bytes())) else {
            continue;
        };
        if Owner::is_of_network(&backup.owner, network) && !valid.contains(&backup.owner) {
            outcomes.push(folder.remove(&name).map_err(io_failure));
        }
    }
    cni_interface::all(outcomes)
}

/// Whether files could be kept there: the folder, or the nearest that is there above it, is one.
pub(crate) fn is_usable(data_dir: &Path) -> Result<()> {
    let nearest = data_dir.ancestors().find_map(|folder| Some((folder, folder.metadata().ok()?)));
    match nearest {
        Some((_, metadata)) if metadata.is_dir() => Ok(()),
        Some((path, _)) => {
            let (folder, path) = (data_dir.display(), path.display());
            Err(Error::new(ErrorCode::IO_FAILURE, format!("cannot make {folder}: {path} is not a folder")))
        }
        // A path that is relative to wherever the runtime is.
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
