//! host-local: leases addresses from ranges, and keeps the leases as files on this host.
//!
//! Plugins that make interfaces (bridge, ptp, macvlan) run it as their `ipam`. Each attachment gets one address of each range
//! set, in turn; `DEL` frees it. The files are the reference's, byte for byte, so that a node can go from one to the other
//! and back with its containers running. It knows only this host: two hosts that serve one subnet need ranges apart.

use std::collections::HashSet;

use cni_plugin::{Call, Error as PluginError, Plugin, Request, Result};
use cni_types::{CniResult, Dns, ErrorCode, GcAttachment, IpConfig, SpecVersion, ValidAttachments};

mod allocator;
mod boot;
mod config;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod lease;
mod range;
mod resolv_conf;
mod status;
mod store;
mod taken;

pub use config::Config;

use boot::Boot;
use config::Plan;
use error::Error;
use lease::{Contents, Holder};
use store::{Folder, Miss, Store};

/// The plugin's table of functions.
pub const PLUGIN: Plugin<Config> = Plugin {
    name: "host-local",
    versions: SpecVersion::ALL,
    config: Config::new,
    add,
    check,
    del,
    gc,
    status,
};

fn add(req: &Request<Config>) -> Result<CniResult> {
    let plan = req.config.plan()?;
    if plan.sets.is_empty() {
        return Err(PluginError::config(
            "runtimeConfig.ipRanges: missing, and ipam has no ranges of its own",
        ));
    }
    plan.check_gateways()?;
    let dns = plan.resolv_conf.as_deref().map(resolv_conf::read).transpose().map_err(Error::coded)?;
    lease(req, plan, dns.unwrap_or_default()).map_err(Error::coded)
}

fn lease(req: &Request<Config>, plan: &Plan, dns: Dns) -> Result<CniResult, Error> {
    let store = Store::create(folder(&req.call, &req.config), Boot::current()?)?;
    let addresses = allocator::allocate(&mut store.lock()?, plan, holder(req))?;

    let with_range = plan
        .sets
        .iter()
        .zip(&addresses)
        .filter_map(|(set, &address)| Some((set.range_of(address)?, address)));
    let ips = with_range.map(|(range, address)| IpConfig {
        interface: None,
        address: range.with_prefix(address),
        gateway: Some(range.gateway),
    });
    Ok(CniResult { interfaces: Vec::new(), ips: ips.collect(), routes: plan.routes.clone(), dns })
}

fn check(req: &Request<Config>) -> Result<()> {
    let plan = req.config.plan()?;
    let leases = held(req, Miss::Doubted).map_err(Error::coded)?;
    let (id, ifname) = (&req.attachment.container_id, &req.attachment.ifname);
    if leases.is_empty() {
        let dir = folder(&req.call, &req.config);
        return Err(PluginError::failed(format!(
            "no address of network {} is leased to {ifname} of container {id} (looked in {})",
            req.network(),
            dir.dir().display(),
        )));
    }
    // A chain may have added addresses of other origin, and the ranges may have changed since ADD: only what could have come
    // from here is compared.
    let ours =
        req.call.conf.prev_result()?.into_iter().flat_map(|result| &result.ips).map(|ip| ip.address.addr());
    for address in ours.filter(|&address| plan.sets.iter().any(|set| set.range_of(address).is_some())) {
        if !leases.iter().any(|lease| lease.address == address) {
            return Err(PluginError::failed(format!(
                "address {address} of prevResult is not leased to {ifname} of container {id}"
            )));
        }
    }
    Ok(())
}

/// Frees all that the attachment holds in this network, whatever the ranges are by now.
fn del(req: &Request<Config>) -> Result<()> {
    Boot::current()
        .and_then(|boot| release(folder(&req.call, &req.config), boot, holder(req)))
        .map_err(Error::coded)
}

fn release(folder: Folder, boot: Boot, holder: Holder<'_>) -> Result<(), Error> {
    let Some(store) = Store::open(folder, boot)? else {
        return Ok(());
    };
    let mut session = store.lock()?;
    let leases = session.held(holder, Miss::Doubted)?;
    // A lease that names no interface is this one's only when there is no better.
    let any_ifname = leases.iter().all(|lease| lease.any_ifname);
    let (gone, left): (Vec<_>, Vec<_>) = leases.into_iter().partition(|lease| lease.any_ifname == any_ifname);
    if gone.is_empty() {
        return Ok(());
    }
    // One that cannot be removed is no reason to keep the others.
    let outcomes: Vec<_> = gone.iter().map(|lease| session.release(lease.address)).collect();
    outcomes.into_iter().collect::<Result<(), Error>>()?;
    session.note(holder, &left);
    Ok(())
}

/// Frees what no valid attachment holds, and what a crash left. A file with unknown content is somebody's reason: kept.
fn gc(call: &Call, config: &Config) -> Result<()> {
    match &call.conf.valid_attachments {
        ValidAttachments::Unknown => Ok(()),
        ValidAttachments::Known(valid) => {
            Boot::current().and_then(|boot| collect(folder(call, config), boot, valid)).map_err(Error::coded)
        }
    }
}

fn collect(folder: Folder, boot: Boot, valid: &[GcAttachment]) -> Result<(), Error> {
    let Some(store) = Store::open(folder, boot)? else {
        return Ok(());
    };
    let attachments: HashSet<(&str, &str)> =
        valid.iter().map(|valid| (valid.container_id.as_str(), valid.ifname.as_str())).collect();
    let containers: HashSet<&str> = valid.iter().map(|valid| valid.container_id.as_str()).collect();
    let is_valid = |contents: &Contents| match contents {
        Contents::Held { id, ifname } => attachments.contains(&(id.as_str(), ifname.as_str())),
        Contents::HeldByContainer { id } => containers.contains(id.as_str()),
        Contents::Leftover => false,
        Contents::Unknown => true,
    };
    // Others wait from here on.
    let mut session = store.lock()?;
    let gone = session.leases()?.into_iter().filter(|(_, contents)| !is_valid(contents));
    let outcomes: Vec<_> = gone.map(|(address, _)| session.release(address)).collect();
    session.rebuild_index()?;
    outcomes.into_iter().collect()
}

fn status(call: &Call, config: &Config) -> Result<()> {
    let plan = config.plan()?;
    plan.check_gateways()?;
    status::check(&folder(call, config), &plan.sets)
        .map_err(|reason| PluginError::new(ErrorCode::PLUGIN_NOT_AVAILABLE, reason))
}

fn folder(call: &Call, config: &Config) -> Folder {
    Folder::new(&config.data_dir, call.conf.name.as_str())
}

fn holder(req: &Request<Config>) -> Holder<'_> {
    Holder { id: req.attachment.container_id.as_str(), ifname: req.attachment.ifname.as_str() }
}

fn held(req: &Request<Config>, miss: Miss) -> Result<Vec<store::Lease>, Error> {
    match Store::open(folder(&req.call, &req.config), Boot::current()?)? {
        Some(store) => store.lock()?.held(holder(req), miss),
        None => Ok(Vec::new()),
    }
}
