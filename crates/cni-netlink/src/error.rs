//! What went wrong: the operation, the object, and the kernel's answer.

use std::io;

use nix::libc;

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed netlink operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused. `text` is its extended acknowledgement, empty when it gave none.
    #[error("cannot {op}: {source}{}{text}", if text.is_empty() { "" } else { ": " })]
    Kernel {
        /// What was asked for, as in `add route 10.2.0.0/16 via 192.0.2.1 dev 2`.
        op: String,
        /// The kernel's errno.
        source: io::Error,
        /// Its extended acknowledgement; empty when it gave none.
        text: String,
    },
    /// The socket failed.
    #[error("cannot {op}: {source}")]
    Socket {
        /// What was asked for.
        op: String,
        /// What the system call answered.
        source: io::Error,
    },
    /// A dump was interrupted by changes again and again.
    #[error("cannot {op}: interrupted by changes {tries} times")]
    Interrupted {
        /// What was to be listed.
        op: String,
        /// How often it was tried.
        tries: u32,
    },
    /// An answer that makes no sense.
    #[error("cannot {op}: malformed answer from the kernel: {reason}")]
    Malformed {
        /// What was asked for.
        op: String,
        /// What is wrong with the answer.
        reason: &'static str,
    },
    /// An event that did not come in time.
    #[error("cannot {op}: not within {millis} ms")]
    TimedOut {
        /// What was waited for.
        op: String,
        /// How long, in milliseconds.
        millis: u128,
    },
}

impl Error {
    /// As the kernel says it of a link that is not there.
    pub(crate) fn not_found(op: String) -> Self {
        Error::Kernel { op, source: io::Error::from_raw_os_error(libc::ENODEV), text: String::new() }
    }
    /// The kernel's errno, when it was the kernel that refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Kernel { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
    /// EEXIST
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }
    /// EOPNOTSUPP: the kernel does not know what is asked for, a kind of link for one.
    pub fn is_unsupported(&self) -> bool {
        self.errno() == Some(libc::EOPNOTSUPP)
    }
    /// ENODEV, ENOENT, ESRCH, EADDRNOTAVAIL: what should be changed or deleted is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self.errno(), Some(libc::ENODEV | libc::ENOENT | libc::ESRCH | libc::EADDRNOTAVAIL))
    }
}
