//! The messages about links that this crate sends; their bytes are those of iproute2. They are written by hand: the message
//! crate's type of a link brings the code for every kind and every attribute, a tenth of a plugin.

use std::os::fd::AsRawFd;

use nix::libc::{IFLA_ADDRESS, IFLA_ALT_IFNAME, IFLA_EXT_MASK, IFLA_IFALIAS, IFLA_IFNAME, IFLA_MASTER};
use nix::libc::{IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_INFO_SLAVE_DATA, IFLA_INFO_SLAVE_KIND, IFLA_LINKINFO};
use nix::libc::{IFLA_MTU, IFLA_NET_NS_FD, IFLA_NUM_RX_QUEUES, IFLA_NUM_TX_QUEUES, IFLA_PROP_LIST};
use nix::libc::{IFLA_TXQLEN, IFNAMSIZ, RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK};

use super::parse::IFINFOMSG;
use super::{LinkChange, NewBridge, NewVeth};
use crate::MacAddr;
use crate::socket::Request;
use crate::uapi::*;
use crate::write::Writer;

/// `struct ifinfomsg`, but for the type of hardware, which is never asked for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Header {
    pub(crate) family: u8,
    pub(crate) index: u32,
    /// IFF_*, of which those in `mask` are changed.
    pub(crate) flags: u32,
    pub(crate) mask: u32,
}

impl Header {
    pub(crate) fn bytes(self) -> [u8; IFINFOMSG] {
        let mut bytes = [0; IFINFOMSG];
        bytes[0] = self.family;
        bytes[4..8].copy_from_slice(&self.index.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.flags.to_ne_bytes());
        bytes[12..].copy_from_slice(&self.mask.to_ne_bytes());
        bytes
    }

    fn set(&mut self, flag: u32, on: Option<bool>) {
        if let Some(on) = on {
            self.mask |= flag;
            self.flags |= if on { flag } else { 0 };
        }
    }
}

/// `ip link add NAME ... type veth peer name PEER ...`, all of both ends in one message.
pub(super) fn veth(veth: &NewVeth<'_>) -> Request {
    let peer = |writer: &mut Writer| {
        writer.raw(&Header::default().bytes());
        end(writer, veth.peer_mac, veth.mtu);
        if let Some(netns) = veth.peer_netns {
            writer.u32(IFLA_NET_NS_FD, netns.as_raw_fd().cast_unsigned());
        }
        writer.string(IFLA_IFNAME, veth.peer_name);
    };
    create(|writer| {
        end(writer, veth.mac, veth.mtu);
        if let Some(master) = veth.master {
            writer.u32(IFLA_MASTER, master);
        }
        writer.string(IFLA_IFNAME, veth.name);
        info(writer, "veth", |writer| {
            writer.enclose(IFLA_INFO_DATA, |data| data.enclose(VETH_INFO_PEER, peer))
        });
    })
}

/// What both ends of a veth pair are given.
fn end(writer: &mut Writer, mac: MacAddr, mtu: Option<u32>) {
    writer.u32(IFLA_NUM_TX_QUEUES, 1);
    writer.u32(IFLA_NUM_RX_QUEUES, 1);
    mac_and_mtu(writer, Some(mac), mtu);
}

/// `ip link add NAME ... type bridge`.
pub(super) fn bridge(bridge: &NewBridge<'_>) -> Request {
    create(|writer| {
        mac_and_mtu(writer, bridge.mac, bridge.mtu);
        writer.string(IFLA_IFNAME, bridge.name);
        info(writer, "bridge", |writer| {
            // Off is the default, and a kernel without VLAN filtering refuses even the word.
            if bridge.vlan_filtering {
                vlan_filtering(writer, true);
            }
        });
    })
}

/// `ip link set`, with `type bridge` or `type bridge_slave` where such settings are given.
pub(super) fn change(index: u32, change: &LinkChange<'_>) -> Request {
    let mut header = Header { index, ..Header::default() };
    header.set(IFF_UP, change.up);
    header.set(IFF_PROMISC, change.promisc);
    header.set(IFF_ALLMULTI, change.allmulti);
    Request::written(RTM_NEWLINK, &header.bytes(), |writer| {
        mac_and_mtu(writer, change.mac, change.mtu);
        if let Some(length) = change.txqlen {
            writer.u32(IFLA_TXQLEN, length);
        }
        if let Some(netns) = change.netns {
            writer.u32(IFLA_NET_NS_FD, netns.as_raw_fd().cast_unsigned());
        }
        if let Some(name) = change.name {
            writer.string(IFLA_IFNAME, name);
        }
        if let Some(alias) = change.alias {
            // Without a terminating zero, which would count as the 256th byte and could not be left alone to remove it.
            writer.attr(IFLA_IFALIAS, alias.as_bytes());
        }
        if let Some(master) = change.master {
            writer.u32(IFLA_MASTER, master.unwrap_or(0));
        }
        if let Some(filtering) = change.vlan_filtering {
            info(writer, "bridge", |writer| vlan_filtering(writer, filtering));
        }
        if let Some(port) = change.port {
            writer.enclose(IFLA_LINKINFO, |writer| {
                writer.string(IFLA_INFO_SLAVE_KIND, "bridge");
                writer.enclose(IFLA_INFO_SLAVE_DATA, |writer| {
                    writer.attr(IFLA_BRPORT_MODE, &[port.hairpin.into()]);
                    writer.attr(IFLA_BRPORT_ISOLATED, &[port.isolated.into()]);
                });
            });
        }
    })
}

fn vlan_filtering(writer: &mut Writer, on: bool) {
    writer.enclose(IFLA_INFO_DATA, |writer| writer.attr(IFLA_BR_VLAN_FILTERING, &[on.into()]));
}

/// A link to be made.
pub(super) fn create(attributes: impl FnOnce(&mut Writer)) -> Request {
    Request::written(RTM_NEWLINK, &Header::default().bytes(), attributes)
}

/// IFLA_LINKINFO with the kind and what `data` writes.
pub(super) fn info(writer: &mut Writer, kind: &str, data: impl FnOnce(&mut Writer)) {
    writer.enclose(IFLA_LINKINFO, |writer| {
        writer.string(IFLA_INFO_KIND, kind);
        data(writer);
    });
}

pub(super) fn mac_and_mtu(writer: &mut Writer, mac: Option<MacAddr>, mtu: Option<u32>) {
    if let Some(mac) = mac {
        writer.attr(IFLA_ADDRESS, &mac.0);
    }
    if let Some(mtu) = mtu {
        writer.u32(IFLA_MTU, mtu);
    }
}

/// `ip link delete`: nothing but the index.
pub(super) fn delete(index: u32) -> Request {
    Request::written(RTM_DELLINK, &Header { index, ..Header::default() }.bytes(), |_| {})
}

/// `ip link property del dev NAME altname ALTNAME`
pub(super) fn altname_del(index: u32, altname: &str) -> Request {
    Request::written(RTM_DELLINKPROP, &Header { index, ..Header::default() }.bytes(), |writer| {
        writer.nest(IFLA_PROP_LIST, |writer| writer.string(IFLA_ALT_IFNAME, altname));
    })
}

/// `ip link show dev NAME`. A short name is looked up among alternative names too (net/core/dev.c,
/// netdev_name_node_lookup).
pub(super) fn get_by_name(name: &str) -> Request {
    // A terminating zero belongs to it; what is longer can only be an alternative name.
    let attribute = if name.len() < IFNAMSIZ { IFLA_IFNAME } else { IFLA_ALT_IFNAME };
    without_statistics(0, |writer| writer.string(attribute, name))
}

pub(super) fn get_by_index(index: u32) -> Request {
    without_statistics(index, |_| {})
}

/// `ip link show type KIND`
pub(super) fn dump(kind: Option<&str>) -> Request {
    without_statistics(0, |writer| {
        if let Some(kind) = kind {
            info(writer, kind, |_| {});
        }
    })
}

/// A question for links that spares the kernel summing up IPv6 counters over all CPUs, and half a kilobyte of answer
/// (net/ipv6/addrconf.c, inet6_fill_ifla6_attrs).
fn without_statistics(index: u32, attributes: impl FnOnce(&mut Writer)) -> Request {
    Request::written(RTM_GETLINK, &Header { index, ..Header::default() }.bytes(), |writer| {
        writer.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        attributes(writer);
    })
}

// The bytes below are those of a little-endian machine.
#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests;
