//! The veth pair between host and container, made and found by its [`Owner`]: what bridge and ptp share.
//!
//! The near end's name is derived from the owner and its alias says whose it is, so that DEL finds the pair when the
//! container's namespace is gone, and never takes somebody else's.

use cni_netlink::{BridgePort, Link, MacAddr, Socket};

use crate::{NetNs, Owner, Result};

/// A veth pair to be made. The near end is called [`Owner::veth_name`], the far end [`Owner::ifname`].
#[derive(Debug)]
pub struct NewVethPair<'a> {
    /// The container's namespace, where the far end is made.
    pub netns: &'a NetNs,
    /// Whose it is.
    pub owner: &'a Owner,
    /// The far end's hardware address; `None` for a random one.
    pub mac: Option<MacAddr>,
    /// MTU of both ends; `None` for the kernel's default.
    pub mtu: Option<u32>,
    /// The bridge that the near end is a port of from the start.
    pub master: Option<u32>,
    /// Settings of that port.
    pub port: Option<BridgePort>,
}

/// A veth pair that was made. The near end is up, the far end still down.
#[derive(Debug)]
pub struct VethPair {
    /// The near end, as the kernel described it before it was set up; its `peer` is the far end's index in the
    /// container's namespace.
    pub host: Link,
    /// The far end's hardware address.
    pub peer_mac: MacAddr,
}

/// Makes the pair in one message, refuses router advertisements on the near end before it is up (CVE-2020-10749), then
/// sets alias, port and IFF_UP together. Call in the host's namespace, with a socket of it.
///
/// A pair that the same attachment left behind in another namespace is replaced; when the container already has an
/// interface of that name nothing is touched and the error says so. On failure nothing stays.
pub fn veth_add(host: &mut Socket, new: &NewVethPair<'_>) -> Result<VethPair> {
    let _ = (host, new);
    todo!()
}

/// Deletes the pair of this attachment, if there is one: the near end by its name, only if its alias says that it is this
/// owner's. Call with a socket of the host's namespace. Says whether there was one.
pub fn veth_del(host: &mut Socket, owner: &Owner) -> Result<bool> {
    let _ = (host, owner);
    todo!()
}
