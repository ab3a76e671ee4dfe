//! Blocking rtnetlink for programs that live for milliseconds: one socket for one network namespace, a request and its
//! answer at a time. Names follow iproute2's.
//!
//! [`Socket`] is the way in. It belongs to the network namespace of the thread that opened it, and each of its methods is one
//! question or one change, in the words of the command that sends the same bytes:
//!
//! | methods | command | for |
//! |---|---|---|
//! | `link_*` | `ip link` | veth, bridge and its ports, macvlan, ipvlan, vlan, dummy, ifb, vrf; their settings; moves to other namespaces |
//! | `addr_*` | `ip address` | addresses, and what duplicate detection says of them |
//! | `route_*` | `ip route` | unicast routes of any table, and which way leads to an address |
//! | `rule_*` | `ip rule` | rules that choose a table by the source address |
//! | `bridge_vlan_*` | `bridge vlan` | VLANs of a bridge's port, or of the bridge itself |
//! | `tbf_*`, `ingress_*`, `redirect*` | `tc` | limits of what a link sends and receives |
//! | `netnsid` | `ip netns set` | the number of another namespace, to make a link on a parent there |
//!
//! [`FoundAddr`], [`FoundRoute`] and [`WholeRule`] are addresses, routes and rules with all that the kernel says of them, to be put
//! back after what takes them away, or made elsewhere. [`LinkMonitor`] and [`RouteMonitor`] wait for events instead of sleeping.
//! [`Conntrack`] removes UDP flows whose address translation is out of date. [`raw`] is netlink without rtnetlink.
//!
//! # A pair of interfaces
//!
//! With CAP_NET_ADMIN in both namespaces:
//!
//! ```no_run
//! use std::fs::File;
//! use std::os::fd::AsFd;
//!
//! use cni_netlink::{AddrFlags, LinkChange, NewVeth, Socket};
//!
//! let blue = File::open("/run/netns/blue")?;
//! let mut socket = Socket::open()?;
//! let bridge = socket.link_by_name("cni0")?;
//! socket.addr_add(bridge.index, "10.1.0.1/16".parse()?, AddrFlags::default())?;
//!
//! // One end is a port of the bridge, the other begins in the other namespace.
//! socket.link_add_veth(&NewVeth {
//!     master: Some(bridge.index),
//!     peer_netns: Some(blue.as_fd()),
//!     mtu: Some(1400),
//!     ..NewVeth::new("veth1", "eth0")
//! })?;
//! let near = socket.link_by_name("veth1")?;
//! let change = LinkChange { up: Some(true), alias: Some("blue/eth0"), ..LinkChange::default() };
//! socket.link_change(near.index, &change)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Errors
//!
//! [`Error`] tells what could not be done to what, and ends with the kernel's own sentence where it gives one: `cannot add route
//! 10.2.0.0/16 via 192.0.2.1 dev 2: Network is unreachable (os error 101): Nexthop has invalid gateway`. Whoever can go on asks
//! [`Error::is_exists`], [`Error::is_not_found`] or [`Error::is_unsupported`].
//!
//! A dump that changes interrupt is made again, ten times, and then is [`Error::Interrupted`]: what is returned is complete.
//! Changes are not repeated, and nothing is waited for but by the monitors.
//!
//! # Limits
//!
//! The crate enters no namespace and makes none, keeps nothing between two calls, and runs no program. Of links, routes and rules it
//! has what CNI plugins need: a route is of unicast, a [`Rule`] looks at the source alone, and links of other kinds can be read and
//! changed but not made (tun and tap devices are made by an ioctl, not by netlink). Neighbours and multicast are not among it.
//!
//! Requests about addresses, routes and rules are built with `rtnetlink` and `netlink-packet-route`, those about links by hand,
//! since the crate's link message is a tenth of a plugin. Answers are read leniently, only the attributes that are asked
//! for, so that a newer kernel's surprise in one attribute never fails a plugin.

mod addr;
mod attr;
mod connection;
mod conntrack;
mod error;
mod extack;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
mod link;
mod mac;
mod monitor;
mod netnsid;
pub mod raw;
mod route;
mod rule;
mod socket;
mod tc;
mod uapi;
mod vlan;
mod write;

pub use addr::{Addr, AddrFlags, FoundAddr};
pub use conntrack::{Conntrack, Flow};
pub use error::{Error, Result};
pub use link::{BridgePort, Link, LinkChange, NewBridge, NewVeth, OperState};
pub use link::{IpvlanMode, LinkKind, MacvlanMode, NewLink, Parent, Tun};
pub use mac::{InvalidMac, MacAddr};
pub use monitor::{LinkMonitor, RouteMonitor};
pub use route::{FoundRoute, NextHop, RouteSpec, Way};
pub use rule::{FoundRule, Rule, WholeRule};
pub use socket::Socket;
pub use tc::Tbf;
pub use vlan::BridgeVlan;

/// The example of this crate's README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
