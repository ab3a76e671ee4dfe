//! What the tests of sbr share: a container in two networks, behind the gateways of which the same addresses answer.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use cni_netlink::{AddrFlags, Rule};
use cni_testing::{Container, EchoServer, Host, Outcome};
use serde_json::{Value, json};

use crate::bridge::net::{link_in, set};

/// On both worlds; whose answer comes tells which way a packet went.
pub(crate) const FAR: [&str; 2] = ["192.0.2.9", "2001:db8::9"];

/// The container's interface in each network.
pub(crate) const IFNAMES: [&str; 2] = ["eth0", "net1"];

/// A private host with two networks, each a bridge with a machine on it that is the network's gateway to the far addresses, and
/// answers at a port of its own.
pub(crate) struct Site {
    pub(crate) host: Host,
    pub(crate) worlds: [Container; 2],
    _servers: Vec<EchoServer>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let host = Host::new();
        let worlds = ["world0", "world1"].map(|id| host.container(id));
        let mut servers = Vec::new();
        for (n, world) in worlds.iter().enumerate() {
            host.plugin("bridge").add(world, "eth0", &network(n, 254)).ok();
            let index = link_in(world, "eth0").index;
            for far in FAR {
                let far: IpAddr = far.parse().unwrap();
                let mut there = world.ns().socket().unwrap();
                there.addr_add(index, far.into(), AddrFlags { nodad: true }).unwrap();
                servers.push(world.serve(SocketAddr::new(far, port(n))));
            }
            // For those who look for the way to it in the network itself.
            servers.push(world.serve(SocketAddr::new(gateway(n, true), port(n))));
        }
        Site { host, worlds, _servers: servers }
    }

    /// Adds the container to network `n`, by the bridge plugin.
    pub(crate) fn attach(&self, container: &Container, n: usize, conf: &Value) -> Value {
        self.host.plugin("bridge").add(container, IFNAMES[n], conf).ok()
    }

    /// A container in both networks: the first has its default route; with what the second's bridge plugin answered.
    pub(crate) fn container(&self, id: &str) -> (Container, Value) {
        let container = self.host.container(id);
        let mut first = network(0, 5);
        first["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
        self.attach(&container, 0, &first);
        let result = self.attach(&container, 1, &network(1, 5));
        (container, result)
    }

    /// Runs sbr for the interface in the second network.
    pub(crate) fn sbr(&self, command: &str, container: &Container, conf: &Value) -> Outcome {
        let run = self.host.plugin("sbr");
        match command {
            "ADD" => run.add(container, IFNAMES[1], conf),
            "CHECK" => run.check(container, IFNAMES[1], conf),
            "DEL" => run.del(container, IFNAMES[1], conf),
            _ => run.command(command, conf),
        }
    }
}

/// The configuration of bridge for network `n` and the address `.host`.
pub(crate) fn network(n: usize, host: u8) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": format!("net{n}"), "type": "bridge", "bridge": format!("br{n}"),
        "ipam": {"type": "static", "addresses": [
            {"address": format!("{}/24", address(n, true, host)), "gateway": gateway(n, true).to_string()},
            {"address": format!("{}/64", address(n, false, host)), "gateway": gateway(n, false).to_string()},
        ]},
    })
}

pub(crate) fn address(n: usize, ipv4: bool, host: u8) -> IpAddr {
    let text = if ipv4 { format!("10.{}.0.{host}", 88 + n) } else { format!("fd00:{}::{host}", 88 + n) };
    text.parse().unwrap()
}

pub(crate) fn gateway(n: usize, ipv4: bool) -> IpAddr {
    address(n, ipv4, 254)
}

fn port(n: usize) -> u16 {
    7000 + n as u16
}

/// sbr's configuration after a plugin that answered `prev`.
pub(crate) fn conf(prev: &Value, keys: &Value) -> Value {
    let mut conf =
        json!({"cniVersion": prev["cniVersion"], "name": "net1", "type": "sbr", "prevResult": prev});
    set(&mut conf, keys);
    conf
}

/// Through which networks a datagram from `source`, or from where the container pleases, reaches an address.
pub(crate) fn ways(container: &Container, source: Option<IpAddr>, to: IpAddr) -> Vec<usize> {
    let answers = |n: &usize| container.ns().run(|| ask(source, SocketAddr::new(to, port(*n)))).unwrap();
    (0..2).filter(answers).collect()
}

/// Whether an echo comes, which the first of few datagrams is mostly lost of, while neighbours are looked for.
fn ask(source: Option<IpAddr>, to: SocketAddr) -> bool {
    let any: IpAddr = if to.is_ipv4() { "0.0.0.0" } else { "::" }.parse().unwrap();
    let socket = UdpSocket::bind((source.unwrap_or(any), 0)).unwrap();
    // A network that cannot be reached, or a port where nobody listens, is an answer too.
    if socket.connect(to).is_err() {
        return false;
    }
    let mut buffer = [0; 100];
    for wait in [50, 200, 1500] {
        socket.set_read_timeout(Some(Duration::from_millis(wait))).unwrap();
        if let Err(error) = socket.send(b"hello") {
            assert_ne!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
            return false;
        }
        match socket.recv(&mut buffer) {
            Ok(size) => return buffer[..size].ends_with(b" hello"),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    false
}

/// The rules by which packets from single addresses are routed, in their order.
pub(crate) fn rules(container: &Container) -> Vec<Rule> {
    let found = container.ns().socket().unwrap().rule_dump().unwrap().into_iter();
    found.map(|found| found.rule).filter(|rule| rule.src.prefix_len() > 0).collect()
}

/// All rules, and all routes of every table but the local one; IPv6's link-local ones come on their own time.
pub(crate) fn routing(container: &Container) -> Vec<String> {
    let mut inside = container.ns().socket().unwrap();
    let mut lines: Vec<String> =
        inside.rule_dump().unwrap().iter().map(|found| found.rule.to_string()).collect();
    for link in inside.link_dump(None).unwrap() {
        for found in inside.route_dump_found(link.index, None).unwrap() {
            let is_noise =
                found.spec.dst.to_string().starts_with("f") && !found.spec.dst.to_string().starts_with("fd");
            if !is_noise {
                lines.push(format!(
                    "{} scope {:?} src {:?} mtu {:?}",
                    found.spec, found.spec.scope, found.src, found.spec.mtu
                ));
            }
        }
    }
    lines.sort();
    lines
}
