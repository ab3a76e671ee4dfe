//! The host-local plugin: results, refusals, and what each command does to the leases.

mod disk;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use cni_testing::{Container, Host, Outcome};
use serde_json::{Value, json};

use crate::ipam::{VERSIONS, assert_refusals, read};

/// A host with a network `blue` on it.
pub(crate) struct Node {
    pub(crate) host: Host,
    pub(crate) conf: Value,
}

impl Node {
    pub(crate) fn new(ranges: Value) -> Self {
        let host = Host::new();
        let ipam = json!({ "type": "host-local", "dataDir": host.dir().join("ipam"), "ranges": ranges });
        Node { host, conf: json!({ "cniVersion": "1.1.0", "name": "blue", "type": "bridge", "ipam": ipam }) }
    }

    /// The configuration with one more key.
    fn with(&self, key: &str, value: Value) -> Value {
        let mut conf = self.conf.clone();
        conf[key] = value;
        conf
    }

    pub(crate) fn add(&self, container: &Container, ifname: &str) -> Outcome {
        self.host.plugin("host-local").add(container, ifname, &self.conf)
    }

    pub(crate) fn request(&self, container: &Container, ip: &str) -> Outcome {
        self.host.plugin("host-local").env("CNI_ARGS", &format!("IP={ip}")).add(container, "eth0", &self.conf)
    }

    fn check(&self, container: &Container, conf: &Value) -> Outcome {
        self.host.plugin("host-local").check(container, "eth0", conf)
    }

    pub(crate) fn del(&self, container: &Container, ifname: &str) -> Outcome {
        self.host.plugin("host-local").del(container, ifname, &self.conf)
    }

    fn gc(&self, valid: Value) -> Outcome {
        self.host.plugin("host-local").command("GC", &self.with("cni.dev/valid-attachments", valid))
    }

    fn status(&self) -> Outcome {
        self.host.plugin("host-local").command("STATUS", &self.conf)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.host.dir().join("ipam/blue").join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path("")).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// Address and text of every lease.
    pub(crate) fn leases(&self) -> BTreeMap<String, String> {
        let Ok(entries) = fs::read_dir(self.path("")) else { return BTreeMap::new() };
        let files = entries.map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
        });
        files.filter(|(name, _)| name.parse::<std::net::IpAddr>().is_ok()).collect()
    }

    /// As if the machine had been started anew since this lease was written.
    fn age(&self, address: &str) {
        let before_boot = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::open(self.path(address)).unwrap().set_modified(before_boot).unwrap();
        // The index knows in which boot it was made, and that is no other one here.
        let _ = fs::remove_dir_all(self.host.dir().join("ipam/.blue.index"));
    }
}

fn leases<const N: usize>(expected: [(&str, &str); N]) -> BTreeMap<String, String> {
    expected.iter().map(|(address, text)| ((*address).to_owned(), (*text).to_owned())).collect()
}

pub(crate) fn addresses(outcome: &Outcome) -> Vec<String> {
    let result = outcome.ok();
    result["ips"].as_array().unwrap().iter().map(|ip| ip["address"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_life_in_every_version() {
    let host = Host::new();
    fs::write(
        host.dir().join("resolv.conf"),
        "nameserver 192.0.2.3\ndomain blue.example\nsearch a.example b.example\noptions ndots:5\n",
    )
    .unwrap();
    for version in VERSIONS {
        let mut conf = read(&host, "host-local/conf.json");
        conf["cniVersion"] = json!(version);
        conf["ipam"]["dataDir"] = json!(host.dir().join(version));
        let mut container = host.container("c1");
        let plugin = || host.plugin("host-local");

        let before = host.snapshot();
        let result = plugin().add(&container, "eth0", &conf).ok();
        assert_eq!(result, read(&host, &format!("host-local/results/{version}.json")), "{version}");
        let file = |name: &str| fs::read_to_string(host.dir().join(version).join("blue").join(name)).unwrap();
        assert_eq!(file("10.1.2.2"), "c1\r\neth0");
        assert_eq!(file("2001:db8:1::2"), "c1\r\neth0");
        assert_eq!(
            (file("last_reserved_ip.0"), file("last_reserved_ip.1")),
            ("10.1.2.2".into(), "2001:db8:1::2".into())
        );

        conf["prevResult"] = result;
        conf["cni.dev/valid-attachments"] = json!([{ "containerID": "c1", "ifname": "eth0" }]);
        for (command, since) in [("CHECK", "0.4.0"), ("GC", "1.1.0"), ("STATUS", "1.1.0")] {
            let outcome = match command {
                "CHECK" => plugin().check(&container, "eth0", &conf),
                command => plugin().command(command, &conf),
            };
            if version < since {
                assert_eq!(outcome.err(), (1, format!("config version does not allow {command}")));
            } else {
                assert_eq!(outcome.ok(), Value::Null, "{command} {version}");
            }
        }

        assert_eq!(plugin().del(&container, "eth0", &conf).ok(), Value::Null);
        container.kill();
        assert_eq!(plugin().del(&container, "eth0", &conf).ok(), Value::Null);
        host.snapshot().without(version).assert_same(&before);
        let mut left: Vec<_> = ["blue", ".blue.index"]
            .iter()
            .flat_map(|folder| fs::read_dir(host.dir().join(version).join(folder)).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["last_reserved_ip.0", "last_reserved_ip.1", "lock", "stamp"], "{version}");
    }
}

#[test]
fn refusals_say_where_and_why_and_take_nothing() {
    let node = Node::new(json!([]));
    assert_refusals("host-local", &node.host, &node.host.container("c1"), |case| {
        assert_eq!(node.leases(), leases([]), "{case}");
    });
}

#[test]
fn addresses_go_round_and_a_second_add_is_refused_as_the_reference_refuses_it() {
    let node = Node::new(json!([[{ "subnet": "10.1.2.0/29" }]]));
    let (c1, c2) = (node.host.container("c1"), node.host.container("c2"));
    assert_eq!(addresses(&node.add(&c1, "eth0")), ["10.1.2.2/29"]);
    assert_eq!(addresses(&node.add(&c1, "eth1")), ["10.1.2.3/29"]);
    let duplicate = "failed to allocate for range 0: 10.1.2.2 has been allocated to c1, duplicate allocation is not allowed";
    assert_eq!(node.add(&c1, "eth0").err(), (999, duplicate.to_owned()));
    assert_eq!(node.request(&c1, "10.1.2.2").err(), (999, duplicate.to_owned()));
    assert_eq!(
        node.request(&c2, "10.1.2.2/29").err(),
        (
            999,
            "failed to allocate for range 0: requested IP address 10.1.2.2 is not available in range set \
             10.1.2.1-10.1.2.6: held by eth0 of c1"
                .to_owned()
        )
    );
    // By name, the reference gives a second address to who has one.
    assert_eq!(addresses(&node.request(&c1, "10.1.2.5")), ["10.1.2.5/29"]);
    node.del(&c1, "eth0").ok();
    assert_eq!(node.leases(), leases([("10.1.2.3", "c1\r\neth1")]));
    assert_eq!(
        addresses(&node.add(&c2, "eth0")),
        ["10.1.2.6/29"],
        "after the last one, not the first free one"
    );
    assert_eq!(addresses(&node.add(&c2, "eth1")), ["10.1.2.2/29"]);
}

#[test]
fn a_failing_second_set_gives_back_what_the_first_gave() {
    let node = Node::new(
        json!([[{ "subnet": "10.1.2.0/24" }], [{ "subnet": "2001:db8::/126", "rangeEnd": "2001:db8::2" }]]),
    );
    let (c1, c2) = (node.host.container("c1"), node.host.container("c2"));
    node.add(&c1, "eth0").ok();
    let text =
        "failed to allocate for range 1: no IP addresses available in range set: 2001:db8::1-2001:db8::2";
    assert_eq!(node.add(&c2, "eth0").err(), (999, text.to_owned()));
    assert_eq!(node.leases(), leases([("10.1.2.2", "c1\r\neth0"), ("2001:db8::2", "c1\r\neth0")]));
}

#[test]
fn ranges_and_addresses_of_the_runtime_come_first() {
    let node = Node::new(json!([[{ "subnet": "10.1.2.0/24" }]]));
    let conf = node.with(
        "runtimeConfig",
        json!({ "ipRanges": [[{ "subnet": "10.9.0.0/24" }]], "ips": ["10.1.2.77", "10.9.0.9/24"] }),
    );
    let outcome = node.host.plugin("host-local").add(&node.host.container("c1"), "eth0", &conf);
    assert_eq!(addresses(&outcome), ["10.9.0.9/24", "10.1.2.77/24"]);
}

/// <https://github.com/containerd/nerdctl/issues/3355>
#[test]
fn nerdctl_3355_a_lease_of_before_the_boot_is_handed_out_again() {
    let node = Node::new(json!([[{ "subnet": "10.1.2.0/24" }], [{ "subnet": "2001:db8::/64" }]]));
    let c1 = node.host.container("c1");
    let all = ["10.1.2.2/24", "2001:db8::2/64"];
    assert_eq!(addresses(&node.add(&c1, "eth0")), all);
    node.age("10.1.2.2");
    node.age("2001:db8::2");
    assert_eq!(addresses(&node.add(&c1, "eth0")), all);
    assert_eq!(node.add(&c1, "eth0").err().0, 999, "it is in use again");
    node.del(&c1, "eth0").ok();
    assert_eq!(node.leases(), leases([]));
}

#[test]
fn leases_of_before_0_7_and_leftovers_of_crashes_are_understood() {
    let node = Node::new(json!([[{ "subnet": "10.1.2.0/29", "rangeEnd": "10.1.2.5" }]]));
    let (c1, c2) = (node.host.container("c1"), node.host.container("c2"));
    node.write("10.1.2.2", "c1");
    node.write("10.1.2.3", "");
    node.write("10.1.2.5", "kept for the printer\n");
    let duplicate = "failed to allocate for range 0: 10.1.2.2 has been allocated to c1, duplicate allocation is not allowed";
    assert_eq!(node.add(&c1, "eth0").err(), (999, duplicate.to_owned()));
    node.check(&c1, &node.conf).ok();
    assert_eq!(addresses(&node.add(&c2, "eth0")), ["10.1.2.3/29"]);
    assert_eq!(addresses(&node.add(&c2, "eth1")), ["10.1.2.4/29"]);
    let text = "failed to allocate for range 0: no IP addresses available in range set: 10.1.2.1-10.1.2.5";
    assert_eq!(node.add(&c2, "eth2").err(), (999, text.to_owned()));
    node.del(&c1, "eth7").ok();
    assert_eq!(addresses(&node.add(&c2, "eth2")), ["10.1.2.2/29"]);
    node.gc(json!([])).ok();
    assert_eq!(node.leases(), leases([("10.1.2.5", "kept for the printer\n")]));
}

#[test]
fn check_looks_for_the_lease_and_for_the_addresses_of_prev_result() {
    let node = Node::new(json!([[{ "subnet": "10.1.2.0/24" }]]));
    let (c1, c2) = (node.host.container("c1"), node.host.container("c2"));
    let folder = node.host.dir().join("ipam/blue");
    let missing = format!(
        "no address of network blue is leased to eth0 of container c1 (looked in {})",
        folder.display()
    );
    assert_eq!(node.check(&c1, &node.conf).err(), (999, missing.clone()));
    node.add(&c1, "eth0").ok();
    node.add(&c2, "eth0").ok();
    node.check(&c1, &node.conf).ok();

    let with = |addresses: &[&str]| {
        let ips: Vec<_> = addresses.iter().map(|address| json!({ "address": address })).collect();
        node.with("prevResult", json!({ "cniVersion": "1.0.0", "ips": ips }))
    };
    // An address of somebody else's is none of ours to check.
    node.check(&c1, &with(&["10.1.2.2/24", "192.0.2.7/24", "2001:db8::7/64"])).ok();
    let text = "address 10.1.2.3 of prevResult is not leased to eth0 of container c1";
    assert_eq!(node.check(&c1, &with(&["10.1.2.2/24", "10.1.2.3/24"])).err(), (999, text.to_owned()));
    fs::remove_file(node.path("10.1.2.2")).unwrap();
    assert_eq!(node.check(&c1, &node.conf).err(), (999, missing));
}

#[test]
fn del_succeeds_and_makes_nothing_where_nothing_is() {
    let node = Node::new(json!([[{ "subnet": "10.1.2.0/24" }]]));
    let before = node.host.snapshot();
    let mut c1 = node.host.container("c1");
    node.del(&c1, "eth0").ok();
    c1.kill();
    node.del(&c1, "eth0").ok();
    node.gc(json!([])).ok();
    node.status().ok();
    node.host.snapshot().assert_same(&before);
}

#[test]
fn del_frees_the_lease_whatever_became_of_the_ranges() {
    let mut node = Node::new(json!([[{ "subnet": "10.1.2.0/24" }]]));
    let c1 = node.host.container("c1");
    node.add(&c1, "eth0").ok();
    node.conf["ipam"]["ranges"] = json!([[{ "subnet": "no longer" }]]);
    node.del(&c1, "eth0").ok();
    assert_eq!(node.leases(), leases([]));
}

#[test]
fn gc_frees_what_no_valid_attachment_holds_and_nothing_of_another_network() {
    let node = Node::new(json!([[{ "subnet": "10.1.2.0/24" }]]));
    let other = node.with("name", json!("red"));
    let c1 = node.host.container("c1");
    node.host.plugin("host-local").add(&c1, "eth0", &other).ok();
    for (id, ifname) in [("c1", "eth0"), ("c1", "eth1"), ("c2", "eth0")] {
        node.add(&node.host.container(id), ifname).ok();
    }
    node.write("10.1.2.9", "c1");
    node.write("10.1.2.10", "c3");
    node.write("10.1.2.11", "");
    let before = node.leases();

    node.host.plugin("host-local").command("GC", &node.conf).ok();
    assert_eq!(node.leases(), before, "without a list nobody knows what is in use");
    node.gc(json!([{ "containerID": "c1", "ifname": "eth1" }, { "containerID": "c2", "ifname": "eth0" }]))
        .ok();
    assert_eq!(
        node.leases(),
        leases([("10.1.2.3", "c1\r\neth1"), ("10.1.2.4", "c2\r\neth0"), ("10.1.2.9", "c1")])
    );
    node.gc(json!([])).ok();
    assert_eq!(node.leases(), leases([]));
    node.host.plugin("host-local").check(&c1, "eth0", &other).ok();
}

#[test]
fn status_is_50_when_a_set_is_exhausted() {
    let node = Node::new(
        json!([[{ "subnet": "2001:db8::/64" }], [{ "subnet": "10.1.2.0/29", "rangeStart": "10.1.2.2", "rangeEnd": "10.1.2.3" }]]),
    );
    node.status().ok();
    node.add(&node.host.container("c1"), "eth0").ok();
    node.status().ok();
    node.write("10.1.2.3", "");
    node.status().ok();
    node.write("10.1.2.3", "c2\r\neth0");
    let text = format!(
        "no IP addresses available in range set 1 (10.1.2.2-10.1.2.3): all 2 are leased in {}/ipam/blue",
        node.host.dir().display()
    );
    assert_eq!(node.status().err(), (50, text));
}

#[test]
fn status_trusts_the_runtime_to_bring_ranges_where_they_are_its_to_bring() {
    let mut node = Node::new(json!([]));
    assert_eq!(node.status().err(), (7, "ipam: no IP ranges specified".to_owned()));
    node.conf["capabilities"] = json!({ "ipRanges": true });
    node.status().ok();
}
