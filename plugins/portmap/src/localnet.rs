//! Connections from 127.0.0.1 to a container: the kernel routes them by an interface that has `route_localnet` set, and
//! then has to be kept from taking packets for 127.0.0.1 from there.
//!
//! Who needs it on is kept in `/run/cni-plugins-rs/portmap/localnet`, a folder for each interface, called by its index, which
//! no other interface gets once it is gone. In it is a file for each attachment, with its owner. A folder is there as long as it was this plugin
//! that turned it on: without one somebody else did, and it stays on.

use std::collections::HashSet;
use std::fs;
use std::net::IpAddr;

use cni_host::{Owner, StateDir, sysctl_read, sysctl_write};
use cni_interface::{all, io_failure};
use cni_netlink::{Link, Socket};
use cni_nftables::{Batch, Nft};
use cni_plugin::{Context as _, Error, Result, Undo, log};
use cni_types::CniResult;

use crate::config::{Backend, Forward};
use crate::{iptables, leftovers, nftables, ruleset};

/// Of an owner's digest, as the name of its file.
const DIGITS: usize = 32;

fn state() -> StateDir {
    StateDir::new(crate::NAME).below("localnet")
}

/// Those of the interfaces.
fn folders(state: &StateDir) -> Vec<StateDir> {
    state.names().iter().map(|name| state.below(name)).collect()
}

fn is_empty(folder: &StateDir) -> bool {
    fs::read_dir(folder.path()).is_ok_and(|mut files| files.next().is_none())
}

/// Whether a mapping can be reached by an address of 127.0.0.0/8.
fn is_local(forward: &Forward) -> bool {
    match forward.host.ip() {
        IpAddr::V4(host) => host.is_unspecified() || host.is_loopback(),
        IpAddr::V6(_) => false,
    }
}

/// The container's address, when a mapping can be reached so.
fn concerned(forwards: &[Forward]) -> Option<IpAddr> {
    forwards.iter().find(|forward| is_local(forward)).map(|forward| forward.pod.ip())
}

/// Sets `route_localnet` on the interface towards the container, after making sure that martians are dropped.
pub(crate) fn enable<'a>(
    nft: &mut Nft,
    forwards: &[Forward],
    backend: Backend,
    owner: &'a Owner,
    path: &'a str,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let Some(pod) = concerned(forwards) else { return Ok(()) };
    let Some(link) = towards(pod)? else {
        log::debug(format_args!("no route to {pod}: 127.0.0.1 will not reach it"));
        return Ok(());
    };
    let mut turn_on = || {
        drop_martians(nft, &link.name, backend)?;
        sysctl_write(&route_localnet(&link.name), "1")
            .with_context(|| format!("cannot let 127.0.0.0/8 reach {pod}"))
    };
    let state = state();
    if state.is_read_only() {
        return turn_on();
    }
    state.locked(|| {
        let folder = state.below(&link.index.to_string());
        let file = owner.digest(DIGITS);
        if folder.path().exists() || !is_on(&link.name) {
            if folder.read(&file).is_none() {
                undo.push("turn route_localnet off", move || release(&mut Nft::new(), owner, path));
            }
            // Before it is on, so that whoever is killed in between has left no more than a file, which DEL finds.
            folder.write(&file, owner.comment().as_bytes()).map_err(io_failure)?;
        }
        turn_on()
    })
}

/// Forgets the attachment, and turns `route_localnet` off where it was the last to need it.
pub(crate) fn release(nft: &mut Nft, owner: &Owner, path: &str) -> Result<()> {
    let state = state();
    let folders = folders(&state);
    let removed = all(folders.iter().map(|folder| folder.remove(&owner.digest(DIGITS)).map_err(io_failure)));
    // An empty one that is left may be that of a DEL that was killed, or of mappings that have no files.
    if folders.iter().any(is_empty) {
        let settled = state.locked(|| all(folders.iter().map(|folder| settle(nft, folder, path))));
        return all([removed, settled]);
    }
    removed
}

/// Forgets the network's attachments that are not among the valid ones, which are told by their elements' comments.
pub(crate) fn collect(nft: &mut Nft, network: &str, valid: &HashSet<String>, path: &str) -> Result<()> {
    let state = state();
    let folders = folders(&state);
    if folders.is_empty() {
        return Ok(());
    }
    let is_stale = |comment: String| Owner::is_of_network(&comment, network) && !valid.contains(&comment);
    let collect = |folder: &StateDir| {
        folder.remove_all_unfinished();
        let stale = folder.names().into_iter().filter(|file| folder.read(file).is_some_and(is_stale));
        all(stale.map(|file| folder.remove(&file).map_err(io_failure)))
    };
    state.locked(|| all(folders.iter().flat_map(|folder| [collect(folder), settle(nft, folder, path)])))
}

/// Turns it off on an interface for which no file is left, unless there are mappings that have none: those of earlier releases, of
/// the reference, of containers that are not reached by 127.0.0.1. Then the empty folder is left for the next DEL.
fn settle(nft: &mut Nft, folder: &StateDir, path: &str) -> Result<()> {
    let name = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Ok(index) = name.parse() else { return Ok(()) };
    if !is_empty(folder) {
        return Ok(());
    }
    match Socket::open()?.link_by_index(index) {
        Err(error) if !error.is_not_found() => return Err(error.into()),
        Err(_) => {}
        Ok(link) => {
            // One with an owner's alias is towards that one's container alone.
            let is_shared = !link.alias.as_deref().is_some_and(Owner::is_alias);
            if is_shared && leads_to_others(nft, index, path)? {
                return Ok(());
            }
            let off = sysctl_write(&route_localnet(&link.name), "0");
            // It may have gone in this instant.
            if off.is_err() && is_on(&link.name) {
                off?;
            }
        }
    }
    folder.remove_if_empty();
    Ok(())
}

/// Whether any mapping, by whatever backend, is to a container behind this interface.
fn leads_to_others(nft: &mut Nft, index: u32, path: &str) -> Result<bool> {
    let mut forwards = nftables::mappings(nft)?;
    forwards.extend(leftovers::mappings(nft)?);
    forwards.extend(iptables::mappings(nft, path)?);
    let pods: HashSet<IpAddr> =
        forwards.iter().filter(|forward| is_local(forward)).map(|forward| forward.pod.ip()).collect();
    let mut socket = Socket::open()?;
    for pod in pods {
        if socket.route_get(pod)?.is_some_and(|way| !way.local && way.index == index) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The interface by which the host reaches the container; it may not reach one that has an interface on the host's own
/// (macvlan).
fn towards(pod: IpAddr) -> Result<Option<Link>> {
    let mut socket = Socket::open()?;
    match socket.route_get(pod)?.filter(|way| !way.local) {
        Some(way) => Ok(Some(socket.link_by_index(way.index)?)),
        None => Ok(None),
    }
}

fn route_localnet(interface: &str) -> String {
    format!("net/ipv4/conf/{interface}/route_localnet")
}

/// What is not there is not on.
fn is_on(interface: &str) -> bool {
    sysctl_read(&route_localnet(interface)).is_ok_and(|value| value == "1")
}

/// Puts the guard back that somebody has flushed, when it is on where this container is. Its own ADD may have no mapping at all.
pub(crate) fn guard(nft: &mut Nft, result: &CniResult) -> Result<()> {
    let is_hosts = |sandbox: &Option<String>| sandbox.as_ref().is_none_or(String::is_empty);
    let interfaces = result.interfaces.iter().filter(|interface| is_hosts(&interface.sandbox));
    guard_each(nft, interfaces.map(|interface| interface.name.as_str()))
}

/// The same for all interfaces of the host.
pub(crate) fn guard_all(nft: &mut Nft) -> Result<()> {
    let names = fs::read_dir("/proc/sys/net/ipv4/conf").into_iter().flatten().flatten();
    let names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    // Those two are no interfaces, and whoever turns it on for all has a guard of his own.
    let is_interface = |name: &&str| !["all", "default"].contains(name);
    guard_each(nft, names.iter().map(String::as_str).filter(is_interface))
}

fn guard_each<'n>(nft: &mut Nft, mut interfaces: impl Iterator<Item = &'n str>) -> Result<()> {
    match interfaces.find(|interface| is_on(interface)) {
        Some(interface) => drop_martians(nft, interface, Backend::Iptables),
        None => Ok(()),
    }
}

fn drop_martians(nft: &mut Nft, interface: &str, backend: Backend) -> Result<()> {
    let dropped = ruleset::martians().are_there(nft).and_then(|there| {
        if there {
            return Ok(());
        }
        let mut batch = Batch::default();
        ruleset::setup_martians(&mut batch);
        nft.commit(&batch)
    });
    match dropped {
        // Only ip_tables is there. The reference does not drop them either.
        Err(error) if error.is_unsupported() && backend == Backend::Iptables => {
            log::warn(format_args!(
                "packets for 127.0.0.0/8 that come by {interface} are not dropped: {error}"
            ));
            Ok(())
        }
        done => Ok(done?),
    }
}

/// Where 127.0.0.0/8 reaches the container, martians are dropped still.
pub(crate) fn check(nft: &mut Nft, forwards: &[Forward]) -> Result<()> {
    let Some(pod) = concerned(forwards) else { return Ok(()) };
    let Some(link) = towards(pod)? else { return Ok(()) };
    if !is_on(&link.name) {
        return Ok(());
    }
    match ruleset::martians().are_there(nft) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::failed(format!(
            "chain {} of table {} is not as it should be: packets for 127.0.0.0/8 are not dropped",
            ruleset::martians().chain,
            ruleset::TABLE
        ))),
        Err(error) if error.is_unsupported() => Ok(()),
        Err(error) => Err(error.into()),
    }
}
