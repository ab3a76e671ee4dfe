//! The `vrf` plugin: puts a container's interface into a routing domain of its own (VRF, Linux's l3mdev), so that its addresses and
//! routes have nothing to do with those of other interfaces. Chained after the plugin that makes the interface, whose result it
//! passes on.
//!
//! The VRF is a link in the container's namespace: made for the first interface that wants it, shared by those that name it, gone
//! with the last one. The kernel takes IPv6 addresses and all routes from an interface that it enslaves; they are put back.

use std::time::Duration;

use cni_host::{LockFile, NetNs};
use cni_interface::{absent_is_fine, all, expect_kind, lock_or_go_on, open_inside};
use cni_netlink::{Link, LinkChange, LinkKind, NewLink, Socket};
use cni_plugin::{Add, Call, Check, Context as _, Del, Error, Gc, Plugin, Result, Status, Undo, log};
use cni_types::{CniResult, SpecVersion};

mod config;
mod kept;

pub use config::{Config, Wire};
use kept::Kept;

/// The plugin's table of functions.
pub const PLUGIN: Plugin<Wire, Config> = Plugin {
    name: "vrf",
    versions: VERSIONS,
    read: Call::read,
    validate: |wire, _| Config::new(wire),
    add,
    check,
    del,
    gc,
    status,
};

/// The reference's.
const VERSIONS: &[SpecVersion] =
    &[SpecVersion::V0_3_1, SpecVersion::V0_4_0, SpecVersion::V1_0_0, SpecVersion::V1_1_0];

const KIND: &str = "vrf";

/// The tables that every namespace has: default, main, local.
const RESERVED: [u32; 3] = [253, 254, 255];
const MAIN: u32 = 254;

/// Others hold the lock for the few milliseconds that an ADD takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn add(req: &Add<Config>) -> Result<CniResult> {
    let config = &req.config;
    let result = req.prev_result()?;
    let netns = NetNs::open(req.netns())?;
    let mut inside = netns.socket()?;
    // Interfaces of one container may be added at one time: two must not find one table free, nor one go with the VRF that the
    // other has just found.
    let lock = LockFile::of(&netns)?;
    let _held = lock.lock(PATIENCE)?;
    let mut undo = Undo::default();
    add_to_vrf(&netns, &mut inside, req.attachment.ifname.as_str(), config, &mut undo)
        .with_context(|| format!("in {}", netns.path().display()))?;
    undo.commit();
    Ok(result.clone())
}

fn add_to_vrf<'a>(
    netns: &'a NetNs,
    inside: &mut Socket,
    ifname: &str,
    config: &Config,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let link = inside.link_by_name(ifname)?;
    if let Some(master) = link.master {
        let master = inside.link_by_index(master)?.name;
        return Err(Error::failed(format!("{ifname} has a master already: {master}")));
    }
    let vrf = log::step("find or make the VRF", || find_or_make(netns, inside, config, undo))?;
    let table = expect_vrf(&vrf, config)?;
    if !vrf.up {
        inside.link_change(vrf.index, &LinkChange { up: Some(true), ..LinkChange::default() })?;
    }
    let kept = Kept::of(inside, link.index)?;
    let before = kept.clone();
    undo.push("take the interface out of the VRF", move || {
        let mut inside = netns.socket()?;
        release(&mut inside, before.index)?;
        before.put_back(netns, &mut inside, None)
    });
    log::step("put the interface into the VRF", || {
        inside.link_change(
            link.index,
            &LinkChange { master: Some(Some(vrf.index)), ..LinkChange::default() },
        )?;
        kept.put_back(netns, inside, Some((vrf.index, table)))
    })
}

fn find_or_make<'a>(
    netns: &'a NetNs,
    inside: &mut Socket,
    config: &Config,
    undo: &mut Undo<'a>,
) -> Result<Link> {
    let name = config.name.as_str();
    match inside.link_by_name(name) {
        Err(error) if error.is_not_found() => {}
        found => return Ok(found?),
    }
    let table = match config.table {
        Some(table) => table.get(),
        None => free_table(inside)?,
    };
    let made = inside.link_add(&NewLink::new(name, LinkKind::Vrf { table }));
    match made {
        // The reference's plugin, which takes no lock, was faster.
        Err(error) if error.is_exists() => {}
        made => made?,
    }
    let vrf = inside.link_by_name(name)?;
    let index = vrf.index;
    undo.push("delete the VRF", move || delete_unused(&mut netns.socket()?, index));
    Ok(vrf)
}

/// The reference's choice: the first table from 1 on that is no VRF's; those that every namespace has left out.
fn free_table(inside: &mut Socket) -> Result<u32> {
    let vrfs = inside.link_dump(Some(KIND))?;
    let is_taken = |table: &u32| {
        RESERVED.contains(table)
            || vrfs.iter().any(|vrf| vrf.settings == Some(LinkKind::Vrf { table: *table }))
    };
    (1..=u32::MAX).find(|table| !is_taken(table)).ok_or_else(|| Error::failed("no routing table is free"))
}

/// The link is a VRF, with the configured table where there is one; its table.
fn expect_vrf(vrf: &Link, config: &Config) -> Result<u32> {
    expect_kind(vrf, KIND)?;
    let Some(LinkKind::Vrf { table }) = vrf.settings else {
        return Err(Error::failed(format!("{} has no routing table", vrf.name)));
    };
    match config.table {
        Some(wanted) if wanted.get() != table => {
            Err(Error::failed(format!("the routing table of {} is {table}, not {wanted}", vrf.name)))
        }
        _ => Ok(table),
    }
}

fn check(req: &Check<Config>) -> Result<()> {
    let config = &req.config;
    req.prev_result()?;
    let (path, ifname) = (req.netns(), req.attachment.ifname.as_str());
    let mut inside = NetNs::open(path)?.socket()?;
    let mut find =
        |name: &str| inside.link_by_name(name).with_context(|| format!("cannot find {name} in {path}"));
    let (vrf, link) = (find(config.name.as_str())?, find(ifname)?);
    expect_vrf(&vrf, config)?;
    if link.master != Some(vrf.index) {
        return Err(Error::failed(format!("{ifname} is not in {}", vrf.name)));
    }
    cni_interface::check_up(&vrf)
}

/// Takes the interface out of the VRF that it is in, and deletes that one, and the one that is configured, when nothing is in it
/// any more. A namespace that is gone took all of it along.
fn del(req: &Del<Wire>) -> Result<()> {
    let Some((netns, mut inside)) = open_inside(req)? else { return Ok(()) };
    let lock = LockFile::of(&netns)?;
    let _held = lock_or_go_on(&lock);
    let vrfs = inside.link_dump(Some(KIND))?;
    let link = match inside.link_by_name(req.attachment.ifname.as_str()) {
        Ok(link) => Some(link),
        // The interface may have been taken away before.
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    let master = link.as_ref().and_then(|link| link.master);
    let (is_master, is_configured) =
        (|vrf: &Link| Some(vrf.index) == master, |vrf: &Link| vrf.name == req.config.vrfname);
    let mut outcomes = Vec::new();
    if let (Some(link), true) = (&link, vrfs.iter().any(is_master)) {
        outcomes.push(release(&mut inside, link.index));
    }
    for vrf in vrfs.iter().filter(|vrf| is_master(vrf) || is_configured(vrf)) {
        outcomes.push(delete_unused(&mut inside, vrf.index));
    }
    all(outcomes)
}

fn release(inside: &mut Socket, index: u32) -> Result<()> {
    let nomaster = LinkChange { master: Some(None), ..LinkChange::default() };
    absent_is_fine(inside.link_change(index, &nomaster))
}

fn delete_unused(inside: &mut Socket, vrf: u32) -> Result<()> {
    if inside.link_dump(None)?.iter().any(|link| link.master == Some(vrf)) {
        return Ok(());
    }
    absent_is_fine(inside.link_del(vrf))
}

/// Nothing of ADD lies outside the container's namespace, so nothing can be left over.
fn gc(_: &Gc<Wire>) -> Result<()> {
    Ok(())
}

/// Whether the kernel knows VRFs, which it loads a module for: it is asked for one with a table that it always refuses
/// (drivers/net/vrf.c, vrf_newlink).
fn status(req: &Status<Config>) -> Result<()> {
    let config = &req.config;
    let kind = LinkKind::Vrf { table: 0 };
    let new = NewLink::new(config.name.as_str(), kind);
    match Socket::open()?.link_add(&new) {
        Err(error) if error.is_unsupported() => {
            Err(Error::unavailable(format_args!("this kernel has no VRF: {error}")))
        }
        _ => Ok(()),
    }
}
