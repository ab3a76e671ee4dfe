//! This crate's errors.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What could not be done on the host.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    /// There is no such namespace (any more): the path does not exist, its process is gone, or it is an empty file
    /// that was once mounted on; `reason` says which. DEL counts this as done.
    #[error("network namespace {} is gone: {reason}", path.display())]
    NetNsGone { path: PathBuf, reason: &'static str },
    /// The path is there but is no network namespace, or cannot be opened or entered.
    #[error("cannot use network namespace {}: {reason}", path.display())]
    NetNsBroken { path: PathBuf, reason: String },
    /// An operation on a file failed.
    #[error("cannot {op} {}: {source}", path.display())]
    Io { op: &'static str, path: PathBuf, source: io::Error },
    /// A lock that somebody else held for too long.
    #[error("cannot lock {}: {source}", path.display())]
    LockTimeout { path: PathBuf, source: io::Error },
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
    Iface { op: &'static str, ifname: String, source: cni_netlink::Error },
    /// The container has an interface of that name already; it was not touched.
    #[error("cannot make interface {ifname} in {}: there is one already", netns.display())]
    LinkExists { ifname: String, netns: PathBuf },
    /// An ioctl on a tap device failed.
    #[error("cannot {op} tap {ifname}: {source}")]
    Tap { op: &'static str, ifname: String, source: io::Error },
    /// An IPv6 address is wanted, but the kernel runs without IPv6 (`ipv6.disable=1`, or no module).
    #[error("cannot add address {address} to {ifname}: IPv6 is off in this kernel")]
    NoIpv6 { address: IpAddr, ifname: String },
    /// Duplicate address detection found another host with the address (RFC 4862, 5.4).
    #[error("cannot use address {address} on {ifname}: another host on the link has it")]
    DuplicateAddress { address: IpAddr, ifname: String },
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
