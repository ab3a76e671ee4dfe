//! `test`: everything that is a test, with what it needs.

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, ExitCode, Stdio};

use crate::cargo::{self, Built, cargo};
use crate::counts::{Counts, Skipped};
use crate::needs::Machine;
use crate::{Result, namespaces, reference};

/// Runs all tests and prints the summary.
pub(crate) fn run() -> Result<ExitCode> {
    Ok(counted()?.conclude())
}

/// Runs all tests, in namespaces that this process enters for good.
pub(crate) fn counted() -> Result<Counts> {
    // All that wants the internet, or the machine's own identity, comes before the namespaces. The plugins' executables
    // are not built by testing: cargo does that only for a package's own integration tests.
    let mut machine = Machine::prepare();
    cargo::run(cargo().args(["build", "--workspace", "--bins", "--exclude", "xtask"]))?;
    let built = Built::load()?;
    namespaces::enter()?;
    let probe = built.example("kernel")?;
    machine.learn_kernel(&String::from_utf8_lossy(&cargo::output(&mut Command::new(&probe.path))?));

    let mut all = cargo();
    all.args(["test", "--offline", "--workspace", "--no-fail-fast"]);
    let mut counts = run_harness(&mut all, &machine)?;
    run_ignored(&mut counts, &built, &machine)?;
    Ok(counts)
}

/// Runs those of the skipped tests that are marked as ignored and have all that they need here.
fn run_ignored(counts: &mut Counts, built: &Built, machine: &Machine) -> Result<()> {
    let mut possible: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for skipped in std::mem::take(&mut counts.skipped) {
        let Skipped { binary: Some(binary), name, why, ignored: true } = &skipped else {
            counts.skipped.push(skipped);
            continue;
        };
        match machine.obstacle(why) {
            Ok(None) => possible.entry(binary.clone()).or_default().push(name.clone()),
            Ok(Some(obstacle)) => {
                let why = format!("{why} (to run it: {obstacle})");
                counts.skipped.push(Skipped { why, ..skipped });
            }
            // A test that nobody could ever run is no test.
            Err(error) => {
                eprintln!("xtask: {name} is ignored since it {why:?}: {error}");
                counts.check(false);
            }
        }
    }
    for (binary, names) in possible {
        let test = built.test(&binary)?;
        println!("     Running {} of the ignored tests of {binary}", names.len());
        let mut harness = Command::new(&test.path);
        harness.args(["--ignored", "--exact"]).args(&names);
        // As cargo does it.
        harness.current_dir(&test.package).env("CARGO_MANIFEST_DIR", &test.package);
        counts.add(run_harness(&mut harness, machine)?);
    }
    Ok(())
}

/// Runs a test harness, or cargo with several. Failing tests are counted; failing to run them is one more failure.
fn run_harness(command: &mut Command, machine: &Machine) -> Result<Counts> {
    let shown = cargo::show(command);
    let cannot = |error: io::Error| format!("cannot run {shown}: {error}");
    // One pipe for both, for what tests say of themselves on standard error to keep its place.
    let (harness, stdout) = io::pipe().map_err(cannot)?;
    let stderr = stdout.try_clone().map_err(cannot)?;
    if let Some(folder) = machine.reference() {
        command.env(reference::VARIABLE, folder);
    }
    let mut child =
        command.env("CARGO_TERM_COLOR", "never").stdout(stdout).stderr(stderr).spawn().map_err(cannot)?;
    // It keeps the writing ends, and the pipe would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
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
