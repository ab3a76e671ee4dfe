//! Running `iptables-save` and `iptables-restore`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{CHANGE, READ};
use crate::{Change, Error, Family, Result, Saved, lock};

/// Where the programs are when `PATH` does not tell.
const USUAL: &[&str] = &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Seconds that `iptables-restore` waits for somebody else's change (`-w`).
const WAIT: &str = "5";

/// How often a change is made anew because somebody else changed the same in between.
const TRIES: u32 = 5;

/// Which of the two iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Whichever `iptables` is on this host.
    Default,
    /// `iptables-nft-...`, which keeps its rules in nf_tables.
    Nft,
    /// `iptables-legacy-...`, which keeps them in ip_tables.
    Legacy,
}

/// The programs of one family, found.
#[derive(Clone, Debug)]
pub struct Iptables {
    save: PathBuf,
    restore: PathBuf,
}

impl Iptables {
    /// Finds `iptables-save` and `iptables-restore` (`ip6tables-...`) in the folders of `path` (`PATH`) and the usual ones.
    pub fn find(family: Family, path: &str) -> Result<Self> {
        Iptables::find_variant(family, Variant::Default, path)
    }

    /// The same for one variant, whichever of the two this host uses.
    pub fn find_variant(family: Family, variant: Variant, path: &str) -> Result<Self> {
        let tables = match family {
            Family::Ipv4 => "iptables",
            Family::Ipv6 => "ip6tables",
        };
        let variant = match variant {
            Variant::Default => "",
            Variant::Nft => "-nft",
            Variant::Legacy => "-legacy",
        };
        let find = |what: &str| find_program(&format!("{tables}{variant}-{what}"), path);
        Ok(Iptables { save: find("save")?, restore: find("restore")? })
    }

    /// One table as it is; empty when the kernel does not have it loaded.
    pub fn save(&self, table: &str) -> Result<Saved> {
        let output = run(&self.save, &["-t", table], "")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(failed(READ, table, &self.save, &output, ""));
        }
        match Saved::parse(&text, table) {
            Some(saved) => Ok(saved),
            // iptables-nft tells so of a table in which somebody put what iptables cannot express, and succeeds. Taking
            // the table for empty would double what is in it.
            None if text.contains("incompatible") => Err(Error::Failed {
                op: READ,
                table: table.to_owned(),
                program: self.save.display().to_string(),
                stderr: text.trim().trim_start_matches('#').trim().to_owned(),
            }),
            None => Ok(Saved::default()),
        }
    }

    /// Carries out all changes of a table in one `iptables-restore --noflush -w`, all or nothing. Nothing to do runs nothing.
    ///
    /// Of changes made against a table that was read, some other process may have been faster: [`Iptables::update`] sees
    /// to that.
    pub fn restore(&self, table: &str, change: &Change) -> Result<()> {
        if change.is_empty() {
            return Ok(());
        }
        let script = change.script(table)?;
        let output = run(&self.restore, &["--noflush", "-w", WAIT], &script)?;
        if output.status.success() {
            return Ok(());
        }
        Err(failed(CHANGE, table, &self.restore, &output, &script))
    }

    /// Reads a table and changes it as `plan` says, while all other plugins that do so wait. When somebody who does not
    /// (the reference's plugins, kube-proxy) was faster, so that the change fails, it is planned anew, a bounded number
    /// of times.
    pub fn update(&self, table: &str, mut plan: impl FnMut(&Saved) -> Change) -> Result<()> {
        let _turn = lock::take()?;
        let mut saved = self.save(table)?;
        for _ in 1..TRIES {
            let Err(error) = self.restore(table, &plan(&saved)) else { return Ok(()) };
            let now = self.save(table)?;
            if now == saved {
                return Err(error);
            }
            saved = now;
        }
        self.restore(table, &plan(&saved))
    }
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
