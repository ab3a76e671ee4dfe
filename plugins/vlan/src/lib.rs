//! The `vlan` plugin: gives a container an 802.1Q VLAN of one of the host's interfaces, the master, with the tags of its
//! frames added and taken off by the kernel. First in its chain; IPAM gives addresses and routes, and without it the interface is
//! set up and that is all.
//!
//! A master has each VLAN once, whatever namespace it is in: a second container with the same `master` and `vlanId` is refused by the
//! kernel.
//!
//! All there is of an attachment is the link in the container's namespace, whose alias says whose it is, and the lease.
//! So nothing can be left on the host, and GC has nothing to collect but IPAM's.

use cni_interface::{Container, add_interface, check_link, link_del};
use cni_netlink::{LinkKind, NewLink, Socket};
use cni_plugin::{Add, Call, Check, Del, Error, Gc, Plugin, Result, Status, Undo};
use cni_types::{CniResult, SpecVersion};

mod config;

pub use config::{Config, Wire};

/// The plugin's table of functions.
pub const PLUGIN: Plugin<Wire, Config> = Plugin {
    name: KIND,
    versions: SpecVersion::ALL,
    read: Call::read::<Wire>,
    validate: |wire, _| Config::new(wire),
    add,
    check,
    del,
    gc,
    status,
};

/// The link's kind, by the kernel's name for it.
const KIND: &str = "vlan";

fn add(req: &Add<Config>) -> Result<CniResult> {
    let config = &req.config;
    let mut container = Container::open(req)?;
    container.expect_free()?;
    let master = config.find_master(&mut container.socket)?;
    let parent = config.master.parent(&master, &mut container)?;
    let make = |container: &mut Container, undo: &mut Undo<'_>| {
        let name = &container.owner.ifname.clone();
        let kind = LinkKind::Vlan { id: config.id };
        let new = NewLink { parent: Some(parent), mtu: config.mtu, ..NewLink::new(name, kind) };
        container.add_link(&new, undo)
    };
    // IPAM's dns has no say here, as in the reference.
    let result = |leased| CniResult { dns: req.call.conf.dns.clone(), ..leased };
    add_interface(req, &mut container, Some(&master), make, result)
}

fn check(req: &Check<Config>) -> Result<()> {
    let config = &req.config;
    let (link, mut container) = check_link(req, KIND)?;
    match link.settings {
        Some(LinkKind::Vlan { id }) if id == config.id => {}
        Some(LinkKind::Vlan { id }) => {
            let (name, wanted) = (&link.name, config.id);
            return Err(Error::failed(format!("the VLAN ID of {name} is {id}, not {wanted}")));
        }
        _ => return Err(Error::failed(format!("the VLAN ID of {} is unknown", link.name))),
    }
    config.master.check(&link, &mut container)
}

fn del(req: &Del<Wire>) -> Result<()> {
    link_del(req, KIND)
}

fn gc(req: &Gc<Wire>) -> Result<()> {
    req.call.ipam_gc()
}

fn status(req: &Status<Config>) -> Result<()> {
    let config = &req.config;
    // What is in a container nobody can tell before there is one.
    if !config.in_container {
        config.find_master(&mut Socket::open()?).map_err(Error::unavailable)?;
    }
    req.call.ipam_status()
}
