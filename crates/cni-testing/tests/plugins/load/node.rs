//! The host under load: one network of bridge, host-local, portmap and firewall, run plugin by plugin as a runtime does, and
//! all that the host holds for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use cni_netlink::Socket;
use cni_testing::{Container, Host, Outcome, Snapshot};
use serde_json::{Value, json};

use crate::bridge::net::{addresses, theirs};
use crate::portmap::net::{HOST, OUTSIDE, PORT, reference};

/// Whose plugins a step is done by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    /// Our bridge with the reference's host-local.
    TheirIpam,
    /// The reference's bridge and host-local, for ADD. What it made our bridge deletes.
    TheirBridge,
}

/// A container, and what it was given.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) container: Container,
    /// Whose ADD it was.
    pub(crate) kind: Kind,
    /// The bridge's result; `Null` until the first ADD.
    pub(crate) prev: Value,
}

impl Attachment {
    pub(crate) fn id(&self) -> &str {
        self.container.id()
    }

    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        if self.prev.is_null() { Vec::new() } else { addresses(&self.prev) }
    }

    /// The host's port that leads here: one for each address, so that whoever gets the address gets the port.
    fn host_port(&self) -> u16 {
        let IpAddr::V4(address) = self.addresses()[0] else { panic!("the first set is IPv4") };
        20_000 + u16::from(address.octets()[3])
    }

    /// The name of its port of the bridge.
    fn port(&self) -> String {
        self.prev["interfaces"][1]["name"].as_str().unwrap().to_owned()
    }
}

/// A private host with one network and a machine next to it.
pub(crate) struct Node {
    pub(crate) host: Host,
    pub(crate) kinds: &'static [Kind],
    outside: Container,
    backend: &'static str,
}

impl Node {
    pub(crate) fn new(backend: &'static str, kinds: &'static [Kind]) -> Self {
        let host = Host::new();
        // Records of the firewall's, locks of iptables.
        host.hide(&["/run"]);
        let outside = host.container("outside");
        host.connect(&outside, "up0", HOST, OUTSIDE);
        Node { host, kinds, outside, backend }
    }

    /// Makes what is there for good: the bridge, tables and chains, the folder of leases.
    pub(crate) fn warm_up(&self) {
        for kind in self.kinds {
            let mut attachment = self.attachment(*kind, "first");
            attachment.prev = self.attach(*kind, &attachment.container).ok();
            self.chain(&attachment);
            self.unchain(&attachment);
            self.detach(Kind::Ours, &attachment);
        }
    }

    pub(crate) fn attachment(&self, kind: Kind, id: &str) -> Attachment {
        Attachment { container: self.host.container(id), kind, prev: Value::Null }
    }

    /// ADD of bridge and host-local.
    pub(crate) fn attach(&self, kind: Kind, container: &Container) -> Outcome {
        match kind {
            Kind::TheirBridge => theirs("bridge", "ADD", container, &self.bridge()),
            _ => self.host.plugin("bridge").env("CNI_PATH", &self.path(kind)).add(
                container,
                "eth0",
                &self.bridge(),
            ),
        }
    }

    /// ADD of portmap and firewall.
    pub(crate) fn chain(&self, attachment: &Attachment) {
        for plugin in ["portmap", "firewall"] {
            let conf = self.chained(plugin, attachment);
            let passed_on = self.host.plugin(plugin).add(&attachment.container, "eth0", &conf).ok();
            assert_eq!(passed_on["ips"], attachment.prev["ips"], "{}", attachment.id());
        }
    }

    /// CHECK of all.
    pub(crate) fn check(&self, attachment: &Attachment) {
        let mut bridge = self.bridge();
        bridge["prevResult"] = attachment.prev.clone();
        let confs = ["portmap", "firewall"].map(|plugin| (plugin, self.chained(plugin, attachment)));
        for (plugin, conf) in [("bridge", bridge)].iter().chain(&confs) {
            self.host.plugin(plugin).check(&attachment.container, "eth0", conf).ok();
        }
    }

    /// DEL of firewall and portmap.
    pub(crate) fn unchain(&self, attachment: &Attachment) {
        for plugin in ["firewall", "portmap"] {
            let conf = self.chained(plugin, attachment);
            self.host.plugin(plugin).del(&attachment.container, "eth0", &conf).ok();
        }
    }

    /// DEL of bridge and host-local.
    pub(crate) fn detach(&self, kind: Kind, attachment: &Attachment) {
        let mut conf = self.bridge();
        conf["prevResult"] = attachment.prev.clone();
        let bridge = self.host.plugin("bridge").env("CNI_PATH", &self.path(kind));
        bridge.del(&attachment.container, "eth0", &conf).ok();
    }

    fn bridge(&self) -> Value {
        // Both sets of one size, and hardly larger than what is in use at a time, so that addresses are soon another's.
        json!({
            "cniVersion": "1.0.0",
            "name": "load",
            "type": "bridge",
            "bridge": "br-load",
            "isDefaultGateway": true,
            "ipam": {
                "type": "host-local",
                "dataDir": self.host.dir().join("leases"),
                "ranges": [
                    [{"subnet": "10.88.0.0/24", "rangeEnd": "10.88.0.60"}],
                    [{"subnet": "fd00:88::/64", "rangeEnd": "fd00:88::3c"}],
                ],
            },
        })
    }

    fn chained(&self, plugin: &str, attachment: &Attachment) -> Value {
        let port = attachment.host_port();
        let mapping = |protocol: &str| json!({"hostPort": port, "containerPort": PORT, "protocol": protocol});
        let mut conf = json!({
            "cniVersion": "1.0.0",
            "name": "load",
            "type": plugin,
            "backend": self.backend,
            "prevResult": attachment.prev,
        });
        if plugin == "portmap" {
            conf["capabilities"] = json!({"portMappings": true});
            conf["runtimeConfig"] = json!({"portMappings": [mapping("tcp"), mapping("udp")]});
        }
        conf
    }

    fn path(&self, kind: Kind) -> String {
        let folder = match kind {
            Kind::Ours => self.host.bin_dir(),
            Kind::TheirIpam | Kind::TheirBridge => reference("host-local").parent().unwrap().to_owned(),
        };
        folder.to_str().unwrap().to_owned()
    }

    /// What the lease of an address says.
    pub(crate) fn lease(&self, address: IpAddr) -> Option<String> {
        fs::read_to_string(self.host.dir().join("leases/load").join(address.to_string())).ok()
    }

    fn leases(&self) -> BTreeMap<IpAddr, String> {
        let entries = fs::read_dir(self.host.dir().join("leases/load")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let addresses = names.filter_map(|name| name.parse().ok());
        addresses.map(|address| (address, self.lease(address).unwrap())).collect()
    }

    /// While nothing runs: the leases and the bridge's ports are those of `live`, and nobody's rules are there but of these and
    /// of `half`, whose interfaces are gone already.
    pub(crate) fn assert_holds(&self, live: &[&Attachment], half: &[&Attachment]) {
        let lease = |attachment: &&Attachment| {
            let text = format!("{}\r\neth0", attachment.id());
            attachment.addresses().into_iter().map(move |address| (address, text.clone()))
        };
        assert_eq!(self.leases(), live.iter().flat_map(lease).collect());

        let ports: BTreeSet<String> = live.iter().map(|attachment| attachment.port()).collect();
        // What the reference's bridge leaves of a refused ADD goes with its namespace, in the background.
        let since = Instant::now();
        while bridge_ports() != ports && since.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(bridge_ports(), ports);

        let snapshot = self.host.snapshot();
        let rules =
            snapshot.0.iter().filter(|line| line.starts_with("nft ") || line.contains("tables-save "));
        let named: BTreeSet<&str> = rules.flat_map(|line| names_in(line)).collect();
        let known: BTreeSet<&str> = live.iter().chain(half).map(|attachment| attachment.id()).collect();
        assert!(named.is_subset(&known), "rules of nobody: {:?}", named.difference(&known));
    }

    /// A machine outside reaches the container by its port of the host.
    pub(crate) fn assert_published(&self, attachment: &Attachment) {
        for (address, host) in attachment.addresses().into_iter().zip(HOST) {
            let _server = attachment.container.serve(SocketAddr::new(address, PORT));
            let to = SocketAddr::new(host.parse().unwrap(), attachment.host_port());
            let answer = self.outside.echo_tcp(to, "hello");
            assert!(answer.is_ok(), "{} by {to}: {answer:?}", attachment.id());
        }
    }

    /// What the host holds, without where host-local's turn is and the form in which it remembers it.
    pub(crate) fn left(&self) -> Snapshot {
        let mut left = self.host.snapshot().without("last_reserved_ip").without(".load.index");
        list(Path::new("/run/cni-plugins-rs"), &mut left.0);
        left
    }
}

fn bridge_ports() -> BTreeSet<String> {
    let mut socket = Socket::open().unwrap();
    let bridge = socket.link_by_name("br-load").unwrap().index;
    let links = socket.link_dump(None).unwrap().into_iter();
    links.filter(|link| link.master == Some(bridge)).map(|link| link.name).collect()
}

/// The containers that a line of rules names: all are called `load-<number>`.
fn names_in(line: &str) -> impl Iterator<Item = &str> {
    let is_number = |rest: &&str| rest.starts_with(|c: char| c.is_ascii_digit());
    line.match_indices("load-").filter_map(move |(at, _)| {
        let rest = line.get(at + 5..).filter(is_number)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        line.get(at..at + 5 + digits)
    })
}

/// The records of plugins, with their content.
fn list(folder: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(&path, lines);
        } else {
            lines.push(format!("record {} {:?}", path.display(), fs::read_to_string(&path)));
        }
    }
    lines.sort();
}
