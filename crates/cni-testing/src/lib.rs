//! Fixtures for tests of plugins: a private host, containers on it, the real executables run as a runtime runs them.
//!
//! A test's thread becomes the private host: it unshares its network namespace, and the plugins it starts inherit
//! that. Nothing here touches the machine's own network, and nothing changes what the threads of a process share
//! (environment, working directory), so tests run side by side. Needs root, or the user namespace that
//! `cargo xtask test` enters.
//!
//! A fixture that cannot do its part panics: it is the test that has failed.

mod advertisement;
mod container;
mod echo;
mod host;
mod http;
mod namespace;
mod outcome;
mod ping;
mod run;
mod service;
mod snapshot;
#[cfg(target_arch = "x86_64")]
mod syscall;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod trace;
mod uplink;

pub use container::Container;
pub use echo::EchoServer;
pub use host::Host;
pub use http::HttpServer;
pub use outcome::Outcome;
pub use run::PluginRun;
pub use snapshot::Snapshot;
#[cfg(target_arch = "x86_64")]
pub use syscall::Syscall;
#[cfg(target_arch = "x86_64")]
pub use trace::Act;

/// How long an answer is waited for. The kernel repeats a lost neighbour solicitation after a second, and one may get lost
/// on an interface that is young: the group that it is sent to is joined by a work queue (net/ipv6/addrconf.c,
/// addrconf_dad_work), and until the carrier has been noticed nothing is sent (net/core/link_watch.c).
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(2500);
