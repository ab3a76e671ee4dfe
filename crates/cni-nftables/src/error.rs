//! What went wrong: the command of the batch that the kernel refused, and why.

use std::io;

use nix::libc;

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed nf_tables operation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a command of a batch, and with it the whole batch. `op` is the command in nft's syntax.
    #[error("cannot {op}: {source}{}{text}", if text.is_empty() { "" } else { ": " })]
    Kernel {
        /// The command in nft's syntax.
        op: String,
        /// The kernel's errno.
        source: io::Error,
        /// What it says besides; empty when it says nothing.
        text: String,
    },
    /// A command that cannot be sent: a value that is not of the set's type, say. Nothing was.
    #[error("cannot {op}: {reason}")]
    Invalid {
        /// The command in nft's syntax.
        op: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The ruleset changed between reading it and committing; [`crate::Nft::update`] reads again, a bounded number of times.
    #[error("cannot {op}: the ruleset kept changing ({tries} tries)")]
    Changing {
        /// What [`crate::Nft::update`] was told that it is for.
        op: String,
        /// How often it was tried.
        tries: u32,
    },
    /// The socket failed, or reading did.
    #[error(transparent)]
    Netlink(#[from] cni_netlink::Error),
}

impl Error {
    fn errno(&self) -> Option<i32> {
        match self {
            Error::Kernel { source, .. } => source.raw_os_error(),
            Error::Netlink(
                cni_netlink::Error::Kernel { source, .. } | cni_netlink::Error::Socket { source, .. },
            ) => source.raw_os_error(),
            _ => None,
        }
    }
    /// ENOENT: the table, chain, set, rule or element is not there. The kernel says so too when it has no module for an
    /// expression or a type of chain.
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(libc::ENOENT)
    }
    /// EEXIST: a chain or set is there with another hook, type or key, or an element with other data.
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }
    /// EBUSY: still referred to.
    pub fn is_busy(&self) -> bool {
        self.errno() == Some(libc::EBUSY)
    }
    /// The kernel has no nf_tables, or not for this family (EPROTONOSUPPORT, EOPNOTSUPP, EAFNOSUPPORT).
    pub fn is_unsupported(&self) -> bool {
        matches!(self.errno(), Some(libc::EPROTONOSUPPORT | libc::EOPNOTSUPP | libc::EAFNOSUPPORT))
    }
    /// ERESTART: the ruleset is not that of the generation that the batch names.
    pub(crate) fn is_outdated(&self) -> bool {
        self.errno() == Some(libc::ERESTART)
    }
    /// EINVAL
    pub(crate) fn is_invalid(&self) -> bool {
        self.errno() == Some(libc::EINVAL)
    }
    /// A dump that changes kept interrupting.
    pub(crate) fn is_interrupted(&self) -> bool {
        matches!(self, Error::Netlink(cni_netlink::Error::Interrupted { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(errno: i32) -> Error {
        let source = io::Error::from_raw_os_error(errno);
        Error::Kernel { op: "add table inet t".into(), source, text: String::new() }
    }

    #[test]
    fn kernel_without_nf_tables_is_unsupported() {
        for errno in [libc::EPROTONOSUPPORT, libc::EOPNOTSUPP, libc::EAFNOSUPPORT] {
            assert!(kernel(errno).is_unsupported());
            // A kernel without nfnetlink refuses the socket itself.
            let source = io::Error::from_raw_os_error(errno);
            let socket = cni_netlink::Error::Socket { op: "open a netlink socket".into(), source };
            assert!(Error::from(socket).is_unsupported());
        }
        assert!(!kernel(libc::ENOENT).is_unsupported());
        assert!(!kernel(libc::EPERM).is_unsupported());
    }

    #[test]
    fn each_errno_has_its_question() {
        assert!(kernel(libc::ENOENT).is_not_found() && !kernel(libc::EEXIST).is_not_found());
        assert!(kernel(libc::EEXIST).is_exists() && !kernel(libc::EBUSY).is_exists());
        assert!(kernel(libc::EBUSY).is_busy() && !kernel(libc::ENOENT).is_busy());
        assert!(kernel(libc::ERESTART).is_outdated() && !kernel(libc::EINTR).is_outdated());
        let changing = Error::Changing { op: "x".into(), tries: 3 };
        assert!(!changing.is_not_found() && !changing.is_outdated());
    }

    #[test]
    fn errors_read_as_one_sentence() {
        assert_eq!(
            kernel(libc::ENOENT).to_string(),
            "cannot add table inet t: No such file or directory (os error 2)"
        );
        let changing = Error::Changing { op: "delete a port".into(), tries: 100 };
        assert_eq!(changing.to_string(), "cannot delete a port: the ruleset kept changing (100 tries)");
    }
}
