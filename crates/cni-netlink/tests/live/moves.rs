//! Links moved to another namespace, whole and half.

use std::os::fd::AsFd;

use cni_netlink::{Link, LinkChange, MacAddr, NewBridge, NewVeth, Socket};

use crate::support::{Container, add_altname, in_netns};

/// A veth `uplink` here, up, whose other end is here too.
fn uplink(socket: &mut Socket) -> Link {
    let veth = NewVeth {
        name: "uplink",
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        master: None,
        peer_name: "wire",
        peer_mac: MacAddr([2, 0, 0, 0, 0, 2]),
        peer_netns: None,
        mtu: None,
    };
    socket.link_add_veth(&veth).unwrap();
    let link = socket.link_by_name("uplink").unwrap();
    socket.link_change(link.index, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
    link
}

fn take_name(socket: &mut Socket, name: &str) {
    socket.link_add_bridge(&NewBridge { name, mac: None, mtu: None, vlan_filtering: false }).unwrap();
}

fn into<'a>(container: &'a Container) -> LinkChange<'a> {
    let netns = Some(container.netns.as_fd());
    LinkChange { netns, name: Some("eth0"), alias: Some("uplink"), ..LinkChange::default() }
}

#[test]
fn a_link_that_is_up_is_moved_renamed_and_named_in_one_message() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let mut container = Container::new();
        let link = uplink(&mut host);
        host.link_change(link.index, &into(&container)).unwrap();
        assert!(host.link_by_name("uplink").unwrap_err().is_not_found());
        let moved = container.socket.link_by_name("eth0").unwrap();
        assert_eq!((moved.mac, moved.up, moved.alias.as_deref()), (link.mac, false, Some("uplink")));
        // Whoever comes later does not get something else.
        assert!(host.link_change(link.index, &into(&container)).unwrap_err().is_not_found());
    });
}

#[test]
fn a_link_whose_new_name_is_taken_arrives_under_its_old_one() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let mut container = Container::new();
        let link = uplink(&mut host);
        take_name(&mut container.socket, "eth0");
        let error = host.link_change(link.index, &into(&container)).unwrap_err();
        assert!(error.is_exists(), "{error}");
        assert!(host.link_by_name("uplink").unwrap_err().is_not_found());
        let moved = container.socket.link_by_name("uplink").unwrap();
        assert_eq!((moved.mac, moved.alias), (link.mac, None));
    });
}

#[test]
fn a_link_whose_old_name_is_taken_arrives_under_its_new_one() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let mut container = Container::new();
        let link = uplink(&mut host);
        take_name(&mut container.socket, "uplink");
        host.link_change(link.index, &into(&container)).unwrap();
        assert_eq!(container.socket.link_by_name("eth0").unwrap().mac, link.mac);
    });
}

#[test]
fn a_link_both_of_whose_names_are_taken_stays_as_it_is() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let mut container = Container::new();
        let link = uplink(&mut host);
        for name in ["uplink", "eth0"] {
            take_name(&mut container.socket, name);
        }
        let error = host.link_change(link.index, &into(&container)).unwrap_err();
        assert!(error.is_exists(), "{error}");
        let stayed = host.link_by_name("uplink").unwrap();
        assert_eq!((stayed.index, stayed.alias), (link.index, None));
        assert!(stayed.up);
    });
}

#[test]
fn a_link_can_be_renamed_to_an_alternative_name_once_it_is_taken_away() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let link = uplink(&mut host);
        host.link_change(link.index, &LinkChange { up: Some(false), ..LinkChange::default() }).unwrap();
        add_altname(link.index, "enp0s9");
        let rename = LinkChange { name: Some("enp0s9"), ..LinkChange::default() };
        assert!(host.link_change(link.index, &rename).unwrap_err().is_exists());
        host.link_altname_del(link.index, "enp0s9").unwrap();
        host.link_change(link.index, &rename).unwrap();
        assert_eq!(host.link_by_name("enp0s9").unwrap().index, link.index);
        assert!(host.link_altname_del(link.index, "enp0s9").is_err());
    });
}
