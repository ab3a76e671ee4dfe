//! `test`: everything that is a test, with what it needs.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use crate::cargo::{self, Built, Metadata, cargo};
use crate::counts::{Counts, Skipped};
use crate::guest::{self, Guest};
use crate::needs::{Machine, Verdict};
use crate::watch::Watch;
use crate::{Result, binaries, kernel, namespaces};

/// Where the tests of cni-testing look for plugins, if not beside themselves.
const PLUGINS: &str = "CNI_TESTING_BIN";

/// Runs all tests, or those whose names have `filter` in them, and prints the summary.
pub(crate) fn run(filter: Option<&str>) -> Result<ExitCode> {
    Ok(counted(filter)?.conclude())
}

/// The same in namespaces that this process enters for good. With a filter what needs another kernel is left out, and so are the
/// repetitions over links: it is for the change that one is at.
pub(crate) fn counted(filter: Option<&str>) -> Result<Counts> {
    // All that wants the internet, or the machine's own identity, comes before the namespaces. The plugins' executables
    // are not built by testing: cargo does that only for a package's own integration tests.
    let mut machine = Machine::prepare();
    cargo::run(cargo().args(["build", "--workspace", "--bins", "--exclude", "xtask"]))?;
    let built = Built::load()?;
    machine.learn_kernel(&kernel::ask()?);
    let guest = (filter.is_none() && machine.kernel_lacks_something())
        .then(|| Guest::prepare().and_then(|guest| Ok((guest, binaries::installed()?))));
    namespaces::enter()?;

    let mut all = cargo();
    all.args(["test", "--offline", "--workspace", "--no-fail-fast", "--"]).args(filter);
    all.envs(machine.environment());
    let mut counts = run_harness(&mut all, None)?;
    let sorted = sort(&mut counts, &machine);
    for (binary, names) in &sorted.here {
        let test = built.test(binary)?;
        println!("     Running what is ignored elsewhere ({})", test.path.display());
        let mut harness = Command::new(&test.path);
        harness.args(["--ignored", "--exact"]).args(names);
        // As cargo does it.
        harness.current_dir(&test.package).env("CARGO_MANIFEST_DIR", &test.package);
        harness.envs(machine.environment());
        counts.add(run_harness(&mut harness, None)?);
    }
    if filter.is_none() {
        counts.add(run_over_links(&built)?);
    }
    match guest {
        Some(Ok((guest, plugins))) if !sorted.elsewhere.is_empty() => {
            // The plugins as they are shipped: emulated, they start in a fifth of the time.
            let mut environment = vec![(PLUGINS, plugins.as_path())];
            environment.extend(machine.environment());
            counts.add(run_in_guest(&guest, &sorted.by_binary(), &built, &environment)?);
        }
        Some(Err(error)) => {
            let why = |why: &str| format!("{why} (no virtual machine: {error})");
            let skipped = sorted.elsewhere.into_iter().map(|test| Skipped { why: why(&test.why), ..test });
            counts.skipped.extend(skipped);
        }
        _ => counts.skipped.extend(sorted.elsewhere),
    }
    Ok(counts)
}

/// Names of tests by the file name of their harness.
type ByBinary = BTreeMap<String, Vec<String>>;

/// Tests that were skipped and can run all the same.
#[derive(Default)]
struct Sorted {
    here: ByBinary,
    /// In a guest, which has another kernel.
    elsewhere: Vec<Skipped>,
}

impl Sorted {
    fn by_binary(&self) -> ByBinary {
        let mut all = ByBinary::new();
        for test in &self.elsewhere {
            let names: &mut Vec<String> = all.entry(test.binary.clone().unwrap_or_default()).or_default();
            // A test that needs several things may have said so of each.
            if !names.contains(&test.name) {
                names.push(test.name.clone());
            }
        }
        all
    }
}

/// Takes those of the skipped tests out that can run.
fn sort(counts: &mut Counts, machine: &Machine) -> Sorted {
    let mut sorted = Sorted::default();
    for skipped in std::mem::take(&mut counts.skipped) {
        let Skipped { binary: Some(binary), name, why, ignored } = &skipped else {
            counts.skipped.push(skipped);
            continue;
        };
        match machine.verdict(why) {
            Ok(Verdict::OtherKernel) => sorted.elsewhere.push(skipped),
            // One that is not marked has tried already.
            _ if !ignored => counts.skipped.push(skipped),
            Ok(Verdict::Here) => sorted.here.entry(binary.clone()).or_default().push(name.clone()),
            Ok(Verdict::Nowhere(obstacle)) => {
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
    sorted
}

/// Runs the tests of the protocol, of chains and of interrupted plugins with a delegate once more, where every plugin is a link
/// to the one executable.
fn run_over_links(built: &Built) -> Result<Counts> {
    let links = Metadata::load()?.target_directory.join("cni/links");
    let one = built.of_kind("bin", binaries::ONE)?;
    cargo::run(Command::new(&one.path).arg("install").arg("--dir").arg(&links))?;
    let test = built.of_kind("test", "plugins")?;
    println!("     Running over links to one executable ({})", test.path.display());
    let mut harness = Command::new(&test.path);
    harness
        .args(["protocol::", "chain::", "killed::bridge_killed", "refused::bridge_takes"])
        .current_dir(&test.package);
    harness.env("CARGO_MANIFEST_DIR", &test.package).env(PLUGINS, links);
    let mut counts = run_harness(&mut harness, None)?;
    // They are among the skipped once already.
    counts.skipped.retain(|skipped| !skipped.ignored);
    Ok(counts)
}

/// Runs tests in a virtual machine. A machine that dies or hangs has failed every test that it has not reported.
fn run_in_guest(
    guest: &Guest,
    tests: &ByBinary,
    built: &Built,
    environment: &[(&str, &Path)],
) -> Result<Counts> {
    let wanted: usize = tests.values().map(Vec::len).sum();
    let way = guest.way()?;
    println!("booting a virtual machine, {way}, for {wanted} tests of what the running kernel lacks");
    let mut command = guest.command(way, tests, built, environment)?;
    let mut counts = run_harness(&mut command, Some(guest::LIMIT)).unwrap_or_else(|error| {
        eprintln!("xtask: {error}");
        Counts::default()
    });
    let unreported = counts.expect(wanted);
    if unreported > 0 {
        eprintln!("xtask: the virtual machine has not reported {unreported} of {wanted} tests");
    }
    Ok(counts)
}

/// Runs a test harness, or cargo with several, no longer than the limit. Failing tests are counted; failing to run them is
/// one more failure.
fn run_harness(command: &mut Command, limit: Option<Duration>) -> Result<Counts> {
    run_harness_to(command, limit, &mut io::stdout().lock())
}

fn run_harness_to(
    command: &mut Command,
    limit: Option<Duration>,
    out: &mut impl io::Write,
) -> Result<Counts> {
    let shown = cargo::show(command);
    let cannot = |error: io::Error| format!("cannot run {shown}: {error}");
    // One pipe for both, for what tests say of themselves on standard error to keep its place.
    let (harness, stdout) = io::pipe().map_err(cannot)?;
    let stderr = stdout.try_clone().map_err(cannot)?;
    command.env("CARGO_TERM_COLOR", "never").stdout(stdout).stderr(stderr);
    let (mut child, watch) = Watch::over(command, limit).map_err(cannot)?;
    // It keeps the writing ends, and the pipe would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut counts = Counts::default();
    counts.read(harness, out).map_err(cannot)?;
    let status = child.wait().map_err(cannot)?;
    let late = watch.has_bitten();
    let how = if late { "took too long and was ended".to_owned() } else { format!("failed ({status})") };
    if counts.passed + counts.failed + counts.skipped.len() == 0 {
        return Err(format!("{shown} {how} and ran no test at all"));
    }
    if late || (!status.success() && counts.failed == 0) {
        eprintln!("xtask: {shown} {how} although no test says so");
        counts.check(false);
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, limit: Option<Duration>) -> Result<Counts> {
        // What it prints would be counted, were it printed, when this test runs under xtask.
        run_harness_to(Command::new("sh").args(["-c", script]), limit, &mut io::sink())
    }

    const PASSED: &str = "echo 'test result: ok. 2 passed; 0 failed; 1 ignored'";

    #[test]
    fn a_harness_that_hangs_is_ended_with_all_that_it_started() {
        let limit = Some(Duration::from_millis(300));
        let start = std::time::Instant::now();
        // The second sleep keeps the pipe open when only the shell is killed.
        let error = run("sleep 60 & sleep 60", limit).unwrap_err();
        assert!(error.contains("took too long"), "{error}");
        let counts = run(&format!("{PASSED}; sleep 60"), limit).unwrap();
        assert_eq!((counts.passed, counts.failed), (2, 1));
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    /// Else it would be waited for twice, and run once.
    #[test]
    fn a_test_that_lacks_two_things_is_run_once() {
        let skipped = |why: &str| Skipped {
            binary: Some("live".to_owned()),
            name: "kinds".to_owned(),
            why: why.to_owned(),
            ignored: false,
        };
        let elsewhere = vec![skipped("needs a kernel with dummy"), skipped("needs a kernel with vrf")];
        let names = Sorted { elsewhere, ..Sorted::default() }.by_binary();
        assert_eq!(names, ByBinary::from([("live".to_owned(), vec!["kinds".to_owned()])]));
    }

    #[test]
    fn a_harness_that_dies_is_a_failure() {
        assert!(run("exit 3", None).unwrap_err().contains("ran no test"));
        assert_eq!(run(&format!("{PASSED}; exit 3"), None).unwrap().failed, 1);
        assert_eq!(run(PASSED, Some(Duration::from_secs(30))).unwrap().failed, 0);
    }
}
