//! Links: veth pairs, bridges, lookups, changes, dumps.

use std::os::fd::AsFd;

use cni_netlink::{BridgePort, Error, LinkChange, MacAddr, NewBridge, NewVeth, OperState, Socket};
use nix::libc;

use crate::support::{Container, add_altname, bridge, in_netns, meanwhile, veth};

const NEAR: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const FAR: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

#[test]
fn veth_pair_is_whole_after_one_message() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let mut container = Container::new();
        let br0 = bridge(&mut host);

        let near = veth(&mut host, &container, Some(br0.index));
        assert_eq!(near.mac, Some(NEAR));
        assert_eq!((near.mtu, near.up, near.kind.as_str()), (1450, false, "veth"));
        assert_eq!(near.master, Some(br0.index));
        assert_eq!(near.operstate, OperState::Down);
        assert_eq!(near.port, Some(BridgePort::default()));
        assert!(near.peer_netnsid.is_some_and(|id| id >= 0), "{near:?}");

        let far = container.socket.link_by_index(near.peer.unwrap()).unwrap();
        assert_eq!((far.name.as_str(), far.mac), ("eth0", Some(FAR)));
        assert_eq!((far.mtu, far.up, far.kind.as_str()), (1450, false, "veth"));
        assert_eq!(far.peer, Some(near.index));
    });
}

#[test]
fn veth_pair_in_one_namespace() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let veth = NewVeth {
            name: "near",
            mac: NEAR,
            master: None,
            peer_name: "far",
            peer_mac: FAR,
            peer_netns: None,
            mtu: None,
        };
        host.link_add_veth(&veth).unwrap();
        let (near, far) = (host.link_by_name("near").unwrap(), host.link_by_name("far").unwrap());
        assert_eq!((near.peer, near.peer_netnsid), (Some(far.index), None));
        assert_eq!((near.mtu, near.master, near.port), (1500, None, None));
    });
}

#[test]
fn peer_may_have_the_name_of_a_link_of_the_host() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let first = Container::new();
        veth(&mut host, &first, None);
        let index = host.link_by_name("veth0").unwrap().index;
        host.link_change(index, &LinkChange { name: Some("eth0"), ..Default::default() }).unwrap();

        let mut second = Container::new();
        veth(&mut host, &second, None);
        assert_eq!(second.socket.link_by_name("eth0").unwrap().mac, Some(FAR));
    });
}

#[test]
fn taken_name_is_an_error_that_reads_as_a_sentence_and_leaves_nothing() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let mut container = Container::new();
        let wanted = NewVeth {
            name: "veth1234",
            mac: NEAR,
            master: None,
            peer_name: "eth0",
            peer_mac: FAR,
            peer_netns: Some(container.netns.as_fd()),
            mtu: None,
        };
        host.link_add_veth(&wanted).unwrap();
        let error = host.link_add_veth(&NewVeth { peer_name: "eth1", ..wanted }).unwrap_err();
        assert_eq!(error.to_string(), "cannot add veth pair veth1234 to eth1: File exists (os error 17)");
        assert!(error.is_exists() && !error.is_not_found());
        assert!(container.socket.link_by_name("eth1").unwrap_err().is_not_found());

        let error = host.link_add_veth(&NewVeth { name: "veth5678", ..wanted }).unwrap_err();
        assert!(error.is_exists(), "{error}");
        assert!(host.link_by_name("veth5678").unwrap_err().is_not_found());
    });
}

#[test]
fn bridge_has_what_it_was_given() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let wanted = NewBridge { name: "br0", mac: Some(NEAR), mtu: Some(1400), vlan_filtering: false };
        host.link_add_bridge(&wanted).unwrap();
        let link = host.link_by_name("br0").unwrap();
        assert_eq!((link.mac, link.mtu, link.up, link.kind.as_str()), (Some(NEAR), 1400, false, "bridge"));
        assert_eq!(link.vlan_filtering, Some(false));

        let error = host.link_add_bridge(&wanted).unwrap_err();
        assert_eq!(error.to_string(), "cannot add bridge br0: File exists (os error 17)");
    });
}

#[test]
fn bridge_keeps_the_address_it_was_given_when_ports_come_and_go() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let wanted = NewBridge {
            name: "br0",
            mac: Some(MacAddr([0xfe, 0, 0, 0, 0, 1])),
            mtu: None,
            vlan_filtering: false,
        };
        host.link_add_bridge(&wanted).unwrap();
        let index = host.link_by_name("br0").unwrap().index;
        // The port's address is lower, which an address of the kernel's choice would follow.
        let container = Container::new();
        veth(&mut host, &container, Some(index));
        assert_eq!(host.link_by_index(index).unwrap().mac, wanted.mac);
    });
}

/// What each setting is, read back, alone and with the others.
#[test]
fn each_change_takes_effect_and_touches_nothing_else() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let container = Container::new();
        let br0 = bridge(&mut host);
        let before = veth(&mut host, &container, Some(br0.index));
        let index = before.index;
        let mut change = |change: LinkChange<'_>| {
            host.link_change(index, &change).unwrap();
            host.link_by_index(index).unwrap()
        };

        let link = change(LinkChange { up: Some(true), ..Default::default() });
        assert!(link.up);
        let link = change(LinkChange { mac: Some(FAR), ..Default::default() });
        assert_eq!((link.mac, link.up), (Some(FAR), true));
        let link = change(LinkChange { mtu: Some(1300), ..Default::default() });
        assert_eq!((link.mtu, link.mac), (1300, Some(FAR)));
        let link = change(LinkChange { alias: Some("of pod 5"), ..Default::default() });
        assert_eq!((link.alias.as_deref(), link.mtu), (Some("of pod 5"), 1300));
        for (hairpin, isolated) in [(true, false), (false, true), (true, true), (false, false)] {
            let port = BridgePort { hairpin, isolated };
            let link = change(LinkChange { port: Some(port), ..Default::default() });
            assert_eq!((link.port, link.up), (Some(port), true));
        }
        let link = change(LinkChange { promisc: Some(true), ..Default::default() });
        assert_eq!((link.promiscuity, link.promisc), (before.promiscuity + 1, true));
        assert!(link.up);
        let link = change(LinkChange { promisc: Some(false), ..Default::default() });
        assert_eq!(link.promiscuity, before.promiscuity);
        let link = change(LinkChange { master: Some(None), ..Default::default() });
        assert_eq!((link.master, link.port, link.up), (None, None, true));
        let link = change(LinkChange { up: Some(false), ..Default::default() });
        assert_eq!((link.up, link.alias.as_deref()), (false, Some("of pod 5")));
        let link = change(LinkChange { name: Some("renamed"), ..Default::default() });
        assert_eq!((link.name.as_str(), link.alias.as_deref()), ("renamed", Some("of pod 5")));
    });
}

#[test]
fn all_changes_at_once_take_effect() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let container = Container::new();
        let br0 = bridge(&mut host);
        let index = veth(&mut host, &container, None).index;
        let port = BridgePort { hairpin: true, isolated: true };
        let change = LinkChange {
            up: Some(true),
            promisc: Some(true),
            allmulti: Some(true),
            mac: Some(FAR),
            mtu: Some(1300),
            txqlen: Some(77),
            name: Some("renamed"),
            alias: Some("of pod 5"),
            master: Some(Some(br0.index)),
            port: Some(port),
            vlan_filtering: None,
            netns: None,
        };
        host.link_change(index, &change).unwrap();
        let link = host.link_by_index(index).unwrap();
        assert_eq!((link.up, link.mac, link.mtu, link.name.as_str()), (true, Some(FAR), 1300, "renamed"));
        assert_eq!((link.alias.as_deref(), link.master), (Some("of pod 5"), Some(br0.index)));
        assert_eq!((link.port, link.promiscuity), (Some(port), 2));
        assert_eq!((link.promisc, link.allmulti, link.txqlen), (true, true, 77));

        let change = LinkChange {
            up: Some(false),
            promisc: Some(false),
            allmulti: Some(false),
            txqlen: Some(0),
            alias: Some(""),
            master: Some(None),
            ..Default::default()
        };
        host.link_change(index, &change).unwrap();
        let link = host.link_by_index(index).unwrap();
        assert_eq!((link.up, link.alias, link.master, link.promiscuity), (false, None, None, 0));
        assert_eq!((link.promisc, link.allmulti, link.txqlen), (false, false, 0));
    });
}

#[test]
fn bridge_itself_goes_up_and_promiscuous() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let br0 = bridge(&mut host);
        let change =
            LinkChange { up: Some(true), promisc: Some(true), mac: Some(NEAR), ..Default::default() };
        host.link_change(br0.index, &change).unwrap();
        let link = host.link_by_index(br0.index).unwrap();
        assert_eq!((link.up, link.promiscuity, link.mac), (true, 1, Some(NEAR)));
    });
}

#[test]
fn alias_holds_255_bytes_and_no_more() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let br0 = bridge(&mut host);
        let long = "x".repeat(256);
        let mut set =
            |alias| host.link_change(br0.index, &LinkChange { alias: Some(alias), ..Default::default() });
        set(&long[..255]).unwrap();
        assert_eq!(set(&long).unwrap_err().errno(), Some(libc::ERANGE));
        assert_eq!(host.link_by_name("br0").unwrap().alias.as_deref(), Some(&long[..255]));
    });
}

#[test]
fn failed_change_names_the_change_and_the_kernels_reason() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let container = Container::new();
        let index = veth(&mut host, &container, None).index;
        let port = Some(BridgePort { hairpin: true, isolated: false });
        let error = host.link_change(index, &LinkChange { port, ..Default::default() }).unwrap_err();
        let expected = format!(
            "cannot change the link with index {index}: hairpin on isolated off: \
             Operation not supported (os error 95)"
        );
        assert_eq!(error.to_string(), expected);

        let error =
            host.link_change(index, &LinkChange { mtu: Some(70_000), ..Default::default() }).unwrap_err();
        let text = error.to_string();
        assert!(
            text.ends_with("mtu 70000: Invalid argument (os error 22): mtu greater than device maximum"),
            "{text}"
        );

        let error = host.link_change(999, &LinkChange { up: Some(true), ..Default::default() }).unwrap_err();
        assert!(error.is_not_found(), "{error}");
        assert!(error.to_string().starts_with("cannot change the link with index 999: up: "), "{error}");
    });
}

#[test]
fn links_are_found_by_name_index_and_alternative_name() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let br0 = bridge(&mut host);
        assert_eq!(host.link_by_index(br0.index).unwrap().name, "br0");
        for name in ["short", "a-name-longer-than-15"] {
            assert!(host.link_by_name(name).unwrap_err().is_not_found());
            add_altname(br0.index, name);
            assert_eq!(host.link_by_name(name).unwrap().index, br0.index);
        }
        assert_eq!(host.link_by_name("lo").unwrap().kind, "");
    });
}

#[test]
fn link_that_is_not_there_is_an_error_that_says_so() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let error = host.link_by_name("nope").unwrap_err();
        assert_eq!(error.to_string(), "cannot find link nope: No such device (os error 19)");
        assert!(error.is_not_found() && !error.is_exists());
        let error = host.link_by_index(999).unwrap_err();
        assert_eq!(error.to_string(), "cannot find the link with index 999: No such device (os error 19)");
        assert!(host.link_del(999).unwrap_err().is_not_found());
    });
}

#[test]
fn deleting_one_end_deletes_the_other() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let mut container = Container::new();
        let near = veth(&mut host, &container, None);
        host.link_del(near.index).unwrap();
        assert!(host.link_by_name("veth0").unwrap_err().is_not_found());
        assert!(container.socket.link_by_name("eth0").unwrap_err().is_not_found());
    });
}

#[test]
fn dump_gives_links_of_one_kind_or_all() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let container = Container::new();
        bridge(&mut host);
        veth(&mut host, &container, None);
        let mut names = |kind| {
            let mut names: Vec<_> = host.link_dump(kind).unwrap().into_iter().map(|link| link.name).collect();
            names.sort();
            names
        };
        assert_eq!(names(Some("veth")), ["veth0"]);
        assert_eq!(names(Some("bridge")), ["br0"]);
        // The kernel does not know this kind and answers with every link.
        assert_eq!(names(Some("no-such-kind")), [""; 0]);
        assert_eq!(names(None), ["br0", "lo", "veth0"]);
    });
}

#[test]
fn dumps_hold_what_stays_while_other_links_come_and_go() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let br0 = bridge(&mut host);
        let mut other = Socket::open().unwrap();
        let container = Container::new();
        let busy = meanwhile(move || {
            let index = veth(&mut other, &container, None).index;
            other.link_del(index).unwrap();
        });
        for _ in 0..300 {
            match host.link_dump(None) {
                Ok(links) => assert_eq!(links.iter().filter(|link| link.index == br0.index).count(), 1),
                Err(error) => assert!(matches!(error, Error::Interrupted { .. }), "{error}"),
            }
            assert_eq!(host.link_by_name("br0").unwrap().index, br0.index);
        }
        drop(busy);
    });
}

#[test]
fn socket_stays_in_the_namespace_it_was_opened_in() {
    in_netns(|| {
        let mut host = Socket::open().unwrap();
        let index = bridge(&mut host).index;
        // A thread of another namespace uses it.
        let found = std::thread::spawn(move || {
            let _elsewhere = Container::new();
            host.link_by_name("br0").unwrap().index
        });
        assert_eq!(found.join().unwrap(), index);
    });
}
