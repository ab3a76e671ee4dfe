//! The iptables backend's rules where several claim a chain or a port: interfaces of one container, ADDs of one attachment,
//! containers, services.

use std::net::SocketAddr;

use cni_testing::Outcome;
use serde_json::{Value, json};

use crate::bridge::net::addresses;
use crate::portmap::net::{BACKENDS, From, HOST, PORT, Pod, Site, assert_unanswered, run, seen};

/// iptables by both of its programs.
const IPTABLES: [&str; 2] = ["iptables", "iptables-legacy"];

/// What leads nowhere where the prevResult is not told.
const UNTOLD: &str = r#"{"prevResult": null, "runtimeConfig": null}"#;

fn outside(site: &Site) -> From<'_> {
    From::Inside(&site.outside)
}

/// A second interface of the container in the same network, and a server behind its addresses.
fn second_interface(site: &Site, pod: &Pod, n: u8) -> (Value, Vec<cni_testing::EchoServer>) {
    let bridge = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0",
        "ipam": {"type": "static", "addresses": [{"address": format!("10.88.0.{n}/24")}]},
    });
    let result = site.host.plugin("bridge").add(&pod.container, "eth1", &bridge).ok();
    let ips = addresses(&result).into_iter();
    let servers = ips.map(|ip| pod.container.serve(SocketAddr::new(ip, PORT))).collect();
    (result, servers)
}

/// The rules and elements that are some container's; what all share stays once it is there.
fn of_containers(site: &Site) -> Vec<String> {
    let is_of_container = |line: &String| line.contains("CNI-DN-") || line.contains("cni:");
    site.rules().0.into_iter().filter(is_of_container).collect()
}

fn run_on(site: &Site, command: &str, pod: &Pod, ifname: &str, conf: &Value) -> Outcome {
    let run = site.host.plugin("portmap").env("PATH", &site.path());
    if command == "ADD" {
        run.add(&pod.container, ifname, conf)
    } else {
        run.del(&pod.container, ifname, conf)
    }
}

#[test]
fn f3_del_of_one_interface_leaves_the_ports_of_the_containers_other_one() {
    for backend in IPTABLES {
        for told in ["{}", UNTOLD] {
            for first in ["eth0", "eth1"] {
                let site = Site::new(backend);
                let pod = site.pod("c1", 5);
                let (result, _servers) = second_interface(&site, &pod, 7);
                let of_eth0 = site.conf(&pod, &["8080/tcp", "192.0.2.1 9000/tcp"], json!({}));
                let mappings = ["8080/udp", "8081/tcp", "198.51.100.1 9000/tcp"];
                let of_eth1 = site.conf(&pod, &mappings, json!({"prevResult": result}));
                let confs = [("eth0", &of_eth0), ("eth1", &of_eth1)];
                let (gone, left) = if first == "eth0" { (confs[0], confs[1]) } else { (confs[1], confs[0]) };
                run_on(&site, "ADD", &pod, left.0, left.1).ok();
                let alone = of_containers(&site);
                run_on(&site, "ADD", &pod, gone.0, gone.1).ok();
                for (protocol, host, port) in
                    [("tcp", HOST[0], 8080), ("udp", HOST[0], 8080), ("tcp", HOST[0], 8081)]
                {
                    seen(outside(&site), protocol, (host, port));
                }

                let mut conf = gone.1.clone();
                crate::bridge::net::set(&mut conf, &serde_json::from_str(told).unwrap());
                for _ in 0..2 {
                    run_on(&site, "DEL", &pod, gone.0, &conf).ok();
                    assert_eq!(of_containers(&site), alone);
                }
                let (answers, silent) = if left.0 == "eth0" { ("tcp", "udp") } else { ("udp", "tcp") };
                seen(outside(&site), answers, (HOST[0], 8080));
                assert_unanswered(outside(&site), silent, (HOST[0], 8080));

                run_on(&site, "DEL", &pod, left.0, left.1).ok();
                assert_eq!(of_containers(&site), [""; 0]);
            }
        }
    }
}

/// Of both interfaces one has the port: the first, and after its DEL the other.
#[test]
fn f3_one_port_of_two_interfaces_is_the_others_after_the_first_is_gone() {
    for backend in IPTABLES {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let (result, servers) = second_interface(&site, &pod, 7);
        let of_eth0 = site.conf(&pod, &["8080/tcp"], json!({}));
        let of_eth1 = site.conf(&pod, &["8080/tcp"], json!({"prevResult": result}));
        run_on(&site, "ADD", &pod, "eth0", &of_eth0).ok();
        run_on(&site, "ADD", &pod, "eth1", &of_eth1).ok();
        drop(servers);
        seen(outside(&site), "tcp", (HOST[0], 8080));
        run_on(&site, "DEL", &pod, "eth0", &of_eth0).ok();
        assert_unanswered(outside(&site), "tcp", (HOST[0], 8080));
        let _server = pod.container.serve("10.88.0.7:80".parse().unwrap());
        seen(outside(&site), "tcp", (HOST[0], 8080));
        run_on(&site, "DEL", &pod, "eth1", &of_eth1).ok();
        assert_unanswered(outside(&site), "tcp", (HOST[0], 8080));
    }
}

/// A prevResult with one of the container's addresses.
fn only(pod: &Pod, address: &str) -> Value {
    let mut result = pod.result.clone();
    result["ips"].as_array_mut().unwrap().retain(|ip| ip["address"].as_str().unwrap().starts_with(address));
    assert_eq!(result["ips"].as_array().unwrap().len(), 1, "{result}");
    result
}

#[test]
fn f5_an_add_after_an_add_takes_the_place_of_the_addresses_and_ports_before() {
    for backend in BACKENDS {
        let addresses = json!([
            {"address": "10.88.0.5/24"}, {"address": "10.88.0.6/24"}, {"address": "fd00:88::5/64"},
        ]);
        let site = Site::new(backend);
        let pod = site.pod_with("c1", addresses);
        let conf = |address: &str, mappings: &[&str]| {
            site.conf(&pod, mappings, json!({"prevResult": only(&pod, address)}))
        };
        let last = conf("10.88.0.6", &["8080/tcp", "8081/tcp"]);
        site.run("ADD", &pod, &last).ok();
        let alone = of_containers(&site);
        site.run("DEL", &pod, &last).ok();
        assert_eq!(of_containers(&site), [""; 0]);

        for earlier in [
            conf("10.88.0.5", &["8080/tcp", "8081/tcp"]),
            conf("10.88.0.6", &["8079/tcp", "8080/tcp", "8080/udp"]),
            conf("fd00:88::5", &["8080/tcp"]),
        ] {
            site.run("ADD", &pod, &earlier).ok();
            site.run("ADD", &pod, &last).ok();
            site.run("CHECK", &pod, &last).ok();
            assert_eq!(of_containers(&site), alone);
            seen(outside(&site), "tcp", (HOST[0], 8080));
            assert_unanswered(outside(&site), "tcp", (HOST[1], 8080));
            assert_unanswered(outside(&site), "tcp", (HOST[0], 8079));
            site.run("DEL", &pod, &last).ok();
            assert_eq!(of_containers(&site), [""; 0]);
        }
    }
}

#[test]
fn f15_check_finds_another_containers_rule_that_comes_first() {
    for backend in IPTABLES {
        let specific = |host: &str| format!("{host} 8080/tcp");
        for (stale, keys, meets) in [
            ("8080/tcp", json!({}), true),
            (&*specific(HOST[0]), json!({}), true),
            (&specific("198.51.100.1"), json!({}), false),
            ("8080/udp", json!({}), false),
            ("8081/tcp", json!({}), false),
            // Only packets from there are taken.
            ("8080/tcp", json!({"conditionsV4": ["-i", "up1"], "conditionsV6": ["-i", "up1"]}), false),
        ] {
            let site = Site::new(backend);
            let (old, new) = (site.pod("old", 5), site.pod("new", 6));
            let of_old = site.conf(&old, &[stale], keys.clone());
            site.run("ADD", &old, &of_old).ok();
            let of_new = site.conf(&new, &[&specific(HOST[0])], json!({}));
            site.run("ADD", &new, &of_new).ok();
            let outcome = site.run("CHECK", &new, &of_new);
            if meets {
                let (code, text) = outcome.err();
                assert_eq!(code, 999);
                let start = format!("tcp port 8080 of {} is chain CNI-DN-", HOST[0]);
                assert!(text.starts_with(&start) && text.contains("comes before"), "{text}");
            } else {
                outcome.ok();
                seen(outside(&site), "tcp", (HOST[0], 8080));
            }
            site.run("DEL", &old, &of_old).ok();
            site.run("CHECK", &new, &of_new).ok();
        }
    }
}

/// What portmap.md says of a service and a mapping with the same port of an address of the host.
#[test]
fn f9_a_service_at_an_address_of_the_host_comes_first_as_the_page_says() {
    for (backend, late, wins) in [
        ("iptables", "-A", "mapping"),
        ("iptables-legacy", "-A", "mapping"),
        // As kube-proxy does.
        ("iptables", "-I", "service"),
        ("iptables-legacy", "-I", "service"),
        ("nftables", "-A", "service"),
        ("nftables", "-I", "service"),
    ] {
        let site = Site::new(backend);
        let (pod, _behind) = (site.pod("c1", 5), site.pod("c2", 6));
        let mut conf = site.conf(&pod, &["8080/tcp"], json!({}));
        // Nobody listens there, so whoever is answered has come to the service.
        conf["runtimeConfig"]["portMappings"][0]["containerPort"] = 81.into();
        site.run("ADD", &pod, &conf).ok();
        let program = if backend == "iptables-legacy" { backend } else { "iptables" };
        let to = ["--dport", "8080", "-j", "DNAT", "--to", "10.88.0.6:80"];
        run(program, &[&["-t", "nat", late, "PREROUTING", "-p", "tcp", "-d", HOST[0]], &to[..]].concat());
        match wins {
            "service" => drop(seen(outside(&site), "tcp", (HOST[0], 8080))),
            _ => assert_unanswered(outside(&site), "tcp", (HOST[0], 8080)),
        }
    }
}

/// A service without endpoints is no translation but a refusal, which by iptables comes after all translations.
#[test]
fn f9_a_service_that_is_refused_by_a_filter_loses_its_packets_to_the_mapping() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let refuse = ["-p", "tcp", "-d", HOST[0], "--dport", "8080", "-j", "REJECT"];
        let program = if backend == "iptables-legacy" { backend } else { "iptables" };
        run(program, &[&["-I", "INPUT"], &refuse[..]].concat());
        assert_unanswered(outside(&site), "tcp", (HOST[0], 8080));
        site.map(&pod, &["8080/tcp"]);
        seen(outside(&site), "tcp", (HOST[0], 8080));
    }
}

/// What portmap.md says of two containers that have one port at different addresses of the host.
#[test]
fn f11_two_host_addresses_with_one_port_lead_where_the_page_says() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let (one, two) = (site.pod("c1", 5), site.pod("c2", 6));
        let at = |host: &str| format!("{host} 8080/tcp");
        // Only the second container listens, so what is answered has come to it.
        let mut of_one = site.conf(&one, &[&at(HOST[0])], json!({}));
        of_one["runtimeConfig"]["portMappings"][0]["containerPort"] = 81.into();
        site.run("ADD", &one, &of_one).ok();
        site.map(&two, &[&at("198.51.100.1")]);
        seen(outside(&site), "tcp", ("198.51.100.1", 8080));
        assert_unanswered(outside(&site), "tcp", (HOST[0], 8080));
    }
    // One that has all addresses takes them all by iptables, when it was there first.
    for (backend, answered) in [("nftables", true), ("iptables", false), ("iptables-legacy", false)] {
        let site = Site::new(backend);
        let (all, one) = (site.pod("c1", 5), site.pod("c2", 6));
        let mut of_all = site.conf(&all, &["8080/tcp"], json!({}));
        of_all["runtimeConfig"]["portMappings"][0]["containerPort"] = 81.into();
        site.run("ADD", &all, &of_all).ok();
        let of_one = site.conf(&one, &[&format!("{} 8080/tcp", HOST[0])], json!({}));
        site.run("ADD", &one, &of_one).ok();
        if answered {
            seen(outside(&site), "tcp", (HOST[0], 8080));
            site.run("CHECK", &one, &of_one).ok();
        } else {
            assert_unanswered(outside(&site), "tcp", (HOST[0], 8080));
            site.run("CHECK", &one, &of_one).err();
        }
        assert_unanswered(outside(&site), "tcp", ("198.51.100.1", 8080));
    }
}

/// One container's port at two addresses of the host, each to a port of its own.
#[test]
fn f11_one_container_with_one_port_at_two_addresses() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let mappings = [format!("{} 8080/tcp", HOST[0]), "198.51.100.1 8080/tcp".to_owned()];
        let mut conf = site.conf(&pod, &[&mappings[0], &mappings[1]], json!({}));
        conf["runtimeConfig"]["portMappings"][1]["containerPort"] = 81.into();
        site.run("ADD", &pod, &conf).ok();
        site.run("CHECK", &pod, &conf).ok();
        seen(outside(&site), "tcp", (HOST[0], 8080));
        assert_unanswered(outside(&site), "tcp", ("198.51.100.1", 8080));
        let _server = pod.container.serve("10.88.0.5:81".parse().unwrap());
        seen(outside(&site), "tcp", ("198.51.100.1", 8080));
    }
}
