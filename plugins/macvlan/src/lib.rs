//! The `macvlan` plugin: gives a container an interface with a MAC address of its own on a network that the host is on, through
//! one of the host's interfaces, the master. First in its chain; IPAM gives addresses and routes, and without it the
//! interface is set up and that is all. The host itself cannot talk to it through the master.
//!
//! All there is of an attachment is the link in the container's namespace, whose alias says whose it is, and the lease.
//! So nothing can be left on the host, and GC has nothing to collect but IPAM's.

use cni_host::NetNs;
use cni_interface::{
    check_link, configure_on, expect_free, expect_mtu_fits, inside, link_add, link_del, owner,
    single_and_ipam,
};
use cni_netlink::{Link, LinkKind, NewLink, Socket};
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
    let owner = owner(req);
    let netns = NetNs::open(req.netns())?;
    let mut socket = netns.socket()?;
    expect_free(&mut socket, &netns, &owner.ifname)?;
    let master = config.master.find(&mut socket)?;
    expect_mtu_fits(config.mtu, &master)?;

    // Undone last, when nothing uses the address any more: what is made later is dropped before.
    let mut lease = Undo::default();
    let mut undo = Undo::default();
    let new = NewLink {
        name: &owner.ifname,
        kind: LinkKind::Macvlan { mode: config.mode, bc_queue_len: config.bc_queue_len },
        parent: Some(config.master.parent(&master, &netns, &mut socket)?),
        mac: config.mac,
        mtu: config.mtu,
    };
    let make = |inside: &mut Socket| link_add(&netns, inside, &new, &owner, &mut undo);
    let (given, link) = single_and_ipam(req, &mut lease, &mut socket, make)?;
    // IPAM's dns has no say here, as in the reference.
    let dns = req.call.conf.dns.clone();
    let mut result = CniResult { ips: given.ips, routes: given.routes, dns, ..CniResult::default() };
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
    check_settings(&link, config)?;
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
