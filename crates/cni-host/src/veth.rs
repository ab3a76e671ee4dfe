//! The veth pair between host and container, made and found by its [`Owner`]: what bridge and ptp share.
//!
//! The near end's name is derived from the owner and its alias says whose it is, so that DEL finds the pair when the
//! container's namespace is gone, and never takes somebody else's.

use std::os::fd::AsFd;

use cni_netlink::{BridgePort, Link, LinkChange, MacAddr, NewVeth, Socket};

use crate::{Error, NetNs, Owner, Result, SpoofCheck, sysctl_write};

/// A veth pair to be made: [`NewVethPair::new`] with what is to be otherwise. The near end is called [`Owner::veth_name`], the far
/// end [`Owner::ifname`].
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
    /// That port takes frames of the far end's address only ([`SpoofCheck::add`]).
    pub spoof_check: bool,
}

impl<'a> NewVethPair<'a> {
    /// A pair that is a port of nothing, with a random address in the container and the kernel's MTU.
    pub fn new(netns: &'a NetNs, owner: &'a Owner) -> Self {
        NewVethPair { netns, owner, mac: None, mtu: None, master: None, port: None, spoof_check: false }
    }
}

/// A veth pair that was made. The near end is up, the far end still down.
#[derive(Debug)]
#[non_exhaustive]
pub struct VethPair {
    /// The near end, as the kernel described it before it was set up; its `peer` is the far end's index in the
    /// container's namespace.
    pub host: Link,
    /// The far end's hardware address.
    pub peer_mac: MacAddr,
}

impl VethPair {
    /// Makes the pair in one message, refuses router advertisements on the near end before it is up (CVE-2020-10749), then
    /// sets alias, port and IFF_UP together; a check for spoofed addresses is there before IFF_UP. Call in the host's namespace, with a
    /// socket of it.
    ///
    /// Where the name of either end is taken nothing is touched, and the answer is `None`: [`VethPair::make_room`] is for who knows that
    /// the attachment does not live. On failure nothing stays.
    pub fn add(host: &mut Socket, new: &NewVethPair<'_>) -> Result<Option<VethPair>> {
        let name = new.owner.veth_name();
        let peer_mac = new.mac.unwrap_or_else(MacAddr::random);
        let veth = NewVeth {
            master: new.master,
            peer_mac,
            peer_netns: Some(new.netns.as_fd()),
            mtu: new.mtu,
            ..NewVeth::new(&name, &new.owner.ifname)
        };
        match host.link_add_veth(&veth) {
            Err(error) if error.is_exists() => return Ok(None),
            made => made?,
        }
        match set_up(host, new, &name, peer_mac) {
            Ok(link) => Ok(Some(VethPair { host: link, peer_mac })),
            Err(error) => {
                // The first error tells more than one about cleaning up after it.
                if VethPair::del(host, new.owner).is_ok() && new.spoof_check {
                    let _ = SpoofCheck::del(new.owner, Some(peer_mac));
                }
                Err(error)
            }
        }
    }

    /// Removes what keeps [`VethPair::add`] from making the pair: one that the same attachment left behind in another namespace. When the
    /// container has an interface of that name already, nothing is touched and the error says so.
    pub fn make_room(host: &mut Socket, netns: &NetNs, owner: &Owner) -> Result<()> {
        match netns.socket()?.link_by_name(&owner.ifname) {
            Ok(_) => Err(Error::LinkExists { ifname: owner.ifname.clone(), netns: netns.path().to_owned() }),
            Err(error) if error.is_not_found() => VethPair::del(host, owner).map(drop),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the pair of this attachment, if there is one: the near end by its name, only if its alias says that it is this
    /// owner's. Call with a socket of the host's namespace. Says whether there was one.
    pub fn del(host: &mut Socket, owner: &Owner) -> Result<bool> {
        let link = match host.link_by_name(&owner.veth_name()) {
            Ok(link) => link,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        // Without an alias it is from an ADD that was killed between making the pair and naming its owner: the link's own
        // name is the owner's.
        let ours = link.alias.as_deref().is_none_or(|alias| alias.is_empty() || owner.owns(alias));
        if link.kind != "veth" || !ours {
            return Ok(false);
        }
        match host.link_del(link.index) {
            // The container's namespace may be taking the pair with it at this moment.
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(true),
        }
    }
}

fn set_up(host: &mut Socket, new: &NewVethPair<'_>, name: &str, peer_mac: MacAddr) -> Result<Link> {
    let link = host.link_by_name(name)?;
    match sysctl_write(&format!("net/ipv6/conf/{name}/accept_ra"), "0") {
        // No IPv6 in this kernel, so nobody listens to router advertisements.
        Err(error) if error.is_missing_file() => {}
        // A bridge takes its ports' packets before IPv6 sees them; a read-only /proc/sys need not stop it.
        Err(_) if new.master.is_some() => {}
        written => written?,
    }
    let alias = new.owner.alias();
    let named = LinkChange { alias: Some(&alias), port: new.port, ..LinkChange::default() };
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    if new.spoof_check {
        // With its owner's name first, so that GC finds a pair whose ADD was killed meanwhile.
        host.link_change(link.index, &named)?;
        SpoofCheck::add(new.owner, peer_mac)?;
        host.link_change(link.index, &up)?;
    } else {
        host.link_change(link.index, &LinkChange { up: up.up, ..named })?;
    }
    Ok(link)
}
