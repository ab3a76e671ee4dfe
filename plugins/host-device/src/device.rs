//! Finding the device on the host, and what it loses by being moved: a failed ADD gives it back.

use cni_interface::all;
use cni_netlink::{FoundAddr, FoundRoute, Link, LinkChange, Socket};
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
    addresses: Vec<FoundAddr>,
    routes: Vec<FoundRoute>,
}

impl Before {
    pub(crate) fn of(host: &mut Socket, link: &Link) -> Result<Self> {
        Ok(Before {
            up: link.up,
            master: link.master,
            addresses: host.addr_dump_found(link.index)?,
            routes: routes_of(host, link.index)?,
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
        outcomes.extend(self.addresses.iter().map(|addr| host.addr_put(&addr.on(index))));
        // Those on the link first: the others' gateways are reached by them.
        let mut routes: Vec<FoundRoute> = self.routes.iter().map(|route| route.on(index)).collect();
        routes.sort_by_key(has_gateway);
        outcomes.extend(routes.iter().map(|route| host.route_put_new(route)));
        // Link-local addresses, and the routes of addresses, the kernel has added already.
        let failed = outcomes.into_iter().filter(|outcome| !outcome.as_ref().is_err_and(|e| e.is_exists()));
        all(failed.map(|outcome| Ok(outcome?)))
    }
}

/// The routes that leave by the link, each as far as it is the link's own.
pub(crate) fn routes_of(host: &mut Socket, index: u32) -> Result<Vec<FoundRoute>> {
    let found = host.route_dump_found(index, None)?.into_iter();
    Ok(found.filter_map(|route| route.only_by(index)).collect())
}

pub(crate) fn has_gateway(route: &FoundRoute) -> bool {
    route.spec.next_hops.iter().any(|hop| hop.gateway.is_some())
}
