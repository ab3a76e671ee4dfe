//! `bench`: builds what is shipped, fetches what it is measured against, and runs the benchmark, which is an example of
//! cni-testing, since the private hosts and the containers come from there.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cargo::{self, Metadata, cargo};
use crate::{Result, binaries, kubernetes, namespaces, reference, tools};

const EXAMPLE: [&str; 6] = ["--release", "--quiet", "--package", "cni-testing", "--example", "bench"];

/// Builds, then measures in namespaces that this process enters for good. The results lie in `target/bench`. The one scenario with
/// Kubernetes is not the example's, and only measured when it is named: not everybody has Go, and a quarter of an hour to build.
pub(crate) fn run(rounds: Option<usize>, scenarios: &[String]) -> Result<()> {
    let (kubelet, scenarios): (Vec<&String>, Vec<&String>) =
        scenarios.iter().partition(|name| *name == kubernetes::SCENARIO);
    let kubelet = if kubelet.is_empty() { None } else { Some(kubernetes::prepare()?) };
    println!("building the plugins");
    let (bin, links) = (binaries::build()?, binaries::installed()?);
    let reference = reference::newest()?;
    let folder = Metadata::load()?.target_directory.join("bench");
    fs::create_dir_all(&folder).map_err(|error| tools::cannot("create", &folder, error))?;
    let empty = empty(&folder)?;
    cargo::run(cargo().arg("build").args(EXAMPLE))?;
    namespaces::enter()?;
    if kubelet.is_none() || !scenarios.is_empty() {
        let mut bench = cargo();
        bench.args(["run", "--offline"]).args(EXAMPLE).arg("--").arg(&folder);
        bench.args(rounds.map(|rounds| rounds.to_string())).args(scenarios);
        bench.env("CNI_TESTING_BIN", &bin).env("CNI_BENCH_LINKS", links);
        bench.env(reference::VARIABLE, &reference).env("CNI_BENCH_EMPTY", empty);
        cargo::run(&mut bench)?;
    }
    if let Some(tools) = kubelet {
        kubernetes::run(&tools, rounds, &bin, &reference, &folder)?;
    }
    println!("the figures are in {} too", folder.display());
    Ok(())
}

/// A static executable that does nothing, for the least that a process costs.
fn empty(folder: &Path) -> Result<std::path::PathBuf> {
    let (source, program) = (folder.join("empty.rs"), folder.join("empty"));
    fs::write(&source, "fn main() {}\n").map_err(|error| tools::cannot("write", &source, error))?;
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let flags = ["-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"];
    cargo::run(Command::new(rustc).args(flags).arg(&program).arg(&source))?;
    Ok(program)
}
