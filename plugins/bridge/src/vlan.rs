//! VLAN filtering: which VLANs a container's port is in, and the gateway's interface in a VLAN.
//!
//! The gateway cannot sit on the bridge itself when containers are in a VLAN, so it gets a veth pair: one end is a port in
//! that VLAN as any container's is, the other, `<bridge>.<vlan>`, carries the addresses. It is shared by all
//! attachments of that VLAN, and goes with the last port of the VLAN if this plugin has made it, which its alias tells.
//! ADDs and DELs of one bridge take turns at it, so that none loses the gateway it has just found.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use cni_host::{LockFile, sysctl_write};
use cni_interface::absent_is_fine;
use cni_netlink::{BridgeVlan, Link, LinkChange, MacAddr, NewVeth, Socket};
use cni_plugin::{Context as _, Error, Result, Undo};
use cni_types::IfName;

use crate::bridge_dev::link_local_at_once;
use crate::config::{Config, Wire};

/// Where turns are taken, one file a bridge.
const LOCKS: &str = "/run/cni-plugins-rs/bridge";

/// How long others may hold it: each for some messages to the kernel, and with `enabledad` for the ten seconds of that.
const PATIENCE: Duration = Duration::from_secs(60);

/// The alias of a gateway's interface that this plugin has made.
const ALIAS: &str = "cni-gateway";

/// The native VLAN of a trunk that says none, as the reference has it.
const DEFAULT_NATIVE: u16 = 1;

/// The VLANs of a container's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vlans {
    /// Untagged frames belong to it.
    pub(crate) vlan: Option<u16>,
    /// Those that pass with their tags.
    pub(crate) trunk: BTreeSet<u16>,
    /// Whether the port stays in the bridge's default VLAN as well.
    pub(crate) preserve_default: bool,
}

impl Vlans {
    /// What a port has to be in, the native VLAN first; nothing for an empty trunk, whose port keeps the bridge's default.
    pub(crate) fn of_port(&self) -> Vec<BridgeVlan> {
        if self.vlan.is_none() && self.trunk.is_empty() {
            return Vec::new();
        }
        let native = self.vlan.unwrap_or(DEFAULT_NATIVE);
        let mut vlans = vec![BridgeVlan { pvid: true, untagged: true, ..BridgeVlan::tagged(native, native) }];
        // Naming the native VLAN among the tagged ones would take its PVID away again (net/bridge/br_vlan.c,
        // __vlan_flags_update).
        for &id in self.trunk.iter().filter(|&&id| id != native) {
            match vlans.last_mut() {
                Some(range) if !range.pvid && range.last + 1 == id => range.last = id,
                _ => vlans.push(BridgeVlan::tagged(id, id)),
            }
        }
        vlans
    }

    /// Those of the gateway's port.
    fn of_gateway(&self, vlan: u16) -> Self {
        Vlans { vlan: Some(vlan), trunk: BTreeSet::new(), preserve_default: self.preserve_default }
    }

    /// The VLAN and `<bridge>.<vlan>`, or `None` when the gateway is on the bridge itself.
    pub(crate) fn gateway_name(&self, bridge: &IfName) -> Result<Option<(u16, String)>> {
        let Some(vlan) = self.vlan else { return Ok(None) };
        let name = format!("{bridge}.{vlan}");
        IfName::new(&*name)
            .map_err(|error| Error::config(format!("bridge: the gateway of VLAN {vlan}: {error}")))?;
        Ok(Some((vlan, name)))
    }

    /// Puts a port that has just been made, and is in the bridge's default VLAN only, into its VLANs.
    pub(crate) fn assign(&self, host: &mut Socket, port: &Link) -> Result<()> {
        let wanted = self.of_port();
        if wanted.is_empty() {
            return Ok(());
        }
        let what = || format!("cannot set the VLANs of {}", port.name);
        if !self.preserve_default {
            let present = host.bridge_vlan_dump(port.index).with_context(what)?;
            let unwanted: Vec<_> = present.into_iter().filter(|vlan| !wanted.contains(vlan)).collect();
            match host.bridge_vlan_del(port.index, &unwanted, false) {
                // Another ADD may be setting up the same gateway's port.
                Err(error) if !error.is_not_found() => return Err(error).with_context(what),
                _ => {}
            }
        }
        host.bridge_vlan_add(port.index, &wanted, false).with_context(what)
    }

    /// Finds a VLAN that a port should be in and is not. A VLAN that is the native one and in the trunk too may be tagged:
    /// the reference makes it so.
    pub(crate) fn check(&self, host: &mut Socket, port: &Link) -> Result<()> {
        let present = host.bridge_vlan_dump(port.index)?;
        for wanted in self.of_port() {
            let either = self.vlan.is_some() && wanted.pvid && self.trunk.contains(&wanted.first);
            let covers = |vlan: &BridgeVlan| {
                vlan.first <= wanted.first
                    && wanted.last <= vlan.last
                    && (either || (vlan.pvid, vlan.untagged) == (wanted.pvid, wanted.untagged))
            };
            if !present.iter().any(covers) {
                let BridgeVlan { first, last, pvid, .. } = wanted;
                let native = if pvid { " as its native VLAN" } else { "" };
                return Err(Error::failed(format!("{} is not in VLAN {first} to {last}{native}", port.name)));
            }
        }
        Ok(())
    }
}

/// Runs `work` while no other process looks for the gateways in VLANs of this bridge, or removes one.
pub(crate) fn in_turn<T>(bridge: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let folder = Path::new(LOCKS);
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let file = LockFile::open(folder.join(format!("{bridge}.lock")))?;
    let _turn = file.lock(PATIENCE)?;
    work()
}

/// Finds or makes the gateway's interface in the containers' VLAN; `None` when the gateway is on the bridge itself. It is
/// set up last, so that one which is down was left half done and is done again. `port` is the container's, which is in its
/// VLAN already. Call [`in_turn`].
pub(crate) fn ensure_gateway_link(
    host: &mut Socket,
    bridge: &Link,
    port: u32,
    config: &Config,
    undo: &mut Undo<'_>,
) -> Result<Option<Link>> {
    let Some(vlans) = &config.vlans else { return Ok(None) };
    let Some((vlan, name)) = vlans.gateway_name(&config.bridge)? else { return Ok(None) };
    let mut made = false;
    match host.link_by_name(&name) {
        Ok(link) if link.up && is_veth_here(&link) => return Ok(Some(link)),
        Ok(_) => {}
        Err(error) if error.is_not_found() => {
            if create_gateway_link(host, bridge, &name)? {
                made = true;
                let bridge = bridge.name.clone();
                undo.push("remove the gateway's interface", move || remove_unused(&bridge, vlan, Some(port)));
            }
        }
        Err(error) => return Err(error.into()),
    }
    let link = host.link_by_name(&name)?;
    let port = gateway_port(host, &link, bridge)?;
    for end in [&port.name, &link.name] {
        // Without IPv6 in the kernel there is nothing to refuse (CVE-2020-10749).
        let _ = sysctl_write(&format!("net/ipv6/conf/{end}/accept_ra"), "0");
    }
    link_local_at_once(&link.name, config);
    vlans.of_gateway(vlan).assign(host, &port)?;
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    host.link_change(port.index, &up)?;
    host.link_change(link.index, &LinkChange { alias: made.then_some(ALIAS), ..up })?;
    Ok(Some(link))
}

/// The other end of the gateway's interface, which has to be a port of the bridge.
fn gateway_port(host: &mut Socket, link: &Link, bridge: &Link) -> Result<Link> {
    let not_ours = |why: &str| {
        Error::failed(format!("{} exists but is not a gateway of {}: {why}", link.name, bridge.name))
    };
    let Some(peer) = link.peer.filter(|_| is_veth_here(link)) else {
        return Err(not_ours("it is not a veth with both ends on the host"));
    };
    let port = host.link_by_index(peer)?;
    if port.master != Some(bridge.index) {
        return Err(not_ours(&format!("its other end, {}, is not a port of it", port.name)));
    }
    Ok(port)
}

fn is_veth_here(link: &Link) -> bool {
    link.kind == "veth" && link.peer.is_some() && link.peer_netnsid.is_none()
}

/// Makes the pair, both ends down; false when somebody else was faster.
fn create_gateway_link(host: &mut Socket, bridge: &Link, name: &str) -> Result<bool> {
    let [_, _, a, b, c, d] = MacAddr::random().0;
    let port = format!("veth{a:02x}{b:02x}{c:02x}{d:02x}");
    let veth = NewVeth { master: Some(bridge.index), mtu: Some(bridge.mtu), ..NewVeth::new(&port, name) };
    match host.link_add_veth(&veth) {
        Ok(()) => Ok(true),
        Err(error) if error.is_exists() => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot make the gateway's interface {name}")),
    }
}

/// Removes the gateway's interface of the configured VLAN, if this plugin has made it, once no port but its own is in the VLAN.
/// For DEL and GC: what cannot be the name of one is passed over.
pub(crate) fn remove_left_over(wire: &Wire) -> Result<()> {
    match wire.bridge_and_vlan() {
        Some((bridge, vlan)) => remove_unused(bridge.as_str(), vlan, None),
        None => Ok(()),
    }
}

/// `except` is a port that is no sign of another container. A failing ADD has no alias to go by, and has made the interface.
fn remove_unused(bridge: &str, vlan: u16, except: Option<u32>) -> Result<()> {
    let mut host = Socket::open()?;
    let name = format!("{bridge}.{vlan}");
    // Most often there is none: nobody need wait then.
    if find(&mut host, &name)?.is_none() {
        return Ok(());
    }
    in_turn(bridge, || {
        let (Some(link), Some(bridge)) = (find(&mut host, &name)?, find(&mut host, bridge)?) else {
            return Ok(());
        };
        let ours = except.is_some() || link.alias.as_deref() == Some(ALIAS);
        if !ours || !is_veth_here(&link) {
            return Ok(());
        }
        let except = [except, link.peer].map(Option::unwrap_or_default);
        if is_used(&mut host, bridge.index, vlan, &except)? {
            return Ok(());
        }
        absent_is_fine(host.link_del(link.index))
    })
}

fn find(host: &mut Socket, name: &str) -> Result<Option<Link>> {
    match host.link_by_name(name) {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a port of the bridge is in the VLAN, natively or with tags: a container's, or one that leads elsewhere.
fn is_used(host: &mut Socket, bridge: u32, vlan: u16, except: &[u32]) -> Result<bool> {
    for port in host.link_dump(None)? {
        if port.master != Some(bridge) || except.contains(&port.index) {
            continue;
        }
        match host.bridge_vlan_dump(port.index) {
            Ok(vlans) if vlans.iter().any(|range| (range.first..=range.last).contains(&vlan)) => {
                return Ok(true);
            }
            Ok(_) => {}
            // Gone since it was listed.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

#[cfg(test)]
#[path = "vlan_tests.rs"]
mod tests;
