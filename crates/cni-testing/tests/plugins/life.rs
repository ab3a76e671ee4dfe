//! The life of one attachment of each plugin, for tests that end it or disturb it at every point of it.

use cni_netlink::Socket;
use cni_testing::{Act, Container, Host, Outcome, PluginRun, Snapshot, Syscall};
use serde_json::{Value, json};

use crate::bridge::net::{link_in, set};
use crate::host_device::net::add_device;
use crate::sbr::net::routing;
use crate::uplink::{MASTER, OUTSIDE, connect};

/// No plugin changes as much.
pub(crate) const MANY: usize = 1000;

/// An attachment that is added and deleted again and again.
pub(crate) struct Life {
    pub(crate) host: Host,
    plugin: String,
    pub(crate) conf: Value,
    pub(crate) container: Container,
    ifname: &'static str,
    /// Machines outside.
    others: Vec<Container>,
    /// A plugin that comes before and gives the container its interface, each time anew.
    below: Option<Value>,
    /// For a processor that may be emulated, where running a program takes seconds: without looking at rules and files, of which
    /// the plugin has none.
    pub(crate) links_alone: bool,
    /// What the plugin may change beyond what snapshots tell.
    more: fn(&Life) -> Vec<String>,
    /// Where the plugin finds an `iptables` that is iptables-legacy.
    legacy: Option<String>,
}

/// The backend `iptables` where iptables is iptables-legacy.
pub(crate) const LEGACY: &str = "iptables-legacy";

impl Life {
    /// On a host of which the folder /run is seen too.
    pub(crate) fn new(conf: impl FnOnce(&Host) -> Value) -> Self {
        let host = Host::new();
        host.cover("/run");
        let conf = conf(&host);
        Life {
            plugin: conf["type"].as_str().unwrap().to_owned(),
            conf,
            container: host.container("c1"),
            host,
            ifname: "eth0",
            others: Vec::new(),
            below: None,
            links_alone: false,
            more: |_| Vec::new(),
            legacy: None,
        }
    }

    /// On a host of this backend.
    fn with(mut self, backend: &str) -> Self {
        if backend == LEGACY {
            let folder = self.host.dir().with_file_name("legacy");
            std::fs::create_dir(&folder).unwrap();
            for name in ["iptables", "ip6tables"] {
                std::os::unix::fs::symlink("/usr/sbin/xtables-legacy-multi", folder.join(name)).unwrap();
            }
            self.legacy = Some(format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", folder.display()));
        }
        self
    }

    fn start(&self) -> PluginRun<'_> {
        let plugin = self.host.plugin(&self.plugin);
        match &self.legacy {
            Some(path) => plugin.env("PATH", path),
            None => plugin,
        }
    }

    fn run(&self, plugin: PluginRun<'_>, command: &str) -> Outcome {
        match command {
            "ADD" => plugin.add(&self.container, self.ifname, &self.conf),
            "CHECK" => plugin.check(&self.container, self.ifname, &self.conf),
            "STATUS" => plugin.command(command, &self.conf),
            _ => plugin.del(&self.container, self.ifname, &self.conf),
        }
    }

    pub(crate) fn try_add(&self) -> Outcome {
        self.run(self.start(), "ADD")
    }

    /// ADD whose answer nobody gets.
    pub(crate) fn add_answering_to(&self, stdout: impl Into<std::process::Stdio>) -> Outcome {
        self.run(self.start().answering_to(stdout), "ADD")
    }

    pub(crate) fn add(&self) {
        self.try_add().ok();
    }

    pub(crate) fn try_del(&self) -> Outcome {
        self.run(self.start(), "DEL")
    }

    pub(crate) fn del(&self) {
        self.try_del().ok();
    }

    pub(crate) fn check(&self) {
        self.run(self.start(), "CHECK").ok();
    }

    /// GC of a runtime that knows of no attachment.
    pub(crate) fn gc(&self) {
        let mut conf = self.conf.clone();
        set(&mut conf, &json!({"cni.dev/valid-attachments": [], "prevResult": null}));
        self.start().command("GC", &conf).ok();
    }

    /// Runs a command under the eyes of `watch`.
    pub(crate) fn watched(&self, command: &str, watch: impl FnMut(&Syscall) -> Act + Send) -> Outcome {
        self.run(self.start().watch(watch), command)
    }

    /// Runs a command as a user without rights.
    pub(crate) fn unprivileged(&self, command: &str) -> Outcome {
        self.run(self.start().user(65534), command)
    }

    /// What comes before ADD.
    pub(crate) fn begin(&mut self) {
        if let Some(below) = &self.below {
            let plugin = self.host.plugin(below["type"].as_str().unwrap());
            self.conf["prevResult"] = plugin.add(&self.container, self.ifname, below).ok();
        }
    }

    /// What comes after DEL.
    pub(crate) fn end(&self) {
        if let Some(below) = &self.below {
            let plugin = self.host.plugin(below["type"].as_str().unwrap());
            plugin.del(&self.container, self.ifname, below).ok();
        }
    }

    /// ADD and DEL; what is shared and stays is there afterwards.
    pub(crate) fn once(&mut self) {
        self.begin();
        self.add();
        self.del();
        self.end();
    }

    /// All but what tells of the addresses that were given before, and of tables that no plugin had a chain in.
    pub(crate) fn seen(&self) -> Snapshot {
        let seen = if self.links_alone { self.host.links() } else { self.host.snapshot() };
        let mut seen = seen.without("last_reserved_ip").without("cni-plugins-rs/ip_tables.");
        seen = seen.without("cni-plugins-rs/ip6_tables.");
        seen.0.extend(self.container.snapshot().0);
        seen.0.extend((self.more)(self));
        seen
    }
}

/// What configurations call a backend.
fn key(backend: &str) -> &str {
    if backend == LEGACY { "iptables" } else { backend }
}

/// A plugin that makes an interface, or an IPAM plugin.
fn first(plugin: &str, keys: &Value, ipam: impl FnOnce(&Host) -> Value) -> Life {
    Life::new(|host| {
        let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": plugin, "ipam": ipam(host)});
        set(&mut conf, keys);
        conf
    })
}

/// Leases of both families.
pub(crate) fn leases(host: &Host) -> Value {
    json!({
        "type": "host-local",
        "dataDir": host.dir().join("leases"),
        "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
    })
}

/// One address of IPv4, without the second that the kernel takes to find IPv6 addresses that somebody else has, and from a
/// plugin that writes nothing.
pub(crate) fn fixed(_: &Host) -> Value {
    json!({
        "type": "static",
        "addresses": [{"address": "10.88.0.5/24", "gateway": "10.88.0.254"}],
        "routes": [{"dst": "0.0.0.0/0"}],
    })
}

pub(crate) fn host_local() -> Life {
    first("host-local", &json!({}), leases)
}

pub(crate) fn bridge(backend: &str, ipam: impl FnOnce(&Host) -> Value) -> Life {
    let keys = json!({
        "bridge": "br0", "isDefaultGateway": true, "ipMasq": true, "ipMasqBackend": key(backend), "macspoofchk": true,
    });
    first("bridge", &keys, ipam).with(backend)
}

pub(crate) fn ptp(backend: &str, ipam: impl FnOnce(&Host) -> Value) -> Life {
    first("ptp", &json!({"ipMasq": true, "ipMasqBackend": key(backend)}), ipam).with(backend)
}

/// macvlan, ipvlan and vlan, on the host's interface to a machine outside.
pub(crate) fn on_master(plugin: &str) -> Life {
    let vlan = if plugin == "vlan" { json!(100) } else { Value::Null };
    let mut life = first(plugin, &json!({"master": MASTER, "vlanId": vlan}), fixed);
    let outside = life.host.container("outside");
    connect(MASTER, None, &outside, &OUTSIDE);
    life.others.push(outside);
    Life { links_alone: plugin != "macvlan", ..life }
}

pub(crate) fn dummy() -> Life {
    Life { links_alone: true, ..first("dummy", &json!({}), fixed) }
}

pub(crate) fn tap() -> Life {
    first("tap", &json!({}), leases)
}

pub(crate) fn host_device() -> Life {
    let mut life = first("host-device", &json!({"device": "uplink"}), leases);
    // The buses of the machine.
    life.host.hide(&["/sys"]);
    let outside = life.host.container("outside");
    add_device(&outside, "uplink", "wire");
    life.others.push(outside);
    life
}

/// With addresses and routes that go along with the device, and rules that are copied.
pub(crate) fn host_device_with_network() -> Life {
    let mut life = host_device();
    set(&mut life.conf, &json!({"ipam": null, "useInterfaceNetwork": true}));
    for line in [
        "link set uplink up",
        "address add 10.88.0.5/24 dev uplink metric 50",
        "route add 10.9.0.0/16 via 10.88.0.9",
        "route add default via 10.88.0.9 table 100",
        "rule add from 10.88.0.5 table 100 priority 500",
    ] {
        crate::portmap::net::run("ip", &line.split(' ').collect::<Vec<_>>());
    }
    Life { more: |life| routing(&life.container), ..life }
}

pub(crate) fn loopback() -> Life {
    let life = Life::new(|_| json!({"cniVersion": "1.1.0", "name": "net", "type": "loopback"}));
    Life { ifname: "lo", ..life }
}

/// A plugin behind bridge.
fn chained(plugin: &str, keys: &Value) -> Life {
    let bridge = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "isGateway": true,
        "ipam": {"type": "static", "addresses": [
            {"address": "10.88.0.5/24", "gateway": "10.88.0.1"}, {"address": "fd00:88::5/64", "gateway": "fd00:88::1"},
        ]},
    });
    let life = Life::new(|_| {
        let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": plugin});
        set(&mut conf, keys);
        conf
    });
    Life { below: Some(bridge), ..life }
}

/// The same for one whose DEL has to leave the interface as it was, so that it need not be made anew.
fn chained_once(plugin: &str, keys: &Value) -> Life {
    let mut life = chained(plugin, keys);
    life.begin();
    life.below = None;
    life
}

pub(crate) fn portmap(backend: &str) -> Life {
    let mapping = |protocol| json!({"hostPort": 8080, "containerPort": 80, "protocol": protocol});
    let keys = json!({
        "backend": key(backend), "capabilities": {"portMappings": true},
        "runtimeConfig": {"portMappings": [mapping("tcp"), mapping("udp")]},
    });
    let localnet = |_: &Life| vec![cni_host::sysctl_read("net/ipv4/conf/br0/route_localnet").unwrap()];
    Life { more: localnet, ..chained_once("portmap", &keys).with(backend) }
}

pub(crate) fn firewall(backend: &str) -> Life {
    chained_once("firewall", &json!({"backend": key(backend), "ingressPolicy": "same-bridge"})).with(backend)
}

pub(crate) fn bandwidth() -> Life {
    let rates = json!({
        "ingressRate": 30_000_000, "ingressBurst": 4_000_000, "egressRate": 20_000_000, "egressBurst": 3_200_000,
    });
    let limits = |_: &Life| {
        let mut socket = Socket::open().unwrap();
        let links = socket.link_dump(None).unwrap();
        let limits = |index| (socket.tbf_get(index).unwrap(), socket.redirects(index).unwrap());
        links.iter().map(|link| link.index).map(limits).map(|limits| format!("{limits:?}")).collect()
    };
    Life { more: limits, ..chained_once("bandwidth", &rates) }
}

pub(crate) fn tuning() -> Life {
    let keys = json!({
        "mac": "02:00:00:00:00:77", "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 7,
        "sysctl": {"net.core.somaxconn": "501", "net.ipv4.conf.IFNAME.arp_filter": "1"},
    });
    let mut life = chained_once("tuning", &keys);
    life.conf["dataDir"] = life.host.dir().join("tuning").to_str().unwrap().into();
    // The machine's own allow list is none of the tests' business.
    if std::path::Path::new("/etc/cni").exists() {
        life.host.hide(&["/etc/cni"]);
    }
    let attributes = |life: &Life| {
        let link = link_in(&life.container, "eth0");
        vec![format!("{:?} {} {} {}", link.mac, link.promisc, link.allmulti, link.txqlen)]
    };
    Life { more: attributes, ..life }
}

pub(crate) fn sbr() -> Life {
    Life { more: |life| routing(&life.container), ..chained("sbr", &json!({})) }
}

pub(crate) fn vrf() -> Life {
    let life = chained("vrf", &json!({"vrfname": "red"}));
    Life { links_alone: true, more: |life| routing(&life.container), ..life }
}
