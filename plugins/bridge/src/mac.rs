//! Pinning the bridge's MAC address, which is its containers' way out.
//!
//! A bridge whose address nobody has set has the lowest of its ports' and changes it as they come and go (net/bridge/br_stp_if.c,
//! br_stp_recalculate_bridge_id), under the containers' neighbour entries (plugins#620); with its last port it is all zero.
//! One that we make has its own from the start. One that others made keeps what it has when the first gateway's ADD finds it,
//! before a port of ours can change it, and gets one when it has none.

use std::fs;
use std::time::Duration;

use cni_host::{Error as HostError, LockFile, NetNs};
use cni_netlink::{Link, LinkChange, MacAddr, Socket};
use cni_plugin::{Context as _, Result, log};

/// What pins an address takes microseconds. Whoever is in the host's namespace could hold the lock for ever, so that it is not
/// waited for longer than an ADD may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// include/uapi/linux/netdevice.h: somebody has set the address.
const NET_ADDR_SET: &str = "3";

/// Keeps the bridge's address from changing, and returns the bridge as it is then. All ADDs that run at once agree on one
/// address: each looks again when it is its turn.
pub(crate) fn pin(host: &mut Socket, bridge: &Link) -> Result<Link> {
    if is_pinned(bridge) {
        return Ok(bridge.clone());
    }
    let lock = LockFile::of(&NetNs::current()?)?;
    let _turn = match lock.lock(PATIENCE) {
        Ok(turn) => Some(turn),
        Err(error @ HostError::LockTimeout { .. }) => {
            log::warn(format_args!("{error}; the MAC address of {} is kept all the same", bridge.name));
            None
        }
        Err(error) => return Err(error.into()),
    };
    let bridge = host.link_by_index(bridge.index)?;
    if is_pinned(&bridge) {
        return Ok(bridge);
    }
    let mac = bridge.mac.filter(|mac| *mac != MacAddr([0; 6])).unwrap_or_else(MacAddr::random);
    host.link_change(bridge.index, &LinkChange { mac: Some(mac), ..LinkChange::default() })
        .with_context(|| format!("cannot keep the MAC address of {}", bridge.name))?;
    Ok(host.link_by_index(bridge.index)?)
}

/// Whether somebody has set the address. Only sysfs tells, and it may be another namespace's; then it is not known, and the
/// address is set once more, which costs the neighbours' entries (net/ipv4/arp.c, NETDEV_CHANGEADDR) and no more.
fn is_pinned(bridge: &Link) -> bool {
    let read = |file: &str| {
        let text = fs::read_to_string(format!("/sys/class/net/{}/{file}", bridge.name)).ok()?;
        Some(text.trim_end().to_owned())
    };
    let is_this = |mac: MacAddr| {
        read("ifindex") == Some(bridge.index.to_string()) && read("address") == Some(mac.to_string())
    };
    bridge.mac.is_some_and(is_this) && read("addr_assign_type").as_deref() == Some(NET_ADDR_SET)
}
