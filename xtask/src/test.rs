//! `test`: everything that is a test, with what it needs.

use std::io;
use std::process::ExitCode;

use crate::cargo::{self, cargo};
use crate::counts::Counts;
use crate::{Result, debian, namespaces};

/// Runs all tests and prints the summary.
pub(crate) fn run() -> Result<ExitCode> {
    Ok(counted()?.conclude())
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
    let mut possible = Vec::new();
    for (tests, obstacle) in IGNORED {
        match obstacle(root, &missing) {
            None => possible.push(*tests),
            Some(obstacle) => println!("not run: {tests} {obstacle}"),
        }
    }
    if !possible.is_empty() {
        // The very same packages as before, or cargo would build all of them again with other features.
        let ignored = ["--workspace", "--test", "plugins", "--no-fail-fast", "--", "--ignored"];
        let run = tests(&[&ignored[..], &possible].concat())?;
        counts.skipped.retain(|name| !possible.iter().any(|tests| name.starts_with(tests)));
        counts.add(run);
    }
    Ok(counts)
}

/// Why some tests cannot run here, and what would make them run; given whether this is root, and the packages that are
/// missing.
type Obstacle = fn(bool, &[&str]) -> Option<String>;

/// Tests of cni-testing's `plugins` that are marked as ignored since not every machine can run them, by the beginning of
/// their names.
const IGNORED: &[(&str, Obstacle)] = &[
    ("podman::", |root, missing| {
        if !root {
            return Some("podman needs root, for cgroups: sudo cargo xtask test".to_owned());
        }
        (!missing.is_empty()).then(|| format!("apt-get install {}, then cargo xtask test", missing.join(" ")))
    }),
    ("host_local_disk::", needs_the_reference),
    ("bridge_reference::", needs_the_reference),
    ("tuning_reference::", needs_the_reference),
    ("macvlan_reference::", needs_the_reference),
    ("ptp_reference::", needs_the_reference),
    ("host_device_reference::", needs_the_reference),
];

fn needs_the_reference(_root: bool, missing: &[&str]) -> Option<String> {
    let package = "containernetworking-plugins";
    missing.contains(&package).then(|| format!("apt-get install {package}, then cargo xtask test"))
}

/// One run of `cargo test`. Failing tests are counted; failing to run them is one more failure.
fn tests(args: &[&str]) -> Result<Counts> {
    let mut cargo = cargo();
    cargo.args(["test", "--offline"]).args(args);
    let shown = cargo::show(&cargo);
    let cannot = |error: io::Error| format!("cannot run {shown}: {error}");
    // One pipe for both, for what tests say of themselves on standard error to keep its place.
    let (harness, stdout) = io::pipe().map_err(cannot)?;
    let stderr = stdout.try_clone().map_err(cannot)?;
    let mut child = cargo.stdout(stdout).stderr(stderr).spawn().map_err(cannot)?;
    // It keeps the writing ends, and the pipe would never end.
    drop(cargo);
    let mut counts = Counts::default();
    counts.read(harness, &mut io::stdout().lock()).map_err(cannot)?;
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
