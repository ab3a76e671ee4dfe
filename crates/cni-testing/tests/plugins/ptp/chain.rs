//! ptp with what stands beside it: masquerading towards machines outside, and the chain of ptp, portmap and firewall.

use std::net::{IpAddr, SocketAddr};

use cni_testing::{Container, EchoServer, Outcome};
use cni_types::{ContainerId, IfName};
use libcni::{Attachment, Network, Runtime};
use serde_json::{Value, json};

use crate::portmap::net::{BACKENDS, From, HOST, OUTSIDE, Site, run, seen};

const PORT: u16 = 80;

/// Answers at the addresses of both families until dropped.
fn serve(container: &Container, addresses: impl IntoIterator<Item = IpAddr>) -> Vec<EchoServer> {
    addresses.into_iter().map(|address| container.serve(SocketAddr::new(address, PORT))).collect()
}

fn conf(backend: &str, n: u8) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "ptp",
        "ipMasq": true, "ipMasqBackend": backend.split('-').next(),
        "ipam": {
            "type": "static",
            "addresses": [
                {"address": format!("10.88.0.{n}/24"), "gateway": "10.88.0.1"},
                {"address": format!("fd00:88::{n}/64"), "gateway": "fd00:88::1"},
            ],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        },
    })
}

fn ptp(site: &Site, command: &str, container: &Container, conf: &Value) -> Outcome {
    let run = site.host.plugin("ptp").env("PATH", &site.path());
    match command {
        "ADD" => run.add(container, "eth0", conf),
        "CHECK" => run.check(container, "eth0", conf),
        "DEL" => run.del(container, "eth0", conf),
        _ => run.command(command, conf),
    }
}

#[test]
fn others_see_the_hosts_address_and_other_containers_the_containers() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let (one, two) = (site.host.container("one"), site.host.container("two"));
        for (container, n) in [(&one, 5), (&two, 6)] {
            let mut conf = conf(backend, n);
            conf["prevResult"] = ptp(&site, "ADD", container, &conf).ok();
            ptp(&site, "CHECK", container, &conf).ok();
        }
        let _outside = serve(&site.outside, OUTSIDE.map(|address| address.parse().unwrap()));
        let _two = serve(&two, ["10.88.0.6", "fd00:88::6"].map(|address| address.parse().unwrap()));
        for (i, (own, neighbour)) in
            [("10.88.0.5", "10.88.0.6"), ("fd00:88::5", "fd00:88::6")].into_iter().enumerate()
        {
            for protocol in ["tcp", "udp"] {
                assert_eq!(seen(From::Inside(&one), protocol, (OUTSIDE[i], PORT)), HOST[i], "{backend}");
                assert_eq!(seen(From::Inside(&one), protocol, (neighbour, PORT)), own, "{backend}");
            }
        }
    }
}

#[test]
fn masquerading_goes_with_the_attachment_whether_its_namespace_is_there_or_not() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        ptp(&site, "ADD", &site.host.container("other"), &conf(backend, 9)).ok();
        let before = site.rules();
        for (gone, known, collect) in
            [(false, true, false), (true, true, false), (true, false, false), (true, false, true)]
        {
            let mut one = site.host.container("one");
            let mut conf = conf(backend, 5);
            let result = ptp(&site, "ADD", &one, &conf).ok();
            assert_ne!(site.rules(), before);
            if gone {
                one.kill();
            }
            if known {
                conf["prevResult"] = result;
            }
            // Whatever the configuration says by then.
            conf["ipMasq"] = false.into();
            if collect {
                conf["cni.dev/valid-attachments"] = json!([{"containerID": "other", "ifname": "eth0"}]);
                ptp(&site, "GC", &one, &conf).ok();
            } else {
                ptp(&site, "DEL", &one, &conf).ok();
            }
            site.rules().assert_same(&before);
        }
    }
}

#[test]
fn check_finds_masquerading_that_somebody_flushed() {
    let site = Site::new("nftables");
    let one = site.host.container("one");
    let mut conf = conf("nftables", 5);
    conf["prevResult"] = ptp(&site, "ADD", &one, &conf).ok();
    run("nft", &["flush", "ruleset"]);
    let (code, msg) = ptp(&site, "CHECK", &one, &conf).err();
    assert_eq!(code, 999);
    assert!(msg.contains("10.88.0.5 is not masqueraded"), "{msg}");
}

/// An attachment whose port 80 is published.
fn attachment(container: &Container, host_port: u16) -> Attachment {
    let id = ContainerId::new(container.id()).unwrap();
    let mut attachment = Attachment::new(id, IfName::new("eth0").unwrap());
    attachment.netns = Some(container.netns().to_owned());
    let mapping =
        |protocol: &str| json!({"hostPort": host_port, "containerPort": PORT, "protocol": protocol});
    attachment.capability_args.insert("portMappings".to_owned(), json!([mapping("tcp"), mapping("udp")]));
    attachment
}

#[test]
fn both_containers_of_a_chain_with_portmap_and_firewall_are_reached_by_their_published_ports() {
    for backend in ["nftables", "iptables"] {
        let site = Site::new(backend);
        let runtime = Runtime::new(vec![site.host.bin_dir()], site.host.dir().join("cache"));
        let ptp = json!({
            "type": "ptp", "ipMasq": true, "ipMasqBackend": backend,
            "ipam": {
                "type": "host-local", "dataDir": site.host.dir().join("leases"),
                "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        });
        let portmap = json!({"type": "portmap", "backend": backend, "capabilities": {"portMappings": true}});
        let firewall = json!({"type": "firewall", "backend": backend});
        let list = json!({"cniVersion": "1.1.0", "name": "net", "plugins": [ptp, portmap, firewall]});
        let file = site.host.dir().join("net.conflist");
        std::fs::write(&file, list.to_string()).unwrap();
        let network = Network::from_file(&file).unwrap();

        let before = site.rules();
        let pods = [("one", 8080), ("two", 8081)].map(|(id, port)| {
            let container = site.host.container(id);
            let attachment = attachment(&container, port);
            let added = runtime.add(&network, &attachment).unwrap();
            let servers = serve(&container, added.result.ips.iter().map(|ip| ip.address.addr()));
            (container, attachment, servers, port)
        });
        for (_, attachment, _, port) in &pods {
            runtime.check(&network, attachment).unwrap();
            for (host, outside) in HOST.into_iter().zip(OUTSIDE) {
                for protocol in ["tcp", "udp"] {
                    let saw = seen(From::Inside(&site.outside), protocol, (host, *port));
                    assert_eq!(saw, outside, "{backend} {protocol} {port}");
                    // From the other container, and from itself, by the host's address.
                    for (other, ..) in &pods {
                        seen(From::Inside(other), protocol, (host, *port));
                    }
                }
            }
        }
        for (_, attachment, ..) in &pods {
            runtime.del(&network, attachment).unwrap();
        }
        if backend == "nftables" {
            let left = site.rules();
            let ours = |line: &&String| line.contains("10.88.0.") || line.contains("fd00:88::");
            let elements: Vec<_> = left.0.iter().filter(ours).filter(|line| line.contains(":eth0")).collect();
            assert_eq!(elements, Vec::<&String>::new());
        } else {
            let of_containers = |line: &&String| line.contains("id: \"") || line.contains("-s 10.88.0.");
            assert_eq!(site.rules().0.iter().find(of_containers), before.0.iter().find(of_containers));
        }
        assert!(
            cni_netlink::Socket::open()
                .unwrap()
                .link_dump(Some("veth"))
                .unwrap()
                .iter()
                .all(|veth| veth.alias.is_none())
        );
    }
}
