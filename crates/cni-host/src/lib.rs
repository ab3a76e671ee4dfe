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
mod packet;
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
pub use masquerade::{
    MasqueradeBackend, masquerade_add, masquerade_and_spoof_check_del, masquerade_check, masquerade_del,
    masquerade_gc, masquerade_status,
};
pub use netns::NetNs;
pub use owner::Owner;
pub use packet::{BpfInstruction, PacketSocket, listen_fd};
pub use spoof_check::{
    spoof_check_add, spoof_check_check, spoof_check_del, spoof_check_gc, spoof_check_status,
};
pub use state_dir::StateDir;
pub use sysctl::{sysctl_read, sysctl_write};
pub use tap::{NewTap, tap_add, tap_attach, tap_status};
pub use veth::{NewVethPair, VethPair, veth_add, veth_del, veth_make_room};
