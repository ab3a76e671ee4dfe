//! This crate's errors.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What could not be done on the host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such namespace (any more): the path does not exist, its process is gone, or it is an empty file
    /// that was once mounted on. DEL counts this as done.
    #[error("network namespace {} is gone: {reason}", path.display())]
    NetNsGone {
        /// Where it should be.
        path: PathBuf,
        /// Which of these it is.
        reason: &'static str,
    },
    /// The path is there but is no network namespace, or cannot be opened or entered.
    #[error("cannot use network namespace {}: {reason}", path.display())]
    NetNsBroken {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An operation on a file failed.
    #[error("cannot {op} {}: {source}", path.display())]
    Io {
        /// What was tried: `open`, `write` ...
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system call answered.
        source: io::Error,
    },
    /// A lock that somebody else held for too long.
    #[error("cannot lock {}: {source}", path.display())]
    LockTimeout {
        /// The lock.
        path: PathBuf,
        /// What the last try answered.
        source: io::Error,
    },
    /// Netlink failed.
    #[error(transparent)]
    Netlink(#[from] cni_netlink::Error),
    /// nf_tables failed.
    #[error(transparent)]
    Nftables(#[from] cni_nftables::Error),
    /// iptables failed.
    #[error(transparent)]
    Iptables(#[from] cni_iptables::Error),
    /// The kernel has no nf_tables for bridges.
    #[error("{0}: this kernel cannot filter what bridges forward (CONFIG_NF_TABLES_BRIDGE is not set)")]
    NoBridgeFilter(cni_nftables::Error),
    /// Of several things each of which was tried.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<Error>),
    /// Netlink failed on a container's interface, which its own error knows by its index only.
    #[error("cannot {op} {ifname}: {source}")]
    Iface {
        /// What was tried.
        op: &'static str,
        /// The interface's name in the container.
        ifname: String,
        /// What netlink answered.
        source: cni_netlink::Error,
    },
    /// The container has an interface of that name already; it was not touched.
    #[error("cannot make interface {ifname} in {}: there is one already", netns.display())]
    LinkExists {
        /// Its name.
        ifname: String,
        /// The container's namespace.
        netns: PathBuf,
    },
    /// An ioctl on a tap device failed.
    #[error("cannot {op} tap {ifname}: {source}")]
    Tap {
        /// What was tried.
        op: &'static str,
        /// The device's name.
        ifname: String,
        /// What the ioctl answered.
        source: io::Error,
    },
    /// An IPv6 address is wanted, but the kernel runs without IPv6 (`ipv6.disable=1`, or no module).
    #[error("cannot add address {address} to {ifname}: IPv6 is off in this kernel")]
    NoIpv6 {
        /// The address.
        address: IpAddr,
        /// The interface that should have it.
        ifname: String,
    },
    /// Duplicate address detection found another host with the address (RFC 4862, 5.4).
    #[error("cannot use address {address} on {ifname}: another host on the link has it")]
    DuplicateAddress {
        /// The address.
        address: IpAddr,
        /// The interface that should have it.
        ifname: String,
    },
    /// What CHECK found: what is there differs from what should be.
    #[error("{0}")]
    Mismatch(String),
}

impl Error {
    /// Whether the namespace is gone, which DEL counts as done.
    pub fn is_netns_gone(&self) -> bool {
        matches!(self, Error::NetNsGone { .. })
    }

    /// Whether a file or setting is not there.
    pub(crate) fn is_missing_file(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
