//! The host as a CNI plugin sees it: network namespaces, sysctl, locks, the set-up of a container's interface, masquerading,
//! MAC spoof check, address announcement. The only crate that enters a namespace.

mod address_records;
mod announce;
mod error;
mod file;
mod iface;
mod lock;
mod masquerade;
mod netns;
mod owner;
mod point_to_point;
mod spoof_check;
mod state_dir;
mod sys;
mod sysctl;
mod tap;
mod veth;

pub use address_records::{AddressRecord, AddressRecords};
pub use announce::announce;
pub use error::{Error, Result};
pub use file::{is_read_only, open_to_write, read_regular};
pub use iface::{IfaceConfig, check_iface, configure_iface};
pub use lock::{Lock, LockFile};
pub use masquerade::{Masquerade, MasqueradeBackend};
pub use netns::NetNs;
pub use owner::Owner;
pub use spoof_check::SpoofCheck;
pub use state_dir::StateDir;
pub use sysctl::{sysctl_read, sysctl_write};
pub use tap::{NewTap, Tap};
pub use veth::{NewVethPair, VethPair};
