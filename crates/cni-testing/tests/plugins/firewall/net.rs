//! What the tests of the firewall plugin share: networks of bridge and firewall on a private host, and who reaches whom.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use cni_testing::{Container, EchoServer, Host, Outcome, Snapshot};
use serde_json::{Value, json};

use crate::bridge::net::{addresses, set};

const PORT: u16 = 7000;

/// A private host that uses one backend.
pub(crate) struct Site {
    pub(crate) host: Host,
    backend: &'static str,
}

impl Site {
    pub(crate) fn new(backend: &'static str) -> Self {
        let host = Host::new();
        // The plugins keep records there.
        host.hide(&["/run"]);
        Site { host, backend }
    }

    /// A network `name` on a bridge of its own, 10.`octet`.0.0/24 and fd00:`octet`::/64, the firewall's keys on top of
    /// the backend.
    pub(crate) fn network(&self, name: &str, octet: u8, keys: Value) -> Net<'_> {
        let bridge = json!({
            "cniVersion": "1.1.0",
            "name": name,
            "type": "bridge",
            "bridge": format!("br-{name}"),
            "isDefaultGateway": true,
            "ipam": {
                "type": "host-local",
                "dataDir": self.host.dir().join("leases"),
                "ranges": [[{"subnet": format!("10.{octet}.0.0/24")}], [{"subnet": format!("fd00:{octet}::/64")}]],
            },
        });
        let mut firewall =
            json!({"cniVersion": "1.1.0", "name": name, "type": "firewall", "backend": self.backend});
        set(&mut firewall, &keys);
        Net { host: &self.host, bridge, firewall }
    }

    /// Whether packets that a bridge switches pass the hooks of IP.
    pub(crate) fn filter_bridged(&self, on: bool) {
        for key in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
            let set = cni_host::sysctl_write(&format!("net/bridge/{key}"), if on { "1" } else { "0" });
            assert!(set.is_ok() || !on, "this kernel has no br_netfilter: {set:?}");
        }
    }

    /// The rules alone, with what bridges and leases leave behind out of sight.
    pub(crate) fn rules(&self) -> Snapshot {
        let mut snapshot = self.host.snapshot();
        snapshot.0.retain(|line| line.starts_with("nft ") || line.contains("tables-save "));
        snapshot
    }
}

/// A network with the firewall behind the bridge.
pub(crate) struct Net<'s> {
    host: &'s Host,
    bridge: Value,
    pub(crate) firewall: Value,
}

impl Net<'_> {
    /// A container behind bridge and firewall, checked, and answering on both its addresses.
    pub(crate) fn join(&self, id: &str) -> Pod {
        let pod = self.join_bridge(id);
        assert_eq!(self.add(&pod).ok(), pod.result, "the result is passed on");
        self.check(&pod).ok();
        pod
    }

    /// The same without the firewall.
    pub(crate) fn join_bridge(&self, id: &str) -> Pod {
        let container = self.host.container(id);
        let result = self.host.plugin("bridge").add(&container, "eth0", &self.bridge).ok();
        let servers = addresses(&result).into_iter().map(|ip| container.serve(SocketAddr::new(ip, PORT)));
        let servers = servers.collect();
        Pod { container, result, servers }
    }

    pub(crate) fn add(&self, pod: &Pod) -> Outcome {
        self.host.plugin("firewall").add(&pod.container, "eth0", &self.conf(&pod.result))
    }

    pub(crate) fn check(&self, pod: &Pod) -> Outcome {
        self.host.plugin("firewall").check(&pod.container, "eth0", &self.conf(&pod.result))
    }

    pub(crate) fn del(&self, pod: &Pod) -> Outcome {
        self.host.plugin("firewall").del(&pod.container, "eth0", &self.conf(&pod.result))
    }

    /// As a runtime without a cache asks.
    pub(crate) fn del_without_prev(&self, pod: &Pod) -> Outcome {
        self.host.plugin("firewall").del(&pod.container, "eth0", &self.firewall)
    }

    /// GC with these as valid; `Null` for no word on it.
    pub(crate) fn gc(&self, valid: Value) {
        let mut conf = self.firewall.clone();
        set(&mut conf, &json!({"cni.dev/valid-attachments": valid}));
        self.host.plugin("firewall").command("GC", &conf).ok();
    }

    /// The firewall's configuration with a prevResult.
    pub(crate) fn conf(&self, prev: &Value) -> Value {
        let mut conf = self.firewall.clone();
        conf["prevResult"] = prev.clone();
        conf
    }

    /// The same network with other keys for the firewall.
    pub(crate) fn with(&self, keys: Value) -> Self {
        let mut firewall = self.firewall.clone();
        set(&mut firewall, &keys);
        Net { host: self.host, bridge: self.bridge.clone(), firewall }
    }
}

/// A container of a network.
pub(crate) struct Pod {
    pub(crate) container: Container,
    /// The bridge plugin's.
    pub(crate) result: Value,
    servers: Vec<EchoServer>,
}

impl Pod {
    pub(crate) fn id(&self) -> &str {
        self.container.id()
    }

    /// IPv4, then IPv6.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        addresses(&self.result)
    }

    /// Its valid-attachments entry.
    pub(crate) fn valid(&self) -> Value {
        json!({"containerID": self.id(), "ifname": "eth0"})
    }

    /// Closes its namespace.
    pub(crate) fn kill(&mut self) {
        self.servers.clear();
        self.container.kill();
    }

    /// A flow of UDP to another container, one for each family, that has had an answer and so is established.
    pub(crate) fn flows_to(&self, other: &Pod) -> Vec<Flow> {
        let flows: Vec<Flow> =
            other.addresses().into_iter().map(|to| Flow::open(&self.container, to)).collect();
        assert!(flows.iter().all(Flow::passes), "{} reaches {}", self.id(), other.id());
        flows
    }
}

/// An established flow.
pub(crate) struct Flow(UdpSocket);

impl Flow {
    fn open(from: &Container, to: IpAddr) -> Self {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        // A socket stays in the namespace that it was made in.
        let socket = from.ns().run(|| UdpSocket::bind(any).unwrap()).unwrap();
        socket.connect((to, PORT)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(2500))).unwrap();
        Flow(socket)
    }

    /// Whether there and back.
    pub(crate) fn passes(&self) -> bool {
        self.0.send(b"ping").unwrap();
        self.0.recv(&mut [0; 64]).is_ok()
    }
}

/// Asserts for each pair whether the second is reached from the first anew, by both families. All at once, since what
/// is dropped takes its time.
#[track_caller]
pub(crate) fn assert_reach(wanted: &[(&Pod, &Pod, bool)]) {
    let outcomes: Vec<String> = std::thread::scope(|scope| {
        let each = wanted.iter().flat_map(|(from, to, wanted)| {
            to.addresses()
                .into_iter()
                .map(move |address| (*from, *to, SocketAddr::new(address, PORT), *wanted))
        });
        let running: Vec<_> = each
            .map(|(from, to, address, wanted)| {
                scope.spawn(move || {
                    let reached = from.container.echo_tcp(address, "hello");
                    (reached.is_ok() != wanted).then(|| {
                        format!(
                            "{} to {} {address}: {reached:?}, not as wanted ({wanted})",
                            from.id(),
                            to.id()
                        )
                    })
                })
            })
            .collect();
        running.into_iter().filter_map(|run| run.join().unwrap()).collect()
    });
    assert!(outcomes.is_empty(), "{outcomes:#?}");
}
