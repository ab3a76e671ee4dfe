//! Finding the device on the host, and what it loses by being moved: a failed ADD gives it back.

use cni_interface::all;
use cni_netlink::{Addr, AddrFlags, Link, LinkChange, RouteSpec, Socket};
use cni_plugin::{Context as _, Error, Result};

use crate::config::{Config, Selector};
use crate::sysfs::Sysfs;

/// The device that the configuration names.
pub(crate) fn find(host: &mut Socket, config: &Config, sysfs: &Sysfs) -> Result<Link> {
    let name = match &config.selector {
        Selector::Address(address) => return by_address(host, address),
        Selector::Name(name) => name.clone(),
        Selector::KernelPath(path) => sysfs.interface_of_path(path)?,
        Selector::Pci(address) => sysfs.interface_of_pci(address)?,
        Selector::Auxiliary(id) => sysfs.interface_of_auxiliary(id)?,
    };
    host.link_by_name(&name).context("cannot find the device on the host")
}

/// The first that has it, as the kernel lists them: a VLAN on top of a device, made later, has its address too.
fn by_address(host: &mut Socket, address: &[u8]) -> Result<Link> {
    let found = host.link_dump(None)?.into_iter().find(|link| link.address == address);
    found.ok_or_else(|| {
        let text: Vec<String> = address.iter().map(|octet| format!("{octet:02x}")).collect();
        Error::failed(format!("cannot find the device on the host: none has the address {}", text.join(":")))
    })
}

/// What the kernel takes from a device that leaves its namespace (net/core/dev.c, __dev_change_net_namespace).
#[derive(Debug)]
pub(crate) struct Before {
    up: bool,
    master: Option<u32>,
    addresses: Vec<Addr>,
    routes: Vec<RouteSpec>,
}

impl Before {
    pub(crate) fn of(host: &mut Socket, link: &Link) -> Result<Self> {
        Ok(Before {
            up: link.up,
            master: link.master,
            addresses: host.addr_dump(link.index)?,
            routes: host.route_dump(link.index, None)?,
        })
    }

    /// Gives it back to the device of this name. All is tried, whatever fails.
    pub(crate) fn restore(&self, host: &mut Socket, name: &str) -> Result<()> {
        let index = host.link_by_name(name)?.index;
        let mut outcomes = Vec::new();
        let change = LinkChange {
            up: self.up.then_some(true),
            master: self.master.map(Some),
            ..LinkChange::default()
        };
        outcomes.push(host.link_change(index, &change));
        for addr in &self.addresses {
            outcomes.push(host.addr_add(index, addr.address, AddrFlags { nodad: true }));
        }
        for route in &self.routes {
            let mut route = route.clone();
            route.next_hops.retain(|hop| hop.index != 0);
            for hop in &mut route.next_hops {
                hop.index = index;
            }
            outcomes.push(host.route_add(&route));
        }
        // Link-local addresses, and the routes of addresses, the kernel has added already.
        let failed = outcomes.into_iter().filter(|outcome| !outcome.as_ref().is_err_and(|e| e.is_exists()));
        all(failed.map(|outcome| Ok(outcome?)))
    }
}
