//! The commands of its own, for people.

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};

use crate::{install, plugins};

/// Every CNI plugin in one executable
///
/// Called by a plugin's name, as a hard or a symbolic link, or with that name as the first argument, it is that plugin.
#[derive(Debug, Parser)]
#[command(name = "cni-plugins", version = cni_plugin::VERSION, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put plugins into a folder, also over ones that are in use
    ///
    /// The first is a copy of this executable, the others are hard links to it. Each takes the place of what had its name in
    /// one step. Nothing else of the folder is touched.
    Install {
        /// The folder, made when it is not there, such as /opt/cni/bin
        #[arg(long)]
        dir: PathBuf,
        /// The plugins; all of them when none is named
        #[arg(value_parser = PossibleValuesParser::new(plugins::names()), hide_possible_values = true)]
        names: Vec<String>,
    },
    /// Print the names of the plugins, one a line
    List,
}

/// Runs the command that the process was started with.
pub(crate) fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Install { dir, names } => {
            let wanted = |name: &&str| names.is_empty() || names.iter().any(|wanted| wanted == name);
            let names: Vec<&str> = plugins::names().filter(wanted).collect();
            let installed = |name: &&str| format!("installed {}", dir.join(name).display());
            install::install(&dir, &names).and_then(|()| print(names.iter().map(installed)))
        }
        Command::List => print(plugins::names()),
    };
    done.map(|()| ExitCode::SUCCESS).unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "cni-plugins: {error}");
        ExitCode::FAILURE
    })
}

fn print(mut lines: impl Iterator<Item = impl Display>) -> Result<(), String> {
    let mut stdout = std::io::stdout().lock();
    lines
        .try_for_each(|line| writeln!(stdout, "{line}"))
        .map_err(|error| format!("cannot write to standard output: {error}"))
}
