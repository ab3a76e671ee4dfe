//! Counting tests by what cargo's test harness prints.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

/// How many passed and failed, and which were skipped and why.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// `name: reason`
    pub(crate) skipped: Vec<String>,
    /// Tests of the harness that is running which the harness takes for passed but which say themselves that they were
    /// skipped.
    excused: usize,
}

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
            let reason = reason.strip_prefix(", ").unwrap_or("no reason given");
            self.skipped.push(format!("{name}: {reason}"));
        } else if let Some(test) = line.strip_prefix("skipped: ").or_else(|| line.strip_prefix("SKIPPED ")) {
            self.skipped.push(test.to_owned());
            self.excused += 1;
        }
    }

    /// Counts one check that is no test.
    pub(crate) fn check(&mut self, passed: bool) {
        if passed { self.passed += 1 } else { self.failed += 1 }
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
            println!("skipped {skipped}");
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
running 3 tests
test ping::answers ... ok
test podman::reaches_another ... ignored, needs podman
test route::is_kept ... FAILED
skipped: vlan::is_filtered needs another kernel
test vlan::is_filtered ... ok
test result: FAILED. 12 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 2 tests
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn several_harnesses_are_summed_and_copied_through() {
        let (mut counts, mut out) = (Counts::default(), Vec::new());
        counts.read(HARNESS.as_bytes(), &mut out).unwrap();
        assert_eq!(counts.to_string(), "13 passed, 1 failed, 2 skipped");
        let skipped = ["podman::reaches_another: needs podman", "vlan::is_filtered needs another kernel"];
        assert_eq!(counts.skipped, skipped);
        assert_eq!(out, HARNESS.as_bytes());
    }
}
