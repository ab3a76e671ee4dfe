//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

const ENVIRONMENT: &str = "\
Environment:
  NETCONFPATH  folder of the network configurations [default: /etc/cni/net.d]
  CNI_PATH     folders of the plugins, with colons between
  CNI_IFNAME   interface name, when --ifname is not given
  CNI_ARGS     arguments for the plugins, KEY=VALUE;KEY2=VALUE2
  CAP_ARGS     capability arguments as a JSON object, {\"portMappings\": [...]}

Exit status: 0 done, 1 failed, 2 wrong arguments or environment.";

/// Attach network namespaces to networks by CNI plugins, and look after what is attached
#[derive(Debug, Parser)]
#[command(name = "cnitool", version, after_help = ENVIRONMENT)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Name of the interface in the container [default: $CNI_IFNAME, then eth0]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) ifname: Option<String>,
    /// Print JSON, for programs; errors too, on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Where the results of ADD are kept
    #[arg(long, global = true, value_name = "DIR", default_value = libcni::DEFAULT_CACHE_DIR)]
    pub(crate) cache_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Attach a namespace to a network, and print the result
    Add(Target),
    /// Check that an attachment is still as it was made
    Check(Target),
    /// Detach a namespace from a network
    Del(Target),
    /// Delete attachments that are no longer in use
    ///
    /// Without --valid and --stale this is the reference's gc: EVERY cached attachment of the network is deleted,
    /// whoever made it, and plugins are not told what is valid, so that they keep all else.
    Gc(Gc),
    /// Ask a network's plugins whether they can take an attachment (from CNI 1.1.0)
    Status {
        /// Name of the network
        network: String,
        /// Taken as the reference takes it, and not used
        netns: Option<PathBuf>,
    },
    /// Print versions: the tool's own, or those that a network's plugins speak
    Version {
        /// Name of the network
        network: Option<String>,
    },
    /// List the attachments in the cache, with their addresses
    List {
        /// Only those of this network
        network: Option<String>,
    },
    /// Put back the packet filter's rules of the attachments in the cache, after somebody flushed them
    ///
    /// Runs the ADD of portmap and firewall again, and makes the masquerading and the MAC spoof check of bridge and ptp
    /// again. Links, addresses and leases stay as they are. Attachments whose namespace is gone are left out.
    Reapply {
        /// Only those of this network
        network: Option<String>,
    },
    /// Check a network's configuration key by key, and that its plugins are there
    Validate {
        /// A network's name, or a file: a path with a slash, or one that ends in .conflist, .conf or .json
        #[arg(value_name = "NETWORK|FILE")]
        what: String,
    },
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Name of the network
    pub(crate) network: String,
    /// Path of the network namespace
    pub(crate) netns: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Name of the network
    pub(crate) network: String,
    /// Taken as the reference takes it, and not used
    pub(crate) netns: Option<PathBuf>,
    /// An attachment that is in use; all others of the network are deleted. Can be repeated; `none` says that nothing is
    #[arg(long, value_name = "CONTAINERID/IFNAME|none")]
    pub(crate) valid: Vec<String>,
    /// Delete only the cached attachments whose namespace is gone
    #[arg(long, conflicts_with = "valid")]
    pub(crate) stale: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_references_arguments_are_taken() {
        for command in ["add", "del", "check", "gc", "status"] {
            Cli::try_parse_from(["cnitool", command, "blue", "/run/netns/x", "-i", "net1"]).unwrap();
            Cli::try_parse_from(["cnitool", "--ifname=net1", command, "blue", "/run/netns/x"]).unwrap();
        }
    }
}
