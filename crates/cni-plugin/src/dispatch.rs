//! From the process's environment to a plugin's function and back to standard output.

use std::process::ExitCode;

use cni_types::{CniResult, SpecVersion};

use crate::{Call, Request, Result};

/// A plugin: its name and its functions. There are no defaults, so that a missing GC does not compile.
/// `C` is the plugin's own validated configuration.
pub struct Plugin<C> {
    /// The name of its executable, as in the banner.
    pub name: &'static str,
    /// The specification's versions it can speak, oldest first.
    pub versions: &'static [SpecVersion],
    /// Validates the configuration, before any other function is called.
    pub config: fn(&Call) -> Result<C>,
    /// Attaches the container; the result is printed in the version of the configuration.
    pub add: fn(&Request<C>) -> Result<CniResult>,
    /// Compares what is there with prevResult; an error says what differs.
    pub check: fn(&Request<C>) -> Result<()>,
    /// Removes what ADD made, as far as it is still there.
    pub del: fn(&Request<C>) -> Result<()>,
    /// Removes what belongs to this network and to none of the valid attachments ([`Call::conf`]).
    /// Not called at all when the request does not say which are valid.
    pub gc: fn(&Call, &C) -> Result<()>,
    /// Says whether an ADD could succeed now.
    pub status: fn(&Call, &C) -> Result<()>,
}

/// Runs the plugin as this process: reads `CNI_*` and standard input, prints a result or an error, returns the exit code.
pub fn main<C>(plugin: &Plugin<C>) -> ExitCode {
    let _ = plugin;
    todo!()
}
