//! The daemon: one thread that waits for plugins, servers and time, and has the leases.
//!
//! Nothing is held between two exchanges with a server: no socket, and no namespace. What is known of a lease is on disk, so that the
//! daemon can be killed at any moment.

mod attachment;
mod connection;
mod exchange;
mod flags;
mod inside;
mod listener;
mod record;
mod turn;

use std::fmt::Display;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::process::ExitCode;

use flags::{Flags, Refused};
use listener::Places;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use turn::Daemon;

/// Runs the daemon until it is told to end by SIGTERM or SIGINT. `arguments` are those behind `daemon`.
pub fn daemon(arguments: &[String]) -> ExitCode {
    let flags = match Flags::parse(arguments) {
        Ok(flags) => flags,
        Err(Refused::Help(usage)) => {
            to_stderr(usage);
            return ExitCode::SUCCESS;
        }
        Err(Refused::Wrong(problem)) => {
            to_stderr(&problem);
            return ExitCode::from(2);
        }
    };
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            to_stderr(&format!("dhcp daemon: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> Result<(), String> {
    // Two for each ADD that waits; the usual 1024 are for programs that use select(2).
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    let signals = signals().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let places = Places::take(&flags)?;
    Daemon::new(flags, places.leases.clone()).serve(&places.listener, &signals)
}

/// The signals that end it, as something to wait for.
fn signals() -> nix::Result<SignalFd> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Says what happens to a lease, for whoever reads the service's log.
fn say(whose: &str, what: impl Display) {
    to_stderr(&format!("{whose}: {what}"));
}

/// Without panicking when it is closed.
fn to_stderr(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// A number that nobody can guess: transaction numbers come from it.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
