//! `ci`: all that must hold before a change is taken.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::cargo::{self, Metadata, cargo};
use crate::counts::Counts;
use crate::tools::Tool;
use crate::{Result, test};

const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };
const MACHETE: Tool = Tool { name: "cargo-machete", version: "0.9.2" };

/// Runs every check, also after one has failed, and the tests last, since they never leave their namespaces.
pub(crate) fn run() -> Result<ExitCode> {
    let mut counts = Counts::default();
    for (name, check) in CHECKS {
        println!("== {name}");
        let start = Instant::now();
        let done = check();
        if let Err(error) = &done {
            eprintln!("xtask: {name}: {error}");
        }
        counts.check(done.is_ok());
        println!("   {name} took {} s", start.elapsed().as_secs());
    }
    println!("== test");
    match test::counted(None) {
        Ok(tests) => counts.add(tests),
        Err(error) => {
            eprintln!("xtask: test: {error}");
            counts.check(false);
        }
    }
    Ok(counts.conclude())
}

fn at_root(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(cargo::root());
    command
}

type Check = fn() -> Result<()>;

const CHECKS: &[(&str, Check)] = &[
    ("format", || cargo::run(cargo().args(["fmt", "--all", "--check"]))),
    ("tidy", crate::tidy::run),
    ("what the libraries offer", || crate::api::run(false)),
    ("clippy", || {
        cargo::run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    }),
    ("documentation", || {
        let mut doc = cargo();
        doc.args(["doc", "--workspace", "--no-deps"]);
        cargo::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
    }),
    ("licences, bans and sources of dependencies", || {
        let deny = DENY.path(&Metadata::load()?)?;
        // Advisories need a database from elsewhere, and change without the project changing.
        cargo::run(at_root(&deny).args(["--workspace", "check", "licenses", "bans", "sources"]))
    }),
    ("unused dependencies", || {
        let machete = MACHETE.path(&Metadata::load()?)?;
        cargo::run(&mut at_root(&machete))
    }),
    ("packages", crate::package::run),
    ("fuzz", || crate::fuzz::run(crate::fuzz::SECONDS_OF_CI, &[])),
    // A process of its own, for it enters namespaces.
    ("demo", || {
        let this =
            std::env::current_exe().map_err(|error| format!("cannot find the own executable: {error}"))?;
        cargo::run(Command::new(this).arg("demo"))
    }),
];
