//! The host as a CNI plugin sees it: network namespaces, sysctl, locks, the set-up of a container's interface, masquerading,
//! MAC spoof check, address announcement. The only crate that enters a namespace. It knows nothing of the specification: what
//! comes in are addresses, routes and names.
//!
//! | what | with |
//! |---|---|
//! | a container's network namespace | [`NetNs`]: opened by its path, entered for the length of a closure |
//! | an interface's addresses and routes | [`configure_iface`], [`check_iface`], [`announce`] |
//! | links | [`VethPair`], [`Tap`]; other kinds are `cni_netlink`'s own |
//! | the packet filter | [`Masquerade`], [`SpoofCheck`] |
//! | whose something is | [`Owner`]: aliases of links, comments of rules, names made from the key |
//! | state and locks | [`StateDir`], [`AddressRecords`], [`LockFile`] |
//! | settings of the kernel | [`sysctl_read`], [`sysctl_write`] |
//!
//! # A container on a bridge
//!
//! With root's rights, and a namespace that the runtime has made:
//!
//! ```no_run
//! use cni_host::{IfaceConfig, NetNs, NewVethPair, Owner, VethPair, configure_iface};
//! use cni_netlink::Socket;
//!
//! let owner = Owner { network: "blue".into(), container_id: "web-1".into(), ifname: "eth0".into() };
//! let container = NetNs::open("/run/netns/web-1")?;
//! let mut host = Socket::open()?;
//!
//! // Both ends in one message: one is a port of the bridge, the other begins in the container.
//! let master = Some(host.link_by_name("cni0")?.index);
//! let new = NewVethPair { master, ..NewVethPair::new(&container, &owner) };
//! let pair = VethPair::add(&mut host, &new)?.ok_or("there is an interface of that name")?;
//!
//! let config = IfaceConfig {
//!     addresses: vec![("10.1.0.5/16".parse()?, Some("10.1.0.1".parse()?))],
//!     ..IfaceConfig::default()
//! };
//! let index = pair.host.peer.ok_or("a veth has a peer")?;
//! let mut inside = container.socket()?;
//! container.run(|| configure_iface(&mut inside, index, "eth0", &config))??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Entering a namespace
//!
//! [`NetNs::run`] moves the calling thread and brings it back, whatever the closure does; a panic comes back as one. A socket
//! stays in the namespace that it was opened in, so [`NetNs::socket`] is enough for what netlink can do. What is read and written
//! below `/proc/sys/net` is of the thread's namespace, and takes [`NetNs::run`].
//!
//! # Errors
//!
//! [`Error`] says what could not be done, to which path or interface, and why. [`Error::is_netns_gone`] holds for a container
//! whose namespace is gone, which is no failure for a DEL.

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
pub use masquerade::{Masquerade, MasqueradeBackend};
pub use netns::NetNs;
pub use owner::Owner;
pub use packet::{BpfInstruction, PacketSocket, listen_fd};
pub use spoof_check::SpoofCheck;
pub use state_dir::StateDir;
pub use sysctl::{sysctl_read, sysctl_write};
pub use tap::{NewTap, Tap};
pub use veth::{NewVethPair, VethPair};

/// The example of this crate's README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
