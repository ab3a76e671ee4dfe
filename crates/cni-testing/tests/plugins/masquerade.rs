//! `ipMasq` of the bridge plugin, by packets: whose address a machine outside sees, by both backends and both programs
//! called iptables.

mod owner;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use cni_host::sysctl_write;
use cni_testing::{Container, EchoServer, Outcome};
use serde_json::{Value, json};

use crate::bridge::net::{addresses, set};
use crate::portmap::net::{BACKENDS, BEYOND, From, GATEWAY, HOST, OUTSIDE, Site, run, seen};

/// Where everybody answers.
const PORT: u16 = 7000;

/// What the host has towards [`BEYOND`].
const TOWARDS_BEYOND: [&str; 2] = ["198.51.100.1", "2001:db8:2::1"];

/// A host between its containers and the machines outside, and a network with `ipMasq`.
pub(crate) struct Net {
    pub(crate) site: Site,
    pub(crate) conf: Value,
}

impl Net {
    pub(crate) fn new(backend: &'static str) -> Self {
        let conf = json!({
            "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "isDefaultGateway": true,
            "ipMasq": true, "ipMasqBackend": backend.split('-').next(),
        });
        Net { site: Site::new(backend), conf }
    }

    pub(crate) fn container(&self, id: &str) -> Container {
        self.site.host.container(id)
    }

    /// The configuration for 10.88.0.`n` and fd00:88::`n`.
    pub(crate) fn conf(&self, n: u8) -> Value {
        let mut conf = self.conf.clone();
        conf["ipam"] = json!({"type": "static", "addresses": [
            {"address": format!("10.88.0.{n}/24"), "gateway": GATEWAY[0]},
            {"address": format!("fd00:88::{n}/64"), "gateway": GATEWAY[1]},
        ]});
        conf
    }

    pub(crate) fn run(&self, command: &str, container: &Container, conf: &Value) -> Outcome {
        let run = self.site.host.plugin("bridge").env("PATH", &self.site.path());
        match command {
            "ADD" => run.add(container, "eth0", conf),
            "CHECK" => run.check(container, "eth0", conf),
            "DEL" => run.del(container, "eth0", conf),
            _ => run.command(command, conf),
        }
    }

    /// ADD and CHECK. Returns the configuration for DEL.
    pub(crate) fn add(&self, container: &Container, n: u8) -> Value {
        let mut conf = self.conf(n);
        conf["prevResult"] = self.run("ADD", container, &conf).ok();
        self.run("CHECK", container, &conf).ok();
        conf
    }
}

/// Answers at the addresses of both families until dropped.
fn serve(container: &Container, addresses: &[IpAddr]) -> Vec<EchoServer> {
    addresses.iter().map(|address| container.serve(SocketAddr::new(*address, PORT))).collect()
}

fn parsed(addresses: [&str; 2]) -> [IpAddr; 2] {
    addresses.map(|address| address.parse().unwrap())
}

#[track_caller]
fn assert_seen(from: &Container, to: &str, as_whom: &str) {
    for protocol in ["tcp", "udp"] {
        assert_eq!(seen(From::Inside(from), protocol, (to, PORT)), as_whom, "{protocol} to {to}");
    }
}

#[test]
fn others_see_the_hosts_address_and_neighbours_the_containers() {
    for backend in BACKENDS {
        let net = Net::new(backend);
        let (one, two) = (net.container("one"), net.container("two"));
        let first = net.add(&one, 5);
        let second = net.add(&two, 6);
        let own = addresses(&first["prevResult"]).into_iter().map(|address| address.to_string());
        let _servers = [
            serve(&net.site.outside, &parsed(OUTSIDE)),
            serve(&net.site.beyond, &parsed(BEYOND)),
            serve(&two, &addresses(&second["prevResult"])),
        ];
        for (i, own) in own.enumerate() {
            assert_seen(&one, OUTSIDE[i], HOST[i]);
            assert_seen(&one, BEYOND[i], TOWARDS_BEYOND[i]);
            let neighbour = addresses(&second["prevResult"])[i].to_string();
            assert_seen(&one, &neighbour, &own);
            assert!(one.ping(OUTSIDE[i].parse().unwrap()), "{backend}");
        }
        for (container, conf) in [(&one, &first), (&two, &second)] {
            net.run("DEL", container, conf).ok();
        }
    }
}

#[test]
fn without_ip_masq_the_containers_address_leaves_the_host() {
    let mut net = Net::new("nftables");
    set(&mut net.conf, &json!({"ipMasq": false}));
    let one = net.container("one");
    let before = net.site.rules();
    net.add(&one, 5);
    net.site.rules().assert_same(&before);
    let _server = serve(&net.site.outside, &parsed(OUTSIDE));
    assert_seen(&one, OUTSIDE[0], "10.88.0.5");
    assert_seen(&one, OUTSIDE[1], "fd00:88::5");
}

/// Packets that a bridge switches pass IP's hooks where br_netfilter is on.
#[test]
fn multicast_keeps_the_containers_address() {
    let group = Ipv4Addr::new(239, 1, 2, 3);
    for backend in BACKENDS {
        let net = Net::new(backend);
        let (one, two) = (net.container("one"), net.container("two"));
        let first = net.add(&one, 5);
        net.add(&two, 6);
        sysctl_write("net/bridge/bridge-nf-call-iptables", "1").expect("needs CONFIG_BRIDGE_NETFILTER");
        let listener = two
            .ns()
            .run(|| {
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
                socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED).unwrap();
                socket
            })
            .unwrap();
        listener.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let heard = || {
            // The bridge may still be waiting to learn who listens.
            let from = (0..5).find_map(|_| {
                let send = || {
                    UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"hello", (group, PORT)))
                };
                one.ns().run(send).unwrap().unwrap();
                listener.recv_from(&mut [0; 16]).ok()
            });
            from.expect("multicast is heard").1.ip().to_string()
        };
        assert_eq!(heard(), "10.88.0.5", "{backend}");
        // The exception is what does it.
        if backend == "nftables" {
            run("nft", &["insert", "rule", "ip", "cni_masquerade", "postrouting", "masquerade"]);
            assert_ne!(heard(), "10.88.0.5");
        }
        net.run("DEL", &one, &first).ok();
    }
}

#[test]
fn del_leaves_nothing_of_the_attachment_whether_its_namespace_is_there_or_not() {
    for backend in BACKENDS {
        for (gone, known) in [(false, true), (true, true), (true, false)] {
            let net = Net::new(backend);
            net.add(&net.container("other"), 9);
            let before = net.site.rules();
            let mut one = net.container("one");
            let mut conf = net.add(&one, 5);
            assert_ne!(net.site.rules(), before);
            if gone {
                one.kill();
            }
            if !known {
                conf.as_object_mut().unwrap().remove("prevResult");
            }
            for _ in 0..2 {
                net.run("DEL", &one, &conf).ok();
                net.site.rules().assert_same(&before);
            }
        }
    }
}

#[test]
fn a_late_del_leaves_the_container_masqueraded_that_has_the_address_now() {
    for backend in BACKENDS {
        let net = Net::new(backend);
        let (mut old, new) = (net.container("old"), net.container("new"));
        let late = net.add(&old, 5);
        old.kill();
        let now = net.add(&new, 5);
        net.run("DEL", &old, &late).ok();
        net.run("CHECK", &new, &now).ok();
        let _server = serve(&net.site.outside, &parsed(OUTSIDE));
        for i in 0..2 {
            assert_seen(&new, OUTSIDE[i], HOST[i]);
        }
    }
}

#[test]
fn check_finds_what_somebody_flushed_and_whose_the_address_is_now() {
    for (backend, part) in [
        ("nftables", "10.88.0.5 is not masqueraded: it is not in map sources of table ip cni_masquerade"),
        ("iptables", "10.88.0.5 is not masqueraded: a rule of chain POSTROUTING of table nat is missing"),
    ] {
        let net = Net::new(backend);
        let one = net.container("one");
        let conf = net.add(&one, 5);
        run("nft", &["flush", "ruleset"]);
        let (code, msg) = net.run("CHECK", &one, &conf).err();
        assert_eq!((code, msg.as_str()), (999, part));
    }
    let net = Net::new("nftables");
    let (one, two) = (net.container("one"), net.container("two"));
    let conf = net.add(&one, 5);
    net.add(&two, 5);
    let (_, msg) = net.run("CHECK", &one, &conf).err();
    assert_eq!(msg, "10.88.0.5 is not masqueraded: it is cni:net:two:eth0 now");
}

#[test]
fn gc_collects_what_no_valid_attachment_has_and_nothing_of_others() {
    for backend in BACKENDS {
        let net = Net::new(backend);
        let (valid, mut stale) = (net.container("valid"), net.container("stale"));
        let conf = net.add(&valid, 5);
        let before = net.site.rules();
        net.add(&stale, 6);
        stale.kill();
        let mut gc = conf.clone();
        gc.as_object_mut().unwrap().remove("prevResult");
        // Without the list nothing is known of what is valid.
        net.run("GC", &valid, &gc).ok();
        assert_ne!(net.site.rules(), before);
        gc["cni.dev/valid-attachments"] = json!([{"containerID": "valid", "ifname": "eth0"}]);
        net.run("GC", &valid, &gc).ok();
        net.site.rules().assert_same(&before);
        net.run("CHECK", &valid, &conf).ok();
    }
}

#[test]
fn what_is_configured_now_does_not_matter_to_del() {
    for backend in BACKENDS {
        let net = Net::new(backend);
        net.add(&net.container("other"), 9);
        let before = net.site.rules();
        let one = net.container("one");
        let mut conf = net.add(&one, 5);
        set(&mut conf, &json!({"ipMasq": null, "ipMasqBackend": "none"}));
        net.run("DEL", &one, &conf).ok();
        net.site.rules().assert_same(&before);
    }
}

#[test]
fn a_backend_that_cannot_be_had_is_refused_and_leaves_nothing() {
    let mut net = Net::new("nftables");
    net.conf["ipMasqBackend"] = "ipvs".into();
    let one = net.container("one");
    let (code, msg) = net.run("ADD", &one, &net.conf(5)).err();
    assert_eq!((code, msg.as_str()), (7, "ipMasqBackend: \"ipvs\" is neither \"iptables\" nor \"nftables\""));
    assert_eq!(net.run("STATUS", &one, &net.conf(5)).err().0, 7);

    net.conf["ipMasqBackend"] = "iptables".into();
    net.run("STATUS", &one, &net.conf(5)).ok();
    // No iptables on this host. Its /sbin is the same folder.
    net.site.host.hide(&["/usr/sbin"]);
    let before = (net.site.host.snapshot(), one.snapshot());
    let (code, msg) = net.run("ADD", &one, &net.conf(5)).err();
    assert_eq!(code, 999);
    assert!(msg.contains("cannot find iptables in "), "{msg}");
    net.site.host.snapshot().assert_same(&before.0);
    one.snapshot().assert_same(&before.1);
    assert_eq!(net.run("STATUS", &one, &net.conf(5)).err().0, 50);

    // Unless it is left to the host.
    net.conf.as_object_mut().unwrap().remove("ipMasqBackend");
    let conf = net.add(&one, 5);
    net.run("STATUS", &one, &net.conf(5)).ok();
    let _server = serve(&net.site.outside, &parsed(OUTSIDE));
    assert_seen(&one, OUTSIDE[0], HOST[0]);
    net.run("DEL", &one, &conf).ok();
}

#[test]
fn first_adds_at_once_lose_nothing() {
    for backend in BACKENDS {
        let net = Net::new(backend);
        let containers: Vec<Container> = (0..8).map(|i| net.container(&format!("c{i}"))).collect();
        let confs: Vec<Value> = std::thread::scope(|scope| {
            let add = |(i, container)| {
                let net = &net;
                scope.spawn(move || {
                    let mut conf = net.conf(10 + i as u8);
                    conf["prevResult"] = net.run("ADD", container, &conf).ok();
                    conf
                })
            };
            let threads: Vec<_> = containers.iter().enumerate().map(add).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (container, conf) in containers.iter().zip(&confs) {
            net.run("CHECK", container, conf).ok();
        }
    }
}
