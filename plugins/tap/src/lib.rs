//! The `tap` plugin: gives a container a tap device: an interface on one side, a file on the other by which a program, a virtual
//! machine's monitor for one, reads and writes the frames. First in its chain; IPAM gives addresses and routes to the
//! interface, and without it the interface is set up and that is all.
//!
//! All there is of an attachment is the link in the container's namespace, whose alias says whose it is, and the lease.
//! So nothing can be left on the host, and GC has nothing to collect but IPAM's.

use cni_host::{NewTap, Tap};
use cni_interface::{Container, add_interface, check_link, link_del};
use cni_netlink::{Link, LinkChange, Socket};
use cni_plugin::{Add, Call, Check, Context as _, Del, Error, Gc, Plugin, Result, Status, Undo, log};
use cni_types::{CniResult, SpecVersion};

mod config;
mod label;

pub use config::{Config, Wire};

/// The plugin's table of functions.
pub const PLUGIN: Plugin<Wire, Config> = Plugin {
    name: "tap",
    versions: SpecVersion::ALL,
    read: Call::read::<Wire>,
    validate: Config::new,
    add,
    check,
    del,
    gc,
    status,
};

/// The link's kind, by the kernel's name for it: tun and tap are one.
const KIND: &str = "tun";

fn add(req: &Add<Config>) -> Result<CniResult> {
    let config = &req.config;
    let new = NewTap {
        multi_queue: config.multi_queue,
        owner: config.owner,
        group: config.group,
        ..NewTap::new(req.attachment.ifname.as_str())
    };
    if label::makes_the_device_only() {
        cni_host::Tap::add(&new)?;
        return Ok(CniResult::default());
    }
    let mut container = Container::open(req)?;
    container.expect_free()?;
    let bridge = find_bridge(&mut container.socket, config)?;
    let make = |container: &mut Container, undo: &mut Undo<'_>| {
        log::step("make the tap device", || match &config.selinux_context {
            Some(context) => label::tap_add(&container.netns, &new, context),
            None => Ok(container.netns.run(|| cni_host::Tap::add(&new))??),
        })?;
        let link = container.own_link(KIND, undo)?;
        change(&mut container.socket, link, bridge.as_ref(), config)
    };
    // IPAM's dns has no say here, as in the reference.
    let result = |leased| CniResult { dns: req.call.conf.dns.clone(), ..leased };
    add_interface(req, &mut container, None, make, result)
}

fn check(req: &Check<Config>) -> Result<()> {
    let config = &req.config;
    let (link, mut container) = check_link(req, KIND)?;
    check_tap(&link, config)?;
    match find_bridge(&mut container.socket, config)? {
        Some(bridge) if link.master != Some(bridge.index) => {
            Err(Error::failed(format!("{} is not a port of {}", link.name, bridge.name)))
        }
        _ => Ok(()),
    }
}

fn del(req: &Del<Wire>) -> Result<()> {
    link_del(req, KIND)
}

fn gc(req: &Gc<Wire>) -> Result<()> {
    req.call.ipam_gc()
}

fn status(req: &Status<Config>) -> Result<()> {
    let config = &req.config;
    Tap::status().map_err(Error::unavailable)?;
    if let Some(context) = &config.selinux_context {
        label::check(context).map_err(Error::unavailable)?;
    }
    req.call.ipam_status()
}

/// The bridge, which is in the container's namespace like the device.
fn find_bridge(inside: &mut Socket, config: &Config) -> Result<Option<Link>> {
    let found = config.bridge.as_deref().map(|bridge| inside.link_by_name(bridge).context("bridge"));
    found.transpose()
}

/// Gives the device what its ioctls cannot, while it is still down.
fn change(inside: &mut Socket, link: Link, bridge: Option<&Link>, config: &Config) -> Result<Link> {
    let master = bridge.map(|bridge| Some(bridge.index));
    if config.mac.is_none() && config.mtu.is_none() && master.is_none() {
        return Ok(link);
    }
    let change = LinkChange { mac: config.mac, mtu: config.mtu, master, ..LinkChange::default() };
    inside.link_change(link.index, &change).with_context(|| format!("cannot set up {}", link.name))?;
    Ok(inside.link_by_index(link.index)?)
}

fn check_tap(link: &Link, config: &Config) -> Result<()> {
    // Before Linux 4.20 nothing tells.
    let Some(tun) = link.tun else { return Ok(()) };
    if !tun.tap {
        return Err(Error::failed(format!("{} is a tun device, not a tap device", link.name)));
    }
    let id = |id: Option<u32>| id.map_or("none".to_owned(), |id| id.to_string());
    for (key, is, wanted) in [
        ("multiQueue", tun.multi_queue.to_string(), config.multi_queue.to_string()),
        ("owner", id(tun.owner), id(config.owner)),
        ("group", id(tun.group), id(config.group)),
    ] {
        if is != wanted {
            return Err(Error::failed(format!("{key} of {} is {is}, not {wanted}", link.name)));
        }
    }
    Ok(())
}
