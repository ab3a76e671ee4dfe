//! The veth pair between host and container.

use cni_host::{NetNs, NewVethPair, Owner, VethPair, sysctl_read};
use cni_netlink::{BridgePort, LinkChange, MacAddr, Socket};

use crate::{bridge, fresh_netns, hide_ipv6_settings, make_proc_sys_read_only, on_private_host};

fn owner() -> Owner {
    Owner { network: "blue".into(), container_id: "c1".into(), ifname: "eth0".into() }
}

fn plain<'a>(netns: &'a NetNs, owner: &'a Owner) -> NewVethPair<'a> {
    NewVethPair { netns, owner, mac: None, mtu: None, master: None, port: None, spoof_check: false }
}

fn names(socket: &mut Socket) -> Vec<String> {
    let mut names: Vec<_> = socket.link_dump(None).unwrap().into_iter().map(|link| link.name).collect();
    names.sort();
    names
}

#[test]
fn a_pair_is_made_with_everything_asked_for() {
    on_private_host(|| {
        let (mut host, netns, owner) = (Socket::open().unwrap(), fresh_netns(), owner());
        let br0 = bridge(&mut host);
        let mac: MacAddr = "02:42:ac:11:00:02".parse().unwrap();
        let port = BridgePort { hairpin: true, isolated: true };
        let new = NewVethPair {
            mac: Some(mac),
            mtu: Some(1400),
            master: Some(br0.index),
            port: Some(port),
            ..plain(&netns, &owner)
        };
        let pair = VethPair::add(&mut host, &new).unwrap().unwrap();

        let near = host.link_by_name(&owner.veth_name()).unwrap();
        assert_eq!(near.index, pair.host.index);
        assert_eq!(near.mac, pair.host.mac);
        assert_eq!((near.up, near.mtu, near.master, near.port), (true, 1400, Some(br0.index), Some(port)));
        assert_eq!(near.alias.as_deref(), Some("cni:blue:c1:eth0"));
        assert_eq!(sysctl_read(&format!("net/ipv6/conf/{}/accept_ra", near.name)).unwrap(), "0");

        let far = netns.socket().unwrap().link_by_name("eth0").unwrap();
        assert_eq!((far.mac, far.mtu, far.up), (Some(mac), 1400, false));
        assert_eq!(pair.peer_mac, mac);
        assert_eq!(pair.host.peer, Some(far.index));
    });
}

#[test]
fn without_wishes_the_pair_has_random_addresses_of_its_own() {
    on_private_host(|| {
        let (mut host, netns, owner) = (Socket::open().unwrap(), fresh_netns(), owner());
        let pair = VethPair::add(&mut host, &plain(&netns, &owner)).unwrap().unwrap();
        let far = netns.socket().unwrap().link_by_name("eth0").unwrap();
        assert_eq!(far.mac, Some(pair.peer_mac));
        assert_ne!(far.mac, pair.host.mac);
    });
}

#[test]
fn a_pair_left_behind_by_the_same_attachment_is_replaced() {
    on_private_host(|| {
        let (mut host, owner) = (Socket::open().unwrap(), owner());
        let (before, after) = (fresh_netns(), fresh_netns());
        let old = VethPair::add(&mut host, &plain(&before, &owner)).unwrap().unwrap();
        assert!(VethPair::add(&mut host, &plain(&after, &owner)).unwrap().is_none(), "it may live");
        assert_eq!(names(&mut before.socket().unwrap()), ["eth0", "lo"]);
        VethPair::make_room(&mut host, &after, &owner).unwrap();
        let new = VethPair::add(&mut host, &plain(&after, &owner)).unwrap().unwrap();
        assert_ne!(old.host.index, new.host.index);
        assert_eq!(names(&mut before.socket().unwrap()), ["lo"]);
        assert_eq!(names(&mut after.socket().unwrap()), ["eth0", "lo"]);
    });
}

#[test]
fn an_interface_that_the_container_has_is_not_touched() {
    on_private_host(|| {
        let (mut host, netns, owner) = (Socket::open().unwrap(), fresh_netns(), owner());
        let first = VethPair::add(&mut host, &plain(&netns, &owner)).unwrap().unwrap();
        assert!(VethPair::add(&mut host, &plain(&netns, &owner)).unwrap().is_none());
        let error = VethPair::make_room(&mut host, &netns, &owner).unwrap_err();
        let text = format!("cannot make interface eth0 in {}: there is one already", netns.path().display());
        assert_eq!(error.to_string(), text);
        assert_eq!(host.link_by_name(&owner.veth_name()).unwrap().index, first.host.index);
    });
}

#[test]
fn a_link_of_the_same_name_but_another_owner_is_not_touched() {
    on_private_host(|| {
        let (mut host, netns, owner) = (Socket::open().unwrap(), fresh_netns(), owner());
        let elsewhere = fresh_netns();
        let pair = VethPair::add(&mut host, &plain(&elsewhere, &owner)).unwrap().unwrap();
        let change = LinkChange { alias: Some("cni:green:c1:eth0"), ..LinkChange::default() };
        host.link_change(pair.host.index, &change).unwrap();

        assert!(!VethPair::del(&mut host, &owner).unwrap());
        VethPair::make_room(&mut host, &netns, &owner).unwrap();
        assert!(VethPair::add(&mut host, &plain(&netns, &owner)).unwrap().is_none());
        assert_eq!(host.link_by_name(&owner.veth_name()).unwrap().index, pair.host.index);
        assert_eq!(names(&mut netns.socket().unwrap()), ["lo"]);
    });
}

#[test]
fn a_failure_leaves_nothing() {
    on_private_host(|| {
        let (mut host, netns, owner) = (Socket::open().unwrap(), fresh_netns(), owner());
        // The first message, refused for its master and for its name; the last one, for settings of a port that is none.
        let master = NewVethPair { master: Some(9999), ..plain(&netns, &owner) };
        assert!(VethPair::add(&mut host, &master).is_err());
        let unnameable = Owner { ifname: "eth0:1".into(), ..owner.clone() };
        assert!(VethPair::add(&mut host, &plain(&netns, &unnameable)).is_err());
        let not_a_port = NewVethPair { port: Some(BridgePort::default()), ..plain(&netns, &owner) };
        assert!(VethPair::add(&mut host, &not_a_port).is_err());
        assert_eq!(names(&mut host), ["lo"]);
        assert_eq!(names(&mut netns.socket().unwrap()), ["lo"]);
    });
}

#[test]
fn a_pair_is_deleted_by_its_owner_alone() {
    on_private_host(|| {
        let (mut host, netns, owner) = (Socket::open().unwrap(), fresh_netns(), owner());
        let other = Owner { network: "green".into(), ..owner.clone() };
        VethPair::add(&mut host, &plain(&netns, &owner)).unwrap();
        assert!(!VethPair::del(&mut host, &other).unwrap());
        assert!(VethPair::del(&mut host, &owner).unwrap());
        assert!(!VethPair::del(&mut host, &owner).unwrap());
        assert_eq!(names(&mut host), ["lo"]);
        assert_eq!(names(&mut netns.socket().unwrap()), ["lo"]);
    });
}

/// An ADD that is killed between making the pair and naming its owner leaves a pair without an alias.
#[test]
fn a_pair_without_an_alias_is_its_names_owner() {
    on_private_host(|| {
        let (mut host, netns, owner) = (Socket::open().unwrap(), fresh_netns(), owner());
        let pair = VethPair::add(&mut host, &plain(&netns, &owner)).unwrap().unwrap();
        host.link_change(pair.host.index, &LinkChange { alias: Some(""), ..LinkChange::default() }).unwrap();
        assert!(VethPair::del(&mut host, &owner).unwrap());
        assert_eq!(names(&mut host), ["lo"]);
    });
}

#[test]
fn an_owner_whose_key_is_too_long_for_an_alias_is_known_again() {
    on_private_host(|| {
        let (mut host, netns) = (Socket::open().unwrap(), fresh_netns());
        let owner = Owner { container_id: "c".repeat(300), ..owner() };
        VethPair::add(&mut host, &plain(&netns, &owner)).unwrap();
        let alias = host.link_by_name(&owner.veth_name()).unwrap().alias.unwrap();
        assert!(owner.owns(&alias) && Owner::is_of_network(&alias, "blue"), "{alias}");
        assert!(VethPair::del(&mut host, &owner).unwrap());
    });
}

#[test]
fn without_ipv6_in_the_kernel_there_are_no_router_advertisements_to_refuse() {
    on_private_host(|| {
        let (mut host, netns, owner) = (Socket::open().unwrap(), fresh_netns(), owner());
        hide_ipv6_settings();
        VethPair::add(&mut host, &plain(&netns, &owner)).unwrap();
    });
}

/// A bridge takes its port's packets before IPv6 sees them; without one, the host would listen to the container's router
/// advertisements (CVE-2020-10749).
#[test]
fn with_a_read_only_proc_sys_only_a_bridges_port_is_made() {
    on_private_host(|| {
        let (mut host, netns, owner) = (Socket::open().unwrap(), fresh_netns(), owner());
        let br0 = bridge(&mut host);
        let before = names(&mut host);
        make_proc_sys_read_only();
        let error = VethPair::add(&mut host, &plain(&netns, &owner)).unwrap_err().to_string();
        let setting = format!("/proc/sys/net/ipv6/conf/{}/accept_ra", owner.veth_name());
        assert_eq!(error, format!("cannot write {setting}: Read-only file system (os error 30)"));
        assert_eq!(names(&mut host), before);
        VethPair::add(&mut host, &NewVethPair { master: Some(br0.index), ..plain(&netns, &owner) }).unwrap();
    });
}
