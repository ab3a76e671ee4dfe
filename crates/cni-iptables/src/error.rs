//! What went wrong.

use std::io;

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed iptables operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program is not installed.
    #[error("cannot find {program} in {path}")]
    NotFound {
        /// `iptables`, `ip6tables-legacy-restore` ...
        program: String,
        /// The folders looked in, with colons between them.
        path: String,
    },
    /// The program could not be started.
    #[error("cannot run {program}: {source}")]
    Spawn {
        /// Its path.
        program: String,
        /// What the system call answered.
        source: io::Error,
    },
    /// The program failed.
    #[error("cannot {op} table {table} with {program}: {stderr}")]
    Failed {
        /// `read` or `change`.
        op: &'static str,
        /// The table's name.
        table: String,
        /// Its path.
        program: String,
        /// What it said, with the line of the script that it complained of.
        stderr: String,
    },
    /// `iptables --version` names neither of the two.
    #[error("cannot tell which iptables {program} is: it says {said:?}")]
    Unknown {
        /// Its path.
        program: String,
        /// What it printed.
        said: String,
    },
    /// A table of ip_tables could not be read.
    #[error("cannot read table {table} by {call}: {source}")]
    Read {
        /// The table's name.
        table: String,
        /// The system call.
        call: &'static str,
        /// What it answered.
        source: io::Error,
    },
    /// A text that would be read as something else: a newline, a NUL.
    #[error("cannot use {text:?} in an iptables rule: {reason}")]
    Text {
        /// The text.
        text: String,
        /// Why it cannot be used.
        reason: &'static str,
    },
    /// The lock that keeps plugins from changing rules at the same time.
    #[error("cannot {op} {path}: {source}")]
    Lock {
        /// What was tried.
        op: &'static str,
        /// The lock.
        path: String,
        /// What the system call answered.
        source: io::Error,
    },
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
