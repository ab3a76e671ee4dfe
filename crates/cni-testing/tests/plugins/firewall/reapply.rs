//! `cnitool reapply`: somebody flushes the packet filter under running containers, and everything is put back.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use cni_host::{Owner, SpoofCheck};
use cni_nftables::{Batch, Family, Nft, Table};
use cni_testing::{Container, EchoServer, Host, Snapshot};
use cni_types::{ContainerId, IfName};
use libcni::{Added, Attachment, Network, Runtime};
use serde_json::{Value, json};

const PORT: u16 = 7000;
const HOST_PORT: u16 = 8080;
const PROGRAMS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A private host with a runtime on it, and somebody outside.
struct Node {
    host: Host,
    runtime: Runtime,
    backend: &'static str,
}

/// A container of a network.
struct Pod {
    container: Container,
    attachment: Attachment,
    added: Added,
    _servers: Vec<EchoServer>,
}

impl Node {
    fn new(backend: &'static str) -> Self {
        let host = Host::new();
        // The plugins' records and locks.
        host.hide(&["/run"]);
        let runtime = Runtime::new(vec![host.bin_dir()], host.dir().join("cache"));
        Node { host, runtime, backend }
    }

    fn bridge(&self, name: &str, octet: u8, keys: &Value) -> Value {
        let mut bridge = json!({
            "type": "bridge",
            "bridge": format!("br-{name}"),
            "isDefaultGateway": true,
            "ipam": {
                "type": "host-local",
                "dataDir": self.host.dir().join("leases"),
                "ranges": [[{"subnet": format!("10.{octet}.0.0/24")}], [{"subnet": format!("fd00:{octet}::/64")}]],
            },
        });
        crate::bridge::net::set(&mut bridge, keys);
        bridge
    }

    fn load(&self, name: &str, plugins: &[Value]) -> Network {
        let list = json!({"cniVersion": "1.0.0", "name": name, "plugins": plugins});
        Network::from_slice(list.to_string().as_bytes()).unwrap()
    }

    /// All that makes rules: masquerading, the spoof check, ports, an isolated bridge.
    fn network(&self, name: &str, octet: u8) -> Network {
        let own = json!({"ipMasq": true, "ipMasqBackend": self.backend, "macspoofchk": true});
        self.load(
            name,
            &[
                self.bridge(name, octet, &own),
                json!({"type": "portmap", "backend": self.backend, "capabilities": {"portMappings": true}}),
                json!({"type": "firewall", "backend": self.backend, "ingressPolicy": "isolated"}),
            ],
        )
    }

    fn outside(&self) -> Pod {
        self.join(&self.load("out", &[self.bridge("out", 99, &json!({}))]), "outside", None)
    }

    fn join(&self, network: &Network, id: &str, host_port: Option<u16>) -> Pod {
        let container = self.host.container(id);
        let id = ContainerId::new(id).unwrap();
        let mut attachment = Attachment::new(id, IfName::new("eth0").unwrap());
        attachment.netns = Some(container.netns().to_owned());
        if let Some(port) = host_port {
            let mapping = json!([{"hostPort": port, "containerPort": PORT, "protocol": "tcp"}]);
            attachment.capability_args.insert("portMappings".to_owned(), mapping);
        }
        let added = self.runtime.add(network, &attachment).unwrap();
        let servers = added.result.ips.iter().map(|ip| container.serve((ip.address.addr(), PORT).into()));
        Pod { _servers: servers.collect(), container, attachment, added }
    }

    fn reapply(&self, args: &[&str]) -> Output {
        self.reapply_with(&[], args)
    }

    /// With more folders of plugins before the others.
    fn reapply_with(&self, folders: &[&Path], args: &[&str]) -> Output {
        let bin = self.host.bin_dir();
        let path = std::env::join_paths(folders.iter().copied().chain([bin.as_path()])).unwrap();
        #[allow(clippy::disallowed_methods, reason = "the node's owner runs it")]
        let mut command = Command::new(self.host.bin_dir().join("cnitool"));
        command.arg("reapply").args(args).arg("--cache-dir").arg(self.host.dir().join("cache"));
        command.env_clear().env("PATH", PROGRAMS).env("CNI_PATH", path);
        command.output().unwrap()
    }

    fn reapply_json(&self, args: &[&str]) -> Value {
        let output = self.reapply(&[&["--json"], args].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Pod {
    fn addresses(&self) -> Vec<IpAddr> {
        self.added.result.ips.iter().map(|ip| ip.address.addr()).collect()
    }

    /// Whether all addresses of another container answer.
    fn reaches(&self, other: &Pod) -> Vec<bool> {
        let answers = |address: &IpAddr| self.container.echo_tcp((*address, PORT).into(), "hello").is_ok();
        other.addresses().iter().map(answers).collect()
    }

    /// Whose addresses another container sees when this one calls.
    fn seen_by(&self, other: &Pod) -> Vec<IpAddr> {
        let seen = |address: IpAddr| {
            let answer = self.container.echo_tcp((address, PORT).into(), "hello").unwrap();
            answer.split(' ').next().unwrap().parse::<SocketAddr>().unwrap().ip()
        };
        other.addresses().into_iter().map(seen).collect()
    }

    /// Whether the port of the host, at its addresses on the network of `self`, leads to somebody.
    fn reaches_host_port(&self) -> Vec<bool> {
        let gateways = self.added.result.ips.iter().filter_map(|ip| ip.gateway);
        let answers = |host| self.container.echo_tcp(SocketAddr::new(host, HOST_PORT), "hello").is_ok();
        gateways.map(answers).collect()
    }

    fn owner(&self, network: &str) -> Owner {
        Owner {
            network: network.to_owned(),
            container_id: self.container.id().to_owned(),
            ifname: "eth0".to_owned(),
        }
    }

    fn mac(&self) -> String {
        let interface = self.added.result.interfaces.iter().find(|interface| interface.sandbox.is_some());
        interface.unwrap().mac.clone().unwrap()
    }
}

const TABLES: [(Family, &str); 6] = [
    (Family::Ip, "cni_masquerade"),
    (Family::Ip6, "cni_masquerade"),
    (Family::Bridge, "cni_spoofcheck"),
    (Family::Inet, "cni_portmap"),
    (Family::Inet, "cni_firewall"),
    (Family::Bridge, "cni_firewall"),
];

/// Everything that the plugins have in nf_tables.
fn flush() {
    let mut nft = Nft::new();
    let mut batch = Batch::default();
    for (family, name) in TABLES {
        let table = Table::new(family, name);
        if !nft.chains(&table).unwrap().is_empty() {
            batch.delete_table(&table);
        }
    }
    nft.commit(&batch).unwrap();
}

/// What the containers may do, and what not.
fn assert_in_force(one: &Pod, two: &Pod, outside: &Pod) {
    let hosts: Vec<IpAddr> = outside.added.result.ips.iter().filter_map(|ip| ip.gateway).collect();
    assert_eq!(one.seen_by(outside), hosts, "masqueraded");
    assert_eq!(outside.reaches_host_port(), [true, true], "the port of the host leads to the container");
    assert_eq!(one.reaches(two), [false, false], "isolated");
    SpoofCheck::check(&one.owner("blue"), one.mac().parse().unwrap()).unwrap();
}

/// Links, addresses, leases and the cache; not the rules.
fn all_else(node: &Node) -> Snapshot {
    let snapshot = node.host.snapshot();
    ["nft ", "iptables-save ", "ip6tables-save "]
        .iter()
        .fold(snapshot, |snapshot, part| snapshot.without(part))
}

/// The rules as the installed programs print them. Tables are printed in the order in which they were made, which means nothing.
fn rules(node: &Node) -> Vec<String> {
    let mut tables: Vec<String> = Vec::new();
    for line in
        node.host.snapshot().0.iter().filter(|line| line.starts_with("nft ") || line.contains("tables-save "))
    {
        if tables.is_empty() || line.starts_with("nft table ") || line.contains("tables-save *") {
            tables.push(String::new());
        }
        *tables.last_mut().unwrap() += &format!("{line}\n");
    }
    tables.sort();
    tables
}

fn everything_is_put_back(backend: &'static str, flush: impl Fn()) {
    let node = Node::new(backend);
    let (network, outside) = (node.network("blue", 11), node.outside());
    let (one, two) = (node.join(&network, "one", Some(HOST_PORT)), node.join(&network, "two", None));
    assert_in_force(&one, &two, &outside);
    let (before, rest) = (rules(&node), all_else(&node));

    flush();
    assert_eq!(one.seen_by(&outside), one.addresses(), "nothing is masqueraded any more");
    assert_eq!(outside.reaches_host_port(), [false, false]);

    let output = node.reapply(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), &*String::from_utf8(output.stderr).unwrap()), (Some(0), ""));
    let done = |id: &str| {
        format!("eth0 of container {id} on network blue: masquerading, MAC spoof check, portmap, firewall")
    };
    assert_eq!(text.lines().collect::<Vec<_>>(), [done("one"), done("two")]);
    assert_in_force(&one, &two, &outside);
    all_else(&node).assert_same(&rest);
    for pod in [&one, &two] {
        node.runtime.check(&network, &pod.attachment).unwrap();
    }
    // Where programs tell them: the same rules, and once more changes nothing.
    node.reapply(&[]);
    assert_eq!(rules(&node).join("\n"), before.join("\n"));

    for pod in [&one, &two] {
        node.runtime.del(&network, &pod.attachment).unwrap();
    }
    // The bridge's policy stays: it names the network, and no container.
    let left = node.host.snapshot().without("cni:blue::").to_string();
    assert!(!left.contains("cni:blue:") && !left.contains("-s 10.11.0."), "{left}");
}

/// F2: what `nft flush table` leaves are the elements.
#[test]
fn f2_everything_is_put_back_after_a_flush_of_the_rules_alone() {
    everything_is_put_back("nftables", || {
        let mut nft = Nft::new();
        let mut batch = Batch::default();
        for (family, name) in TABLES {
            let table = Table::new(family, name);
            for chain in nft.chains(&table).unwrap() {
                batch.flush_chain(&table, &chain);
            }
        }
        nft.commit(&batch).unwrap();
    });
}

#[test]
fn everything_is_put_back_after_a_flush_of_nftables() {
    everything_is_put_back("nftables", flush);
}

#[test]
#[ignore = "needs iptables and nft: add -- --ignored firewall::reapply"]
fn everything_is_put_back_after_a_flush_of_iptables() {
    let flush = || {
        #[allow(clippy::disallowed_methods, reason = "as a reload of firewalld does")]
        let output = Command::new("nft").env("PATH", PROGRAMS).args(["flush", "ruleset"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    everything_is_put_back("iptables", flush);
}

#[test]
fn only_the_network_that_is_named_is_put_back() {
    let node = Node::new("nftables");
    let (blue, green) = (node.network("blue", 11), node.network("green", 12));
    let (one, two) = (node.join(&blue, "one", None), node.join(&green, "two", None));
    flush();
    let json = node.reapply_json(&["green"]);
    let done = json!(["masquerading", "MAC spoof check", "portmap", "firewall"]);
    let entry = json!({"network": "green", "containerID": "two", "ifname": "eth0", "done": done});
    assert_eq!(json, json!({"reapplied": [entry], "skipped": []}));
    node.runtime.check(&green, &two.attachment).unwrap();
    node.runtime.check(&blue, &one.attachment).unwrap_err();
    assert_eq!(node.reapply_json(&["red"]), json!({"reapplied": [], "skipped": []}));
}

/// Rules of one that is gone would take an address from whoever has it now.
#[test]
fn attachments_that_are_not_there_any_more_are_left_out() {
    let node = Node::new("nftables");
    let network = node.network("blue", 11);
    let (mut gone, changed, one) = (
        node.join(&network, "gone", None),
        node.join(&network, "changed", None),
        node.join(&network, "one", None),
    );
    gone.container.kill();
    let mut inside = changed.container.ns().socket().unwrap();
    let index = inside.link_by_name("eth0").unwrap().index;
    let address = changed.added.result.ips[0].address;
    inside.addr_del(index, address).unwrap();
    flush();

    let json = node.reapply_json(&[]);
    let ids = |key: &str| -> Vec<String> {
        let of = |entry: &Value| entry["containerID"].as_str().unwrap().to_owned();
        json[key].as_array().unwrap().iter().map(of).collect()
    };
    assert_eq!(
        (ids("reapplied"), ids("skipped")),
        (vec!["one".to_owned()], vec!["gone".into(), "changed".into()])
    );
    let reason = |index: usize| json["skipped"][index]["reason"].as_str().unwrap();
    assert!(reason(0).starts_with("network namespace "), "{}", reason(0));
    assert!(reason(1).ends_with("does not have address 10.11.0.3"), "{}", reason(1));
    node.runtime.check(&network, &one.attachment).unwrap();
    let output = node.reapply(&[]);
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(notes.starts_with("cnitool: left out eth0 of container gone on network blue: "), "{notes}");
    assert_eq!(output.status.code(), Some(0));
}

/// The runtime's DEL comes between the look at the attachment and its last rule.
#[test]
fn what_was_put_back_goes_again_when_the_container_was_deleted_meanwhile() {
    let node = Node::new("nftables");
    let network = node.network("blue", 11);
    let (one, two) = (node.join(&network, "one", Some(HOST_PORT)), node.join(&network, "two", None));
    flush();
    let folder = node.host.dir().with_file_name("first");
    std::fs::create_dir(&folder).unwrap();
    let script = format!(
        "#!/bin/sh\n\
         if [ $CNI_COMMAND$CNI_CONTAINERID = ADDone ]; then\n\
         rm {cache}/results/blue-one-eth0 && nsenter --net=$CNI_NETNS ip link delete eth0 || exit 1\n\
         fi\n\
         exec {bin}/firewall\n",
        cache = node.host.dir().join("cache").display(),
        bin = node.host.bin_dir().display(),
    );
    std::fs::write(folder.join("firewall"), script).unwrap();
    std::fs::set_permissions(folder.join("firewall"), PermissionsExt::from_mode(0o755)).unwrap();

    let output = node.reapply_with(&[&folder], &["--json"]);
    assert!(output.status.success(), "{output:?}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let gone = json!({"network": "blue", "containerID": "one", "ifname": "eth0", "reason": "it was deleted meanwhile"});
    assert_eq!((&json["skipped"], &json["reapplied"][0]["containerID"]), (&json!([gone]), &json!("two")));
    let left = node.host.snapshot().to_string();
    assert!(!left.contains("cni:blue:one"), "{left}");
    node.runtime.check(&network, &two.attachment).unwrap();
    drop(one);
}

/// Of two with the same port of the host, the one that was added last had it, whatever they are called.
#[test]
fn the_latest_add_has_a_disputed_port_again() {
    let node = Node::new("nftables");
    let (network, outside) = (node.network("blue", 11), node.outside());
    let _first = node.join(&network, "zz", Some(HOST_PORT));
    let last = node.join(&network, "aa", Some(HOST_PORT));
    node.runtime.check(&network, &last.attachment).unwrap();
    flush();
    node.reapply_json(&[]);
    node.runtime.check(&network, &last.attachment).unwrap();
    assert_eq!(outside.reaches_host_port(), [true, true]);
}

#[test]
fn a_failure_is_told_and_does_not_keep_the_rest_from_being_put_back() {
    let node = Node::new("nftables");
    let network = node.network("blue", 11);
    let (one, two) = (node.join(&network, "one", None), node.join(&network, "two", None));
    let key = one.attachment.key();
    let mut entry = node.runtime.cache().get(&network.name, &key).unwrap().unwrap();
    let text = String::from_utf8(entry.config).unwrap();
    entry.config = text.replace("isolated", "closed").into_bytes();
    node.runtime.cache().put(&entry).unwrap();
    flush();
    let output = node.reapply(&["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let error = &json["errors"][0];
    assert_eq!((&error["plugin"], &error["code"]), (&json!("firewall"), &json!(7)), "{json:#}");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("cannot put back the rules of eth0 of container one on network blue: "),
        "{message}"
    );
    node.runtime.check(&network, &two.attachment).unwrap();
}

/// Issue 14, part 3: rules that nobody could put back looked like success.
#[test]
fn an_entry_that_cannot_be_read_is_a_failure_and_the_rest_is_put_back() {
    let node = Node::new("nftables");
    let network = node.network("blue", 11);
    let (one, two, three) = (
        node.join(&network, "one", None),
        node.join(&network, "two", None),
        node.join(&network, "three", None),
    );
    let file = |pod: &Pod| node.runtime.cache().path(&network.name, &pod.attachment.key());
    std::fs::write(file(&one), "{").unwrap();
    let mut entry: Value = serde_json::from_slice(&std::fs::read(file(&two)).unwrap()).unwrap();
    entry["result"]["ips"] = json!("none");
    std::fs::write(file(&two), entry.to_string()).unwrap();
    flush();
    let output = node.reapply(&["--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let messages: Vec<&str> =
        json["errors"].as_array().unwrap().iter().map(|error| error["message"].as_str().unwrap()).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages.iter().any(|message| message.contains(file(&one).to_str().unwrap())), "{messages:?}");
    assert!(messages.iter().any(|message| message.contains("container two")), "{messages:?}");
    node.runtime.check(&network, &three.attachment).unwrap();
}
