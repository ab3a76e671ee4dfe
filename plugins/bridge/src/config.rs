//! The configuration: its form on the wire, and what ADD, CHECK and STATUS make of it.
//!
//! DEL and GC look at nothing here: what an ADD was refused for must not keep a DEL from cleaning up.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use cni_interface::Masquerade;
use cni_netlink::{BridgePort, MacAddr};
use cni_plugin::{Call, Error, Result};
use cni_types::{Dns, IfName};
use serde::Deserialize;

use crate::vlan::Vlans;

const DEFAULT_BRIDGE: &str = "cni0";
/// The highest VLAN there is (IEEE 802.1Q; 4095 is reserved).
const MAX_VLAN: i64 = 4094;

/// The plugin's keys of the network configuration, read but not yet judged.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wire {
    bridge: Option<String>,
    is_gateway: bool,
    is_default_gateway: bool,
    force_address: bool,
    ip_masq: bool,
    ip_masq_backend: Option<String>,
    mtu: i64,
    hairpin_mode: bool,
    promisc_mode: bool,
    vlan: i64,
    vlan_trunk: Option<Vec<WireTrunk>>,
    preserve_default_vlan: bool,
    #[serde(rename = "macspoofchk")]
    mac_spoof_check: bool,
    #[serde(rename = "enabledad")]
    enable_dad: bool,
    disable_container_interface: bool,
    port_isolation: bool,
    args: WireArgs,
    runtime_config: WireMac,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireTrunk {
    #[serde(rename = "minID")]
    min_id: Option<i64>,
    #[serde(rename = "maxID")]
    max_id: Option<i64>,
    id: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireArgs {
    cni: WireMac,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireMac {
    mac: Option<String>,
}

impl Wire {
    /// Reads the keys. An error names the key that has the wrong type.
    pub(crate) fn read(call: &Call) -> Result<Self> {
        call.read()
    }

    /// `bridge` and `vlan` where both can be, for DEL and GC.
    pub(crate) fn bridge_and_vlan(&self) -> Option<(IfName, u16)> {
        let vlan = u16::try_from(self.vlan).ok().filter(|vlan| *vlan != 0)?;
        Some((IfName::new(self.bridge.as_deref().unwrap_or(DEFAULT_BRIDGE)).ok()?, vlan))
    }
}

/// How much of the container's interface is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Addresses and routes come from an IPAM plugin.
    Three,
    /// There is no `ipam`: the interface is set up and that is all.
    Two,
    /// `disableContainerInterface`: it stays down, for whoever is in the container to take it from there.
    Untouched,
}

/// A configuration that ADD can carry out.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) bridge: IfName,
    pub(crate) layer: Layer,
    /// The bridge carries the gateway's addresses; always true with `default_route`.
    pub(crate) gateway: bool,
    /// The container gets a default route for each family it has an address of.
    pub(crate) default_route: bool,
    pub(crate) force_address: bool,
    /// `None` for the kernel's default.
    pub(crate) mtu: Option<NonZeroU32>,
    pub(crate) promisc: bool,
    pub(crate) port: BridgePort,
    /// `None` when the bridge does not filter VLANs.
    pub(crate) vlans: Option<Vlans>,
    pub(crate) dad: bool,
    pub(crate) mac: Option<MacAddr>,
    /// `None` for packets that keep the container's address.
    pub(crate) masquerade: Option<Masquerade>,
    /// The port takes frames of the container's own address only.
    pub(crate) spoof_check: bool,
    /// Replaces IPAM's whole `dns` when set.
    pub(crate) dns: Option<Dns>,
}

impl Config {
    /// Judges the keys together with `ipam`, `dns` and `CNI_ARGS`.
    pub(crate) fn new(wire: &Wire, call: &Call) -> Result<Self> {
        let layer = match (call.has_ipam(), wire.disable_container_interface) {
            (true, true) => {
                return Err(Error::config("ipam and disableContainerInterface exclude each other"));
            }
            (true, false) => Layer::Three,
            (false, false) => Layer::Two,
            (false, true) => Layer::Untouched,
        };
        if wire.hairpin_mode && wire.promisc_mode {
            return Err(Error::config("hairpinMode and promiscMode exclude each other"));
        }
        let bridge = IfName::new(wire.bridge.as_deref().unwrap_or(DEFAULT_BRIDGE))
            .map_err(|error| Error::config(format!("bridge: {error}")))?;
        let gateway = wire.is_gateway || wire.is_default_gateway;
        let vlans = vlans(wire)?;
        if let Some(vlans) = vlans.as_ref().filter(|_| gateway) {
            vlans.gateway_name(&bridge)?;
        }
        Ok(Config {
            bridge,
            layer,
            gateway,
            default_route: wire.is_default_gateway,
            force_address: wire.force_address,
            mtu: cni_interface::mtu(wire.mtu)?,
            promisc: wire.promisc_mode,
            port: BridgePort { hairpin: wire.hairpin_mode, isolated: wire.port_isolation },
            vlans,
            dad: wire.enable_dad,
            mac: mac(wire, call)?,
            masquerade: Masquerade::new(
                wire.ip_masq && layer == Layer::Three,
                wire.ip_masq_backend.as_deref(),
            )?,
            spoof_check: wire.mac_spoof_check,
            dns: cni_interface::dns(call),
        })
    }
}

/// `CNI_ARGS`, then `args.cni.mac`, then `runtimeConfig.mac`: the last that is set wins.
fn mac(wire: &Wire, call: &Call) -> Result<Option<MacAddr>> {
    call.args.expect_only(&["MAC"])?;
    let sources = [
        ("runtimeConfig.mac", wire.runtime_config.mac.as_deref()),
        ("args.cni.mac", wire.args.cni.mac.as_deref()),
        ("MAC in CNI_ARGS", call.args.get("MAC")),
    ];
    cni_interface::mac(&sources)
}

fn vlans(wire: &Wire) -> Result<Option<Vlans>> {
    // 0 is no VLAN here, though the standard calls it the priority tag.
    let vlan = if wire.vlan == 0 { None } else { Some(vlan_id("vlan", wire.vlan)?) };
    if vlan.is_none() && wire.vlan_trunk.is_none() {
        return Ok(None);
    }
    let mut trunk = BTreeSet::new();
    for (i, item) in wire.vlan_trunk.iter().flatten().enumerate() {
        let key = format!("vlanTrunk[{i}]");
        match (item.min_id, item.max_id) {
            (None, None) => {}
            (Some(min), Some(max)) => {
                let (min, max) =
                    (vlan_id(&format!("{key}.minID"), min)?, vlan_id(&format!("{key}.maxID"), max)?);
                if max < min {
                    return Err(Error::config(format!("{key}: minID {min} is greater than maxID {max}")));
                }
                trunk.extend(min..=max);
            }
            (None, Some(_)) => return Err(Error::config(format!("{key}: maxID without minID"))),
            (Some(_), None) => return Err(Error::config(format!("{key}: minID without maxID"))),
        }
        if let Some(id) = item.id {
            trunk.insert(vlan_id(&format!("{key}.id"), id)?);
        }
    }
    Ok(Some(Vlans { vlan, trunk, preserve_default: wire.preserve_default_vlan }))
}

fn vlan_id(key: &str, id: i64) -> Result<u16> {
    let valid = (1..=MAX_VLAN).contains(&id).then(|| u16::try_from(id).ok()).flatten();
    valid.ok_or_else(|| Error::config(format!("{key}: {id} is not a VLAN ID (1 to {MAX_VLAN})")))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
