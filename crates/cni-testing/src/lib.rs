//! Fixtures for tests of plugins: a private host, containers on it, the real executables run as a runtime runs them.
//!
//! A test's thread becomes the private host: it unshares its network namespace, and the plugins it starts inherit
//! that. Nothing here touches the machine's own network. Needs root, or the user namespace that `cargo xtask test` enters.

mod container;
mod host;
mod outcome;
mod snapshot;

pub use container::Container;
pub use host::{Host, PluginRun};
pub use outcome::Outcome;
pub use snapshot::Snapshot;
