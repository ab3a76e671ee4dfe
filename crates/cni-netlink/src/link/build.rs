//! The messages about links that this crate sends; their bytes are those of iproute2.

use std::os::fd::AsRawFd;

use netlink_packet_core::DefaultNla;
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind,
};
use netlink_packet_route::link::{InfoVeth, LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::{LinkChange, NewBridge, NewVeth};
use crate::MacAddr;

/// IFNAMSIZ without its terminating zero: what is longer can only be an alternative name.
const NAME_MAX: usize = 15;

/// Attributes of linux/if_link.h that the message crate lacks or writes with a terminating zero.
const IFLA_IFALIAS: u16 = 20;
const IFLA_ALT_IFNAME: u16 = 53;

/// `ip link add NAME ... type veth peer name PEER ...`, all of both ends in one message.
pub(super) fn veth(veth: &NewVeth<'_>) -> LinkMessage {
    let mut peer = end(LinkMessageBuilder::<LinkUnspec>::new(), veth.peer_name, veth.peer_mac, veth.mtu);
    if let Some(netns) = veth.peer_netns {
        peer = peer.setns_by_fd(netns.as_raw_fd());
    }
    let mut near = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build())));
    near = end(near, veth.name, veth.mac, veth.mtu);
    if let Some(master) = veth.master {
        near = near.controller(master);
    }
    near.build()
}

/// What both ends of a veth pair are given.
fn end<T>(
    builder: LinkMessageBuilder<T>,
    name: &str,
    mac: MacAddr,
    mtu: Option<u32>,
) -> LinkMessageBuilder<T> {
    let builder = builder
        .name(name)
        .append_extra_attribute(LinkAttribute::NumTxQueues(1))
        .append_extra_attribute(LinkAttribute::NumRxQueues(1));
    with_mac_and_mtu(builder, Some(mac), mtu)
}

/// `ip link add NAME ... type bridge`.
pub(super) fn bridge(bridge: &NewBridge<'_>) -> LinkMessage {
    // This constructor leaves it down, unlike `LinkBridge::new`.
    let mut builder = LinkMessageBuilder::<LinkBridge>::new(bridge.name);
    builder = with_mac_and_mtu(builder, bridge.mac, bridge.mtu);
    // Off is the default, and a kernel without VLAN filtering refuses even the word.
    if bridge.vlan_filtering {
        builder = builder.vlan_filtering(true);
    }
    builder.build()
}

/// `ip link set`, with `type bridge` or `type bridge_slave` where such settings are given.
pub(super) fn change(index: u32, change: &LinkChange<'_>) -> LinkMessage {
    let mut builder = match change.vlan_filtering {
        Some(filtering) => LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Bridge)
            .set_info_data(InfoData::Bridge(vec![InfoBridge::VlanFiltering(filtering)])),
        None => LinkMessageBuilder::<LinkUnspec>::new(),
    };
    builder = with_mac_and_mtu(builder.index(index), change.mac, change.mtu);
    if let Some(name) = change.name {
        builder = builder.name(name);
    }
    if let Some(alias) = change.alias {
        // Without a terminating zero, which would count as the 256th byte and could not be left alone to remove it.
        let raw = DefaultNla::new(IFLA_IFALIAS, alias.as_bytes().to_vec());
        builder = builder.append_extra_attribute(LinkAttribute::Other(raw));
    }
    if let Some(master) = change.master {
        builder = builder.controller(master.unwrap_or(0));
    }
    if let Some(port) = change.port {
        builder = builder.set_port_kind(InfoPortKind::Bridge).set_port_data(InfoPortData::BridgePort(vec![
            InfoBridgePort::HairpinMode(port.hairpin),
            InfoBridgePort::Isolated(port.isolated),
        ]));
    }
    if let Some(promisc) = change.promisc {
        builder = builder.promiscuous(promisc);
    }
    match change.up {
        Some(true) => builder.up().build(),
        Some(false) => builder.down().build(),
        None => builder.build(),
    }
}

fn with_mac_and_mtu<T>(
    mut builder: LinkMessageBuilder<T>,
    mac: Option<MacAddr>,
    mtu: Option<u32>,
) -> LinkMessageBuilder<T> {
    if let Some(mac) = mac {
        builder = builder.address(mac.0.to_vec());
    }
    match mtu {
        Some(mtu) => builder.mtu(mtu),
        None => builder,
    }
}

/// A message with nothing but the index: enough to delete.
pub(super) fn by_index(index: u32) -> LinkMessage {
    LinkMessageBuilder::<LinkUnspec>::new().index(index).build()
}

/// `ip link show dev NAME`. A short name is looked up among alternative names too (net/core/dev.c,
/// netdev_name_node_lookup).
pub(super) fn get_by_name(name: &str) -> LinkMessage {
    let attribute = if name.len() <= NAME_MAX {
        LinkAttribute::IfName(name.to_string())
    } else {
        LinkAttribute::Other(DefaultNla::new(IFLA_ALT_IFNAME, [name.as_bytes(), b"\0"].concat()))
    };
    let builder = LinkMessageBuilder::<LinkUnspec>::new().append_extra_attribute(attribute);
    without_statistics(builder).build()
}

pub(super) fn get_by_index(index: u32) -> LinkMessage {
    without_statistics(LinkMessageBuilder::<LinkUnspec>::new().index(index)).build()
}

/// `ip link show type KIND`
pub(super) fn dump(kind: Option<&str>) -> LinkMessage {
    let mut builder = without_statistics(LinkMessageBuilder::<LinkUnspec>::new());
    if let Some(kind) = kind {
        let kind = LinkInfo::Kind(InfoKind::Other(kind.to_string()));
        builder = builder.append_extra_attribute(LinkAttribute::LinkInfo(vec![kind]));
    }
    builder.build()
}

/// Makes the answer half a kilobyte smaller, and spares the kernel summing counters over all CPUs.
fn without_statistics<T>(builder: LinkMessageBuilder<T>) -> LinkMessageBuilder<T> {
    builder.append_extra_attribute(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]))
}
