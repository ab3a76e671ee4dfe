//! `cnitool`: networks from the command line. It takes the arguments and the environment of the reference's cnitool
//! 1.3.1, and more: docs/cnitool.md.
//!
//! Each command makes an [`Outcome`], which is printed here, for people or as JSON.

mod attachment;
mod chain;
mod cli;
mod environment;
mod gc;
mod list;
mod outcome;
mod reapply;
mod validate;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::chain::Tool;
use crate::cli::{Cli, Command};
use crate::environment::Environment;
use crate::outcome::Outcome;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    run(cli, Environment::of_process()).print(json)
}

fn run(cli: Cli, environment: Environment) -> Outcome {
    if let Command::Completions { shell } = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "cnitool", &mut script);
        return Outcome::text(String::from_utf8_lossy(&script));
    }
    let tool = Tool::new(&cli, environment);
    let outcome = match &cli.command {
        Command::Add(target) => tool.add(target),
        Command::Del(target) => tool.del(target),
        Command::Check(target) => tool.check(target),
        Command::Gc(gc) => tool.gc(gc),
        Command::Status { network, .. } => tool.status(network),
        Command::Version { network } => tool.version(network.as_deref()),
        Command::Reapply { network } => tool.reapply(network.as_deref()),
        Command::List { network } => tool.list(network.as_deref()),
        Command::Validate { what } => tool.validate(what),
        Command::Completions { .. } => unreachable!("answered above"),
    };
    outcome.unwrap_or_else(Outcome::from)
}
