//! What went wrong.

use std::io;

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed iptables operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Error {
    /// The program is not installed; `path` are the folders looked in.
    #[error("cannot find {program} in {path}")]
    NotFound { program: String, path: String },
    #[error("cannot run {program}: {source}")]
    Spawn { program: String, source: io::Error },
    /// It failed; `stderr` is what it said, with the line of the script that it complained of.
    #[error("cannot {op} table {table} with {program}: {stderr}")]
    Failed { op: &'static str, table: String, program: String, stderr: String },
    /// `iptables --version` names neither of the two.
    #[error("cannot tell which iptables {program} is: it says {said:?}")]
    Unknown { program: String, said: String },
    /// A table of ip_tables could not be read; `call` is what failed.
    #[error("cannot read table {table} by {call}: {source}")]
    Read { table: String, call: &'static str, source: io::Error },
    /// A text that would be read as something else: a newline, a NUL.
    #[error("cannot use {text:?} in an iptables rule: {reason}")]
    Text { text: String, reason: &'static str },
    /// The lock that keeps plugins from changing rules at the same time.
    #[error("cannot {op} {path}: {source}")]
    Lock { op: &'static str, path: String, source: io::Error },
    /// nf_tables, in which iptables-nft keeps its rules, could not be looked at.
    #[error(transparent)]
    Nftables(#[from] cni_nftables::Error),
}

impl Error {
    /// Whether iptables cannot be used here at all, so that nothing has been changed: not installed, or not able to read
    /// its tables.
    pub fn is_unusable(&self) -> bool {
        match self {
            Error::NotFound { .. } | Error::Spawn { .. } | Error::Unknown { .. } | Error::Read { .. } => true,
            Error::Failed { op, .. } => *op == READ,
            // The kernel has not got the one that is installed.
            Error::Nftables(error) => error.is_unsupported(),
            Error::Text { .. } | Error::Lock { .. } => false,
        }
    }
}

/// What [`Error::Failed`] calls `iptables-save`.
pub(crate) const READ: &str = "read";
/// What it calls `iptables-restore`.
pub(crate) const CHANGE: &str = "change";
