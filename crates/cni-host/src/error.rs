//! This crate's errors.

use std::io;
use std::path::PathBuf;

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What could not be done on the host.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    /// There is no such namespace (any more): the path does not exist, its process is gone, or it is an empty file
    /// that was once mounted on. DEL counts this as done.
    #[error("network namespace {} is gone", path.display())]
    NetNsGone { path: PathBuf },
    /// The path is there but is no network namespace, or cannot be opened or entered.
    #[error("cannot use network namespace {}: {reason}", path.display())]
    NetNsBroken { path: PathBuf, reason: String },
    /// An operation on a file failed.
    #[error("cannot {op} {}: {source}", path.display())]
    Io { op: &'static str, path: PathBuf, source: io::Error },
    /// A lock that somebody else held for too long.
    #[error("cannot lock {}: held by somebody else for more than {seconds} s", path.display())]
    LockTimeout { path: PathBuf, seconds: u64 },
    /// Netlink failed.
    #[error(transparent)]
    Netlink(#[from] cni_netlink::Error),
    /// What CHECK found: what is there differs from what should be.
    #[error("{0}")]
    Mismatch(String),
    /// A packet could not be sent.
    #[error("cannot {op} on {ifname}: {source}")]
    Packet { op: &'static str, ifname: String, source: io::Error },
}

impl Error {
    /// Whether the namespace is gone, which DEL counts as done.
    pub fn is_netns_gone(&self) -> bool {
        matches!(self, Error::NetNsGone { .. })
    }
}
