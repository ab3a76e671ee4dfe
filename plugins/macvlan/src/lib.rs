//! The `macvlan` plugin: gives a container an interface with a MAC address of its own on a network that the host is on, through
//! one of the host's interfaces, the master. First in its chain; IPAM gives addresses and routes, and without it the
//! interface is set up and that is all. The host itself cannot talk to it through the master.
//!
//! All there is of an attachment is the link in the container's namespace, whose alias says whose it is, and the lease.
//! So nothing can be left on the host, and GC has nothing to collect but IPAM's.

use cni_interface::{Container, add_interface, check_link, expect_mtu_fits, link_del};
use cni_netlink::{Link, LinkKind, NewLink};
use cni_plugin::{Add, Call, Check, Del, Error, Gc, Plugin, Result, Status, Undo};
use cni_types::{CniResult, SpecVersion};

mod config;

pub use config::{Config, Wire};

/// The plugin's table of functions.
pub const PLUGIN: Plugin<Wire, Config> = Plugin {
    name: KIND,
    versions: SpecVersion::ALL,
    read: Call::read::<Wire>,
    validate: Config::new,
    add,
    check,
    del,
    gc,
    status,
};

/// The link's kind, by the kernel's name for it.
const KIND: &str = "macvlan";

fn add(req: &Add<Config>) -> Result<CniResult> {
    let config = &req.config;
    let mut container = Container::open(req)?;
    container.expect_free()?;
    let master = config.master.find(&mut container.socket)?;
    expect_mtu_fits(config.mtu, &master)?;
    let parent = config.master.parent(&master, &mut container)?;
    let make = |container: &mut Container, undo: &mut Undo<'_>| {
        let name = &container.owner.ifname.clone();
        let kind = LinkKind::Macvlan { mode: config.mode, bc_queue_len: config.bc_queue_len };
        let (mac, mtu) = (config.mac, config.mtu);
        let new = NewLink { parent: Some(parent), mac, mtu, ..NewLink::new(name, kind) };
        container.add_link(&new, undo)
    };
    // IPAM's dns has no say here, as in the reference.
    let result = |leased| CniResult { dns: req.call.conf.dns.clone(), ..leased };
    add_interface(req, &mut container, Some(&master), make, result)
}

fn check(req: &Check<Config>) -> Result<()> {
    let (link, mut container) = check_link(req, KIND)?;
    check_settings(&link, &req.config)?;
    req.config.master.check(&link, &mut container)
}

fn del(req: &Del<Wire>) -> Result<()> {
    link_del(req, KIND)
}

fn gc(req: &Gc<Wire>) -> Result<()> {
    req.call.ipam_gc()
}

fn status(req: &Status<Config>) -> Result<()> {
    let config = &req.config;
    config.master.status()?;
    req.call.ipam_status()
}

fn check_settings(link: &Link, config: &Config) -> Result<()> {
    let differs = |key, is: &str, wanted: &str| {
        Err(Error::failed(format!("{key} of {} is {is}, not {wanted}", link.name)))
    };
    let wanted = config::mode_name(config.mode);
    let Some(LinkKind::Macvlan { mode, bc_queue_len }) = link.settings else {
        return differs("mode", "unknown", wanted);
    };
    if mode != config.mode {
        return differs("mode", config::mode_name(mode), wanted);
    }
    match (bc_queue_len, config.bc_queue_len) {
        (Some(is), Some(wanted)) if is != wanted => {
            differs("bcqueuelen", &is.to_string(), &wanted.to_string())
        }
        _ => Ok(()),
    }
}
