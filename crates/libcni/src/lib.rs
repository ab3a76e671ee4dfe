//! The runtime's side of the Container Network Interface: what a container runtime does with the files in
//! `/etc/cni/net.d` and the plugins in `/opt/cni/bin`.
//!
//! A [`Network`] is loaded from its file. A [`Runtime`] runs its chain of plugins for an [`Attachment`], one interface
//! of one container, and keeps what they answered in a [`Cache`], in the files of the reference's libcni: what one of
//! the two added, the other can check and delete.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use cni_types::{ContainerId, IfName, NetworkName};
//! use libcni::{Attachment, Network, Runtime};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let network = Network::find(Path::new("/etc/cni/net.d"), &NetworkName::new("blue")?)?;
//! let runtime = Runtime::new(vec!["/opt/cni/bin".into()], libcni::DEFAULT_CACHE_DIR);
//! let mut attachment = Attachment::new(ContainerId::new("web-1")?, IfName::new("eth0")?);
//! attachment.netns = Some("/run/netns/web-1".to_string());
//!
//! let added = runtime.add(&network, &attachment)?;
//! for ip in &added.result.ips {
//!     println!("{}", ip.address);
//! }
//! runtime.check(&network, &attachment)?;
//! runtime.del(&network, &attachment)?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a runtime should know
//!
//! - After a failed ADD nothing is cleaned up here: call [`Runtime::del`], which the plugins take for an attachment that
//!   is half there, too.
//! - [`Runtime::del`] runs the whole chain, whatever fails on the way, and keeps the cache entry until all has
//!   succeeded, so that it can simply be called again. The reference's libcni stops at the first plugin that fails.
//! - [`Runtime::gc`] with `Some(list)` removes what is not in the list. With `None` it deletes *every* cached attachment
//!   of the network, as the reference does.
//! - A configuration may have changed or gone since the ADD: [`Cache::get`] returns the bytes that were used, and
//!   [`Network::from_slice`] loads them again.
//!
//! Nothing here reads the process's environment or its current folder: every path is a parameter.

mod cache;
mod config;
mod error;
mod gc;
mod reapply;
pub mod request;
mod runtime;

pub use cache::{Cache, CacheEntry, CacheError, DEFAULT_CACHE_DIR};
pub use config::{ConfigError, Network, Plugin};
pub use error::{Error, Operation, Result};
pub use gc::GcReport;
pub use reapply::ReapplyReport;
pub use request::Attachment;
pub use runtime::{Added, Runtime};

/// The example of this crate's README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
