//! `master` and `linkInContainer`: the interface that macvlan, ipvlan and vlan put theirs on.

use std::os::fd::AsFd;

use cni_host::NetNs;
use cni_netlink::{Link, Parent, Socket};
use cni_plugin::{Context as _, Error, Result};

use crate::Container;

/// Which interface it is, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// `None` for the default route's.
    name: Option<String>,
    in_container: bool,
}

impl Master {
    /// The keys' values. An empty name is unset.
    pub fn new(name: Option<&str>, in_container: bool) -> Self {
        Master { name: name.filter(|name| !name.is_empty()).map(str::to_owned), in_container }
    }

    /// Whether the configuration names it.
    pub fn is_named(&self) -> bool {
        self.name.is_some()
    }

    /// The interface, on the host or, with `linkInContainer`, in the namespace of `inside`; by its name, or by an alternative
    /// one (`ip link property add dev ... altname`).
    pub fn find(&self, inside: &mut Socket) -> Result<Link> {
        if self.in_container { self.find_by(inside) } else { self.find_by(&mut Socket::open()?) }
    }

    fn find_by(&self, socket: &mut Socket) -> Result<Link> {
        if let Some(name) = &self.name {
            return socket.link_by_name(name).context("master");
        }
        match socket.route_default()? {
            Some(index) => socket.link_by_index(index).context("master"),
            None => Err(Error::config("master: there is no default route whose interface could be it")),
        }
    }

    /// The same as what a link in the container stands on.
    pub fn parent(&self, link: &Link, container: &mut Container) -> Result<Parent> {
        Ok(Parent { index: link.index, netnsid: self.netnsid(container)? })
    }

    /// The ID of the master's namespace in the container's; `None` when it is the container's.
    fn netnsid(&self, container: &mut Container) -> Result<Option<i32>> {
        let host = NetNs::current()?;
        // The host's own is asked for with CNI_NETNS_OVERRIDE.
        if self.in_container || container.netns.is_same(&host)? {
            return Ok(None);
        }
        Ok(Some(container.socket.netnsid(host.as_fd())?))
    }

    /// For CHECK: `link` of the container stands on it. A master that the configuration does not name is not looked for: the
    /// default route may lead elsewhere since.
    pub fn check(&self, link: &Link, container: &mut Container) -> Result<()> {
        if !self.is_named() {
            return Ok(());
        }
        let master = self.find(&mut container.socket)?;
        let stands = if master.kind == link.kind && link.kind != "vlan" {
            // On a link of its own kind the kernel puts it on what that one stands on (drivers/net/macvlan.c,
            // macvlan_common_newlink; drivers/net/ipvlan/ipvlan_main.c, ipvlan_link_new). A VLAN in a VLAN stays there.
            link.peer == master.peer
        } else {
            link.peer == Some(master.index) && link.peer_netnsid == self.netnsid(container)?
        };
        if stands {
            return Ok(());
        }
        Err(Error::failed(format!("{} is not on master {}", link.name, master.name)))
    }

    /// For STATUS: it is there, or else code 50. What is in a container nobody can tell before there is one.
    pub fn status(&self) -> Result<()> {
        if self.in_container {
            return Ok(());
        }
        let found = self.find_by(&mut Socket::open()?).map(drop);
        found.map_err(Error::unavailable)
    }
}

/// Refuses an MTU that the master cannot carry.
pub fn expect_mtu_fits(mtu: Option<u32>, master: &Link) -> Result<()> {
    match mtu.filter(|mtu| *mtu > master.mtu) {
        Some(mtu) => Err(Error::config(format!(
            "mtu: {mtu} is greater than {}, that of master {}",
            master.mtu, master.name
        ))),
        None => Ok(()),
    }
}
