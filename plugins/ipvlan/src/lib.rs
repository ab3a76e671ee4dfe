//! The `ipvlan` plugin: gives a container an interface on a network that the host is on, through one of the host's interfaces,
//! the master, whose MAC address it shares. First in its chain with IPAM's addresses, or later in one with those of the
//! plugin before, whose interface can also be the master. The host itself cannot talk to it through the master.
//!
//! All there is of an attachment is the link in the container's namespace, whose alias says whose it is, and the lease.
//! So nothing can be left on the host, and GC has nothing to collect but IPAM's.

use cni_host::NetNs;
use cni_interface::{
    check_link, configure_on, expect_free, inside, link_add, link_del, owner, single_and_ipam,
};
use cni_netlink::{IpvlanMode, Link, LinkKind, NewLink, Socket};
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
    let owner = owner(req);
    let prev = req.call.conf.prev_result()?;
    let keys = config.master_after(prev)?;
    let given = addresses_of(prev, &req.call)?;
    let netns = NetNs::open(req.netns())?;
    let mut socket = netns.socket()?;
    expect_free(&mut socket, &netns, &owner.ifname)?;
    let master = keys.find(&mut socket)?;

    // Undone last, when nothing uses the address any more: what is made later is dropped before.
    let mut lease = Undo::default();
    let mut undo = Undo::default();
    let new = NewLink {
        name: &owner.ifname,
        kind: LinkKind::Ipvlan { mode: config.mode },
        parent: Some(keys.parent(&master, &netns, &mut socket)?),
        mac: None,
        mtu: config.mtu,
    };
    let make = |inside: &mut Socket| link_add(&netns, inside, &new, &owner, &mut undo);
    let (leased, link) = single_and_ipam(req, &mut lease, &mut socket, make)?;
    let source = given.cloned().unwrap_or(leased);
    // The name service is the configuration's own affair, as in the reference.
    let dns = req.call.conf.dns.clone();
    let mut result = CniResult { ips: source.ips, routes: source.routes, dns, ..CniResult::default() };
    result.ips.iter_mut().for_each(|ip| ip.interface = Some(0));
    configure_on(&master, &netns, &mut socket, &link, &result)?;
    result.interfaces = vec![inside(&link, req.netns())];
    undo.commit();
    lease.commit();
    Ok(result)
}

fn check(req: &Check<Config>) -> Result<()> {
    let config = &req.config;
    let (link, mut socket) = check_link(req, KIND)?;
    check_mode(&link, config.mode)?;
    config.master.check(&link, &NetNs::open(req.netns())?, &mut socket)
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
