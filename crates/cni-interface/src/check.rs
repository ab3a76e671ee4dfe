//! What the CHECKs of several plugins compare: the interfaces that prevResult tells of with the links that are there.

use cni_host::{IfaceConfig, NetNs};
use cni_netlink::Link;
use cni_plugin::{Error, Result};
use cni_types::{CniResult, Interface};

use crate::iface_config;

/// The interfaces of a prevResult.
#[derive(Debug)]
pub struct Reported<'a> {
    prev: &'a CniResult,
}

impl<'a> Reported<'a> {
    /// Those that this result tells of.
    pub fn new(prev: &'a CniResult) -> Self {
        Reported { prev }
    }

    /// The interface of this name on the host.
    pub fn on_host(&self, name: &str) -> Result<&'a Interface> {
        self.find(name, None)
    }

    /// The interface of this name in the container's namespace.
    pub fn inside(&self, name: &str, netns: &str) -> Result<&'a Interface> {
        self.find(name, Some(netns))
    }

    fn find(&self, name: &str, sandbox: Option<&str>) -> Result<&'a Interface> {
        let of_name = |interface: &&Interface| interface.name == name && sandbox_of(interface) == sandbox;
        self.prev.interfaces.iter().find(of_name).ok_or_else(|| {
            let place = sandbox.map_or_else(|| "on the host".to_owned(), |sandbox| format!("in {sandbox}"));
            Error::failed(format!("prevResult has no interface {name} {place}"))
        })
    }
}

fn sandbox_of(interface: &Interface) -> Option<&str> {
    interface.sandbox.as_deref().filter(|sandbox| !sandbox.is_empty())
}

/// The link is of this kind.
pub fn expect_kind(link: &Link, kind: &str) -> Result<()> {
    if link.kind == kind {
        return Ok(());
    }
    let is = if link.kind.is_empty() { "a device without a kind" } else { &link.kind };
    Err(Error::failed(format!("{} is not of kind {kind}: it is {is}", link.name)))
}

/// The link has the hardware address that was reported, where one was.
pub fn check_mac(link: &Link, reported: &Interface) -> Result<()> {
    let Some(wanted) = reported.mac.as_deref().filter(|mac| !mac.is_empty()) else { return Ok(()) };
    let is = link.address_text().unwrap_or_default();
    if is.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(Error::failed(format!("the MAC address of {} is {is}, not {wanted}", link.name)))
}

/// The link has the MTU that was reported or, by a reference that reported none, that is configured.
pub fn check_mtu(link: &Link, reported: &Interface, configured: Option<u32>) -> Result<()> {
    let wanted = reported.mtu.filter(|mtu| *mtu != 0).or(configured);
    match wanted.filter(|mtu| *mtu != link.mtu) {
        Some(mtu) => Err(Error::failed(format!("the MTU of {} is {}, not {mtu}", link.name, link.mtu))),
        None => Ok(()),
    }
}

/// The link is administratively up.
pub fn check_up(link: &Link) -> Result<()> {
    if link.up { Ok(()) } else { Err(Error::failed(format!("{} is down", link.name))) }
}

/// What a prevResult says of the container's interface: the addresses that are its own, and the routes.
pub fn reported_config(netns: &NetNs, prev: &CniResult, dad: bool) -> IfaceConfig {
    let path = netns.path().to_str();
    let of_container =
        |index: usize| prev.interfaces.get(index).is_some_and(|interface| sandbox_of(interface) == path);
    let ips = prev.ips.iter().filter(|ip| ip.interface.is_none_or(of_container));
    iface_config(ips, &prev.routes, dad)
}
