//! What went wrong: the command of the batch that the kernel refused, and why.

use std::io;

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed nf_tables operation.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    /// The kernel refused a command of a batch, and with it the whole batch. `op` is the command in nft's syntax.
    #[error("cannot {op}: {source}{}{text}", if text.is_empty() { "" } else { ": " })]
    Kernel { op: String, source: io::Error, text: String },
    /// The ruleset changed between reading it and committing; [`crate::Nft::update`] reads again, a bounded number of times.
    #[error("cannot {op}: the ruleset kept changing ({tries} tries)")]
    Changing { op: String, tries: u32 },
    /// The socket failed.
    #[error(transparent)]
    Netlink(#[from] cni_netlink::Error),
}

impl Error {
    /// ENOENT: the table, chain, set, rule or element is not there.
    pub fn is_not_found(&self) -> bool {
        todo!()
    }
    /// EEXIST
    pub fn is_exists(&self) -> bool {
        todo!()
    }
    /// EBUSY: still referred to.
    pub fn is_busy(&self) -> bool {
        todo!()
    }
    /// The kernel has no nf_tables, or not for this family (EPROTONOSUPPORT, EOPNOTSUPP, EAFNOSUPPORT).
    pub fn is_unsupported(&self) -> bool {
        todo!()
    }
}
