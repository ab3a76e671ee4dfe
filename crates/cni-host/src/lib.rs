//! The host as a CNI plugin sees it: network namespaces, sysctl, locks, the set-up of a container's interface, address
//! announcement. The only crate that enters a namespace.

mod announce;
mod error;
mod iface;
mod lock;
mod netns;
mod owner;
mod sys;
mod sysctl;
mod veth;

pub use announce::announce;
pub use error::{Error, Result};
pub use iface::{IfaceConfig, check_iface, configure_iface};
pub use lock::{Lock, LockFile};
pub use netns::NetNs;
pub use owner::Owner;
pub use sysctl::{sysctl_read, sysctl_write};
pub use veth::{NewVethPair, VethPair, veth_add, veth_del};
