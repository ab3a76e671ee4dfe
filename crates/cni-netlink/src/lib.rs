//! Blocking rtnetlink for programs that live for milliseconds: one socket for one network namespace, a request and its
//! answer at a time. Names follow iproute2's.
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
mod vlan;
mod write;

pub use addr::{Addr, AddrFlags, FoundAddr};
pub use conntrack::{Conntrack, Flow};
pub use error::{Error, Result};
pub use link::{BridgePort, Link, LinkChange, NewBridge, NewVeth, OperState};
pub use link::{IpvlanMode, LinkKind, MacvlanMode, NewLink, Parent, Tun};
pub use mac::MacAddr;
pub use monitor::{LinkMonitor, RouteMonitor};
pub use route::{FoundRoute, NextHop, RouteSpec, Way};
pub use rule::{FoundRule, Rule, WholeRule};
pub use socket::Socket;
pub use tc::Tbf;
pub use vlan::BridgeVlan;
