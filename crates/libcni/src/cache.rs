//! What was added, with the configuration and the result of it: one file an attachment, in the form of the reference's
//! libcni (libcni/api.go, `cachedInfo`), so that either reads and deletes the other's.
//!
//! The name of a file, `<network>-<container ID>-<interface>`, can mean two attachments, since all three may have a
//! dash in them. An entry that says it is another's is therefore neither used nor deleted.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cni_types::{ContainerId, GcAttachment, IfName, NetworkName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Attachment;

/// Where the reference's libcni, and with it containerd and podman, keep their cache.
pub const DEFAULT_CACHE_DIR: &str = "/var/lib/cni";

/// The only kind of entry there is so far. A file without it is a bare result, as libcni wrote before 0.8.
const KIND: &str = "cniCacheV1";

/// Why the cache could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// An operation on a file failed.
    #[error("cannot {op} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write` ...
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system call answered.
        source: io::Error,
    },
    /// A file that is no entry of the cache.
    #[error("cannot use cache entry {}: {reason}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A folder of entries, by default [`DEFAULT_CACHE_DIR`]; they lie in `results` in it.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

/// One attachment as it was added.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheEntry {
    /// The network's name.
    pub network: NetworkName,
    /// All that was asked for.
    pub attachment: Attachment,
    /// The network's configuration, as [`crate::Network::bytes`] has it.
    pub config: Vec<u8>,
    /// The chain's result, in the version of its own `cniVersion`.
    pub result: Option<Value>,
}

/// The file's content, its keys in the order in which Go writes them.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    kind: String,
    container_id: String,
    config: Option<String>,
    if_name: String,
    network_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    netns: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cni_args: Option<Vec<(String, String)>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capability_args: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
}

impl Cache {
    /// The cache below `dir`, which is made when something is first put into it.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Cache { dir: dir.into() }
    }

    /// The file of an attachment's entry.
    pub fn path(&self, network: &NetworkName, attachment: &GcAttachment) -> PathBuf {
        self.results().join(format!("{network}-{}-{}", attachment.container_id, attachment.ifname))
    }

    /// Writes an entry, in place of an older one. After a crash the file has its old content or its new one, never a
    /// part of it.
    pub fn put(&self, entry: &CacheEntry) -> Result<(), CacheError> {
        let path = self.path(&entry.network, &entry.attachment.key());
        let content = serde_json::to_vec(&Stored::from(entry))
            .map_err(|error| CacheError::Entry { path: path.clone(), reason: error.to_string() })?;
        let results = self.results();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&results)
            .map_err(io_error("create", &results))?;

        // Everything in `results` is read as an entry by the reference, so the unfinished file lies beside it.
        let (unfinished, file) = self.create_unfinished()?;
        let written = write_and_sync(file, &content)
            .map_err(io_error("write", &unfinished))
            .and_then(|()| fs::rename(&unfinished, &path).map_err(io_error("write", &path)));
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        sync_folder(&results)
    }

    /// An attachment's entry. The bare result of an old libcni is none, since it names neither arguments nor configuration.
    pub fn get(
        &self,
        network: &NetworkName,
        attachment: &GcAttachment,
    ) -> Result<Option<CacheEntry>, CacheError> {
        Ok(match self.read(network, attachment)? {
            Some(Found::Entry(entry)) => Some(*entry),
            Some(Found::BareResult(_)) | None => None,
        })
    }

    /// The result of an attachment's ADD, also out of a file that holds nothing else.
    pub(crate) fn result(
        &self,
        network: &NetworkName,
        attachment: &GcAttachment,
    ) -> Result<Option<Value>, CacheError> {
        Ok(match self.read(network, attachment)? {
            Some(Found::Entry(entry)) => entry.result,
            Some(Found::BareResult(result)) => Some(result),
            None => None,
        })
    }

    /// Deletes an attachment's entry, also one that cannot be read; that there is none is no error.
    pub fn remove(&self, network: &NetworkName, attachment: &GcAttachment) -> Result<(), CacheError> {
        let path = self.path(network, attachment);
        if let Ok(content) = fs::read(&path)
            && let Ok(Found::Entry(entry)) = parse(&path, &content)
            && !entry.is_of(network, attachment)
        {
            return Ok(());
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("delete", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Every attachment in the cache, in the order of the files' names. A file that cannot be used stands as its error;
    /// the outer error is that of reading the folder, whose absence means that nothing was added.
    pub fn entries(&self) -> Result<Vec<Result<CacheEntry, CacheError>>, CacheError> {
        let results = self.results();
        let files = match fs::read_dir(&results) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error("read", &results)(error)),
        };
        let mut paths = Vec::new();
        for file in files {
            paths.push(file.map_err(io_error("read", &results))?.path());
        }
        paths.sort();
        Ok(paths.iter().filter_map(|path| entry_in(path).transpose()).collect())
    }

    fn results(&self) -> PathBuf {
        self.dir.join("results")
    }

    fn read(&self, network: &NetworkName, attachment: &GcAttachment) -> Result<Option<Found>, CacheError> {
        let path = self.path(network, attachment);
        let content = match fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        Ok(match parse(&path, &content)? {
            Found::Entry(entry) if !entry.is_of(network, attachment) => None,
            found => Some(found),
        })
    }

    fn create_unfinished(&self) -> Result<(PathBuf, File), CacheError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = self.dir.join(format!(".results-{}-{number}", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok((path, file)),
                // Left by a process that crashed, or being written by one of another process namespace.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(io_error("create", &path)(error)),
            }
        }
    }
}

impl CacheEntry {
    fn is_of(&self, network: &NetworkName, attachment: &GcAttachment) -> bool {
        self.network == *network && self.attachment.key() == *attachment
    }
}

impl From<&CacheEntry> for Stored {
    fn from(entry: &CacheEntry) -> Self {
        let attachment = &entry.attachment;
        Stored {
            kind: KIND.to_string(),
            container_id: attachment.container_id.to_string(),
            config: Some(BASE64_STANDARD.encode(&entry.config)),
            if_name: attachment.ifname.to_string(),
            network_name: entry.network.to_string(),
            netns: attachment.netns.clone().filter(|netns| !netns.is_empty()),
            cni_args: Some(attachment.args.clone()).filter(|args| !args.is_empty()),
            capability_args: Some(attachment.capability_args.clone()).filter(|args| !args.is_empty()),
            result: entry.result.clone(),
        }
    }
}

impl TryFrom<Stored> for CacheEntry {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let config = BASE64_STANDARD
            .decode(stored.config.unwrap_or_default())
            .map_err(|error| format!("config: {error}"))?;
        Ok(CacheEntry {
            network: NetworkName::new(stored.network_name).map_err(|error| error.to_string())?,
            attachment: Attachment {
                container_id: ContainerId::new(stored.container_id).map_err(|error| error.to_string())?,
                ifname: IfName::new(stored.if_name).map_err(|error| error.to_string())?,
                netns: stored.netns.filter(|netns| !netns.is_empty()),
                args: stored.cni_args.unwrap_or_default(),
                capability_args: stored.capability_args.unwrap_or_default(),
            },
            config,
            result: stored.result,
        })
    }
}

/// What a file of the cache can hold.
enum Found {
    Entry(Box<CacheEntry>),
    BareResult(Value),
}

fn parse(path: &Path, content: &[u8]) -> Result<Found, CacheError> {
    let unusable = |reason: String| CacheError::Entry { path: path.to_path_buf(), reason };
    let value: Value = serde_json::from_slice(content).map_err(|error| unusable(error.to_string()))?;
    if value.get("kind").and_then(Value::as_str) != Some(KIND) {
        return Ok(Found::BareResult(value));
    }
    let stored: Stored = serde_json::from_value(value).map_err(|error| unusable(error.to_string()))?;
    Ok(Found::Entry(Box::new(CacheEntry::try_from(stored).map_err(unusable)?)))
}

/// `None` when the file went away in the meantime, or is a folder.
fn entry_in(path: &Path) -> Result<Option<CacheEntry>, CacheError> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(io_error("read", path)(error)),
    };
    match parse(path, &content)? {
        Found::Entry(entry) => Ok(Some(*entry)),
        Found::BareResult(_) => {
            let reason = format!("it is not of kind {KIND}, so it does not say whose it is");
            Err(CacheError::Entry { path: path.to_path_buf(), reason })
        }
    }
}

fn write_and_sync(mut file: File, content: &[u8]) -> io::Result<()> {
    file.write_all(content)?;
    file.sync_all()
}

/// Makes the new name last, too.
fn sync_folder(folder: &Path) -> Result<(), CacheError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("write", folder))
}

fn io_error(op: &'static str, path: &Path) -> impl Fn(io::Error) -> CacheError {
    move |source| CacheError::Io { op, path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests;
