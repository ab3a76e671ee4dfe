//! Reading RTM_NEWLINK: only what `Link` holds.

use super::{BridgePort, Link, LinkKind, OperState, tun};
use crate::MacAddr;
use crate::attr::{self, Attrs};

/// Length of `struct ifinfomsg`.
pub(crate) const IFINFOMSG: usize = 16;

/// linux/if.h
pub(crate) const IFF_UP: u32 = 1;
pub(crate) const IFF_PROMISC: u32 = 0x100;
pub(crate) const IFF_ALLMULTI: u32 = 0x200;

/// linux/if_link.h
pub(crate) const IFLA_ADDRESS: u16 = 1;
pub(crate) const IFLA_IFNAME: u16 = 3;
pub(crate) const IFLA_MTU: u16 = 4;
pub(crate) const IFLA_LINK: u16 = 5;
pub(crate) const IFLA_MASTER: u16 = 10;
pub(crate) const IFLA_TXQLEN: u16 = 13;
pub(crate) const IFLA_OPERSTATE: u16 = 16;
pub(crate) const IFLA_LINKINFO: u16 = 18;
pub(crate) const IFLA_IFALIAS: u16 = 20;
pub(crate) const IFLA_AF_SPEC: u16 = 26;
pub(crate) const IFLA_EXT_MASK: u16 = 29;
pub(crate) const IFLA_PROMISCUITY: u16 = 30;
pub(crate) const IFLA_LINK_NETNSID: u16 = 37;
pub(crate) const IFLA_PERM_ADDRESS: u16 = 54;

pub(crate) const IFLA_INFO_KIND: u16 = 1;
pub(crate) const IFLA_INFO_DATA: u16 = 2;
pub(crate) const IFLA_INFO_SLAVE_KIND: u16 = 4;
pub(crate) const IFLA_INFO_SLAVE_DATA: u16 = 5;

pub(crate) const IFLA_BR_VLAN_FILTERING: u16 = 7;
pub(crate) const IFLA_BRPORT_MODE: u16 = 4;
pub(crate) const IFLA_BRPORT_ISOLATED: u16 = 33;

/// The index that a link or an address message is about: both have it at the same place.
pub(crate) fn index(payload: &[u8]) -> Option<u32> {
    attr::u32_at(payload, 4)
}

/// Reads the payload of RTM_NEWLINK; `None` when there is no whole header or no name.
pub(crate) fn link(payload: &[u8]) -> Option<Link> {
    let flags = attr::u32_at(payload, 8)?;
    let mut link = Link {
        index: index(payload)?,
        name: String::new(),
        mac: None,
        address: Vec::new(),
        permanent_address: Vec::new(),
        mtu: 0,
        txqlen: 0,
        up: flags & IFF_UP != 0,
        promisc: flags & IFF_PROMISC != 0,
        allmulti: flags & IFF_ALLMULTI != 0,
        promiscuity: 0,
        operstate: OperState::Unknown,
        kind: String::new(),
        settings: None,
        master: None,
        peer: None,
        peer_netnsid: None,
        alias: None,
        port: None,
        vlan_filtering: None,
        tun: None,
    };
    for (kind, value) in Attrs::after(payload, IFINFOMSG) {
        match kind {
            IFLA_ADDRESS => {
                link.mac = value.try_into().ok().map(MacAddr);
                link.address = value.to_vec();
            }
            IFLA_PERM_ADDRESS => link.permanent_address = value.to_vec(),
            IFLA_IFNAME => link.name = attr::string(value),
            IFLA_MTU => link.mtu = attr::u32(value).unwrap_or(0),
            IFLA_TXQLEN => link.txqlen = attr::u32(value).unwrap_or(0),
            IFLA_LINK => link.peer = attr::u32(value),
            IFLA_MASTER => link.master = attr::u32(value),
            IFLA_OPERSTATE => link.operstate = operstate(value),
            IFLA_IFALIAS => link.alias = Some(attr::string(value)),
            IFLA_PROMISCUITY => link.promiscuity = attr::u32(value).unwrap_or(0),
            IFLA_LINK_NETNSID => link.peer_netnsid = attr::u32(value).map(u32::cast_signed),
            IFLA_LINKINFO => info(value, &mut link),
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

/// IFLA_LINKINFO: what kind of link it is and what its master says of it.
fn info(value: &[u8], link: &mut Link) {
    link.kind = Attrs(value).find(IFLA_INFO_KIND).map(attr::string).unwrap_or_default();
    link.settings = LinkKind::read(&link.kind, value);
    if link.kind == "tun" {
        link.tun = tun::read(value);
    }
    if link.kind == "bridge" {
        link.vlan_filtering = nested_bool(value, IFLA_INFO_DATA, IFLA_BR_VLAN_FILTERING);
    }
    if Attrs(value).find(IFLA_INFO_SLAVE_KIND).is_some_and(|kind| attr::string(kind) == "bridge") {
        link.port = Some(BridgePort {
            hairpin: nested_bool(value, IFLA_INFO_SLAVE_DATA, IFLA_BRPORT_MODE).unwrap_or(false),
            // Absent before Linux 4.18, which cannot isolate ports.
            isolated: nested_bool(value, IFLA_INFO_SLAVE_DATA, IFLA_BRPORT_ISOLATED).unwrap_or(false),
        });
    }
}

fn nested_bool(value: &[u8], nest: u16, kind: u16) -> Option<bool> {
    let inner = Attrs(value).find(nest)?;
    attr::u8_at(Attrs(inner).find(kind)?, 0).map(|byte| byte != 0)
}

/// IF_OPER_* of linux/if.h
fn operstate(value: &[u8]) -> OperState {
    match value.first() {
        Some(1) => OperState::NotPresent,
        Some(2) => OperState::Down,
        Some(3) => OperState::LowerLayerDown,
        Some(4) => OperState::Testing,
        Some(5) => OperState::Dormant,
        Some(6) => OperState::Up,
        _ => OperState::Unknown,
    }
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use proptest::prelude::*;

    use super::super::Tun;
    use super::*;
    use crate::golden;

    fn read(hex: &str) -> Link {
        let datagram = golden::bytes(hex);
        link(golden::message(&datagram).payload).unwrap()
    }

    #[test]
    fn port_of_a_bridge_is_read_whole() {
        let link = read(include_str!("../../testdata/link-veth-port.hex"));
        assert_eq!((link.index, link.name.as_str(), link.kind.as_str()), (3, "veth1234", "veth"));
        assert_eq!(link.mac, Some(MacAddr([2, 0, 0, 0, 0, 2])));
        assert_eq!((link.mtu, link.up, link.promiscuity), (1450, true, 1));
        // A port of a bridge is promiscuous without any administrator's doing.
        assert_eq!((link.promisc, link.allmulti, link.txqlen), (false, false, 1000));
        assert_eq!(link.operstate, OperState::Up);
        assert_eq!((link.master, link.peer, link.peer_netnsid), (Some(2), Some(2), Some(0)));
        assert_eq!(link.alias.as_deref(), Some("hello"));
        assert_eq!(link.port, Some(BridgePort { hairpin: true, isolated: true }));
        assert_eq!(link.vlan_filtering, None);
    }

    #[test]
    fn bridge_is_read_whole() {
        let link = read(include_str!("../../testdata/link-bridge.hex"));
        assert_eq!((link.index, link.name.as_str(), link.kind.as_str()), (2, "br0", "bridge"));
        assert_eq!(link.mac, Some(MacAddr([2, 0, 0, 0, 0, 1])));
        assert_eq!(link.address_text().as_deref(), Some("02:00:00:00:00:01"));
        assert_eq!((link.mtu, link.up, link.promiscuity), (1450, true, 0));
        assert_eq!((link.master, link.peer, link.peer_netnsid), (None, None, None));
        assert_eq!((link.alias, link.port, link.vlan_filtering), (None, None, Some(false)));
    }

    #[test]
    fn tap_device_is_read_whole() {
        let link = read(include_str!("../../testdata/link-tap.hex"));
        assert_eq!((link.name.as_str(), link.kind.as_str(), link.mtu), ("t0", "tun", 1400));
        let expected =
            Tun { tap: true, multi_queue: true, persist: true, owner: Some(1000), group: Some(1001) };
        assert_eq!((link.tun, link.settings), (Some(expected), None));
        assert_eq!(read(include_str!("../../testdata/link-bridge.hex")).tun, None);
    }

    #[test]
    fn address_of_another_length_is_no_mac_address() {
        // Header, IFLA_IFNAME "t", and a tunnel's IFLA_ADDRESS of four bytes.
        let payload =
            golden::bytes("00000000 05000000 00000000 00000000 06000300 74000000 08000100 0a000001");
        let link = link(&payload).unwrap();
        assert_eq!((link.mac, link.address_text().as_deref()), (None, Some("0a:00:00:01")));
    }

    #[test]
    fn no_header_or_no_name_is_no_link() {
        assert!(link(&[0; 11]).is_none());
        assert!(link(&[0; 16]).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(payload: Vec<u8>) {
            let _ = link(&payload);
        }

        /// Real answers with a few bytes changed reach deeper than noise does.
        #[test]
        fn no_damage_panics(changes: Vec<(prop::sample::Index, u8)>, cut: prop::sample::Index) {
            let mut datagram = golden::bytes(include_str!("../../testdata/link-veth-port.hex"));
            for (at, byte) in changes {
                let at = at.index(datagram.len());
                datagram[at] = byte;
            }
            datagram.truncate(cut.index(datagram.len()));
            let _ = link(datagram.get(16..).unwrap_or_default());
        }
    }
}
