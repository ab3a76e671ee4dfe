//! The project's own tasks, `cargo xtask <task>`: the one way in, for a developer and for CI.
//!
//! It depends on none of the project's crates, so that `tidy` and `ci` can say what is wrong when those do not compile.

#![allow(clippy::print_stdout, reason = "its reader is a person")]
#![allow(clippy::disallowed_methods, reason = "it runs cargo and is configured by cargo's environment")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod api;
mod bench;
mod binaries;
mod cargo;
mod ci;
mod counts;
mod debian;
mod demo;
mod dist;
mod fuzz;
mod go;
mod guest;
mod kernel;
mod kubernetes;
mod namespaces;
mod needs;
mod package;
mod reference;
mod test;
mod tidy;
mod tools;
mod watch;

/// What a task gives: an error is a sentence for the person who ran it.
type Result<T> = std::result::Result<T, String>;

#[derive(Parser)]
#[command(about = "The project's own tasks", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the optimised, statically linked executables into target/cni/bin
    Build,
    /// Build the executable that is every plugin, and let it install itself: docs/install.md
    Install {
        /// The folder, such as /opt/cni/bin
        #[arg(long)]
        dir: PathBuf,
        /// Plugins to install; all when none is named
        names: Vec<String>,
    },
    /// Build, and pack what a release is: archives, a Debian package, checksums
    Dist,
    /// Connect two private containers over a private bridge and show every step
    Demo,
    /// Measure these plugins against the reference's and the kernel's floor
    Bench {
        /// How often each chain is run; 50 unless given, and 3 in the scenario node
        #[arg(long)]
        rounds: Option<usize>,
        /// What to measure, such as bridge, full, node (beside kube-proxy's rules) or parts of it: node-0, node-2000,
        /// node-10000, node-nftables, node-default, node-plain, node-ports; everything when nothing is named but kubelet, which
        /// is a real cluster (builds Kubernetes by Go, once)
        scenarios: Vec<String>,
    },
    /// Run what reads others' bytes on bytes that libFuzzer makes up
    Fuzz {
        /// How long each target runs
        #[arg(long, default_value_t = fuzz::SECONDS)]
        seconds: u32,
        /// Targets; all when none is named
        targets: Vec<String>,
    },
    /// Run all tests, in namespaces of their own
    Test {
        /// Only those whose names have this in them, and that need no other kernel: `portmap::life`
        filter: Option<String>,
    },
    /// Say which features that tests need the running kernel has
    Kernel,
    /// Format, lints, rules, what the libraries offer, documentation, dependencies, packages, fuzz targets, demo and tests
    Ci,
    /// Check who may do what (docs/architecture.md)
    Tidy,
    /// Compare what the libraries offer with docs/api
    Api {
        /// Write docs/api instead
        #[arg(long)]
        write: bool,
    },
    /// Pack the crates as for a registry, and compile what is in the packages
    Package,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Build => {
            binaries::build().and_then(|dir| binaries::check_sizes(&dir)).map(|()| ExitCode::SUCCESS)
        }
        Task::Install { dir, names } => binaries::install(&dir, &names).map(|()| ExitCode::SUCCESS),
        Task::Dist => dist::run().map(|()| ExitCode::SUCCESS),
        Task::Demo => demo::run().map(|()| ExitCode::SUCCESS),
        Task::Bench { rounds, scenarios } => bench::run(rounds, &scenarios).map(|()| ExitCode::SUCCESS),
        Task::Fuzz { seconds, targets } => fuzz::run(seconds, &targets).map(|()| ExitCode::SUCCESS),
        Task::Test { filter } => test::run(filter.as_deref()),
        Task::Kernel => kernel::run().map(|()| ExitCode::SUCCESS),
        Task::Ci => ci::run(),
        Task::Tidy => tidy::run().map(|()| ExitCode::SUCCESS),
        Task::Api { write } => api::run(write).map(|()| ExitCode::SUCCESS),
        Task::Package => package::run().map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("xtask: {error}");
        ExitCode::FAILURE
    })
}
