//! The steps of ADD and DEL that are the same whatever the link is.

use std::time::Duration;

use cni_host::{IfaceConfig, Lock, LockFile, NetNs};
use cni_netlink::{NextHop, RouteSpec, Socket};
use cni_plugin::{Call, Error, Request, Result, Undo, log};
use cni_types::{CniResult, IpConfig, Route};

use crate::all;

/// IPAM plugins that give addresses without looking at the container's interface.
const WITHOUT_LINK: &[&str] = &["host-local", "static"];

/// IPAM plugins that give an address back through the container's interface.
const RELEASED_THROUGH_LINK: &[&str] = &["dhcp"];

/// Runs the IPAM plugin's ADD and arms its release. An answer without an address is an error.
pub fn ipam_add<'a, C>(req: &'a Request<C>, undo: &mut Undo<'a>) -> Result<CniResult> {
    arm(req, req.ipam_add(), undo)
}

/// Whether the IPAM plugin is to find the container's interface there and up, as dhcp must, which asks for an address through it.
/// Whatever is not known to do without one is taken to need it, since the reference has it there for all.
pub fn ipam_wants_link(call: &Call) -> bool {
    ipam_type(call).is_some_and(|plugin| !WITHOUT_LINK.contains(&plugin))
}

/// Whether DEL has to release the lease while the container's interface is there. dhcp's daemon sends that from the address itself;
/// later, the server would keep the lease until it ends.
pub(crate) fn is_released_through_link(call: &Call) -> bool {
    ipam_type(call).is_some_and(|plugin| RELEASED_THROUGH_LINK.contains(&plugin))
}

fn ipam_type(call: &Call) -> Option<&str> {
    Some(call.conf.ipam.as_ref()?.plugin.as_ref()?.as_str())
}

/// DEL of an interface by `remove`, and of its lease: that comes last, when nothing uses the address any more, unless it is
/// released through the interface. Each is tried whatever becomes of the other.
pub fn remove_and_release<C>(req: &Request<C>, remove: impl FnOnce() -> Result<()>) -> Result<()> {
    if is_released_through_link(&req.call) {
        let lease = req.ipam_del();
        return all([remove(), lease]);
    }
    let removed = remove();
    all([removed, req.ipam_del()])
}

/// GC of interfaces by `collect`, and of their leases, in the same order.
pub fn collect_and_release(call: &Call, collect: impl FnOnce() -> Result<()>) -> Result<()> {
    if is_released_through_link(call) {
        let leases = call.ipam_gc();
        return all([collect(), leases]);
    }
    let collected = collect();
    all([collected, call.ipam_gc()])
}

/// Makes the container's interface and asks IPAM for its addresses, if there is an IPAM plugin. One that wants the link
/// ([`ipam_wants_link`]) is run when `make` has made it and set it up; any other meanwhile, which saves half of an ADD. When IPAM
/// refuses, the interface is the caller's `Undo` to delete. That has to be a later one than `lease`: the link goes before the lease
/// does.
pub fn link_and_ipam<'a, C, T>(
    req: &'a Request<C>,
    lease: &mut Undo<'a>,
    make: impl FnOnce() -> Result<T>,
) -> Result<(CniResult, T)> {
    if !req.call.has_ipam() {
        return Ok((CniResult::default(), make()?));
    }
    if ipam_wants_link(&req.call) {
        req.call.expect_ipam_of_others()?;
        let made = make()?;
        return Ok((ipam_add(req, lease)?, made));
    }
    ipam_add_beside(req, lease, make)
}

/// IPAM's ADD while `work` is done. Work that does harm when IPAM refuses is not for here: the attachment may have its address and
/// its link already, and live.
fn ipam_add_beside<'a, C, T>(
    req: &'a Request<C>,
    undo: &mut Undo<'a>,
    work: impl FnOnce() -> Result<T>,
) -> Result<(CniResult, T)> {
    let (mut work, mut worked) = (Some(work), None);
    let result = req.ipam_add_beside(&mut || worked = work.take().map(|work| work()));
    let result = arm(req, result, undo)?;
    let worked =
        worked.unwrap_or_else(|| Err(Error::failed("nothing was done beside the IPAM plugin's ADD")));
    Ok((result, worked?))
}

fn arm<'a, C>(req: &'a Request<C>, result: Result<CniResult>, undo: &mut Undo<'a>) -> Result<CniResult> {
    let result = result?;
    undo.push("release the IPAM lease", || req.ipam_del());
    if result.ips.is_empty() {
        return Err(Error::failed("the IPAM plugin's result has no address"));
    }
    Ok(result)
}

/// What IPAM's result, or the previous one, asks for on the container's interface.
pub fn iface_config<'a>(
    ips: impl IntoIterator<Item = &'a IpConfig>,
    routes: &[Route],
    dad: bool,
) -> IfaceConfig {
    let route = |route: &Route| RouteSpec {
        dst: route.dst.trunc(),
        next_hops: vec![NextHop { index: 0, gateway: route.gw }],
        metric: route.priority,
        table: route.table,
        scope: route.scope,
        mtu: route.mtu,
        advmss: route.advmss,
    };
    IfaceConfig {
        addresses: ips.into_iter().map(|ip| (ip.address, ip.gateway)).collect(),
        routes: routes.iter().map(route).collect(),
        dad,
        ..IfaceConfig::default()
    }
}

/// The container's namespace and a socket in it, for a DEL; `None` when it is gone or was not told.
pub fn open_inside<C>(req: &Request<C>) -> Result<Option<(NetNs, Socket)>> {
    let Some(path) = &req.netns else { return Ok(None) };
    match NetNs::open(path) {
        Ok(netns) => {
            let socket = netns.socket()?;
            Ok(Some((netns, socket)))
        }
        Err(error) if error.is_netns_gone() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// How long a DEL waits for a lock that who is in the container can hold.
const DEL_PATIENCE: Duration = Duration::from_secs(3);

/// The lock of a namespace, for a DEL. What it keeps is order among plugins; who is in the container can take it as well, and must
/// not be able to keep the DEL from its work.
pub fn lock_or_go_on(lock: &LockFile) -> Option<Lock<'_>> {
    lock.lock(DEL_PATIENCE).inspect_err(|error| log::warn(format_args!("going on without: {error}"))).ok()
}
