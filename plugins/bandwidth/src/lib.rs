//! The `bandwidth` plugin: limits what a container receives and sends. Chained after the plugin that makes the interface,
//! whose result it passes on; the limits are the configuration's or the runtime's (capability `bandwidth`).
//!
//! What the host's end of the container's veth pair sends, which is what the container receives, goes through a token bucket.
//! What the container sends can only be dropped where it arrives, not made to wait; so it goes through the token bucket of
//! an interface of its own (ifb) first. That has the reference's name, which DEL finds without the container's
//! namespace, and carries its owner. Everything else goes with the interface that is limited.

use cni_host::{NetNs, Owner};
use cni_interface::{all, open_inside, owner, valid_owners};
use cni_netlink::Socket;
use cni_plugin::{Add, Check, Del, Gc, Plugin, Request, Result, Status, Undo, log};
use cni_types::{CniResult, SpecVersion};

mod config;
mod ifb;
mod place;

pub use config::{Limits, Wire};
use place::Place;

/// The plugin's table of functions.
pub const PLUGIN: Plugin<Wire, Limits> = Plugin {
    name: "bandwidth",
    versions: VERSIONS,
    read: Wire::read,
    validate: |wire, _| Limits::new(wire),
    add,
    check,
    del,
    gc,
    status,
};

/// The reference's plugin begins here too.
const VERSIONS: &[SpecVersion] = &[
    SpecVersion::V0_3_0,
    SpecVersion::V0_3_1,
    SpecVersion::V0_4_0,
    SpecVersion::V1_0_0,
    SpecVersion::V1_1_0,
];

fn add(req: &Add<Limits>) -> Result<CniResult> {
    let limits = &req.config;
    let mut result = req.prev_result()?.clone();
    if limits.is_none() {
        return Ok(result);
    }
    let (netns, owner) = (NetNs::open(req.netns())?, owner(req));
    let mut undo = Undo::default();
    let mut place = Place::find(&netns, &owner.ifname)?;
    result.interfaces.extend(place.limit(&owner, limits, &mut undo)?);
    undo.commit();
    Ok(result)
}

fn check(req: &Check<Limits>) -> Result<()> {
    let limits = &req.config;
    req.prev_result()?;
    if limits.is_none() {
        return Ok(());
    }
    let netns = NetNs::open(req.netns())?;
    Place::find(&netns, req.attachment.ifname.as_str())?.check(&owner(req), limits)
}

/// The ifb last: a DEL that is killed before leaves it, and the next one knows by it that what leads there is ours. What is on
/// the interface would go with that, but a runtime may add the same interface to another network.
fn del(req: &Del<Wire>) -> Result<()> {
    let owner = owner(req);
    let mut host = Socket::open()?;
    let found = ifb::find(&mut host, &owner);
    let has_ifb = matches!(found, Ok(Some(_)));
    if !has_ifb && !req.config.has_limits() {
        return found.map(drop);
    }
    let released = log::step("take the limits off", || release(req, &owner, has_ifb));
    let ifb = log::step("delete the ifb", || ifb::remove(&mut host, &owner));
    all([released, ifb])
}

/// The container's namespace is not needed for what is on the host.
fn release(req: &Request<Wire>, owner: &Owner, has_ifb: bool) -> Result<()> {
    let Some((netns, mut inside)) = open_inside(req)? else { return Ok(()) };
    match inside.link_by_name(&owner.ifname) {
        Err(error) if error.is_not_found() => ifb::remove(&mut inside, owner),
        Err(error) => Err(error.into()),
        Ok(link) => Place::of(&netns, inside, link)?.release(owner, has_ifb),
    }
}

fn gc(req: &Gc<Wire>) -> Result<()> {
    log::step("collect ifbs", || ifb::collect(req.call.conf.name.as_str(), &valid_owners(req)))
}

/// The kernel loads what it needs at the first ADD, so that there is no more to look at than the configuration.
fn status(_: &Status<Limits>) -> Result<()> {
    Ok(())
}
