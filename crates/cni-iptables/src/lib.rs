//! iptables rules for the backends that users choose for their visible rules: one `iptables-save` to see what is there,
//! one `iptables-restore --noflush` for the change, a family. Works with iptables-nft and iptables-legacy.
//!
//! The one crate that runs these programs. [`Iptables::update`] is the way to change a table: it reads, asks what to do and
//! does it, under a lock that all plugins of a host share, and again when somebody else was faster all the same.
//!
//! ```no_run
//! use cni_iptables::{Change, Family, Iptables, Rule};
//!
//! let iptables = Iptables::find(Family::Ipv4, "/usr/sbin")?;
//! iptables.update("filter", |saved| {
//!     let mut change = Change::default();
//!     change.ensure_chain(saved, "CNI-FORWARD");
//!     let jump = Rule::new(&["-m", "comment", "--comment", "CNI firewall plugin rules", "-j", "CNI-FORWARD"]);
//!     change.insert_unique(saved, "FORWARD", jump);
//!     change
//! })?;
//! # Ok::<(), cni_iptables::Error>(())
//! ```

mod change;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod holders;
mod lock;
mod meaning;
mod programs;
mod rule;
mod tables;
mod words;

pub use change::Change;
pub use error::{Error, Result};
pub use holders::holders;
pub use programs::{Iptables, Variant};
pub use rule::Rule;
pub use tables::{Family, Saved};
