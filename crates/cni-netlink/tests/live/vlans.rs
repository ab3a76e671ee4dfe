//! VLANs of bridge ports, where the kernel has them (CONFIG_BRIDGE_VLAN_FILTERING).

use cni_netlink::{BridgeVlan, LinkChange, NewBridge, Socket};
use nix::libc;

use crate::support::{Container, bridge, in_netns, skipped, veth};

const fn vlan(first: u16, last: u16) -> BridgeVlan {
    BridgeVlan { first, last, pvid: false, untagged: false }
}

/// A bridge that filters VLANs, or `None` after saying that this kernel has none.
fn filtering_bridge(socket: &mut Socket) -> Option<u32> {
    let wanted = NewBridge { name: "br0", mac: None, mtu: None, vlan_filtering: true };
    match socket.link_add_bridge(&wanted) {
        Ok(()) => Some(socket.link_by_name("br0").unwrap().index),
        Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => {
            skipped("needs a kernel with bridge VLAN filtering");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn vlans_of_a_port_are_added_listed_and_removed() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let Some(br0) = filtering_bridge(&mut host) else { return };
        assert_eq!(host.link_by_index(br0).unwrap().vlan_filtering, Some(true));
        let container = Container::new();
        let port = veth(&mut host, &container, Some(br0)).index;
        let default = BridgeVlan { pvid: true, untagged: true, ..vlan(1, 1) };
        assert_eq!(host.bridge_vlan_dump(port).unwrap(), [default]);

        host.bridge_vlan_add(port, &[vlan(10, 20), vlan(30, 30)], false).unwrap();
        assert_eq!(host.bridge_vlan_dump(port).unwrap(), [default, vlan(10, 20), vlan(30, 30)]);
        let access = BridgeVlan { pvid: true, untagged: true, ..vlan(100, 100) };
        host.bridge_vlan_add(port, &[access], false).unwrap();
        host.bridge_vlan_del(port, &[vlan(1, 1), vlan(10, 20)], false).unwrap();
        assert_eq!(host.bridge_vlan_dump(port).unwrap(), [vlan(30, 30), access]);
    });
}

#[test]
fn vlans_of_the_bridge_itself_are_added_and_removed() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let Some(br0) = filtering_bridge(&mut host) else { return };
        let before = host.bridge_vlan_dump(br0).unwrap();
        host.bridge_vlan_add(br0, &[vlan(10, 12)], true).unwrap();
        assert!(host.bridge_vlan_dump(br0).unwrap().contains(&vlan(10, 12)));
        host.bridge_vlan_del(br0, &[vlan(10, 12)], true).unwrap();
        assert_eq!(host.bridge_vlan_dump(br0).unwrap(), before);
    });
}

#[test]
fn filtering_is_switched_on_and_off() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let Some(br0) = filtering_bridge(&mut host) else { return };
        for filtering in [false, true] {
            host.link_change(br0, &LinkChange { vlan_filtering: Some(filtering), ..Default::default() })
                .unwrap();
            assert_eq!(host.link_by_index(br0).unwrap().vlan_filtering, Some(filtering));
        }
    });
}

/// Holds with any kernel: without VLAN filtering adding is refused, and a port has none.
#[test]
fn refused_vlans_are_named() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let br0 = bridge(&mut host).index;
        let container = Container::new();
        let port = veth(&mut host, &container, Some(br0)).index;
        let error = host.bridge_vlan_add(port, &[vlan(1, 1), vlan(10, 5000)], false).unwrap_err();
        let start = format!("cannot add VLANs 1,10-5000 to the link with index {port}: ");
        assert!(error.to_string().starts_with(&start), "{error}");
        assert!(host.bridge_vlan_dump(port).unwrap().iter().all(|vlan| vlan.first == 1));
        assert_eq!(host.bridge_vlan_dump(1).unwrap(), []);
    });
}
