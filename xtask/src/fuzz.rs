//! `fuzz`: the targets of crates/cni-fuzz/src/lib.rs under libFuzzer.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use crate::cargo::{self, Metadata};
use crate::tools::Tool;
use crate::{Result, debian, tools};

const FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.1" };

/// How long each target runs by hand, and in CI, in seconds.
pub(crate) const SECONDS: u32 = 60;
pub(crate) const SECONDS_OF_CI: u32 = 8;

/// Configurations and dumps are longer, but what is read of them is not deeper.
const MAX_LEN: u32 = 8192;
/// An input that takes longer than this many seconds, or more memory than this many megabytes, is a failure.
const TIMEOUT: u32 = 10;
const MEMORY: u32 = 1024;

/// Builds and runs targets, all of them when none is named, as many at a time as there are processors. Each starts from its
/// corpus in testdata and from what earlier runs found. All run, also after one has failed.
pub(crate) fn run(seconds: u32, names: &[String]) -> Result<()> {
    let meta = Metadata::load()?;
    let package = meta
        .packages
        .iter()
        .find(|package| package.name == "cni-fuzz")
        .ok_or("there is no package cni-fuzz")?;
    let known: Vec<&str> = package.executables().collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("there is no fuzz target {unknown}, only {}", known.join(", ")));
    }
    let chosen = known.iter().filter(|known| names.is_empty() || names.iter().any(|name| name == **known));
    let built = build(&meta)?;

    let left = Mutex::new(chosen.copied().collect::<Vec<&str>>());
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some(name) = left.lock().ok().and_then(|mut left| left.pop()) {
            match fuzz(&meta, &built.join(name), name, seconds) {
                Ok(line) => println!("{name}: {line}"),
                Err(error) => {
                    eprintln!("xtask: {error}");
                    failed.lock().map(|mut failed| failed.push(name)).unwrap_or_default();
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    if failed.is_empty() { Ok(()) } else { Err(format!("{} failed", failed.join(", "))) }
}

/// Builds all targets; returns the folder of the executables.
fn build(meta: &Metadata) -> Result<PathBuf> {
    let compiles = Command::new("c++").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !compiles.is_ok_and(|status| status.success()) {
        debian::install(&["g++"])
            .map_err(|error| format!("libFuzzer needs a compiler of C++, and there is no c++: {error}"))?;
    }
    let target = meta.target_directory.join("fuzz/build");
    let mut fuzz = Command::new(FUZZ.path(meta)?);
    fuzz.current_dir(cargo::root()).args([
        "fuzz",
        "build",
        "--fuzz-dir",
        "crates/cni-fuzz",
        "--features",
        "libfuzzer",
    ]);
    // The stable compiler has no sanitizers; what they would find safe code does not do.
    fuzz.args(["--sanitizer", "none", "--codegen-units", "16", "--target-dir"]).arg(&target);
    // Little optimised it is built in three fifths of the time, and does three quarters of the runs.
    fuzz.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only");
    cargo::run(&mut fuzz)?;
    Ok(target.join(cargo::host_triple()?).join("release"))
}

/// Runs one target; what it did, in a line.
fn fuzz(meta: &Metadata, program: &Path, name: &str, seconds: u32) -> Result<String> {
    let own = meta.target_directory.join("fuzz");
    let (found, artifacts) = (own.join("corpus").join(name), own.join("artifacts").join(name));
    for folder in [&found, &artifacts] {
        fs::create_dir_all(folder).map_err(|error| tools::cannot("create", folder, error))?;
    }
    let seeds = meta.workspace_root.join("testdata/fuzz").join(name);
    let path = own.join(format!("{name}.log"));
    let log = File::create(&path).map_err(|error| tools::cannot("create", &path, error))?;
    let mut run = Command::new(program);
    run.arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_LEN}"))
        .arg(format!("-timeout={TIMEOUT}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        // It writes what it finds into the first folder.
        .args([&found, &seeds]);
    let status = run.stdout(Stdio::null()).stderr(log).status();
    let status = status.map_err(|error| tools::cannot("run", program, error))?;
    let log = fs::read(&path).map_err(|error| tools::cannot("read", &path, error))?;
    summary(name, status.success(), &String::from_utf8_lossy(&log)).map_err(|why| {
        format!(
            "{why}\n{}\n  all of it: {}\n  then put the input into {} and make it pass",
            cargo::show(&run),
            path.display(),
            seeds.display()
        )
    })
}

/// libFuzzer's last word: how often it ran, or what went wrong, with the panic and the file that holds the input.
fn summary(name: &str, success: bool, log: &str) -> Result<String> {
    let done = log.lines().find(|line| line.starts_with("Done "));
    if let (true, Some(done)) = (success, done) {
        return Ok(done.trim_start_matches("Done ").to_owned());
    }
    let telling = ["panicked at", "==ERROR", "SUMMARY", "ALARM", "Test unit written"];
    let mut lines = log.lines().peekable();
    let mut why = format!("{name} failed");
    while let Some(line) = lines.next() {
        if telling.iter().any(|part| line.contains(part)) {
            why.push_str(&format!("\n  {line}"));
            if let (true, Some(message)) = (line.contains("panicked at"), lines.peek()) {
                why.push_str(&format!("\n  {message}"));
            }
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_summed_up_in_a_line() {
        let log = "#2\tINITED cov: 5\n#77\tDONE   cov: 5\nDone 77 runs in 8 second(s)\n";
        assert_eq!(summary("leases", true, log), Ok("77 runs in 8 second(s)".to_owned()));
    }

    #[test]
    fn a_failure_shows_the_panic_and_where_the_input_is() {
        let log = "INFO: Seed: 1\nthread '<unnamed>' (7) panicked at ipam/x.rs:1:2:\nattempt to add with overflow\n\
                   ==7== ERROR: libFuzzer: deadly signal\nartifact_prefix='a/'; Test unit written to a/crash-0\n";
        let why = summary("leases", false, log).unwrap_err();
        for part in ["leases failed", "x.rs:1:2", "attempt to add", "a/crash-0"] {
            assert!(why.contains(part), "{why}");
        }
        // A program that ends well without having said so has not done its work.
        assert!(summary("leases", true, "").is_err());
    }
}
