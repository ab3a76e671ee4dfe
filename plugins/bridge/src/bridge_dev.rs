//! The bridge itself: found or made, and taken back when the ADD that made it fails.
//!
//! The bridge is shared by all attachments of its networks, so what was there before an ADD is never removed, not even
//! when its last port goes. Only an ADD that made the bridge and then fails removes it again, and only while it has no
//! port. Another ADD may have found the bridge in between: it sees it vanish before its own port is made, and makes a new one.

use cni_host::sysctl_write;
use cni_interface::absent_is_fine;
use cni_netlink::{Link, LinkChange, MacAddr, NewBridge, Socket};
use cni_plugin::{Context as _, Error, Result};
use cni_types::ErrorCode;

use crate::config::Config;
use crate::mac;

/// errno(3)
const EOPNOTSUPP: i32 = 95;

/// The bridge, and whether it was made here.
pub(crate) struct Bridge {
    pub(crate) link: Link,
    pub(crate) created: bool,
}

/// Finds or makes the bridge, and sets it up as configured.
pub(crate) fn ensure(host: &mut Socket, config: &Config) -> Result<Bridge> {
    let name = config.bridge.as_str();
    let (link, created) = match host.link_by_name(name) {
        Ok(link) => (link, false),
        Err(error) if error.is_not_found() => {
            let created = create(host, config)?;
            (host.link_by_name(name)?, created)
        }
        Err(error) => return Err(error.into()),
    };
    let pinned = |host: &mut Socket, link: Link| {
        // One that was made here has its address from the start.
        if config.gateway && !created { mac::pin(host, &link) } else { Ok(link) }
    };
    match set_up(host, &link, config).and_then(|link| pinned(host, link)) {
        Ok(link) => Ok(Bridge { link, created }),
        Err(error) => {
            if created && let Err(undo) = remove_unused(link.index) {
                return Err(error.details(format!("cannot remove {name} again: {undo}")));
            }
            Err(error)
        }
    }
}

/// Makes the bridge; false when another ADD was faster.
fn create(host: &mut Socket, config: &Config) -> Result<bool> {
    let bridge = NewBridge {
        // A bridge without an address of its own takes that of its lowest port and changes it as ports come and go
        // (plugins#620).
        mac: Some(MacAddr::random()),
        mtu: config.mtu.map(Into::into),
        // VLAN filtering is set with the rest, so that a kernel without it is told apart in one place.
        ..NewBridge::new(config.bridge.as_str())
    };
    match host.link_add_bridge(&bridge) {
        Ok(()) => Ok(true),
        Err(error) if error.is_exists() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Brings a bridge to what the configuration asks for, and returns it as it is then.
fn set_up(host: &mut Socket, link: &Link, config: &Config) -> Result<Link> {
    expect_bridge(link)?;
    // The container network's routes are ours to make. Without IPv6 in the kernel there is nothing to refuse.
    let _ = sysctl_write(&format!("net/ipv6/conf/{}/accept_ra", link.name), "0");
    if !link.up {
        link_local_at_once(&link.name, config);
    }
    let filter = config.vlans.is_some() && link.vlan_filtering != Some(true);
    let change = LinkChange {
        up: (!link.up).then_some(true),
        promisc: (config.promisc && link.promiscuity == 0).then_some(true),
        vlan_filtering: filter.then_some(true),
        ..LinkChange::default()
    };
    if change.up.is_none() && change.promisc.is_none() && change.vlan_filtering.is_none() {
        return Ok(link.clone());
    }
    match host.link_change(link.index, &change) {
        Err(error) if filter && error.errno() == Some(EOPNOTSUPP) => {
            return Err(no_vlan_filtering(&link.name));
        }
        changed => changed.with_context(|| format!("cannot set up bridge {}", link.name))?,
    }
    let link = host.link_by_index(link.index)?;
    if filter && link.vlan_filtering != Some(true) {
        return Err(no_vlan_filtering(&link.name));
    }
    Ok(link)
}

/// Keeps the link-local address of a gateway, which the kernel adds when the interface goes up, from being tentative. It is
/// what the kernel solicits neighbours from for packets that it forwards (net/ipv6/ndisc.c, ndisc_send_ns), so for two
/// seconds the first containers could not be reached through the host. Nobody else can own it.
pub(crate) fn link_local_at_once(name: &str, config: &Config) {
    if config.gateway && !config.dad {
        // Without IPv6 in the kernel there is no such setting.
        let _ = sysctl_write(&format!("net/ipv6/conf/{name}/accept_dad"), "0");
    }
}

/// A kernel built without it says so (net/bridge/br_private.h, br_vlan_filter_toggle); older ones take the setting and do
/// nothing.
fn no_vlan_filtering(bridge: &str) -> Error {
    let why = "this kernel cannot filter VLANs (CONFIG_BRIDGE_VLAN_FILTERING is not set)";
    Error::new(
        ErrorCode::UNSUPPORTED_FIELD,
        format!("cannot use vlan or vlanTrunk on bridge {bridge}: {why}"),
    )
}

/// The name may have been taken by something else.
pub(crate) fn expect_bridge(link: &Link) -> Result<()> {
    if link.kind == "bridge" {
        return Ok(());
    }
    let kind = if link.kind.is_empty() { "a device without a kind" } else { &link.kind };
    Err(Error::failed(format!("{} exists but is not a bridge: it is {kind}", link.name)))
}

/// Whether the bridge has ports other than `ours`.
pub(crate) fn has_other_ports(host: &mut Socket, bridge: u32, ours: &[u32]) -> Result<bool> {
    let links = host.link_dump(None)?;
    Ok(links.iter().any(|link| link.master == Some(bridge) && !ours.contains(&link.index)))
}

/// Removes a bridge that this ADD made, unless it has a port by now. For [`cni_plugin::Undo`].
pub(crate) fn remove_unused(index: u32) -> Result<()> {
    let mut host = Socket::open()?;
    if has_other_ports(&mut host, index, &[])? {
        return Ok(());
    }
    absent_is_fine(host.link_del(index))
}
