//! A container's interface: whether it is there, and what a lease changes on it. The namespace is open only meanwhile.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use cni_host::{NetNs, announce, configure_iface};
use cni_interface::iface_config;
use cni_netlink::{Link, LinkChange, OperState, RouteSpec, Socket};
use cni_types::{CniResult, IpConfig};

use super::record::Place;

/// What is there.
#[derive(Debug)]
pub(super) enum Seen {
    /// The namespace or the interface is not there any more.
    Gone,
    /// The interface.
    There { carrier: bool, mtu: u32 },
}

/// The interface of this name, set up where it is not.
pub(super) fn find(netns: &Path, ifname: &str) -> Result<Place, String> {
    let told =
        |error: &dyn std::fmt::Display| format!("cannot find {ifname} in {}: {error}", netns.display());
    let ns = NetNs::open(netns).map_err(|error| told(&error))?;
    let mut socket = ns.socket().map_err(|error| told(&error))?;
    let link = socket.link_by_name(ifname).map_err(|error| told(&error))?;
    let mac = link.mac.ok_or_else(|| format!("cannot ask for an address of {ifname}: it is not Ethernet"))?;
    if !link.up {
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        socket.link_change(link.index, &up).map_err(|error| format!("cannot set {ifname} up: {error}"))?;
    }
    let netns_id = ns.identity().map_err(|error| told(&error))?;
    let outside = outside(&mut socket, &link);
    Ok(Place { netns: PathBuf::from(netns), netns_id, index: link.index, mac: mac.0, outside })
}

/// The link of the daemon's namespace by which the interface's network is reached without it, if there is one.
fn outside(inside: &mut Socket, link: &Link) -> Option<u32> {
    let (peer, netnsid) = (link.peer?, link.peer_netnsid?);
    let own = NetNs::current().ok()?;
    if inside.netnsid(own.as_fd()).ok()? != netnsid {
        return None;
    }
    let near = Socket::open().ok()?.link_by_index(peer).ok()?;
    // The near end of a pair goes with the far one; the bridge that it is a port of does not.
    if link.kind == "veth" { near.master } else { Some(near.index) }
}

impl Place {
    /// The namespace; none when it is gone, also where its path names another by now.
    pub(super) fn open(&self) -> Result<Option<NetNs>, String> {
        match NetNs::open(&self.netns) {
            Ok(ns) => {
                let same = ns.identity().map_err(|error| error.to_string())? == self.netns_id;
                Ok(same.then_some(ns))
            }
            Err(error) if error.is_netns_gone() => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Looks at the interface, by its index.
    pub(super) fn look(&self) -> Result<Seen, String> {
        let Some(ns) = self.open()? else { return Ok(Seen::Gone) };
        let mut socket = ns.socket().map_err(|error| error.to_string())?;
        match socket.link_by_index(self.index) {
            // Its hardware address may be another by now, as tuning changes it.
            Ok(link) => Ok(Seen::There { carrier: has_carrier(&link), mtu: link.mtu }),
            Err(error) if error.is_not_found() => Ok(Seen::Gone),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Puts what a lease gives in the place of what another gave, either of which may be none.
    pub(super) fn replace(&self, old: Option<&CniResult>, new: Option<&CniResult>) -> Result<(), String> {
        let Some(ns) = self.open()? else { return Ok(()) };
        let done = ns.run(|| -> Result<(), String> {
            let mut socket = Socket::open().map_err(|error| error.to_string())?;
            let link = socket.link_by_index(self.index).map_err(|error| error.to_string())?;
            if let Some(old) = old {
                take_away(&mut socket, link.index, old, new)?;
            }
            let Some(new) = new else { return Ok(()) };
            let is_old =
                |ip: &&IpConfig| old.is_some_and(|old| old.ips.iter().any(|old| old.address == ip.address));
            let added: Vec<_> = new.ips.iter().filter(|ip| !is_old(ip)).collect();
            for ip in &added {
                // The container may have it already, by its own doing.
                let _ = socket.addr_del(link.index, ip.address);
            }
            let config = iface_config(added, &[], false);
            configure_iface(&mut socket, link.index, &link.name, &config)
                .map_err(|error| error.to_string())?;
            for route in routes(new, link.index) {
                match socket.route_add_ecmp(&route) {
                    Err(error) if !error.is_exists() => return Err(error.to_string()),
                    _ => {}
                }
            }
            // Neighbours find out anyway.
            let _ = announce(&mut socket, link.index, &link.name);
            Ok(())
        });
        done.map_err(|error| error.to_string())?
    }
}

/// Routes first: those of an address that goes are gone by themselves, or not, by what else is there.
fn take_away(
    socket: &mut Socket,
    index: u32,
    old: &CniResult,
    new: Option<&CniResult>,
) -> Result<(), String> {
    let kept = new.map(|new| routes(new, index)).unwrap_or_default();
    for route in routes(old, index).iter().filter(|route| !kept.contains(route)) {
        // The container may have removed it itself.
        let _ = socket.route_del(route);
    }
    for ip in &old.ips {
        if new.is_some_and(|new| new.ips.iter().any(|new| new.address == ip.address)) {
            continue;
        }
        match socket.addr_del(index, ip.address) {
            Err(error) if !error.is_not_found() => return Err(error.to_string()),
            _ => {}
        }
    }
    Ok(())
}

/// The routes of a result as they are on an interface: one without a gateway has the address's.
fn routes(result: &CniResult, index: u32) -> Vec<RouteSpec> {
    let gateway = result.ips.iter().find_map(|ip| ip.gateway);
    let mut routes = iface_config(&result.ips, &result.routes, false).routes;
    for route in &mut routes {
        let on_link = route.scope.is_some_and(|scope| scope >= SCOPE_LINK);
        for hop in &mut route.next_hops {
            hop.index = index;
            hop.gateway = hop.gateway.or(gateway).filter(|gateway| !on_link && !gateway.is_unspecified());
        }
    }
    routes
}

/// RT_SCOPE_LINK of rtnetlink(7).
const SCOPE_LINK: u8 = 253;

/// Virtual links that have no carrier to speak of are of unknown state.
fn has_carrier(link: &Link) -> bool {
    match link.operstate {
        OperState::Up => true,
        OperState::Unknown => link.up,
        _ => false,
    }
}
