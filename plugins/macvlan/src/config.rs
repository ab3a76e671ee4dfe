//! The configuration: its form on the wire, and what ADD, CHECK and STATUS make of it.
//!
//! DEL and GC look at nothing here: what an ADD was refused for must not keep a DEL from cleaning up.

use cni_interface::Master;
use cni_netlink::{MacAddr, MacvlanMode};
use cni_plugin::{Call, Error, Result};
use serde::Deserialize;

/// The plugin's keys of the network configuration, read but not yet validated.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wire {
    master: Option<String>,
    mode: String,
    mtu: i64,
    mac: Option<String>,
    link_in_container: bool,
    bcqueuelen: u32,
    runtime_config: WireMac,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireMac {
    mac: Option<String>,
}

/// A configuration that ADD can carry out.
#[derive(Debug)]
pub struct Config {
    pub(crate) master: Master,
    pub(crate) mode: MacvlanMode,
    /// `None` for the master's.
    pub(crate) mtu: Option<u32>,
    /// `None` for one that the kernel picks.
    pub(crate) mac: Option<MacAddr>,
    /// `None` for the kernel's default.
    pub(crate) bc_queue_len: Option<u32>,
}

impl Config {
    /// Validates the keys together with `CNI_ARGS`.
    pub(crate) fn new(wire: &Wire, call: &Call) -> Result<Self> {
        Ok(Config {
            master: Master::new(wire.master.as_deref(), wire.link_in_container),
            mode: mode(&wire.mode)?,
            mtu: cni_interface::mtu(wire.mtu)?.map(Into::into),
            mac: mac(wire, call)?,
            bc_queue_len: Some(wire.bcqueuelen).filter(|length| *length != 0),
        })
    }
}

const MODES: [(&str, MacvlanMode); 4] = [
    ("bridge", MacvlanMode::Bridge),
    ("private", MacvlanMode::Private),
    ("vepa", MacvlanMode::Vepa),
    ("passthru", MacvlanMode::Passthru),
];

fn mode(name: &str) -> Result<MacvlanMode> {
    if name.is_empty() {
        return Ok(MacvlanMode::Bridge);
    }
    let known = MODES.iter().find(|(known, _)| *known == name);
    known.map(|(_, mode)| *mode).ok_or_else(|| {
        Error::config(format!("mode: {name:?} is not one of {}", MODES.map(|(name, _)| name).join(", ")))
    })
}

/// The mode as the configuration says it.
pub(crate) fn mode_name(mode: MacvlanMode) -> &'static str {
    MODES.iter().find(|(_, known)| *known == mode).map_or("unknown", |(name, _)| name)
}

/// `mac`, then `CNI_ARGS`, then `runtimeConfig.mac`: the last that is set wins.
fn mac(wire: &Wire, call: &Call) -> Result<Option<MacAddr>> {
    call.args.expect_only(&["MAC"])?;
    cni_interface::mac(&[
        ("runtimeConfig.mac", wire.runtime_config.mac.as_deref()),
        ("MAC in CNI_ARGS", call.args.get("MAC")),
        ("mac", wire.mac.as_deref()),
    ])
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
