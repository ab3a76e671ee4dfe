//! What every CNI plugin is made of: the environment and standard input as a validated request, dispatch, delegation to
//! other plugins, undo, errors as the specification wants them, and an opt-in log.
//!
//! A plugin is a table of functions, [`Plugin`], given to [`main`]. By the time that one of them runs, the request has kept
//! all rules of the specification: names are valid, the version is spoken, the container's namespace is not the plugin's
//! own. What a function returns goes to standard output in the version of the configuration; an error or a panic goes there
//! as an error object, after [`Undo`] has taken back what was done. Here is a whole plugin, the last of a chain:
//!
//! ```no_run
#![doc = include_str!("../examples/subnet-guard.rs")]
//! ```
//!
//! A plugin that makes something arms an [`Undo`] for each thing made, and one with an `ipam` object runs
//! [`Request::ipam_add`] and its relatives. [`log::step`] around the steps of an ADD makes them visible to a node's owner,
//! [`log::warn`] tells of what went wrong without failing the request. An executable that is several plugins has a table of
//! [`Member`]s.

mod delegate;
mod dispatch;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod incoming;
pub mod log;
mod panic;
mod process;
mod request;
mod several;
mod undo;
mod vars;

pub use cni_types as types;
pub use dispatch::{Daemon, Plugin, VERSION, main, main_with_daemon, refuse};
pub use error::{Context, Error, Result};
pub use process::environment;
pub use request::{Add, Attachment, Call, Check, Del, Gc, InNetns, Request, Status};
pub use several::Member;
pub use undo::Undo;

/// The examples of the project's front page compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct FrontPage;

/// The example of this crate's README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
