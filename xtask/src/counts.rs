//! Counting tests by what cargo's test harness prints.

use std::fmt;
use std::io::{self, BufRead, Write};

/// How many passed and failed, and which were skipped and why.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// `name: reason`
    pub(crate) skipped: Vec<String>,
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
            self.passed += number_before(totals, " passed");
            self.failed += number_before(totals, " failed");
        } else if let Some((name, reason)) =
            line.strip_prefix("test ").and_then(|test| test.split_once(" ... ignored"))
        {
            let reason = reason.strip_prefix(", ").unwrap_or("no reason given");
            self.skipped.push(format!("{name}: {reason}"));
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

    /// Says what was skipped and, alone on the last line, how many of each there are. An error when any failed.
    pub(crate) fn conclude(&self) -> crate::Result<()> {
        for skipped in &self.skipped {
            println!("skipped {skipped}");
        }
        // What goes to standard error must not come after.
        let failed = if self.failed > 0 { Err(format!("{} failed", self.failed)) } else { Ok(()) };
        if let Err(error) = &failed {
            eprintln!("xtask: {error}");
        }
        println!("{self}");
        failed
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
test result: FAILED. 12 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 2 tests
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn several_harnesses_are_summed_and_copied_through() {
        let (mut counts, mut out) = (Counts::default(), Vec::new());
        counts.read(HARNESS.as_bytes(), &mut out).unwrap();
        assert_eq!(counts.to_string(), "14 passed, 1 failed, 1 skipped");
        assert_eq!(counts.skipped, ["podman::reaches_another: needs podman"]);
        assert_eq!(out, HARNESS.as_bytes());
        assert!(counts.conclude().is_err());
    }
}
