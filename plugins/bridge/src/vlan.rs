//! VLAN filtering: which VLANs a container's port is in, and the gateway's interface in a VLAN.
//!
//! The gateway cannot sit on the bridge itself when containers are in a VLAN, so it gets a veth pair: one end is a port in
//! that VLAN as any container's is, the other, `<bridge>.<vlan>`, carries the addresses. It is shared by all
//! attachments of that VLAN and, like the bridge, stays.

use std::collections::BTreeSet;

use cni_host::sysctl_write;
use cni_interface::absent_is_fine;
use cni_netlink::{BridgeVlan, Link, LinkChange, MacAddr, NewVeth, Socket};
use cni_plugin::{Context as _, Error, Result, Undo};
use cni_types::IfName;

use crate::bridge_dev::has_other_ports;
use crate::config::Config;

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
        let mut vlans = vec![BridgeVlan { first: native, last: native, pvid: true, untagged: true }];
        // Naming the native VLAN among the tagged ones would take its PVID away again (net/bridge/br_vlan.c,
        // __vlan_flags_update).
        for &id in self.trunk.iter().filter(|&&id| id != native) {
            match vlans.last_mut() {
                Some(range) if !range.pvid && range.last + 1 == id => range.last = id,
                _ => vlans.push(BridgeVlan { first: id, last: id, pvid: false, untagged: false }),
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

/// Finds or makes the gateway's interface in the containers' VLAN; `None` when the gateway is on the bridge itself. It is
/// set up last, so that one which is down was left half done and is done again. `port` is the container's.
pub(crate) fn ensure_gateway_link(
    host: &mut Socket,
    bridge: &Link,
    port: u32,
    config: &Config,
    undo: &mut Undo<'_>,
) -> Result<Option<Link>> {
    let Some(vlans) = &config.vlans else { return Ok(None) };
    let Some((vlan, name)) = vlans.gateway_name(&config.bridge)? else { return Ok(None) };
    match host.link_by_name(&name) {
        Ok(link) if link.up && is_veth_here(&link) => return Ok(Some(link)),
        Ok(_) => {}
        Err(error) if error.is_not_found() => {
            if create_gateway_link(host, bridge, &name)? {
                let (bridge, name) = (bridge.index, name.clone());
                undo.push("remove the gateway's interface", move || remove_unused(bridge, port, &name));
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
    vlans.of_gateway(vlan).assign(host, &port)?;
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    host.link_change(port.index, &up)?;
    host.link_change(link.index, &up)?;
    Ok(Some(link))
}

/// The other end of the gateway's interface, which has to be a port of the bridge.
fn gateway_port(host: &mut Socket, link: &Link, bridge: &Link) -> Result<Link> {
    let not_ours = |why: &str| {
        Error::failed(format!("{} exists but is no gateway of {}: {why}", link.name, bridge.name))
    };
    let Some(peer) = link.peer.filter(|_| is_veth_here(link)) else {
        return Err(not_ours("it is no veth with both ends on the host"));
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
    let veth = NewVeth {
        name: &port,
        mac: MacAddr::random(),
        master: Some(bridge.index),
        peer_name: name,
        peer_mac: MacAddr::random(),
        peer_netns: None,
        mtu: Some(bridge.mtu),
    };
    match host.link_add_veth(&veth) {
        Ok(()) => Ok(true),
        Err(error) if error.is_exists() => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot make the gateway's interface {name}")),
    }
}

/// Takes back a gateway's interface that this ADD made, unless another container has come to the bridge and relies on it.
fn remove_unused(bridge: u32, port: u32, name: &str) -> Result<()> {
    let mut host = Socket::open()?;
    let link = match host.link_by_name(name) {
        Ok(link) => link,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let ours = [Some(port), link.peer].map(Option::unwrap_or_default);
    if has_other_ports(&mut host, bridge, &ours)? {
        return Ok(());
    }
    absent_is_fine(host.link_del(link.index))
}

#[cfg(test)]
#[path = "vlan_tests.rs"]
mod tests;
