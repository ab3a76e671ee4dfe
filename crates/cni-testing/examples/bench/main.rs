//! The benchmark that `cargo xtask bench` runs: these plugins, the reference's, and the floor that the kernel sets, in turn in
//! one run, so that a noisy machine is as noisy for all of them. Only the ratios mean something.
//!
//! It needs the namespaces that xtask makes, and from its environment: `CNI_TESTING_BIN`, `CNI_BENCH_LINKS`
//! and `CNI_REFERENCE_DIR`, the folders of plugins, ours as executables and as links to one, and `CNI_BENCH_EMPTY`, a static
//! executable that does nothing.

#![allow(clippy::print_stdout, reason = "its reader is a person")]
#![allow(
    clippy::disallowed_methods,
    reason = "this is the runtime's side, and xtask's settings come by environment"
)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

mod chain;
mod floor;
mod growth;
mod networks;
mod node;
mod plot;
mod process;
mod report;
mod samples;
mod scenarios;

use chain::Peer;
use growth::Curve;
use report::Report;
use scenarios::{Setting, on_own_thread};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Rounds of a chain unless the command line says otherwise.
const ROUNDS: usize = 50;

fn main() -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `bench FOLDER [ROUNDS] [SCENARIO...]`
fn bench() -> Result<()> {
    let mut args = std::env::args().skip(1).peekable();
    let folder = PathBuf::from(args.next().ok_or("the folder for the results is missing")?);
    let given = args.next_if(|arg| arg.parse::<usize>().is_ok()).map(|arg| arg.parse()).transpose()?;
    let rounds = given.unwrap_or(ROUNDS);
    let few_rounds = given.unwrap_or(node::ROUNDS);
    let (wanted, parts) = wanted(args.collect())?;
    let ours = Peer { name: "ours", dir: setting("CNI_TESTING_BIN")? };
    let linked = Peer { name: "ours, linked", dir: setting("CNI_BENCH_LINKS")? };
    let reference = Peer { name: chain::REFERENCE, dir: setting("CNI_REFERENCE_DIR")? };
    let empty = setting("CNI_BENCH_EMPTY")?;
    let (ours, linked, reference, empty) = (&ours, &linked, &reference, empty.as_path());
    let setting = Setting { ours, linked, reference, empty, rounds, few_rounds, parts };

    let mut report = Report::default();
    let machine = machine(reference)?;
    println!("{machine}\n");
    for (name, scenario) in SCENARIOS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            eprintln!("measuring: {name}");
            let plot = on_own_thread(|| scenario(&setting, &mut report))?;
            if let Some(svg) = plot {
                std::fs::write(folder.join(format!("{name}.svg")), svg)?;
            }
        }
    }
    println!("{}", report.markdown());
    let json = json!({"machine": machine, "rounds": rounds, "report": report.json()});
    Ok(std::fs::write(folder.join("bench.json"), format!("{json:#}\n"))?)
}

/// Scenarios that are wanted, and parts of them: whoever names a part wants its scenario.
fn wanted(names: Vec<String>) -> Result<(Vec<String>, Vec<String>)> {
    let parts = || node::PARTS.iter().copied().flatten().copied();
    let (parts_wanted, mut scenarios): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| parts().any(|part| part == name));
    if let Some(unknown) = scenarios.iter().find(|name| !SCENARIOS.iter().any(|(known, _)| known == name)) {
        let known: Vec<_> = SCENARIOS.iter().map(|(name, _)| *name).chain(parts()).collect();
        return Err(format!("there is no scenario {unknown}, only {}", known.join(", ")).into());
    }
    if !parts_wanted.is_empty() {
        scenarios.push(NODE.to_owned());
    }
    Ok((scenarios, parts_wanted))
}

/// The one scenario with parts.
const NODE: &str = "node";

/// Measures, and draws what is a matter of growth.
type Scenario = fn(&Setting<'_>, &mut Report) -> Result<Option<String>>;

const SCENARIOS: &[(&str, Scenario)] = &[
    ("start", |setting, report| process::start(setting, report).map(|()| None)),
    ("size", |setting, report| process::size(setting, report).map(|()| None)),
    ("memory", |setting, report| process::memory(setting, report).map(|()| None)),
    ("bridge", |setting, report| scenarios::bridge(setting, report).map(|()| None)),
    ("ptp", |setting, report| scenarios::ptp(setting, report).map(|()| None)),
    ("full", |setting, report| scenarios::full(setting, report).map(|()| None)),
    ("concurrency", |setting, report| scenarios::concurrency(setting, report).map(|()| None)),
    ("leases", |setting, report| {
        let curves: Vec<Curve> = growth::leases(setting, report)?;
        Ok(Some(plot::svg("host-local, by leases held", "leases held", &curves, true)))
    }),
    ("held", |setting, report| {
        let curves: Vec<Curve> = growth::held(setting, report)?;
        Ok(Some(plot::svg("bridge, portmap, firewall, by attachments held", "attachments", &curves, false)))
    }),
    ("mappings", |setting, report| growth::mappings(setting, report).map(|()| None)),
    (NODE, |setting, report| node::measure(setting, report).map(|()| None)),
];

fn setting(name: &str) -> Result<PathBuf> {
    std::env::var_os(name)
        .map(PathBuf::from)
        .ok_or_else(|| format!("{name} is not set: run cargo xtask bench").into())
}

/// Kernel, processors, and what is measured against.
fn machine(reference: &Peer) -> Result<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let model = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")
                .and_then(|rest| rest.split(':').nth(1))
                .map(str::trim)
                .map(str::to_owned)
        })
        .unwrap_or_default();
    let processors = std::thread::available_parallelism()?;
    Ok(format!(
        "Linux {}, {processors} processors ({model}); reference: {}",
        read("/proc/sys/kernel/osrelease"),
        release(reference)?
    ))
}

/// What xtask has written beside the plugins, or what they say of themselves, which is nothing where Debian has built them.
fn release(reference: &Peer) -> Result<String> {
    match std::fs::read_to_string(reference.program("version")) {
        Ok(version) => Ok(format!("release {}", version.trim())),
        Err(_) => banner(&reference.program("bridge")),
    }
}

/// `CNI bridge plugin v1.9.1`, which plugins tell on standard error when they are run without a command.
fn banner(program: &Path) -> Result<String> {
    let output = std::process::Command::new(program).env_remove("CNI_COMMAND").output()?;
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
