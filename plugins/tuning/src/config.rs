//! The configuration: its form on the wire, and what ADD, CHECK and STATUS make of it.
//!
//! DEL and GC need `dataDir` alone: what an ADD was refused for must not keep a DEL from restoring.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cni_plugin::{Call, Error, Result};
use serde::Deserialize;

use crate::attributes::Attributes;
use crate::duplicates;
use crate::sysctl::{self, Sysctl};

const DEFAULT_DATA_DIR: &str = "/run/cni/tuning";

/// The plugin's keys of the network configuration, read but not yet validated.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wire {
    data_dir: Option<PathBuf>,
    sysctl: BTreeMap<String, Option<String>>,
    mac: Option<String>,
    promisc: Option<bool>,
    mtu: Option<i64>,
    #[serde(rename = "txQLen")]
    tx_qlen: Option<i64>,
    allmulti: Option<bool>,
    runtime_config: WireRuntime,
    args: WireArgs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireRuntime {
    mac: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireArgs {
    cni: WireCni,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireCni {
    sysctl: BTreeMap<String, Option<String>>,
    mac: Option<String>,
    promisc: Option<bool>,
    mtu: Option<i64>,
    #[serde(rename = "txQLen")]
    tx_qlen: Option<i64>,
    allmulti: Option<bool>,
}

impl Wire {
    /// Where the attributes' values from before an ADD are kept.
    pub(crate) fn data_dir(&self) -> PathBuf {
        let given = self.data_dir.clone().filter(|path| !path.as_os_str().is_empty());
        given.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR))
    }
}

/// Keys and values; `null` is none.
type Sysctls = BTreeMap<String, Option<String>>;

/// A configuration that ADD can carry out.
#[derive(Debug)]
pub struct Config {
    pub(crate) attributes: Attributes,
    pub(crate) data_dir: PathBuf,
    /// `sysctl`, and `args.cni.sysctl`, which goes before it.
    sysctls: [Sysctls; 2],
}

impl Config {
    /// Validates the keys together with `CNI_ARGS`.
    pub(crate) fn new(wire: &Wire, call: &Call) -> Result<Self> {
        duplicates::refuse(&call.stdin)?;
        let args = &wire.args.cni;
        let config = Config {
            attributes: Attributes {
                mac: mac(wire, call)?,
                promisc: args.promisc.or(wire.promisc),
                mtu: cni_interface::mtu(args.mtu.or(wire.mtu).unwrap_or(0))?.map(Into::into),
                allmulti: args.allmulti.or(wire.allmulti),
                txqlen: args.tx_qlen.or(wire.tx_qlen).map(txqlen).transpose()?,
            },
            data_dir: wire.data_dir(),
            sysctls: [wire.sysctl.clone(), args.sysctl.clone()],
        };
        config.sysctls(sysctl::IFNAME)?;
        Ok(config)
    }

    /// The settings for an interface of this name, in the order in which they are to be set, each of them once.
    pub(crate) fn sysctls(&self, ifname: &str) -> Result<Vec<Sysctl>> {
        let [own, args] = &self.sysctls;
        sysctl::merge(&[own, args], ifname)
    }

    /// Whether nothing is asked for, as in the lists that podman and nerdctl write.
    pub(crate) fn is_empty(&self) -> bool {
        self.attributes.is_empty() && self.sysctls.iter().all(|source| source.values().all(Option::is_none))
    }
}

/// `mac`, then `CNI_ARGS`, then `runtimeConfig.mac`, then `args.cni.mac`: the last that is set wins.
fn mac(wire: &Wire, call: &Call) -> Result<Option<cni_netlink::MacAddr>> {
    call.args.expect_only(&["MAC"])?;
    let sources = [
        ("args.cni.mac", wire.args.cni.mac.as_deref()),
        ("runtimeConfig.mac", wire.runtime_config.mac.as_deref()),
        ("MAC in CNI_ARGS", call.args.get("MAC")),
        ("mac", wire.mac.as_deref()),
    ];
    cni_interface::mac(&sources)
}

fn txqlen(length: i64) -> Result<u32> {
    u32::try_from(length).map_err(|_| Error::config(format!("txQLen: {length} is not the length of a queue")))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
