//! The portmap plugin: packets, by both backends.

mod flows;
mod holders;
mod hostile;
mod iptables;
mod life;
pub(crate) mod localnet;
pub(crate) mod net;
mod reference;
mod rules;
mod sctp;

use serde_json::json;

use crate::portmap::net::{
    BACKENDS, BEYOND, From, GATEWAY, HOST, OUTSIDE, Site, assert_unanswered, run, seen,
};

const BOTH: [&str; 2] = ["tcp", "udp"];

#[test]
fn a_mapped_port_leads_from_outside_to_the_container_and_shows_who_asks() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
        site.map(&pod, &["8080/tcp", "8080/udp"]);
        for (host, outside) in HOST.into_iter().zip(OUTSIDE) {
            for protocol in BOTH {
                assert_eq!(seen(From::Inside(&site.outside), protocol, (host, 8080)), outside, "{backend}");
            }
        }
        assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[0], 8081));
    }
}

#[test]
fn the_host_itself_reaches_the_container_by_each_of_its_addresses() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        site.map(&pod, &["8080/tcp", "8080/udp"]);
        for host in HOST.into_iter().chain(GATEWAY) {
            for protocol in BOTH {
                seen(From::Host, protocol, (host, 8080));
            }
        }
    }
}

#[test]
fn localhost_reaches_the_container_which_sees_the_gateway() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        site.map(&pod, &["8080/tcp", "8080/udp"]);
        for protocol in BOTH {
            assert_eq!(seen(From::Host, protocol, ("127.0.0.1", 8080)), GATEWAY[0], "{backend}");
        }
    }
}

/// The kernel cannot bring answers back to ::1, so a client had better be told at once, and try 127.0.0.1.
#[test]
fn localhost_by_ipv6_is_refused_and_not_swallowed() {
    let site = Site::new("nftables");
    let pod = site.pod("c1", 5);
    site.map(&pod, &["8080/tcp"]);
    let start = std::time::Instant::now();
    let error = std::net::TcpStream::connect("[::1]:8080").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(start.elapsed().as_millis() < 500);
}

#[test]
fn a_container_reaches_itself_and_its_neighbour_through_the_host() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let (pod, neighbour) = (site.pod("c1", 5), site.pod("c2", 6));
        site.map(&pod, &["8080/tcp", "8080/udp"]);
        for (host, gateway) in HOST.into_iter().zip(GATEWAY) {
            for protocol in BOTH {
                for asking in [&pod, &neighbour] {
                    let seen = seen(From::Inside(&asking.container), protocol, (host, 8080));
                    assert_eq!(seen, gateway, "{backend} {}", asking.id());
                }
            }
        }
    }
}

/// As Calico gives them: the container is all of its subnet, and its neighbours are behind the host.
#[test]
fn a_container_with_a_subnet_of_its_own_reaches_itself_through_the_host() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let mut result = pod.result.clone();
        for (ip, address) in result["ips"].as_array_mut().unwrap().iter_mut().zip(pod.addresses()) {
            ip["address"] = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 }).into();
        }
        let conf = site.conf(&pod, &["8080/tcp"], json!({ "prevResult": result }));
        site.run("ADD", &pod, &conf).ok();
        site.run("CHECK", &pod, &conf).ok();
        for (host, gateway) in HOST.into_iter().zip(GATEWAY) {
            assert_eq!(seen(From::Inside(&pod.container), "tcp", (host, 8080)), gateway, "{backend}");
        }
        assert_eq!(seen(From::Host, "tcp", ("127.0.0.1", 8080)), GATEWAY[0], "{backend}");
        site.run("DEL", &pod, &conf).ok();
        assert!(!site.rules().0.iter().any(|line| line.contains("10.88.0.5")), "{}", site.rules());
    }
}

/// CVE-2025-67499: the reference's nftables backend took all traffic to the port, wherever it was going.
#[test]
fn cve_2025_67499_another_hosts_same_port_passes_through_untouched() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let (pod, neighbour) = (site.pod("c1", 5), site.pod("c2", 6));
        site.map(&pod, &["80/tcp", "80/udp"]);
        let servers =
            BEYOND.map(|ip| site.beyond.serve((ip.parse::<std::net::IpAddr>().unwrap(), 80).into()));
        for (beyond, outside) in BEYOND.into_iter().zip(OUTSIDE) {
            for protocol in BOTH {
                // The container would see the same; only the machine beyond answers once the container is silent.
                assert_eq!(seen(From::Inside(&site.outside), protocol, (beyond, 80)), outside, "{backend}");
                seen(From::Host, protocol, (beyond, 80));
                seen(From::Inside(&neighbour.container), protocol, (beyond, 80));
            }
        }
        drop(servers);
        for beyond in BEYOND {
            for from in [From::Host, From::Inside(&site.outside), From::Inside(&neighbour.container)] {
                assert_unanswered(from, "tcp", (beyond, 80));
            }
        }
    }
}

/// CVE-2019-9946: mappings came before the rules of services, and took packets that were for those.
#[test]
fn cve_2019_9946_a_service_that_is_there_for_the_same_port_comes_first() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let (pod, behind) = (site.pod("c1", 5), site.pod("c2", 6));
        let mut conf = site.conf(&pod, &["8080/tcp"], json!({}));
        // Nobody listens there, so whoever is answered has come to the service.
        conf["runtimeConfig"]["portMappings"][0]["containerPort"] = 81.into();
        let service = |program: &str, to: &str| {
            let save = if backend == "iptables-legacy" { "-legacy" } else { "" };
            run(
                &format!("{program}{save}"),
                &["-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "8080", "-j", "DNAT", "--to", to],
            );
        };
        service("iptables", "10.88.0.6:80");
        service("ip6tables", "[fd00:88::6]:80");
        site.run("ADD", &pod, &conf).ok();
        site.run("CHECK", &pod, &conf).ok();
        for (host, outside) in HOST.into_iter().zip(OUTSIDE) {
            assert_eq!(seen(From::Inside(&site.outside), "tcp", (host, 8080)), outside, "{backend}");
        }
        if backend == "nftables" {
            // However late the service's own table comes.
            run("iptables", &["-t", "nat", "-F", "PREROUTING"]);
            assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
            let late = "add table ip svc; add chain ip svc pre { type nat hook prerouting priority dstnat; }; \
                        add rule ip svc pre tcp dport 8080 dnat to 10.88.0.6:80";
            run("nft", &[late]);
            assert_eq!(seen(From::Inside(&site.outside), "tcp", (HOST[0], 8080)), OUTSIDE[0]);
        }
        drop(behind);
    }
}

/// The host solicits neighbours from its bridge's link-local address, for packets that it forwards. While the kernel looked for
/// duplicates of that, the first of them took two seconds.
#[test]
fn a_young_bridge_brings_ipv6_to_its_first_container_at_once() {
    let site = Site::new("nftables");
    let pod = site.pod("c1", 5);
    let mut socket = cni_netlink::Socket::open().unwrap();
    let bridge = socket.link_by_name("br0").unwrap().index;
    let addresses = socket.addr_dump(bridge).unwrap();
    assert!(addresses.iter().any(|address| address.address.to_string().starts_with("fe80:")));
    assert!(!addresses.iter().any(|address| address.tentative), "{addresses:?}");
    site.map(&pod, &["8080/tcp"]);
    assert_eq!(seen(From::Inside(&site.outside), "tcp", (HOST[1], 8080)), OUTSIDE[1]);
}

#[test]
fn a_host_ip_opens_the_port_on_that_address_only() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let (one, all) = (site.pod("c1", 5), site.pod("c2", 6));
        let specific = [format!("{} 8080/tcp", HOST[0]), format!("{} 8080/tcp", HOST[1])];
        site.map(&one, &[&specific[0], &specific[1]]);
        for (host, gateway) in HOST.into_iter().zip(GATEWAY) {
            seen(From::Inside(&site.outside), "tcp", (host, 8080));
            assert_unanswered(From::Inside(&site.outside), "tcp", (gateway, 8080));
        }
        assert_unanswered(From::Host, "tcp", ("127.0.0.1", 8080));

        // Unspecified addresses are all of their own family.
        site.map(&all, &["0.0.0.0 8081/tcp", ":: 8082/tcp"]);
        seen(From::Inside(&site.outside), "tcp", (HOST[0], 8081));
        seen(From::Inside(&site.outside), "tcp", (HOST[1], 8082));
        assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[1], 8081));
        assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[0], 8082));
    }
}

#[test]
fn a_host_ip_of_127_opens_the_port_on_the_host_only() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        site.map(&pod, &["127.0.0.1 8080/tcp"]);
        seen(From::Host, "tcp", ("127.0.0.1", 8080));
        assert_unanswered(From::Host, "tcp", (HOST[0], 8080));
        assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
    }
}

/// CVE-2020-8558: with route_localnet a neighbour could reach what listens on 127.0.0.1 only.
#[test]
fn cve_2020_8558_containers_do_not_reach_the_hosts_127_0_0_1() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let (pod, rogue) = (site.pod("c1", 5), site.pod("c2", 6));
        site.map(&pod, &["8080/tcp"]);
        assert_eq!(cni_host::sysctl_read("net/ipv4/conf/br0/route_localnet").unwrap(), "1");
        for other in ["up0", "all", "default"] {
            let key = format!("net/ipv4/conf/{other}/route_localnet");
            assert_eq!(cni_host::sysctl_read(&key).unwrap(), "0", "{backend} {other}");
        }

        // lo is down in the container, so nothing keeps it from sending packets for 127.0.0.1 to its gateway.
        let mut inside = rogue.container.ns().socket().unwrap();
        let index = inside.link_by_name("eth0").unwrap().index;
        inside.route_add(&route("127.0.0.0/8", index, GATEWAY[0])).unwrap();
        let open = || cni_host::sysctl_write("net/ipv4/conf/eth0/route_localnet", "1");
        rogue.container.ns().run(open).unwrap().unwrap();
        let listener = std::net::UdpSocket::bind("127.0.0.1:9000").unwrap();
        listener.set_nonblocking(true).unwrap();
        let from = From::Inside(&rogue.container);
        assert_unanswered(from, "udp", ("127.0.0.1", 9000));
        assert!(listener.recv(&mut [0; 8]).is_err(), "{backend}");

        // It is our chain that keeps it off.
        run("nft", &["flush", "chain", "inet", "cni_portmap", "martians"]);
        assert_unanswered(from, "udp", ("127.0.0.1", 9000));
        assert!(listener.recv(&mut [0; 8]).is_ok(), "{backend}");
        // And the next ADD brings it back.
        site.map(&rogue, &["8081/tcp"]);
        assert_unanswered(from, "udp", ("127.0.0.1", 9000));
        assert!(listener.recv(&mut [0; 8]).is_err(), "{backend}");
    }
}

fn route(dst: &str, index: u32, gateway: &str) -> cni_netlink::RouteSpec {
    cni_netlink::RouteSpec {
        dst: dst.parse().unwrap(),
        next_hops: vec![cni_netlink::NextHop { index, gateway: Some(gateway.parse().unwrap()) }],
        metric: None,
        table: None,
        scope: None,
        mtu: None,
        advmss: None,
    }
}

#[test]
fn with_masq_all_the_container_sees_the_gateway_only() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let conf = site.conf(&pod, &["8080/tcp"], json!({"masqAll": true}));
        site.run("ADD", &pod, &conf).ok();
        site.run("CHECK", &pod, &conf).ok();
        for (host, gateway) in HOST.into_iter().zip(GATEWAY) {
            assert_eq!(seen(From::Inside(&site.outside), "tcp", (host, 8080)), gateway, "{backend}");
            assert_eq!(seen(From::Host, "tcp", (host, 8080)), gateway, "{backend}");
        }
        seen(From::Host, "tcp", ("127.0.0.1", 8080));
    }
}

#[test]
fn without_snat_nobody_is_masqueraded_and_localhost_is_left_alone() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let conf = site.conf(&pod, &["8080/tcp"], json!({"snat": false, "masqAll": true}));
        site.run("ADD", &pod, &conf).ok();
        site.run("CHECK", &pod, &conf).ok();
        assert_eq!(seen(From::Inside(&site.outside), "tcp", (HOST[0], 8080)), OUTSIDE[0], "{backend}");
        assert_eq!(cni_host::sysctl_read("net/ipv4/conf/br0/route_localnet").unwrap(), "0");
        assert!(!site.rules().to_string().to_lowercase().contains("masquerade"), "{}", site.rules());
    }
}

/// What other connections to the container look like is nobody's business here: those of services, say.
#[test]
fn connections_that_did_not_come_by_a_mapped_port_are_not_masqueraded() {
    let site = Site::new("nftables");
    let (pod, neighbour) = (site.pod("c1", 5), site.pod("c2", 6));
    site.map(&pod, &["8080/tcp"]);
    // As kube-proxy would: another port of the host that leads to the same container.
    run(
        "nft",
        &["add table ip svc; add chain ip svc pre { type nat hook prerouting priority -100; }; \
                  add rule ip svc pre tcp dport 30080 dnat to 10.88.0.5:80"],
    );
    assert_unanswered(From::Inside(&neighbour.container), "tcp", (HOST[0], 30080));
    assert_eq!(seen(From::Inside(&site.outside), "tcp", (HOST[0], 30080)), OUTSIDE[0]);
    let with_bridged = cni_host::sysctl_write("net/bridge/bridge-nf-call-iptables", "1");
    if with_bridged.is_ok() {
        assert_eq!(seen(From::Inside(&neighbour.container), "tcp", (HOST[0], 30080)), "10.88.0.6");
    }
}

#[test]
fn conditions_of_one_network_do_not_apply_to_another() {
    for (backend, v4, v6) in [
        ("nftables", json!(["ip saddr", "192.0.2.0/24"]), json!(["ip6 saddr 2001:db8:1::/64"])),
        ("iptables", json!(["-s", "192.0.2.0/24"]), json!(["-s", "2001:db8:1::/64"])),
    ] {
        let site = Site::new(backend);
        let (choosy, open) = (site.pod("c1", 5), site.pod("c2", 6));
        let keys = json!({"name": "choosy", "conditionsV4": v4, "conditionsV6": v6});
        let conf = site.conf(&choosy, &["8080/tcp"], keys);
        site.run("ADD", &choosy, &conf).ok();
        site.map(&open, &["8081/tcp"]);
        site.run("CHECK", &choosy, &conf).ok();
        for (host, gateway) in HOST.into_iter().zip(GATEWAY) {
            seen(From::Inside(&site.outside), "tcp", (host, 8080));
            seen(From::Inside(&site.outside), "tcp", (host, 8081));
            seen(From::Inside(&site.beyond), "tcp", (host, 8081));
            seen(From::Host, "tcp", (gateway, 8081));
            assert_unanswered(From::Inside(&site.beyond), "tcp", (host, 8080));
            assert_unanswered(From::Host, "tcp", (gateway, 8080));
        }
        site.run("DEL", &choosy, &conf).ok();
        assert_unanswered(From::Inside(&site.outside), "tcp", (HOST[0], 8080));
        seen(From::Inside(&site.outside), "tcp", (HOST[0], 8081));
    }
}
