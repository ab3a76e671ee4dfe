//! The `ipvlan` plugin: gives a container an interface on a network that the host is on, through one of the host's interfaces,
//! the master, whose MAC address it shares. First in its chain with IPAM's addresses, or later in one with those of the
//! plugin before, whose interface can also be the master. The host itself cannot talk to it through the master.
//!
//! All there is of an attachment is the link in the container's namespace, whose alias says whose it is, and the lease.
//! So nothing can be left on the host, and GC has nothing to collect but IPAM's.

use cni_interface::{Container, add_interface, check_link, link_del};
use cni_netlink::{IpvlanMode, Link, LinkKind, NewLink};
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
const KIND: &str = "ipvlan";

fn add(req: &Add<Config>) -> Result<CniResult> {
    let config = &req.config;
    let prev = req.call.conf.prev_result()?;
    let keys = config.master_after(prev)?;
    let given = addresses_of(prev, &req.call)?;
    let mut container = Container::open(req)?;
    container.expect_free()?;
    let master = keys.find(&mut container.socket)?;
    let parent = keys.parent(&master, &mut container)?;
    let make = |container: &mut Container, undo: &mut Undo<'_>| {
        let name = &container.owner.ifname.clone();
        let kind = LinkKind::Ipvlan { mode: config.mode };
        let new = NewLink { parent: Some(parent), mtu: config.mtu, ..NewLink::new(name, kind) };
        container.add_link(&new, undo)
    };
    // The name service is the configuration's own affair, as in the reference.
    let dns = || req.call.conf.dns.clone();
    let result = |leased| CniResult { dns: dns(), ..given.cloned().unwrap_or(leased) };
    add_interface(req, &mut container, Some(&master), make, result)
}

fn check(req: &Check<Config>) -> Result<()> {
    let config = &req.config;
    let (link, mut container) = check_link(req, KIND)?;
    check_mode(&link, config.mode)?;
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
    // An unnamed one can be the interface of a plugin before this one, which no STATUS tells.
    if config.master.is_named() {
        config.master.status()?;
    }
    req.call.ipam_status()
}

/// The previous plugin's result when its addresses are to be used: there is no `ipam`.
fn addresses_of<'a>(prev: Option<&'a CniResult>, call: &Call) -> Result<Option<&'a CniResult>> {
    if call.has_ipam() {
        return Ok(None);
    }
    let with_addresses = prev.filter(|prev| !prev.ips.is_empty());
    with_addresses
        .map(Some)
        .ok_or_else(|| Error::config("ipam: missing, and there is no prevResult with addresses"))
}

fn check_mode(link: &Link, wanted: IpvlanMode) -> Result<()> {
    let is = match link.settings {
        Some(LinkKind::Ipvlan { mode }) if mode == wanted => return Ok(()),
        Some(LinkKind::Ipvlan { mode }) => config::mode_name(mode),
        _ => "unknown",
    };
    Err(Error::failed(format!("mode of {} is {is}, not {}", link.name, config::mode_name(wanted))))
}
