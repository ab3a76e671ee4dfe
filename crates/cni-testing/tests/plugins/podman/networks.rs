//! Networks that `podman network create` makes, each with what its kind promises, over our plugins alone.

use std::net::{IpAddr, SocketAddr};

use serde_json::json;

use crate::podman::net::{Podman, assert_published, bridge, ports_are_published};
use crate::portmap::net::{HOST, OUTSIDE, run};

/// What podman writes into a network of the kind bridge.
const CHAIN: [&str; 4] = ["bridge", "portmap", "firewall", "tuning"];

fn podman() -> Podman {
    Podman::new(&json!([bridge()]))
}

/// Removes networks, and with them the bridges that their containers left.
#[track_caller]
fn remove(podman: &Podman, networks: &str) {
    podman.podman(&format!("network rm {networks}"));
}

#[test]
#[ignore = "needs root, podman, runc, conmon, busybox-static and iptables: `cargo xtask test` as root installs and runs it"]
fn a_network_made_by_podman_works_with_its_ports() {
    let podman = podman();
    let (outside, _pages) = podman.outside();
    let before = podman.links();
    assert_eq!(podman.create("--subnet 10.98.0.0/24 made"), CHAIN);
    ports_are_published(&podman, &outside, "made");
    remove(&podman, "made");
    podman.links().assert_same(&before);
}

#[test]
#[ignore = "needs root, podman, runc, conmon, busybox-static and iptables: `cargo xtask test` as root installs and runs it"]
fn a_network_of_both_families_works_with_its_ports() {
    let podman = podman();
    let (outside, _pages) = podman.outside();
    let before = podman.links();
    assert_eq!(podman.create("--ipv6 --subnet 10.98.0.0/24 --subnet fd00:98::/64 dual"), CHAIN);
    ports_are_published(&podman, &outside, "dual");
    podman.start_server_in("dual", "server", "");
    podman.start_server_in("dual", "client", "");
    let address = podman.inspect("server", "dual")["GlobalIPv6Address"].clone();
    let page = podman.fetch("client", &format!("[{}]:8080", address.as_str().unwrap()));
    assert_eq!(page.trim_end(), "server");
    podman.podman("rm -f -t 0 server client");
    remove(&podman, "dual");
    podman.links().assert_same(&before);
}

/// `podman network reload` is DEL and ADD of a container that goes on running, with the addresses that it has.
#[test]
#[ignore = "needs root, podman, runc, conmon, busybox-static, nft and iptables: `cargo xtask test` as root installs and runs it"]
fn a_reload_puts_back_what_was_flushed() {
    let podman = podman();
    let (outside, _pages) = podman.outside();
    podman.create("--ipv6 --subnet 10.98.0.0/24 --subnet fd00:98::/64 made");
    let ports = " -p 8098:8080 -p 9098:9080/udp";
    let before = podman.after_a_first("made", ports);
    podman.start_server_in("made", "server", ports);
    let address = podman.address("server", "made");
    run("nft", &["flush", "ruleset"]);
    let published = SocketAddr::new(HOST[0].parse().unwrap(), 8098);
    assert!(outside.http_get(published, "/page").is_err());
    podman.podman("network reload server");
    assert_published(&podman, &outside, "made");
    assert_eq!(podman.address("server", "made"), address);
    podman.podman("rm -f -t 0 server");
    podman.assert_nothing_left(&before, "made");
}

#[test]
#[ignore = "needs root, podman, runc, conmon, busybox-static and iptables: `cargo xtask test` as root installs and runs it"]
fn an_internal_network_has_neighbours_and_nothing_else() {
    let podman = podman();
    let (outside, _pages) = podman.outside();
    let links = podman.links();
    assert_eq!(podman.create("--internal --subnet 10.98.0.0/24 inner"), CHAIN);
    let ports = " -p 8098:8080";
    let before = podman.after_a_first("inner", ports);
    podman.start_server_in("inner", "server", ports);
    podman.start_server_in("inner", "client", "");
    let address = podman.address("server", "inner");
    assert_eq!(podman.fetch("client", &format!("{address}:8080")).trim_end(), "server");

    let mut routes = podman.netns("server").socket().unwrap();
    let eth0 = routes.link_by_name("eth0").unwrap().index;
    let routes = routes.route_dump(eth0, None).unwrap();
    assert!(routes.iter().all(|route| route.dst.prefix_len() != 0), "{routes:?}");
    let to = format!("http://{}:80/page", OUTSIDE[0]);
    let asked = podman.command("podman").args(["exec", "server", "wget", "-q", "-O", "-", &to]).output();
    assert!(!asked.unwrap().status.success());
    assert!(!podman.host.ping(address.parse().unwrap()), "the host has no address there");
    let published = SocketAddr::new(HOST[0].parse().unwrap(), 8098);
    assert!(outside.http_get(published, "/page").is_err());

    podman.podman("rm -f -t 0 server client");
    podman.assert_nothing_left(&before, "inner");
    remove(&podman, "inner");
    podman.links().assert_same(&links);
}

/// The machine outside is the network's gateway, and a neighbour of the containers. The host itself is not: a child cannot
/// talk to its master.
#[test]
#[ignore = "needs root, podman, runc, conmon and busybox-static: `cargo xtask test` as root installs and runs it"]
fn a_macvlan_network_is_on_the_segment_of_its_parent() {
    let podman = podman();
    let (outside, _pages) = podman.outside();
    let range = "--subnet 192.0.2.0/24 --ip-range 192.0.2.128/25 --gateway 192.0.2.9";
    let created =
        podman.create(&format!("-d macvlan -o parent=up0 -o mode=bridge -o mtu=1400 {range} segment"));
    assert_eq!(created, ["macvlan"]);
    let before = podman.after_a_first("segment", "");
    podman.start_server_in("segment", "server", "");
    podman.start_server_in("segment", "client", "");

    let assert_there = || {
        let own = podman.inspect("server", "segment");
        assert_eq!(own["Gateway"], OUTSIDE[0]);
        let address: IpAddr = own["IPAddress"].as_str().unwrap().parse().unwrap();
        let link = podman.netns("server").socket().unwrap().link_by_name("eth0").unwrap();
        assert_eq!(
            (link.mtu, link.mac.map(|mac| mac.to_string()).as_deref()),
            (1400, own["MacAddress"].as_str())
        );
        let to = SocketAddr::new(address, 8080);
        assert_eq!(podman.fetch("client", &to.to_string()).trim_end(), "server");
        assert_eq!(outside.http_get(to, "/page").unwrap().1, "server\n");
        let page = podman.fetch("server", &format!("{}:80", OUTSIDE[0]));
        assert_eq!(page.trim_end(), format!("outside answers {address}"), "its own address, not the host's");
        assert!(!podman.host.ping(address));
    };
    assert_there();
    podman.podman("restart -t 0 server");
    assert_there();
    podman.podman("rm -f -t 0 server client");
    podman.assert_nothing_left(&before, "segment");
    remove(&podman, "segment");
}

/// Where a container and its neighbours in each network see each other.
#[track_caller]
fn assert_reached(podman: &Podman, container: &str, places: &[(&str, &str)]) {
    for (network, neighbour) in places {
        let there = |name: &str| format!("{}:8080", podman.address(name, network));
        assert_eq!(
            podman.fetch(neighbour, &there(container)).trim_end(),
            container,
            "{neighbour} in {network}"
        );
        assert_eq!(
            podman.fetch(container, &there(neighbour)).trim_end(),
            *neighbour,
            "{neighbour} in {network}"
        );
    }
}

#[test]
#[ignore = "needs root, podman, runc, conmon, busybox-static and iptables: `cargo xtask test` as root installs and runs it"]
fn a_container_has_several_networks_and_is_disconnected_and_connected_while_it_runs() {
    let podman = podman();
    let (_outside, _pages) = podman.outside();
    let links = podman.links();
    podman.create("--subnet 10.98.0.0/24 front");
    podman.create("--subnet 10.97.0.0/24 back");
    let range = "--subnet 192.0.2.0/24 --ip-range 192.0.2.128/25 --gateway 192.0.2.9";
    podman.create(&format!("-d macvlan -o parent=up0 {range} segment"));
    let before = podman.after_a_first("front,back --network segment", "");
    for network in ["front", "back", "segment"] {
        podman.start_server_in(network, &format!("in-{network}"), "");
    }
    let all = [("front", "in-front"), ("back", "in-back"), ("segment", "in-segment")];
    // Both ways to say several.
    podman.start_server_in("front,back --network segment", "server", "");
    assert_reached(&podman, "server", &all);
    podman.podman("restart -t 0 server");
    assert_reached(&podman, "server", &all);

    for network in ["back", "front"] {
        podman.podman(&format!("network disconnect {network} server"));
        assert_eq!(podman.inspect("server", network), json!(null));
        assert_eq!(podman.files(&format!("networks/{network}")).len(), 1, "its neighbour's lease");
    }
    let names = |mut socket: cni_netlink::Socket| {
        let links = socket.link_dump(None).unwrap().into_iter().map(|link| link.name);
        links.collect::<Vec<_>>()
    };
    assert_eq!(names(podman.netns("server").socket().unwrap()).len(), 2, "lo and the segment's");
    assert_reached(&podman, "server", &all[2..]);
    for network in ["front", "back"] {
        podman.podman(&format!("network connect {network} server"));
    }
    assert_reached(&podman, "server", &all);
    podman.podman("rm -f -t 0 server in-front in-back in-segment");
    for network in ["front", "back", "segment"] {
        podman.assert_nothing_left(&before, network);
    }
    remove(&podman, "front back segment");
    podman.links().assert_same(&links);
}
