//! The loopback plugin: brings up `lo` in a container's network namespace. Runtimes call it for every container, as a
//! network of its own or as the first of a chain; a new namespace's `lo` is there but down.
//!
//! It keeps no state: all that it changes is one flag of a link that is born and dies with its namespace. The interface is
//! always `lo`, whatever `CNI_IFNAME` says, as with the reference.

use cni_host::NetNs;
use cni_netlink::{Addr, Link, LinkChange, Socket};
use cni_plugin::{Add, Check, Context, Del, Error, Gc, Plugin, Result, Status, Undo};
use cni_types::{CniResult, ErrorCode, Interface, IpConfig, SpecVersion};

/// The plugin's table of functions. It has no configuration of its own.
pub const PLUGIN: Plugin<(), ()> = Plugin {
    name: "loopback",
    versions: SpecVersion::ALL,
    read: |_| Ok(()),
    validate: |(), _| Ok(()),
    add,
    check,
    del,
    gc,
    status,
};

const LO: &str = "lo";

fn add(req: &Add<()>) -> Result<CniResult> {
    // Read before anything is touched: one that cannot be read fails the ADD.
    let prev_result = req.call.conf.prev_result()?;
    let netns = open(req.netns())?;
    let (mut socket, lo) = lo_of(&netns)?;
    // Before it comes up, since the addresses that it gets then do not go again when it goes down.
    refuse_foreign(&netns, &socket.addr_dump(lo.index)?)?;
    let mut undo = Undo::default();
    if !lo.up {
        undo.push("set lo down again", || set_up(&mut netns.socket()?, &lo, false));
    }
    set_up(&mut socket, &lo, true)?;
    // Now with 127.0.0.1/8 and ::1/128, which the kernel gives it.
    let addrs = socket.addr_dump(lo.index)?;
    undo.commit();
    Ok(match prev_result {
        Some(result) => result.clone(),
        None => result(req.netns(), &addrs),
    })
}

fn refuse_foreign(netns: &NetNs, addrs: &[Addr]) -> Result<()> {
    let Some(addr) = addrs.iter().find(|addr| !addr.address.addr().is_loopback()) else { return Ok(()) };
    let (path, address) = (netns.path().display(), addr.address);
    Err(Error::failed(format!("cannot take {LO} in {path} for a loopback interface: it has {address}")))
}

/// Up, and with an IPv4 loopback address, as ADD leaves it. ::1 may go for good reasons: its presence follows
/// net.ipv6.conf.lo.disable_ipv6, which is the container's own to set.
fn check(req: &Check<()>) -> Result<()> {
    let netns = open(req.netns())?;
    let path = netns.path().display();
    let (mut socket, lo) = lo_of(&netns)?;
    if !lo.up {
        return Err(Error::failed(format!("{LO} in {path} is down")));
    }
    let is_ipv4_loopback = |addr: &Addr| addr.address.addr().is_ipv4() && addr.address.addr().is_loopback();
    if !socket.addr_dump(lo.index)?.iter().any(is_ipv4_loopback) {
        return Err(Error::failed(format!("{LO} in {path} has no address of 127.0.0.0/8")));
    }
    Ok(())
}

fn del(req: &Del<()>) -> Result<()> {
    let Some(path) = &req.netns else { return Ok(()) };
    let netns = match NetNs::open(path) {
        Err(error) if error.is_netns_gone() => return Ok(()),
        opened => opened.map_err(invalid_netns)?,
    };
    let (mut socket, lo) = lo_of(&netns)?;
    set_up(&mut socket, &lo, false)
}

/// Nothing of ADD lies outside the container's namespace, so nothing can be left over.
fn gc(_: &Gc<()>) -> Result<()> {
    Ok(())
}

/// An ADD needs nothing of the host: no address, no device, no folder.
fn status(_: &Status<()>) -> Result<()> {
    Ok(())
}

fn open(path: &str) -> Result<NetNs> {
    NetNs::open(path).map_err(invalid_netns)
}

fn invalid_netns(error: cni_host::Error) -> Error {
    Error::new(ErrorCode::INVALID_NETNS, error.to_string())
}

/// A socket in the namespace, and its `lo`.
fn lo_of(netns: &NetNs) -> Result<(Socket, Link)> {
    let mut socket = netns.socket().map_err(invalid_netns)?;
    let link = socket.link_by_name(LO).with_context(|| format!("in {}", netns.path().display()))?;
    Ok((socket, link))
}

fn set_up(socket: &mut Socket, link: &Link, up: bool) -> Result<()> {
    Ok(socket.link_change(link.index, &LinkChange { up: Some(up), ..LinkChange::default() })?)
}

/// `lo` and the first address of each family, IPv4 first, as the reference has it.
fn result(netns: &str, addrs: &[Addr]) -> CniResult {
    let lo = Interface {
        name: LO.to_owned(),
        mac: Some("00:00:00:00:00:00".to_owned()),
        sandbox: Some(netns.to_owned()),
        ..Interface::default()
    };
    let first =
        |ipv4: bool| addrs.iter().map(|addr| addr.address).find(|address| address.addr().is_ipv4() == ipv4);
    let ips = [first(true), first(false)].into_iter().flatten();
    let ips = ips.map(|address| IpConfig { interface: Some(0), address, gateway: None }).collect();
    CniResult { interfaces: vec![lo], ips, ..CniResult::default() }
}
