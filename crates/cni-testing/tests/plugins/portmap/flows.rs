//! UDP flows of mappings that a DEL does not find any more, or that the reference made: they end with the mapping, and others
//! do not.

use cni_netlink::{Conntrack, Flow};
use serde_json::json;

use crate::portmap::net::{BACKENDS, Client, From, HOST, Site, run, run_reference};

/// The flows to a port of the host's addresses.
fn flows(port: u16) -> Vec<Flow> {
    let dsts = HOST.map(|host| std::net::SocketAddr::new(host.parse().unwrap(), port));
    Conntrack::open().unwrap().udp_flows_to(&dsts).unwrap()
}

/// One of each family.
fn clients(site: &Site, port: u16) -> Vec<Client> {
    let clients: Vec<_> =
        HOST.iter().map(|host| Client::new(From::Inside(&site.outside), (host, port))).collect();
    assert!(clients.iter().all(Client::is_answered), "{}", site.backend);
    clients
}

/// Whatever the mappings are made with.
fn flush(site: &Site) {
    if site.backend == "iptables-legacy" {
        for program in ["iptables-legacy", "ip6tables-legacy"] {
            run(program, &["-t", "nat", "-F"]);
            run(program, &["-t", "nat", "-X"]);
        }
    } else {
        run("nft", &["flush", "ruleset"]);
    }
}

/// One mapping by an address of IPv6, of which the kernel is asked for less.
#[test]
fn flows_to_one_address_of_ipv6_are_forgotten() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let conf = site.map(&pod, &["2001:db8:1::1 8080/udp"]);
        let client = Client::new(From::Inside(&site.outside), (HOST[1], 8080));
        assert!(client.is_answered());
        assert_eq!(flows(8080).len(), 1);
        site.run("DEL", &pod, &conf).ok();
        assert_eq!(flows(8080), [], "{backend}");
    }
}

#[test]
fn a10_flows_are_forgotten_though_the_rules_are_gone() {
    for backend in BACKENDS {
        for times in [1, 2] {
            let site = Site::new(backend);
            let (pod, other) = (site.pod("c1", 5), site.pod("c2", 6));
            let conf = site.map(&pod, &["8080/udp", "2001:db8:1::1 8082/udp"]);
            site.map(&other, &["8081/udp"]);
            let _server = site.beyond.serve("198.51.100.9:8080".parse().unwrap());
            let passing = Client::new(From::Inside(&site.outside), ("198.51.100.9", 8080));
            assert!(passing.is_answered());
            let beyond = || {
                let to = ["198.51.100.9:8080".parse().unwrap()];
                Conntrack::open().unwrap().udp_flows_to(&to).unwrap()
            };
            let _kept = (clients(&site, 8080), clients(&site, 8081));
            let bound = Client::new(From::Inside(&site.outside), (HOST[1], 8082));
            assert!(bound.is_answered());
            let before = (flows(8081), beyond());
            assert_eq!([flows(8080).len(), before.0.len(), before.1.len(), flows(8082).len()], [2, 2, 1, 1]);
            flush(&site);
            for _ in 0..times {
                site.run("DEL", &pod, &conf).ok();
                assert_eq!([flows(8080), flows(8082)], [[], []], "{backend}");
            }
            assert_eq!((flows(8081), beyond()), before, "{backend}");
        }
    }
}

/// A DEL that comes late tells of an address and a port that are another's by now.
#[test]
fn a10_flows_of_whoever_has_address_and_port_by_now_stay() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let now = site.pod("now", 5);
        site.map(&now, &["8080/udp"]);
        let _clients = clients(&site, 8080);
        let before = flows(8080);
        let late = site.pod("late", 6);
        let of_late = site.conf(&now, &["8080/udp"], json!({}));
        site.run("DEL", &late, &of_late).ok();
        assert_eq!(flows(8080), before, "{backend}");
    }
}

#[test]
#[ignore = "needs the reference's portmap 1.9 in $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored portmap::flows`"]
fn a7_flows_of_a_mapping_that_the_reference_made_are_forgotten() {
    for backend in ["nftables", "iptables"] {
        for told in [json!({}), json!({"prevResult": null, "runtimeConfig": null})] {
            let site = Site::new(backend);
            let (pod, other) = (site.pod("c1", 5), site.pod("c2", 6));
            let mut conf = site.conf(&pod, &["8080/udp", "192.0.2.1 8082/udp"], json!({}));
            run_reference("ADD", &pod, &conf).ok();
            run_reference("ADD", &other, &site.conf(&other, &["8081/udp"], json!({}))).ok();
            let bound = Client::new(From::Inside(&site.outside), (HOST[0], 8082));
            assert!(bound.is_answered());
            let _kept = (clients(&site, 8080), clients(&site, 8081));
            let before = flows(8081);
            assert_eq!([flows(8080).len(), flows(8082).len(), before.len()], [2, 1, 2]);
            crate::bridge::net::set(&mut conf, &told);
            site.run("DEL", &pod, &conf).ok();
            assert_eq!([flows(8080), flows(8082)], [[], []], "{backend} {told}");
            assert_eq!(flows(8081), before, "{backend} {told}");
        }
    }
}
