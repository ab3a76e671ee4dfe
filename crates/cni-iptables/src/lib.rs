//! iptables rules for the backends that users choose for their visible rules. Works with iptables-nft and iptables-legacy,
//! and asks the kernel itself, so that what other programs have put there, thousands of rules, costs nothing.
//!
//! iptables-nft keeps its rules in nf_tables: they are read and changed there, in one transaction that fails unless the ruleset is
//! still as it was read. iptables-legacy keeps them in ip_tables: they are read by getsockopt(2), and changed by one
//! `iptables-restore --noflush` a family, under a lock that all plugins of a host share. Rules that only iptables itself
//! understands, a user's conditions, go through its programs with either.
//!
//! [`Iptables::update`] is the way to change a table.
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
mod words;

pub use error::{Error, Result};
pub use found::Found;
pub use iptables::Iptables;
pub use programs::Variant;
pub use rule::{Family, Rule};
pub use table::Table;
