//! What the tests of the tuning plugin share: a private host with a bridge of containers, each of which can be tuned.

use std::path::Path;

use cni_netlink::{Link, MacAddr};
use cni_testing::{Container, Host, Outcome};
use serde_json::{Value, json};

use crate::bridge::net::{link_in, set, theirs};

/// A private host, and a configuration of the plugin.
pub(crate) struct Net {
    pub(crate) host: Host,
    pub(crate) conf: Value,
}

/// A container on the bridge, and what the bridge plugin said of it.
pub(crate) struct Pod {
    pub(crate) container: Container,
    pub(crate) ifname: &'static str,
    pub(crate) result: Value,
}

impl Net {
    /// With backups below the host's folder, and `keys` above that.
    pub(crate) fn new(keys: Value) -> Self {
        let host = Host::new();
        // The machine's own allow list is none of the tests' business.
        if Path::new("/etc/cni").exists() {
            host.hide(&["/etc/cni"]);
        }
        let data_dir = host.dir().join("tuning");
        let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "tuning", "dataDir": data_dir});
        set(&mut conf, &keys);
        Net { host, conf }
    }

    /// The same on a host with this allow list.
    pub(crate) fn with_allow_list(keys: Value, text: &str) -> Self {
        let net = Net::new(keys);
        net.host.hide(&["/etc"]);
        std::fs::create_dir_all("/etc/cni/tuning").unwrap();
        std::fs::write("/etc/cni/tuning/allowlist.conf", text).unwrap();
        net
    }

    /// The container 10.88.0.`n` and fd00:88::`n`, on the bridge br0.
    pub(crate) fn pod(&self, id: &str, n: u8) -> Pod {
        self.pod_with(id, n, "eth0")
    }

    pub(crate) fn pod_with(&self, id: &str, n: u8, ifname: &'static str) -> Pod {
        let container = self.host.container(id);
        let bridge = json!({
            "cniVersion": self.conf["cniVersion"], "name": "net", "type": "bridge", "bridge": "br0", "isGateway": true,
            "ipam": {"type": "static", "addresses": [
                {"address": format!("10.88.0.{n}/24"), "gateway": "10.88.0.1"},
                {"address": format!("fd00:88::{n}/64"), "gateway": "fd00:88::1"},
            ]},
        });
        let result = self.host.plugin("bridge").add(&container, ifname, &bridge).ok();
        Pod { container, ifname, result }
    }

    /// The configuration with a prevResult.
    pub(crate) fn with_prev(&self, result: &Value) -> Value {
        let mut conf = self.conf.clone();
        conf["prevResult"] = result.clone();
        conf
    }

    pub(crate) fn add(&self, pod: &Pod) -> Outcome {
        self.host.plugin("tuning").add(&pod.container, pod.ifname, &self.with_prev(&pod.result))
    }

    pub(crate) fn check(&self, pod: &Pod) -> Outcome {
        self.host.plugin("tuning").check(&pod.container, pod.ifname, &self.with_prev(&pod.result))
    }

    pub(crate) fn del(&self, pod: &Pod) -> Outcome {
        self.host.plugin("tuning").del(&pod.container, pod.ifname, &self.conf)
    }

    /// ADD, and CHECK of what it made.
    pub(crate) fn add_and_check(&self, pod: &Pod) -> Value {
        let result = self.add(pod).ok();
        let conf = self.with_prev(&result);
        self.host.plugin("tuning").check(&pod.container, pod.ifname, &conf).ok();
        result
    }

    /// Runs the reference's plugin.
    pub(crate) fn theirs(&self, command: &str, pod: &Pod) -> Outcome {
        theirs("tuning", command, &pod.container, &self.with_prev(&pod.result))
    }

    /// The backup of a container, if there is one.
    pub(crate) fn backup(&self, id: &str) -> Option<Value> {
        let text = std::fs::read(self.host.dir().join(format!("tuning/{id}_eth0.json"))).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }
}

impl Pod {
    pub(crate) fn link(&self) -> Link {
        link_in(&self.container, self.ifname)
    }

    /// All that the plugin can change about the interface.
    pub(crate) fn attributes(&self) -> (Option<MacAddr>, u32, bool, bool, u32) {
        let link = self.link();
        (link.mac, link.mtu, link.promisc, link.allmulti, link.txqlen)
    }

    /// A setting of the container's namespace.
    pub(crate) fn sysctl(&self, key: &str) -> String {
        self.container.ns().run(|| cni_host::sysctl_read(key)).unwrap().unwrap()
    }

    pub(crate) fn set_sysctl(&self, key: &str, value: &str) {
        self.container.ns().run(|| cni_host::sysctl_write(key, value)).unwrap().unwrap();
    }
}
