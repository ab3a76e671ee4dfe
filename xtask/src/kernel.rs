//! `kernel`: which of the features that some tests need the running kernel has.

use std::process::Command;

use crate::cargo::{self, Built};
use crate::{Result, namespaces};

/// Prints a line a feature, `has <name>` or `lacks <name>`, in namespaces that this process enters for good: features are
/// tried, by making what they are for.
pub(crate) fn run() -> Result<()> {
    let probe = Built::load()?.of_kind("example", "kernel")?.path.clone();
    namespaces::enter()?;
    cargo::run(&mut Command::new(probe))
}

/// The same lines from a process of its own, so that this one stays where it is.
pub(crate) fn ask() -> Result<String> {
    let this = std::env::current_exe();
    let this = this.map_err(|error| format!("cannot find the own executable: {error}"))?;
    let found = cargo::output(Command::new(this).arg("kernel"))?;
    Ok(String::from_utf8_lossy(&found).into_owned())
}
