//! What the tests of the bridge plugin, and of others that make interfaces, share: a network on a private host.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use cni_netlink::{Link, LinkChange, NewBridge, Socket};
use cni_testing::{Container, Host, Outcome};
use serde_json::{Value, json};

use crate::portmap::net::reference;

/// A private host and a network of bridge and host-local on it.
pub(crate) struct Net {
    pub(crate) host: Host,
    pub(crate) conf: Value,
}

impl Net {
    /// Both families, the bridge as gateway, and `keys` above that.
    pub(crate) fn new(keys: Value) -> Self {
        let host = Host::new();
        let mut conf = json!({
            "cniVersion": "1.1.0",
            "name": "net",
            "type": "bridge",
            "bridge": "br0",
            "isDefaultGateway": true,
            "ipam": {
                "type": "host-local",
                "dataDir": host.dir().join("leases"),
                "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]],
            },
        });
        set(&mut conf, &keys);
        Net { host, conf }
    }

    /// The same with layer 2 only.
    pub(crate) fn layer2(keys: Value) -> Self {
        let mut net = Net::new(keys);
        for key in ["ipam", "isDefaultGateway"] {
            net.conf.as_object_mut().unwrap().remove(key);
        }
        net
    }

    /// The plugin that the configuration names.
    pub(crate) fn plugin(&self) -> &str {
        self.conf["type"].as_str().unwrap()
    }

    pub(crate) fn add(&self, container: &Container) -> Value {
        self.try_add(container).ok()
    }

    pub(crate) fn try_add(&self, container: &Container) -> Outcome {
        self.host.plugin(self.plugin()).add(container, "eth0", &self.conf)
    }

    pub(crate) fn check(&self, container: &Container, result: &Value) -> Outcome {
        self.host.plugin(self.plugin()).check(container, "eth0", &self.with_prev(result))
    }

    pub(crate) fn del(&self, container: &Container) -> Outcome {
        self.host.plugin(self.plugin()).del(container, "eth0", &self.conf)
    }

    /// ADD, and CHECK of what it made.
    pub(crate) fn add_and_check(&self, container: &Container) -> Value {
        let result = self.add(container);
        self.check(container, &result).ok();
        result
    }

    pub(crate) fn with_prev(&self, result: &Value) -> Value {
        let mut conf = self.conf.clone();
        conf["prevResult"] = result.clone();
        conf
    }

    /// The leases there are, as file names.
    pub(crate) fn leases(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.host.dir().join("leases/net")) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.parse::<IpAddr>().is_ok()).collect()
    }
}

/// Runs a plugin of the reference's, with the reference's others in its path.
pub(crate) fn theirs(plugin: &str, command: &str, container: &Container, conf: &Value) -> Outcome {
    let program = reference(plugin);
    #[allow(clippy::disallowed_methods, reason = "the plugin to be compared with")]
    let mut child = Command::new(&program)
        .env_clear()
        .envs([("CNI_COMMAND", command), ("CNI_CONTAINERID", container.id()), ("CNI_IFNAME", "eth0")])
        .envs([("CNI_NETNS", container.netns()), ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")])
        .env("CNI_PATH", program.parent().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that does not read to the end breaks the pipe, and its answer says why.
    let _ = child.stdin.take().unwrap().write_all(conf.to_string().as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Replaces keys; `null` removes one.
pub(crate) fn set(conf: &mut Value, keys: &Value) {
    let conf = conf.as_object_mut().unwrap();
    for (key, value) in keys.as_object().unwrap() {
        if value.is_null() {
            conf.remove(key)
        } else {
            conf.insert(key.clone(), value.clone())
        };
    }
}

pub(crate) fn link(name: &str) -> Link {
    Socket::open().unwrap().link_by_name(name).unwrap()
}

pub(crate) fn link_in(container: &Container, name: &str) -> Link {
    container.ns().socket().unwrap().link_by_name(name).unwrap()
}

/// The near end, as the result names it.
pub(crate) fn port(result: &Value) -> Link {
    link(result["interfaces"][1]["name"].as_str().unwrap())
}

/// A bridge that an administrator made, up.
pub(crate) fn make_bridge(name: &str) -> Link {
    let mut socket = Socket::open().unwrap();
    socket.link_add_bridge(&NewBridge { name, mac: None, mtu: None, vlan_filtering: false }).unwrap();
    let bridge = socket.link_by_name(name).unwrap();
    socket.link_change(bridge.index, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
    bridge
}

/// The container's addresses, as the result names them.
pub(crate) fn addresses(result: &Value) -> Vec<IpAddr> {
    let ips = result["ips"].as_array().unwrap();
    let address = |ip: &Value| ip["address"].as_str().unwrap().split('/').next().unwrap().parse().unwrap();
    ips.iter().map(address).collect()
}
