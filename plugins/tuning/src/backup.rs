//! What the interface was like before an ADD, for the DEL: `<dataDir>/<container ID>_<interface name>.json`.
//!
//! Name and keys are the reference's, so that either plugin restores what the other changed. `owner` is ours, and the
//! reference passes it over: the name does not tell the network, and GC has to know.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cni_host::Owner;
use cni_plugin::{Error, Result};
use cni_types::{ErrorCode, json};
use serde::{Deserialize, Serialize};
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::attributes::Attributes;

/// A backup has some hundred bytes; what is longer is none.
const MAX_LEN: u64 = 64 << 10;

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
    path: PathBuf,
}

impl BackupFile {
    pub(crate) fn of(data_dir: &Path, owner: &Owner) -> Self {
        BackupFile { path: data_dir.join(format!("{}_{}.json", owner.container_id, owner.ifname)) }
    }

    /// `None` when there is no file. What cannot be understood is a backup of nothing.
    pub(crate) fn read(&self) -> Result<Option<Backup>> {
        match cni_host::read_regular(&self.path, MAX_LEN) {
            Ok(text) => Ok(Some(Backup::from_json(&text).unwrap_or_default())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(cannot("read", &self.path, &error)),
        }
    }

    /// Writes it, whole or not at all, for root only; makes the folder when it is missing.
    pub(crate) fn write(&self, backup: &Backup) -> Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| cannot("make", folder, &error))?;
        let temporary = self.unfinished();
        let text = backup.to_json()?;
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        let written = cni_host::open_to_write(&mut options, &temporary)
            .and_then(|mut file: File| file.write_all(&text))
            .and_then(|()| fs::rename(&temporary, &self.path));
        written.map_err(|error| {
            let _ = fs::remove_file(&temporary);
            cannot("write", &self.path, &error)
        })
    }

    /// Removes it, if it is there.
    pub(crate) fn remove(&self) -> Result<()> {
        remove(&self.path)
    }

    /// Removes what an ADD left that was killed while it wrote the file, before it touched the interface.
    pub(crate) fn remove_unfinished(&self) -> Result<()> {
        remove(&self.unfinished())
    }

    /// The file while it is being written.
    fn unfinished(&self) -> PathBuf {
        self.path.with_extension("new")
    }

    /// As it was before: with this content, or not there.
    pub(crate) fn put_back(&self, before: Option<&Backup>) -> Result<()> {
        before.map_or_else(|| self.remove(), |before| self.write(before))
    }
}

/// Removes the files that say they are of this network, and of none of these attachments.
pub(crate) fn collect(data_dir: &Path, network: &str, valid: &[Owner]) -> Result<()> {
    let files = match fs::read_dir(data_dir) {
        Ok(files) => files,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot("read", data_dir, &error)),
    };
    let (valid, mut outcomes) = (Owner::tags(valid), Vec::new());
    for path in files.flatten().map(|file| file.path()).filter(|path| path.is_file()) {
        let Some(backup) =
            cni_host::read_regular(&path, MAX_LEN).ok().and_then(|text| Backup::from_json(&text))
        else {
            continue;
        };
        if Owner::is_of_network(&backup.owner, network) && !valid.contains(&backup.owner) {
            outcomes.push(remove(&path));
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
            Err(cannot("make", data_dir, &io::Error::other(format!("{} is no folder", path.display()))))
        }
        // A path that is relative to wherever the runtime is.
        None => Ok(()),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot("remove", path, &error)),
        _ => Ok(()),
    }
}

fn cannot(op: &str, path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorCode::IO_FAILURE, format!("cannot {op} {}: {error}", path.display()))
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
