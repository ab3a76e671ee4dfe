//! The portmap plugin.

use cni_plugin::{Call, Plugin, Request, Result};
use cni_types::{CniResult, SpecVersion};

/// The plugin's table of functions.
pub const PLUGIN: Plugin<Config> =
    Plugin { name: "portmap", versions: SpecVersion::ALL, config, add, check, del, gc, status };

/// The plugin's validated configuration.
pub struct Config {}

fn config(_call: &Call) -> Result<Config> {
    todo!()
}
fn add(_req: &Request<Config>) -> Result<CniResult> {
    todo!()
}
fn check(_req: &Request<Config>) -> Result<()> {
    todo!()
}
fn del(_req: &Request<Config>) -> Result<()> {
    todo!()
}
fn gc(_call: &Call, _config: &Config) -> Result<()> {
    todo!()
}
fn status(_call: &Call, _config: &Config) -> Result<()> {
    todo!()
}
