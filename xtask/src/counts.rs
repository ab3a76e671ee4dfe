//! Counting tests by what cargo's test harness prints.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

/// How many passed and failed, and which were skipped and why.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: Vec<Skipped>,
    /// The file name of the harness that is running.
    binary: Option<String>,
    /// Tests of the harness that is running which the harness takes for passed but which say themselves that they were
    /// skipped.
    excused: usize,
}

/// A test that did not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// The file name of its harness; `None` for one of the documentation.
    pub(crate) binary: Option<String>,
    pub(crate) name: String,
    pub(crate) why: String,
    /// Whether it is marked as ignored, and so can be run by asking for it.
    pub(crate) ignored: bool,
}

/// The reason of what is marked as a test only to be a process of another one, which runs it.
const NO_TEST: &str = "a process of ";

impl Counts {
    /// Copies the harness's output through to `out`, line by line, and counts.
    pub(crate) fn read(&mut self, harness: impl io::Read, out: &mut impl Write) -> io::Result<()> {
        let mut lines = io::BufReader::new(harness);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            out.write_all(&line)?;
            self.line(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
        Ok(())
    }

    fn line(&mut self, line: &str) {
        if let Some(totals) = line.strip_prefix("test result: ") {
            self.passed += number_before(totals, " passed").saturating_sub(std::mem::take(&mut self.excused));
            self.failed += number_before(totals, " failed");
        } else if let Some((name, reason)) =
            line.strip_prefix("test ").and_then(|test| test.split_once(" ... ignored"))
        {
            let why = reason.strip_prefix(", ").unwrap_or("no reason given");
            if !why.starts_with(NO_TEST) {
                self.skip(name, why, true);
            }
        } else if let Some(test) = line.strip_prefix("skipped: ").or_else(|| line.strip_prefix("SKIPPED ")) {
            let (name, why) = test.split_once(' ').unwrap_or((test, "no reason given"));
            self.skip(name.trim_end_matches(':'), why, false);
            self.excused += 1;
        } else if let Some(running) = line.trim_start().strip_prefix("Running ") {
            let path = running.rsplit_once('(').map(|(_, path)| path.trim_end_matches(')'));
            self.binary = path.and_then(|path| path.rsplit('/').next()).map(str::to_owned);
        } else if line.trim_start().starts_with("Doc-tests ") {
            self.binary = None;
        }
    }

    fn skip(&mut self, name: &str, why: &str, ignored: bool) {
        let (name, why) = (name.to_owned(), why.to_owned());
        self.skipped.push(Skipped { binary: self.binary.clone(), name, why, ignored });
    }

    /// Counts one check that is no test.
    pub(crate) fn check(&mut self, passed: bool) {
        if passed { self.passed += 1 } else { self.failed += 1 }
    }

    /// Counts those of `wanted` tests as failed that have not been reported, and says how many they are.
    pub(crate) fn expect(&mut self, wanted: usize) -> usize {
        let unreported = wanted.saturating_sub(self.passed + self.failed + self.skipped.len());
        self.failed += unreported;
        unreported
    }

    /// Adds another's.
    pub(crate) fn add(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped);
    }

    /// Says what was skipped and, alone on the last line, how many of each there are.
    pub(crate) fn conclude(&self) -> ExitCode {
        for skipped in &self.skipped {
            println!("skipped {}: {}", skipped.name, skipped.why);
        }
        println!("{self}");
        if self.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// `5 passed, 0 failed, 1 skipped`
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped.len())
    }
}

fn number_before(text: &str, word: &str) -> usize {
    let before = text.split(word).next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARNESS: &str = "
     Running tests/net/main.rs (target/debug/deps/net-0a1b)

running 3 tests
test ping::answers ... ok
test podman::reaches_another ... ignored, needs podman
test route::child ... ignored, a process of route::is_kept
test route::is_kept ... FAILED
skipped: vlan::is_filtered needs another kernel
test vlan::is_filtered ... ok
test result: FAILED. 12 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests cni_x

running 2 tests
test src/lib.rs - f (line 3) ... ignored
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn several_harnesses_are_summed_and_copied_through() {
        let (mut counts, mut out) = (Counts::default(), Vec::new());
        counts.read(HARNESS.as_bytes(), &mut out).unwrap();
        assert_eq!(counts.to_string(), "13 passed, 1 failed, 3 skipped");
        let skipped = |binary: Option<&str>, name: &str, why: &str, ignored| {
            let (binary, name, why) = (binary.map(str::to_owned), name.to_owned(), why.to_owned());
            Skipped { binary, name, why, ignored }
        };
        let net = Some("net-0a1b");
        let expected = [
            skipped(net, "podman::reaches_another", "needs podman", true),
            skipped(net, "vlan::is_filtered", "needs another kernel", false),
            skipped(None, "src/lib.rs - f (line 3)", "no reason given", true),
        ];
        assert_eq!(counts.skipped, expected);
        assert_eq!(out, HARNESS.as_bytes());
    }

    #[test]
    fn what_is_not_reported_has_failed() {
        let mut counts = Counts::default();
        counts.read(HARNESS.as_bytes(), &mut Vec::new()).unwrap();
        assert_eq!(counts.expect(17), 0);
        assert_eq!(counts.expect(20), 3);
        assert_eq!(counts.to_string(), "13 passed, 4 failed, 3 skipped");
    }
}
