//! The programs: which of the two iptables this host has, and running `iptables-restore`, and `iptables` and `iptables-save`
//! where only they understand a rule.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{CHANGE, READ};
use crate::saved::Saved;
use crate::{Error, Family, Result, Rule, words};

/// Where the programs are when `PATH` does not tell.
const USUAL: &[&str] = &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// RESOURCE_PROBLEM of include/xtables.h: `iptables-legacy-restore` says so when another program holds its lock.
const BUSY: i32 = 4;

/// Which of the two iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// `iptables-nft`, which keeps its rules in nf_tables.
    Nft,
    /// `iptables-legacy`, which keeps them in ip_tables.
    Legacy,
}

/// The programs of one variant for one family.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) family: Family,
    pub(crate) variant: Variant,
    path: String,
}

/// How a change by `iptables-restore` went.
pub(crate) enum Restored {
    Done,
    /// Nothing was done, since another program is at work on the tables.
    Busy,
}

/// The variant that `iptables` (`ip6tables`) is in the folders of `path` and the usual ones.
///
/// Links tell where they lead. A wrapper says which it is when it is run.
pub(crate) fn variant(family: Family, path: &str) -> Result<Variant> {
    let program = find_program(name_of(family), path)?;
    let target = program.canonicalize().unwrap_or_else(|_| program.clone());
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    if name.contains("nft") {
        return Ok(Variant::Nft);
    }
    // The one before there were two.
    if name.contains("legacy") || name == "xtables-multi" {
        return Ok(Variant::Legacy);
    }
    let output = run(&program, &["--version"], "")?;
    let said = String::from_utf8_lossy(&output.stdout);
    // `iptables v1.8.9 (nf_tables)`; those before 1.8 say no more than their number.
    match said.strip_prefix(name_of(family)) {
        Some(version) if version.contains("nf_tables") => Ok(Variant::Nft),
        Some(version) if version.starts_with(" v") => Ok(Variant::Legacy),
        _ => {
            let said = said.lines().next().unwrap_or_default().to_owned();
            Err(Error::Unknown { program: program.display().to_string(), said })
        }
    }
}

fn name_of(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "iptables",
        Family::Ipv6 => "ip6tables",
    }
}

impl Programs {
    pub(crate) fn new(family: Family, variant: Variant, path: &str) -> Self {
        Programs { family, variant, path: path.to_owned() }
    }

    /// `iptables-nft-restore`, or `iptables-restore` where that is of the variant.
    fn find(&self, what: &str) -> Result<PathBuf> {
        let tables = name_of(self.family);
        let variant = match self.variant {
            Variant::Nft => "-nft",
            Variant::Legacy => "-legacy",
        };
        find_program(&format!("{tables}{variant}{what}"), &self.path).or_else(|error| {
            match variant_is(self.family, &self.path, self.variant) {
                true => find_program(&format!("{tables}{what}"), &self.path),
                false => Err(error),
            }
        })
    }

    /// One table by `iptables-save`, which makes the kernel have it.
    pub(crate) fn save(&self, table: &str) -> Result<Saved> {
        let program = self.find("-save")?;
        let output = run(&program, &["-t", table], "")?;
        if !output.status.success() {
            return Err(failed(READ, table, &program, &output, ""));
        }
        Ok(Saved::parse(&String::from_utf8_lossy(&output.stdout), table).unwrap_or_default())
    }

    /// Whether the chain has the rule, by `iptables -C`.
    pub(crate) fn has_rule(&self, table: &str, chain: &str, rule: &Rule) -> Result<bool> {
        let program = self.find("")?;
        let mut args = vec!["-w", "5", "-t", table, "-C", words::chain(chain)?];
        args.extend(rule.0.iter().map(String::as_str));
        // The words are arguments here, but what iptables-restore would refuse is nothing that is there.
        words::join(args.iter().copied())?;
        Ok(run(&program, &args, "")?.status.success())
    }

    /// Carries out a script by `iptables-restore --noflush`, all of it or nothing.
    pub(crate) fn restore(&self, table: &str, script: &str) -> Result<Restored> {
        let program = self.find("-restore")?;
        // Not for ever, as without: whoever waits longer does so with nothing of its own held.
        let args = ["--noflush", "-w", "1"];
        let args = if self.variant == Variant::Legacy { &args[..] } else { &args[..1] };
        let output = run(&program, args, script)?;
        if output.status.success() {
            return Ok(Restored::Done);
        }
        if self.variant == Variant::Legacy && output.status.code() == Some(BUSY) {
            return Ok(Restored::Busy);
        }
        Err(failed(CHANGE, table, &program, &output, script))
    }
}

fn variant_is(family: Family, path: &str, wanted: Variant) -> bool {
    variant(family, path).is_ok_and(|variant| variant == wanted)
}

fn find_program(name: &str, path: &str) -> Result<PathBuf> {
    let folders = || path.split(':').filter(|folder| folder.starts_with('/')).chain(USUAL.iter().copied());
    folders().map(|folder| Path::new(folder).join(name)).find(|program| program.is_file()).ok_or_else(|| {
        let path = folders().collect::<Vec<_>>().join(":");
        Error::NotFound { program: name.to_owned(), path }
    })
}

#[allow(
    clippy::disallowed_methods,
    reason = "the backends that users choose for their visible rules are programs"
)]
fn run(program: &Path, args: &[&str], stdin: &str) -> Result<Output> {
    let failed = |source| Error::Spawn { program: program.display().to_string(), source };
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // It says nothing before it has read all of it, so this cannot block both.
    let given = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(stdin.as_bytes()));
    let output = child.wait_with_output().map_err(failed)?;
    match given {
        // Without its last line a change is none, and iptables-restore succeeds. When it ends early, its own words tell more
        // than the broken pipe.
        Err(source) if output.status.success() => Err(failed(source)),
        _ => Ok(output),
    }
}

fn failed(op: &'static str, table: &str, program: &Path, output: &Output, script: &str) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !is_hint(line)).collect();
    let mut stderr = said.join("; ");
    if stderr.is_empty() {
        stderr = output.status.to_string();
    }
    if let Some(line) = complained_of(&stderr).and_then(|number| script.lines().nth(number - 1)) {
        stderr = format!("{stderr} ({line})");
    }
    Error::Failed { op, table: table.to_owned(), program: program.display().to_string(), stderr }
}

fn is_hint(line: &str) -> bool {
    line.is_empty() || line.starts_with("Try `")
}

/// The number in `line 3 failed` or `Error occurred at line: 3`.
fn complained_of(stderr: &str) -> Option<usize> {
    let numbers = stderr.split("line").skip(1).filter_map(|rest| {
        let rest = rest.trim_start_matches([':', ' ']);
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    });
    numbers.filter(|number| *number > 0).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_was_complained_of_is_found() {
        for (stderr, line) in [
            ("iptables-nft-restore: line 3 failed: Chain already exists.", Some(3)),
            ("iptables-restore: line 12 failed", Some(12)),
            ("unknown option \"--x\"; Error occurred at line: 9", Some(9)),
            ("Another app is currently holding the xtables lock.", None),
            ("line 0 failed", None),
        ] {
            assert_eq!(complained_of(stderr), line, "{stderr}");
        }
    }

    #[test]
    fn a_missing_program_is_named_with_the_folders() {
        let error = find_program("iptables-none-save", "/nowhere:relative").unwrap_err().to_string();
        assert!(error.starts_with("cannot find iptables-none-save in /nowhere:/usr/local/sbin"), "{error}");
    }
}
