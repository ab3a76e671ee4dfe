//! Links with settings of their own, on parents in this and in another namespace, where the kernel has them.

use std::os::fd::AsFd;

use cni_netlink::{IpvlanMode, Link, LinkChange, LinkKind, MacAddr, MacvlanMode, NewLink, Parent, Socket};
use nix::libc;

use crate::support::{Container, in_netns, skipped, veth};

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const TEMPORARY: &str = "cni0123456789ab";
const MACVLAN: LinkKind = LinkKind::Macvlan { mode: MacvlanMode::Bridge, bc_queue_len: None };

/// Makes the link, or says that this kernel has no such kind.
fn add(socket: &mut Socket, new: &NewLink<'_>) -> Option<Link> {
    match socket.link_add_beside(new, TEMPORARY) {
        Ok(()) => Some(socket.link_by_name(new.name).unwrap()),
        Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => {
            skipped(&format!("needs a kernel with {}", new.kind.name()));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn parent(index: u32) -> Option<Parent> {
    Some(Parent { index, netnsid: None })
}

#[test]
fn a_namespace_keeps_the_id_it_was_given() {
    in_netns(|| {
        let host = Container::new();
        let mut inside = Socket::open().unwrap();
        let id = inside.netnsid(host.netns.as_fd()).unwrap();
        assert!(id >= 0, "{id}");
        assert_eq!(inside.netnsid(host.netns.as_fd()).unwrap(), id);
        let other = Container::new();
        assert_ne!(inside.netnsid(other.netns.as_fd()).unwrap(), id);
        // The ID that a link's parent is reported by is the same one.
        let mut container = Container::new();
        let port = veth(&mut inside, &container, None);
        assert_eq!(inside.netnsid(container.netns.as_fd()).unwrap(), port.peer_netnsid.unwrap());
        container.socket.link_by_name("eth0").unwrap();
    });
}

#[test]
fn what_is_no_namespace_has_no_id() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let error = host.netnsid(file.as_fd()).unwrap_err();
        assert!(error.to_string().starts_with("cannot find a network namespace's ID: "), "{error}");
    });
}

/// Before Linux 6.15 such a name takes a detour: the link is born beside its parent.
#[test]
fn macvlan_is_made_beside_its_parents_namespace_under_a_name_that_is_taken_there() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let outside = Container::new();
        let index = veth(&mut host, &outside, None).index;
        host.link_change(index, &LinkChange { name: Some("eth0"), ..LinkChange::default() }).unwrap();
        let here = std::fs::File::open("/proc/thread-self/ns/net").unwrap();

        let mut container = Container::new();
        let netnsid = container.socket.netnsid(here.as_fd()).unwrap();
        let kind = LinkKind::Macvlan { mode: MacvlanMode::Private, bc_queue_len: Some(500) };
        let parent = Some(Parent { index, netnsid: Some(netnsid) });
        let new = NewLink { name: "eth0", kind, parent, mac: Some(MAC), mtu: Some(1400) };
        let Some(link) = add(&mut container.socket, &new) else { return };
        assert_eq!((link.name.as_str(), link.mac, link.mtu, link.up), ("eth0", Some(MAC), 1400, false));
        assert_eq!((link.settings, link.kind.as_str()), (Some(kind), "macvlan"));
        assert_eq!((link.peer, link.peer_netnsid), (Some(index), Some(netnsid)));
        assert_eq!(host.link_by_name("eth0").unwrap().index, index, "the host's own is untouched");

        let error = container.socket.link_add_beside(&new, TEMPORARY).unwrap_err();
        assert_eq!(error.to_string(), "cannot add macvlan eth0: File exists (os error 17)");
        assert_eq!(
            container.socket.link_dump(Some("macvlan")).unwrap().len(),
            1,
            "nothing under another name"
        );
        container.socket.link_del(link.index).unwrap();
    });
}

#[test]
fn macvlan_takes_after_its_parent_what_is_not_said() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let outside = Container::new();
        let near = veth(&mut host, &outside, None);
        for mode in [MacvlanMode::Private, MacvlanMode::Vepa, MacvlanMode::Bridge, MacvlanMode::Passthru] {
            let kind = LinkKind::Macvlan { mode, bc_queue_len: None };
            let new = NewLink { name: "mv0", kind, parent: parent(near.index), mac: None, mtu: None };
            let Some(link) = add(&mut host, &new) else { return };
            let Some(LinkKind::Macvlan { mode: made, .. }) = link.settings else { panic!("{link:?}") };
            assert_eq!((made, link.mtu), (mode, near.mtu));
            assert_eq!((link.peer, link.peer_netnsid), (Some(near.index), None));
            // Passed through, it has its parent's address, else one of its own.
            assert_eq!(link.mac == near.mac, mode == MacvlanMode::Passthru);
            host.link_del(link.index).unwrap();
        }
    });
}

#[test]
fn parent_that_is_not_there_is_an_error_that_says_so() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let new = NewLink { name: "mv0", kind: MACVLAN, parent: parent(999), mac: None, mtu: None };
        let error = host.link_add(&new).unwrap_err();
        assert!(error.to_string().starts_with("cannot add macvlan mv0: "), "{error}");
        assert!(host.link_by_name("mv0").unwrap_err().is_not_found());
    });
}

#[test]
fn ipvlan_has_its_mode_and_its_parents_address() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let outside = Container::new();
        let near = veth(&mut host, &outside, None);
        let here = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        let mut container = Container::new();
        let netnsid = container.socket.netnsid(here.as_fd()).unwrap();
        for mode in [IpvlanMode::L2, IpvlanMode::L3, IpvlanMode::L3s] {
            let kind = LinkKind::Ipvlan { mode };
            let parent = Some(Parent { index: near.index, netnsid: Some(netnsid) });
            let new = NewLink { name: "eth0", kind, parent, mac: None, mtu: None };
            let Some(link) = add(&mut container.socket, &new) else { return };
            assert_eq!((link.settings, link.mac, link.mtu), (Some(kind), near.mac, near.mtu));
            assert_eq!((link.peer, link.peer_netnsid), (Some(near.index), Some(netnsid)));
            container.socket.link_del(link.index).unwrap();
        }
    });
}

#[test]
fn vlan_has_its_id() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let outside = Container::new();
        let near = veth(&mut host, &outside, None);
        let kind = LinkKind::Vlan { id: 100 };
        let new = NewLink { name: "v100", kind, parent: parent(near.index), mac: None, mtu: Some(1400) };
        let Some(link) = add(&mut host, &new) else { return };
        assert_eq!((link.settings, link.mac, link.mtu), (Some(kind), near.mac, 1400));
        assert_eq!((link.peer, link.kind.as_str()), (Some(near.index), "vlan"));
    });
}

/// Each kind without a parent, as far as this kernel has it.
#[test]
fn kinds_that_stand_alone_are_made_with_what_they_were_given() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        for kind in [LinkKind::Dummy, LinkKind::Ifb, LinkKind::Vrf { table: 100 }] {
            let new = NewLink { name: kind.name(), kind, parent: None, mac: Some(MAC), mtu: Some(1400) };
            let Some(link) = add(&mut host, &new) else { continue };
            assert_eq!((link.settings, link.kind.as_str()), (Some(kind), kind.name()));
            assert_eq!((link.mac, link.mtu, link.up), (Some(MAC), 1400, false));
        }
    });
}
