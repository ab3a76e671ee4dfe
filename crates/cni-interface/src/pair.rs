//! The veth pair of an attachment after it was made: both its ends for CHECK, what DEL has to look for in the container, and what
//! no attachment owns for GC. What bridge and ptp share.
//!
//! GC goes by the network's name in the near end's alias, whichever of the two plugins made the pair: the valid attachments
//! that a runtime names are those of the whole network.

use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use cni_host::{NetNs, Owner, VethPair};
use cni_netlink::{Link, Socket};
use cni_plugin::{Add, Del, Error, Request, Result, Undo, log};
use cni_types::{CniResult, Interface};

use crate::setup::is_released_through_link;
use crate::{Container, absent_is_fine, all, ipam_wants_link, link_and_ipam, open_inside};

/// The end on the host of the pair whose other end is `link` of the container's namespace; `None` when it is no such pair. Indices
/// alone prove little, since each namespace counts its own.
pub fn near_end(host: &mut Socket, netns: &NetNs, link: &Link) -> Result<Option<Link>> {
    let Some(peer) = link.peer.filter(|_| link.kind == "veth") else { return Ok(None) };
    let near = match host.link_by_index(peer) {
        Ok(near) => near,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if near.kind != "veth" || near.peer != Some(link.index) {
        return Ok(None);
    }
    let same = match (near.peer_netnsid, link.peer_netnsid) {
        (Some(id), Some(_)) => host.netnsid(netns.as_fd())? == id,
        // Both ends in one namespace, which the host's and the container's are with CNI_NETNS_OVERRIDE.
        (None, None) => netns.is_same(&NetNs::current()?)?,
        _ => false,
    };
    Ok(same.then_some(near))
}

/// The same for a CHECK, where it has to be one.
pub fn expect_near_end(host: &mut Socket, netns: &NetNs, link: &Link) -> Result<Link> {
    let no_pair = || Error::failed(format!("the other end of {} is not on the host", link.name));
    near_end(host, netns, link)?.ok_or_else(no_pair)
}

/// The container's end of a pair, by its index there.
pub fn far_end(pair: &VethPair) -> Result<u32> {
    pair.host.peer.ok_or_else(|| Error::failed(format!("{} has no peer", pair.host.name)))
}

/// The container's end of a pair as results tell of it.
pub fn far_end_interface<C>(req: &Add<C>, pair: &VethPair, mtu: u32) -> Interface {
    Interface {
        name: req.attachment.ifname.as_str().to_owned(),
        mac: Some(pair.peer_mac.to_string()),
        mtu: Some(mtu),
        sandbox: Some(req.netns().to_owned()),
        ..Interface::default()
    }
}

/// Deletes the owner's pair, if there is one; the container's namespace is not needed.
pub fn delete_pair(owner: &Owner) -> Result<()> {
    Ok(VethPair::del(&mut Socket::open()?, owner).map(drop)?)
}

/// [`link_and_ipam`] for a pair that `connect` makes, or nothing where the attachment has one already. That is one which an ADD
/// that was killed has left behind, and is replaced once IPAM has answered, which refuses the second ADD of an attachment that
/// lives. An IPAM plugin that wants the link cannot be asked before the link is there.
pub fn pair_and_ipam<'a, C, T>(
    req: &'a Request<C>,
    lease: &mut Undo<'a>,
    host: &mut Socket,
    container: &mut Container,
    mut connect: impl FnMut(&mut Socket, &mut Container) -> Result<Option<T>>,
) -> Result<(CniResult, T)> {
    let (result, made) = link_and_ipam(req, lease, || match connect(host, container)? {
        None if ipam_wants_link(&req.call) => replace_pair(host, container, &mut connect).map(Some),
        made => Ok(made),
    })?;
    match made {
        Some(made) => Ok((result, made)),
        None => Ok((result, replace_pair(host, container, connect)?)),
    }
}

fn replace_pair<T>(
    host: &mut Socket,
    container: &mut Container,
    connect: impl FnOnce(&mut Socket, &mut Container) -> Result<Option<T>>,
) -> Result<T> {
    VethPair::make_room(host, &container.netns, &container.owner)?;
    let name = container.owner.veth_name();
    let taken = || Error::failed(format!("cannot make {name}: another link has that name"));
    connect(host, container)?.ok_or_else(taken)
}

/// DEL of what has a pair: the pair goes, then the attachment's part of the packet filter (`filter`), and the lease is released
/// last, when nothing uses its addresses any more, or first by an IPAM plugin that needs the link for it. A pair that cannot be
/// deleted keeps both: its container may go on sending.
///
/// The kernel takes a link away at once and then waits, most of a DEL, until no packet can still see it (net/core/dev.c,
/// netdev_run_todo): all else is done in that time, and not before. A port that still takes packets must not lose its filter; and
/// taking the link away needs nf_tables' lock (net/netfilter/nft_chain_filter.c, nf_tables_netdev_event), which whoever has deleted
/// something there keeps while he waits for the same (nf_tables_api.c, nft_rcv_nl_event).
pub fn delete_attachment<W: Sync>(
    req: &Del<W>,
    owner: &Owner,
    filter: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let first = is_released_through_link(&req.call);
    let early = if first { req.ipam_del() } else { Ok(()) };
    let rest = || {
        let filter = filter();
        all([filter, if first { Ok(()) } else { req.ipam_del() }])
    };
    thread::scope(|scope| {
        let delete = || log::step("delete the veth pair", || delete_pair(owner));
        let foreign = || log::step("delete the interface in the container", || delete_foreign_pair(req));
        // Where the process may have no more threads, one thing comes after the other.
        let Ok(pair) = thread::Builder::new().spawn_scoped(scope, delete) else {
            let (pair, inside) = (delete(), foreign());
            let rest = if pair.is_ok() { rest() } else { Ok(()) };
            return all([pair, inside, rest, early]);
        };
        let inside = foreign();
        let is_gone = wait_until_gone(owner, || pair.is_finished());
        let pair = || pair.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if is_gone {
            let rest = rest();
            return all([pair(), inside, rest, early]);
        }
        let pair = pair();
        let rest = if pair.is_ok() { rest() } else { Ok(()) };
        all([pair, inside, rest, early])
    })
}

/// Waits until the owner's pair cannot be found any more, or there is no more to wait for; says whether it is seen to be gone.
/// Looking for a link waits itself while one is being taken away: both hold the kernel's rtnl lock.
fn wait_until_gone(owner: &Owner, is_over: impl Fn() -> bool) -> bool {
    let Ok(mut host) = Socket::open() else { return false };
    loop {
        // Asked first: what is over has done all that it will.
        let over = is_over();
        match host.link_by_name(&owner.veth_name()) {
            Err(error) => return error.is_not_found(),
            Ok(_) if over => return false,
            Ok(_) => thread::sleep(Duration::from_micros(100)),
        }
    }
}

/// Deletes the pair whose far end is the container's interface, when the reference made it: its near end has a random
/// name, so only the container's namespace tells which it is. A namespace that is gone took its interfaces along.
fn delete_foreign_pair<W>(req: &Del<W>) -> Result<()> {
    let Some((_, mut inside)) = open_inside(req)? else { return Ok(()) };
    let link = match inside.link_by_name(req.attachment.ifname.as_str()) {
        Ok(link) => link,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if link.kind == "veth" && is_unowned_pair(&mut Socket::open()?, link.index, link.peer)? {
        return absent_is_fine(inside.link_del(link.index));
    }
    Ok(())
}

/// Whether the container's interface is one end of a pair whose other end is on this host and carries no owner of
/// ours. Ours was deleted by its owner already: one that is still there is another attachment's, or not this plugin's at all.
fn is_unowned_pair(host: &mut Socket, inside: u32, near: Option<u32>) -> Result<bool> {
    let Some(near) = near else { return Ok(false) };
    match host.link_by_index(near) {
        Ok(near) => Ok(near.kind == "veth"
            && near.peer == Some(inside)
            && near.peer_netnsid.is_some()
            && near.alias.as_deref().is_none_or(str::is_empty)),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Deletes the near ends whose alias says that they are of this network, and that no valid attachment owns.
pub fn collect_pairs(network: &str, valid: &[Owner]) -> Result<()> {
    let mut host = Socket::open()?;
    let (valid, mut outcomes) = (Owner::tags(valid), Vec::new());
    for link in host.link_dump(Some("veth"))? {
        let Some(alias) = link.alias.as_deref() else { continue };
        if Owner::is_of_network(alias, network) && !valid.contains(alias) {
            outcomes.push(absent_is_fine(host.link_del(link.index)));
        }
    }
    all(outcomes)
}
