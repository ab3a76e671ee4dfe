//! Links: veth pairs, bridges, changes, lookups.

use cni_netlink::{BridgePort, LinkChange, MacAddr, NewBridge, NewVeth, OperState, Socket};

use crate::support::{Container, bridge, in_netns, veth};

#[test]
fn veth_pair_is_whole_after_one_message() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let mut container = Container::new();
        let br0 = bridge(&mut host);

        let near = veth(&mut host, &container, Some(br0.index));
        assert_eq!(near.mac, Some(MacAddr([2, 0, 0, 0, 0, 1])));
        assert_eq!((near.mtu, near.up, near.kind.as_str()), (1450, false, "veth"));
        assert_eq!(near.master, Some(br0.index));
        assert_eq!(near.operstate, OperState::Down);
        assert_eq!(near.port, Some(BridgePort::default()));

        let far = container.socket.link_by_index(near.peer.unwrap()).unwrap();
        assert_eq!(far.name, "eth0");
        assert_eq!(far.mac, Some(MacAddr([2, 0, 0, 0, 0, 2])));
        assert_eq!((far.mtu, far.up, far.kind.as_str()), (1450, false, "veth"));
        assert_eq!(far.peer, Some(near.index));
        assert!(near.peer_netnsid.is_some_and(|id| id >= 0), "{near:?}");
    });
}
