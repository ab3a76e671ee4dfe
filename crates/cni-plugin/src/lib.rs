//! What every CNI plugin is made of: the environment and standard input as a validated request, dispatch, delegation to
//! other plugins, undo, errors as the specification wants them, and an opt-in log.

mod delegate;
mod dispatch;
mod error;
mod incoming;
pub mod log;
mod panic;
mod process;
mod request;
mod undo;
mod vars;

pub use cni_types as types;
pub use dispatch::{Plugin, main};
pub use error::{Context, Error, Result};
pub use request::{Attachment, Call, Request};
pub use undo::Undo;
