//! `test`: everything that is a test, with what it needs.

use std::io;
use std::process::Stdio;

use crate::cargo::{self, cargo};
use crate::counts::Counts;
use crate::{Result, debian, namespaces};

/// Runs all tests and prints the summary.
pub(crate) fn run() -> Result<()> {
    counted()?.conclude()
}

/// Runs all tests, in namespaces that this process enters for good.
pub(crate) fn counted() -> Result<Counts> {
    let missing = debian::install_missing();
    // All that wants the internet, or the machine's own identity, comes before the namespaces. The plugins' executables
    // are not built by testing: cargo does that only for a package's own integration tests.
    cargo::run(cargo().args(["build", "--workspace", "--bins", "--exclude", "xtask"]))?;
    cargo::run(cargo().args(["test", "--workspace", "--no-run"]))?;
    let root = namespaces::is_root();
    namespaces::enter()?;

    let mut counts = tests(&["--workspace", "--no-fail-fast"])?;
    match podman_cannot_run(root, &missing) {
        None => {
            // The very same packages as before, or cargo would build all of them again with other features.
            let podman = tests(&["--workspace", "--test", "plugins", "--", "--ignored", "podman::"])?;
            counts.skipped.retain(|test| !test.starts_with("podman::"));
            counts.add(podman);
        }
        Some(reason) => println!("not run: the tests with podman: {reason}"),
    }
    Ok(counts)
}

/// Why the tests marked as ignored in tests/plugins/podman.rs cannot run, and what would make them run.
fn podman_cannot_run(root: bool, missing: &[&str]) -> Option<String> {
    if !root {
        return Some("podman uses /run and cgroups as root: sudo cargo xtask test".to_owned());
    }
    let packages = missing.join(" ");
    (!missing.is_empty()).then(|| format!("apt-get install {packages}, then cargo xtask test"))
}

/// One run of `cargo test`. Failing tests are counted; failing to run them is one more failure.
fn tests(args: &[&str]) -> Result<Counts> {
    let mut cargo = cargo();
    cargo.args(["test", "--offline"]).args(args).stdout(Stdio::piped());
    let shown = cargo::show(&cargo);
    let cannot = |error: io::Error| format!("cannot run {shown}: {error}");
    let mut child = cargo.spawn().map_err(cannot)?;
    let mut counts = Counts::default();
    if let Some(harness) = child.stdout.take() {
        counts.read(harness, &mut io::stdout().lock()).map_err(cannot)?;
    }
    let status = child.wait().map_err(cannot)?;
    if !status.success() && counts.failed == 0 {
        eprintln!("xtask: {shown} failed ({status}) although no test says so");
        counts.failed = 1;
    }
    if counts.passed + counts.failed == 0 {
        return Err(format!("{shown} ran no test at all"));
    }
    Ok(counts)
}
