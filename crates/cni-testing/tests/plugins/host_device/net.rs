//! What the tests of the host-device plugin share: a private host with a device, whose other end is a machine outside.

use std::io::Write;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use cni_netlink::{AddrFlags, Link, LinkChange, MacAddr, NewVeth, Socket};
use cni_testing::{Container, EchoServer, Host, Outcome};
use serde_json::{Value, json};

use crate::bridge::net::set;
use crate::portmap::net::reference;

/// The addresses of the machine outside, and those that containers get.
pub(crate) const OUTSIDE: [&str; 2] = ["10.88.0.9", "fd00:88::9"];
pub(crate) const INSIDE: [&str; 2] = ["10.88.0.5", "fd00:88::5"];
/// What the administrator wrote on the device.
pub(crate) const ALIAS: &str = "rack 7, port 3";

/// A private host with the device `uplink`, down, and a network that gives it to containers.
pub(crate) struct Net {
    pub(crate) host: Host,
    pub(crate) conf: Value,
    pub(crate) outside: Container,
}

impl Net {
    /// With addresses of both families, and `keys` above that.
    pub(crate) fn new(keys: Value) -> Self {
        let host = Host::new();
        // Records of devices, and the buses of the machine.
        host.hide(&["/run", "/sys"]);
        let outside = host.container("outside");
        add_device(&outside, "uplink", "wire");
        set_up(&outside, "wire");
        let mut conf = json!({
            "cniVersion": "1.1.0",
            "name": "net",
            "type": "host-device",
            "device": "uplink",
            "ipam": {
                "type": "static",
                "addresses": [
                    {"address": "10.88.0.5/24", "gateway": "10.88.0.9"},
                    {"address": "fd00:88::5/64", "gateway": "fd00:88::9"},
                ],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        });
        set(&mut conf, &keys);
        Net { host, conf, outside }
    }

    /// Without `ipam`.
    pub(crate) fn layer2(keys: Value) -> Self {
        let mut net = Net::new(keys);
        net.conf.as_object_mut().unwrap().remove("ipam");
        net
    }

    /// With leases, so that what is not released shows.
    pub(crate) fn with_leases(keys: Value) -> Self {
        let mut net = Net::new(keys);
        net.conf["ipam"] = json!({
            "type": "host-local",
            "dataDir": net.host.dir().join("leases"),
            "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]],
        });
        net
    }

    pub(crate) fn try_add(&self, container: &Container) -> Outcome {
        self.host.plugin("host-device").add(container, "eth0", &self.conf)
    }

    pub(crate) fn add(&self, container: &Container) -> Value {
        self.try_add(container).ok()
    }

    pub(crate) fn check(&self, container: &Container, result: &Value) -> Outcome {
        self.host.plugin("host-device").check(container, "eth0", &self.with_prev(result))
    }

    pub(crate) fn add_and_check(&self, container: &Container) -> Value {
        let result = self.add(container);
        self.check(container, &result).ok();
        result
    }

    pub(crate) fn del(&self, container: &Container) -> Outcome {
        self.host.plugin("host-device").del(container, "eth0", &self.conf)
    }

    /// GC with these attachments of `eth0` valid.
    pub(crate) fn gc(&self, valid: &[&str]) {
        let mut conf = self.conf.clone();
        let valid: Vec<Value> = valid.iter().map(|id| json!({"containerID": id, "ifname": "eth0"})).collect();
        conf["cni.dev/valid-attachments"] = valid.into();
        conf["cniVersion"] = "1.1.0".into();
        self.host.plugin("host-device").command("GC", &conf).ok();
    }

    pub(crate) fn with_prev(&self, result: &Value) -> Value {
        let mut conf = self.conf.clone();
        conf["prevResult"] = result.clone();
        conf
    }

    /// Runs the reference's host-device.
    pub(crate) fn theirs(&self, command: &str, container: &Container, conf: &Value) -> Outcome {
        let program = reference("host-device");
        #[allow(clippy::disallowed_methods, reason = "the plugin to be compared with")]
        let mut child = Command::new(&program)
            .env_clear()
            .envs([("CNI_COMMAND", command), ("CNI_CONTAINERID", container.id()), ("CNI_IFNAME", "eth0")])
            .env("CNI_NETNS", container.netns())
            .env("CNI_PATH", program.parent().unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(conf.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    pub(crate) fn leases(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.host.dir().join("leases/net")) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.parse::<IpAddr>().is_ok()).collect()
    }

    /// Answers at port 80 of all addresses outside.
    pub(crate) fn serve(&self) -> Vec<EchoServer> {
        let serve = |address: &str| self.outside.serve((address.parse::<IpAddr>().unwrap(), 80).into());
        OUTSIDE.map(serve).into()
    }
}

/// Records of devices that are away.
pub(crate) fn records() -> usize {
    std::fs::read_dir("/run/cni-plugins-rs/host-device").map_or(0, Iterator::count)
}

/// A device of the host, down, with an alias, and its other end in a container.
pub(crate) fn add_device(outside: &Container, name: &str, peer_name: &str) -> Link {
    let mut socket = Socket::open().unwrap();
    let veth = NewVeth {
        name,
        mac: MacAddr::random(),
        master: None,
        peer_name,
        peer_mac: MacAddr::random(),
        peer_netns: Some(outside.ns().as_fd()),
        mtu: Some(1400),
    };
    socket.link_add_veth(&veth).unwrap();
    change(name, &LinkChange { alias: Some(ALIAS), ..LinkChange::default() });
    socket.link_by_name(name).unwrap()
}

pub(crate) fn change(name: &str, change: &LinkChange<'_>) {
    let mut socket = Socket::open().unwrap();
    let index = socket.link_by_name(name).unwrap().index;
    socket.link_change(index, change).unwrap();
}

fn set_up(outside: &Container, name: &str) {
    let mut socket = outside.ns().socket().unwrap();
    let index = socket.link_by_name(name).unwrap().index;
    for address in ["10.88.0.9/24", "fd00:88::9/64"] {
        let flags = AddrFlags { nodad: true };
        socket.addr_add(index, address.parse().unwrap(), flags).unwrap();
    }
    socket.link_change(index, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
}
