//! iptables rules for the backends that users choose for their visible rules. Works with iptables-nft and iptables-legacy,
//! and asks the kernel itself, so that what other programs have put there, thousands of rules, costs nothing.
//!
//! [`Iptables::find`] tells which of the two this host has, [`Iptables::wherever`] looks for rules in both. A [`Rule`] is its
//! words, as in `iptables -A CHAIN ...`, and one that is [`Found`] is the same rule however iptables-save spells it.
//!
//! # A chain of one's own
//!
//! [`Iptables::update`] is the way to change a table. The closure looks at it and says what it should have; it may run several
//! times, since it runs again when another program has changed the same meanwhile. With CAP_NET_ADMIN and CAP_NET_RAW in the
//! namespace:
//!
//! ```no_run
//! use cni_iptables::{Family, Iptables, Rule};
//! use cni_nftables::Nft;
//!
//! let iptables = Iptables::find(&[Family::Ipv4], "/usr/sbin")?;
//! iptables.update(&mut Nft::new(), "filter", |table| {
//!     table.ensure_chain("CNI-FORWARD")?;
//!     let jump = Rule::new(&["-m", "comment", "--comment", "CNI firewall plugin rules", "-j", "CNI-FORWARD"]);
//!     table.insert_unique("FORWARD", jump)
//! })?;
//! # Ok::<(), cni_iptables::Error>(())
//! ```
//!
//! # Where the rules are
//!
//! iptables-nft keeps its rules in nf_tables: they are read and changed there, in one transaction that fails unless the ruleset is
//! still as it was read. iptables-legacy keeps them in ip_tables: they are read by getsockopt(2), and changed by one
//! `iptables-restore --noflush` per family, under a lock that all plugins of a host share. Rules that only iptables itself
//! understands, a user's conditions, go through its programs with either.
//!
//! # Errors
//!
//! [`Error`] tells which table could not be read or changed, by which program or call, and what that said, with the line of the
//! script that it complained of. [`Error::is_unusable`] holds where iptables cannot be used here at all and nothing was changed.
//!
//! # Limits
//!
//! It is about chains and rules of the tables that iptables has itself; policies and counters are left alone. Rules are understood
//! that have the options which CNI plugins write: addresses, interfaces, protocols and ports, comments, marks, the matches
//! conntrack, addrtype and multiport, the targets DNAT, MASQUERADE and MARK, and chains. Of any other rule there are chain, target
//! and comment, and iptables is asked whether it is the one that is looked for.

mod change;
mod entry;
mod error;
mod extension;
mod found;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod iptables;
mod legacy;
mod lock;
mod meaning;
mod nft;
mod programs;
mod protocol;
mod rule;
mod saved;
mod sockopt;
mod table;
mod uapi;
mod words;

pub use error::{Error, Result};
pub use found::Found;
pub use iptables::Iptables;
pub use programs::Variant;
pub use rule::{Family, Rule};
pub use table::Table;

/// The example of this crate's README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
