//! Links as results tell of them.

use cni_netlink::Link;
use cni_types::Interface;

/// An interface on the host.
pub fn on_host(link: &Link) -> Interface {
    Interface {
        name: link.name.clone(),
        mac: link.address_text(),
        mtu: Some(link.mtu),
        ..Interface::default()
    }
}

/// An interface in the container's namespace.
pub fn inside(link: &Link, netns: &str) -> Interface {
    Interface { sandbox: Some(netns.to_owned()), ..on_host(link) }
}
