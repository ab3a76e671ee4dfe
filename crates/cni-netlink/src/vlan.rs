//! VLANs of bridge ports: `bridge vlan`.

use nix::libc::{IFLA_AF_SPEC, IFLA_EXT_MASK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK};

use crate::attr::{self, Attrs};
use crate::link::{Header, IFINFOMSG, message_index};
use crate::socket::Request;
use crate::uapi::*;
use crate::{Result, Socket};

/// A range of VLANs on a port: [`BridgeVlan::tagged`] with what is to be otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeVlan {
    /// The first VLAN, 1 to 4094.
    pub first: u16,
    /// The last, the same for a single one.
    pub last: u16,
    /// What arrives without a tag is of it; of one VLAN at most.
    pub pvid: bool,
    /// What leaves by the port loses its tag.
    pub untagged: bool,
}

impl BridgeVlan {
    /// VLANs whose frames have a tag on the port's outside.
    pub fn tagged(first: u16, last: u16) -> Self {
        BridgeVlan { first, last, pvid: false, untagged: false }
    }
}

impl Socket {
    /// Adds VLANs to a bridge port, or to the bridge itself with `on_bridge` (`self` in iproute2).
    pub fn bridge_vlan_add(&mut self, index: u32, vlans: &[BridgeVlan], on_bridge: bool) -> Result<()> {
        let request = request(RTM_SETLINK, index, vlans, on_bridge);
        self.change(request, 0, || format!("add VLANs {} to the link with index {index}", list(vlans)))
    }

    /// Removes VLANs from a bridge port, or from the bridge itself.
    pub fn bridge_vlan_del(&mut self, index: u32, vlans: &[BridgeVlan], on_bridge: bool) -> Result<()> {
        let request = request(RTM_DELLINK, index, vlans, on_bridge);
        self.change(request, 0, || format!("remove VLANs {} from the link with index {index}", list(vlans)))
    }

    /// The VLANs of one port, ranges compressed.
    pub fn bridge_vlan_dump(&mut self, index: u32) -> Result<Vec<BridgeVlan>> {
        let ports = self.dump(
            dump_request(),
            || format!("list the VLANs of the link with index {index}"),
            // This dump takes no index (net/core/rtnetlink.c, valid_bridge_getlink_req).
            |payload| (message_index(payload) == Some(index)).then(|| parse(payload)),
        )?;
        Ok(ports.into_iter().flatten().collect())
    }
}

/// `bridge vlan add` and `del`, which differ only in the message's type.
fn request(kind: u16, index: u32, vlans: &[BridgeVlan], on_bridge: bool) -> Request {
    let header = Header { family: AF_BRIDGE, index, ..Header::default() };
    Request::written(kind, &header.bytes(), |writer| {
        writer.enclose(IFLA_AF_SPEC, |writer| {
            if on_bridge {
                writer.attr(IFLA_BRIDGE_FLAGS, &BRIDGE_FLAGS_SELF.to_ne_bytes());
            }
            for vlan in vlans {
                let mut flags = if vlan.pvid { BRIDGE_VLAN_INFO_PVID } else { 0 };
                flags |= if vlan.untagged { BRIDGE_VLAN_INFO_UNTAGGED } else { 0 };
                let mut write = |flags: u16, vid: u16| {
                    let [flags, vid] = [flags, vid].map(u16::to_ne_bytes);
                    writer.attr(IFLA_BRIDGE_VLAN_INFO, &[flags, vid].concat());
                };
                if vlan.first == vlan.last {
                    write(flags, vlan.first);
                } else {
                    write(flags | BRIDGE_VLAN_INFO_RANGE_BEGIN, vlan.first);
                    write(flags | BRIDGE_VLAN_INFO_RANGE_END, vlan.last);
                }
            }
        });
    })
}

/// `bridge -compressvlans vlan show`
fn dump_request() -> Request {
    let header = Header { family: AF_BRIDGE, ..Header::default() };
    Request::written(RTM_GETLINK, &header.bytes(), |writer| {
        writer.u32(IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN_COMPRESSED);
    })
}

/// `1,10-20` for errors.
fn list(vlans: &[BridgeVlan]) -> String {
    let range = |vlan: &BridgeVlan| match (vlan.first, vlan.last) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    vlans.iter().map(range).collect::<Vec<_>>().join(",")
}

/// Reads the VLANs out of the payload of an AF_BRIDGE RTM_NEWLINK.
pub(crate) fn parse(payload: &[u8]) -> Vec<BridgeVlan> {
    let Some(spec) = Attrs::after(payload, IFINFOMSG).find(IFLA_AF_SPEC) else {
        return Vec::new();
    };
    let mut vlans = Vec::new();
    let mut begun = None;
    for (_, value) in Attrs(spec).filter(|(kind, _)| *kind == IFLA_BRIDGE_VLAN_INFO) {
        let (Some(flags), Some(vid)) = (attr::u16_at(value, 0), attr::u16_at(value, 2)) else {
            continue;
        };
        if flags & BRIDGE_VLAN_INFO_RANGE_BEGIN != 0 {
            begun = Some(vid);
            continue;
        }
        let first = begun.take().filter(|_| flags & BRIDGE_VLAN_INFO_RANGE_END != 0);
        vlans.push(BridgeVlan {
            first: first.unwrap_or(vid),
            last: vid,
            pvid: flags & BRIDGE_VLAN_INFO_PVID != 0,
            untagged: flags & BRIDGE_VLAN_INFO_UNTAGGED != 0,
        });
    }
    vlans
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::golden::{self, CHANGE, assert_request};

    fn vlan(first: u16, last: u16) -> BridgeVlan {
        BridgeVlan::tagged(first, last)
    }

    /// bridge vlan add dev veth99 vid 10; ... vid 30 pvid untagged
    #[test]
    fn single_vlans_of_a_port() {
        assert_request(
            request(RTM_SETLINK, 3, &[vlan(10, 10)], false),
            CHANGE,
            "2c000000 13000500 00000000 00000000
             07000000 03000000 00000000 00000000
             0c001a00 08000200 00000a00",
        );
        assert_request(
            request(RTM_SETLINK, 3, &[BridgeVlan { pvid: true, untagged: true, ..vlan(30, 30) }], false),
            CHANGE,
            "2c000000 13000500 00000000 00000000
             07000000 03000000 00000000 00000000
             0c001a00 08000200 06001e00",
        );
    }

    /// bridge vlan add dev veth99 vid 10-20 untagged
    #[test]
    fn range_has_a_begin_and_an_end() {
        assert_request(
            request(RTM_SETLINK, 3, &[BridgeVlan { untagged: true, ..vlan(10, 20) }], false),
            CHANGE,
            "34000000 13000500 00000000 00000000
             07000000 03000000 00000000 00000000
             14001a00 08000200 0c000a00 08000200 14001400",
        );
    }

    /// bridge vlan add dev br0 vid 10 self
    #[test]
    fn vlan_of_the_bridge_itself() {
        assert_request(
            request(RTM_SETLINK, 2, &[vlan(10, 10)], true),
            CHANGE,
            "34000000 13000500 00000000 00000000
             07000000 02000000 00000000 00000000
             14001a00 06000000 02000000 08000200 00000a00",
        );
    }

    /// bridge vlan del dev veth99 vid 10-20
    #[test]
    fn removal() {
        assert_request(
            request(RTM_DELLINK, 3, &[vlan(10, 20)], false),
            CHANGE,
            "34000000 11000500 00000000 00000000
             07000000 03000000 00000000 00000000
             14001a00 08000200 08000a00 08000200 10001400",
        );
    }

    /// bridge -compressvlans vlan show
    #[test]
    fn dump_of_compressed_ranges() {
        assert_request(
            dump_request(),
            0x301,
            "28000000 12000103 00000000 00000000
             07000000 00000000 00000000 00000000
             08001d00 04000000",
        );
    }

    fn read(spec: &str) -> Vec<BridgeVlan> {
        parse(&golden::bytes(&format!("07000100 03000000 00000000 00000000 {spec}")))
    }

    /// The answer of Linux 6.1, without the port's other attributes, after `bridge vlan add dev veth99 vid 10-20` and
    /// `... vid 30 pvid untagged`; VLAN 1 was the bridge's default.
    #[test]
    fn compressed_ranges_are_read() {
        let vlans = read(
            "0b000300 76657468 39390000
             24001a00 08000200 04000100 08000200 08000a00 08000200 10001400 08000200 06001e00",
        );
        let default = BridgeVlan { untagged: true, ..vlan(1, 1) };
        let access = BridgeVlan { pvid: true, untagged: true, ..vlan(30, 30) };
        assert_eq!(vlans, [default, vlan(10, 20), access]);
    }

    /// The same for the bridge itself, whole.
    #[test]
    fn the_bridges_own_vlans_are_read() {
        let datagram = golden::bytes(
            "58000000 10000200 00000000 fa000000
             07000100 02000000 02100000 00000000
             08000300 62723000 08000a00 02000000 08000400 dc050000 05001000 02000000
             0a000100 02000000 00010000 0c001a00 08000200 06000100",
        );
        let payload = golden::message(&datagram).payload;
        assert_eq!(message_index(payload), Some(2));
        assert_eq!(parse(payload), [BridgeVlan { pvid: true, untagged: true, ..vlan(1, 1) }]);
    }

    #[test]
    fn begin_without_end_and_end_without_begin_are_not_ranges() {
        assert_eq!(read("14001a00 08000200 08000a00 08000200 00001400"), [vlan(20, 20)]);
        assert_eq!(read("0c001a00 08000200 10001400"), [vlan(20, 20)]);
        assert_eq!(read("0c001a00 08000200 08001400"), []);
        assert_eq!(read(""), []);
    }

    #[test]
    fn errors_name_the_vlans() {
        assert_eq!(list(&[vlan(1, 1), vlan(10, 20)]), "1,10-20");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(payload: Vec<u8>) {
            let _ = parse(&payload);
        }

        #[test]
        fn no_vlan_list_panics(spec: Vec<(u16, u16)>) {
            let mut payload = vec![0; 16];
            payload.extend(((spec.len() * 8 + 4) as u16).to_ne_bytes());
            payload.extend(IFLA_AF_SPEC.to_ne_bytes());
            for (flags, vid) in spec {
                payload.extend([8, 0, 2, 0]);
                payload.extend(flags.to_ne_bytes());
                payload.extend(vid.to_ne_bytes());
            }
            let _ = parse(&payload);
        }
    }
}
