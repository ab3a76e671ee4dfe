//! Whole chains as a runtime runs them: a conflist through `libcni`, the real executables, packets between containers.

mod reference;

use std::collections::HashSet;
use std::net::IpAddr;

use cni_testing::{Container, Host, Snapshot};
use cni_types::{ContainerId, GcAttachment, IfName, SpecVersion};
use libcni::{Added, Attachment, Network, Runtime};
use serde_json::{Value, json};

/// A private host with a runtime on it: the cache below the host's folder, so that snapshots have it.
struct Node {
    host: Host,
    runtime: Runtime,
}

impl Node {
    fn new() -> Self {
        let host = Host::new();
        let runtime = Runtime::new(vec![host.bin_dir()], host.dir().join("cache"));
        Node { host, runtime }
    }

    /// A network of one bridge with addresses of both families, as a conflist in a file.
    fn network(&self, name: &str, octet: u8, version: SpecVersion) -> Network {
        let bridge = json!({
            "type": "bridge",
            "bridge": format!("br-{name}"),
            "isGateway": true,
            "capabilities": { "ips": true },
            "ipam": {
                "type": "host-local",
                "dataDir": self.host.dir().join("leases"),
                "ranges": [
                    [{ "subnet": format!("10.{octet}.0.0/24") }],
                    [{ "subnet": format!("fd00:{octet}::/64") }],
                ],
                "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
            },
        });
        self.load(name, version, &json!([bridge]))
    }

    fn load(&self, name: &str, version: SpecVersion, plugins: &Value) -> Network {
        let list = json!({ "cniVersion": version.as_str(), "name": name, "plugins": plugins });
        let file = self.host.dir().join(format!("{name}.conflist"));
        std::fs::write(&file, list.to_string()).unwrap();
        Network::from_file(&file).unwrap()
    }

    /// Links, leases and the cache, without what is meant to stay: the bridge with its addresses and routes, and
    /// host-local's folders with the address it reserved last.
    fn left(&self) -> Snapshot {
        let staying = [
            "link br-",
            "address br-",
            "dev br-",
            "last_reserved_ip",
            "folder ",
            ".conflist",
            "/lock",
            ".index/",
        ];
        staying.iter().fold(self.host.snapshot(), |snapshot, part| snapshot.without(part))
    }

    /// How many of these are a container's: its veth pair, two leases and the cache entry.
    fn traces_of(&self, container: &Container) -> usize {
        self.left().0.iter().filter(|line| line.contains(container.id())).count()
    }
}

fn attachment(container: &Container, ifname: &str) -> Attachment {
    let id = ContainerId::new(container.id()).unwrap();
    let mut attachment = Attachment::new(id, IfName::new(ifname).unwrap());
    attachment.netns = Some(container.netns().to_owned());
    attachment
}

fn key(container: &Container) -> GcAttachment {
    attachment(container, "eth0").key()
}

/// The addresses of a result, one a family.
fn addresses(added: &Added) -> Vec<IpAddr> {
    let addresses: Vec<IpAddr> = added.result.ips.iter().map(|ip| ip.address.addr()).collect();
    assert_eq!(addresses.iter().filter(|address| address.is_ipv6()).count(), 1, "{:?}", added.json);
    assert_eq!(addresses.len(), 2, "{:?}", added.json);
    addresses
}

fn assert_reach(from: &Container, to: &[IpAddr]) {
    for address in to {
        assert!(from.ping(*address), "{} does not reach {address}", from.id());
    }
}

fn life_at(version: SpecVersion) {
    let node = Node::new();
    let network = node.network("net", 10, version);
    let before = node.left();
    let (mut blue, green) = (node.host.container("blue"), node.host.container("green"));
    let inside_before = green.snapshot();

    let (at_blue, at_green) = (attachment(&blue, "eth0"), attachment(&green, "eth0"));
    let first = node.runtime.add(&network, &at_blue).unwrap();
    let second = node.runtime.add(&network, &at_green).unwrap();
    assert_eq!(first.json["cniVersion"], version.as_str());
    assert_reach(&blue, &addresses(&second));
    assert_reach(&green, &addresses(&first));

    let checked = node.runtime.check(&network, &at_blue);
    if version < SpecVersion::V0_4_0 {
        assert!(checked.unwrap_err().to_string().contains("does not support the CHECK command"));
    } else {
        checked.unwrap();
    }
    node.runtime.status(&network).unwrap();

    node.runtime.del(&network, &at_green).unwrap();
    green.snapshot().without(" lo").assert_same(&inside_before.without(" lo"));
    node.runtime.del(&network, &at_green).unwrap();
    assert_eq!((node.traces_of(&blue), node.traces_of(&green)), (4, 0), "{}", node.left());

    // Its links die with it, a little later; leases and cache must not wait for anything.
    blue.kill();
    node.runtime.del(&network, &at_blue).unwrap();
    node.left().assert_same(&before);
}

#[test]
fn a_chain_lives_from_add_to_del_at_0_1_0() {
    life_at(SpecVersion::V0_1_0);
}

#[test]
fn a_chain_lives_from_add_to_del_at_0_2_0() {
    life_at(SpecVersion::V0_2_0);
}

#[test]
fn a_chain_lives_from_add_to_del_at_0_3_0() {
    life_at(SpecVersion::V0_3_0);
}

#[test]
fn a_chain_lives_from_add_to_del_at_0_3_1() {
    life_at(SpecVersion::V0_3_1);
}

#[test]
fn a_chain_lives_from_add_to_del_at_0_4_0() {
    life_at(SpecVersion::V0_4_0);
}

#[test]
fn a_chain_lives_from_add_to_del_at_1_0_0() {
    life_at(SpecVersion::V1_0_0);
}

#[test]
fn a_chain_lives_from_add_to_del_at_1_1_0() {
    life_at(SpecVersion::V1_1_0);
}

#[test]
fn gc_removes_what_is_not_valid_with_and_without_a_cache_entry() {
    let node = Node::new();
    let network = node.network("net", 10, SpecVersion::V1_1_0);
    let other = node.network("other", 11, SpecVersion::V1_1_0);
    let [valid, cached, forgotten, elsewhere] =
        ["valid", "cached", "forgotten", "elsewhere"].map(|id| node.host.container(id));
    for container in [&valid, &cached, &forgotten] {
        node.runtime.add(&network, &attachment(container, "eth0")).unwrap();
    }
    let other_added = node.runtime.add(&other, &attachment(&elsewhere, "eth0")).unwrap();
    node.runtime.cache().remove(&network.name, &key(&forgotten)).unwrap();
    assert_eq!(node.traces_of(&forgotten), 3, "{}", node.left());

    let report = node.runtime.gc(&network, Some(&[key(&valid)]));
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(report.removed, [key(&cached)]);

    for gone in [&cached, &forgotten] {
        assert_eq!(node.traces_of(gone), 0, "{}", node.left());
    }
    node.runtime.check(&network, &attachment(&valid, "eth0")).unwrap();
    node.runtime.check(&other, &attachment(&elsewhere, "eth0")).unwrap();
    assert!(node.host.ping(addresses(&other_added)[0]), "another network's container is untouched");
}

#[test]
fn two_networks_of_one_container_are_deleted_apart() {
    let node = Node::new();
    let front = node.network("front", 10, SpecVersion::V1_0_0);
    let back = node.network("back", 11, SpecVersion::V1_0_0);
    let before = node.left();
    let (both, peer) = (node.host.container("both"), node.host.container("peer"));
    let (eth0, eth1) = (attachment(&both, "eth0"), attachment(&both, "eth1"));

    // Both have a default route; the second must not take the first one's place, nor fail for it.
    let in_front = node.runtime.add(&front, &eth0).unwrap();
    let in_back = node.runtime.add(&back, &eth1).unwrap();
    let peer_added = node.runtime.add(&back, &attachment(&peer, "eth0")).unwrap();
    assert_reach(&peer, &addresses(&in_back));
    assert!(node.host.ping(addresses(&in_front)[0]));

    node.runtime.del(&front, &eth0).unwrap();
    node.runtime.check(&back, &eth1).unwrap();
    assert_reach(&both, &addresses(&peer_added));

    node.runtime.del(&back, &eth1).unwrap();
    node.runtime.del(&back, &attachment(&peer, "eth0")).unwrap();
    node.left().assert_same(&before);
}

#[test]
fn a_chain_that_fails_in_its_second_plugin_is_deleted_whole() {
    let node = Node::new();
    let good = node.network("net", 10, SpecVersion::V1_0_0);
    let bridge = Value::Object(good.plugins[0].conf.clone());
    let broken = node.load("net", SpecVersion::V1_0_0, &json!([bridge, { "type": "no-such-plugin" }]));
    let before = node.left();
    let container = node.host.container("c");
    let inside_before = container.snapshot();
    let attachment = attachment(&container, "eth0");

    let error = node.runtime.add(&broken, &attachment).unwrap_err().to_string();
    assert!(error.contains("no-such-plugin"), "{error}");
    // As the specification has it, the runtime deletes; the plugin that is missing still is, the other one works.
    let error = node.runtime.del(&broken, &attachment).unwrap_err().to_string();
    assert!(error.contains("no-such-plugin"), "{error}");
    node.left().assert_same(&before);
    container.snapshot().without(" lo").assert_same(&inside_before.without(" lo"));

    node.runtime.add(&good, &attachment).unwrap();
}

#[test]
fn a_capability_chooses_the_address() {
    let node = Node::new();
    let network = node.network("net", 10, SpecVersion::V1_0_0);
    let container = node.host.container("c");
    let mut attachment = attachment(&container, "eth0");
    attachment.capability_args.insert("ips".to_owned(), json!(["10.10.0.77", "fd00:10::77"]));
    let added = node.runtime.add(&network, &attachment).unwrap();
    let wanted: Vec<IpAddr> = ["10.10.0.77", "fd00:10::77"].map(|address| address.parse().unwrap()).into();
    assert_eq!(addresses(&added), wanted);
    assert!(wanted.iter().all(|address| node.host.ping(*address)));
}

#[test]
fn first_adds_at_once_share_one_bridge_and_no_address() {
    let node = Node::new();
    let network = node.network("net", 10, SpecVersion::V1_1_0);
    let before = node.left();
    let containers: Vec<Container> =
        (0..8).map(|number| node.host.container(&format!("c{number}"))).collect();
    let added: Vec<Added> = std::thread::scope(|scope| {
        // Threads of this one are on the private host too.
        let attachments = containers.iter().map(|container| attachment(container, "eth0"));
        let (runtime, network) = (&node.runtime, &network);
        let add = |attachment| scope.spawn(move || runtime.add(network, &attachment));
        let running: Vec<_> = attachments.map(add).collect();
        running.into_iter().map(|add| add.join().unwrap().unwrap()).collect()
    });
    let all: HashSet<IpAddr> = added.iter().flat_map(addresses).collect();
    assert_eq!(all.len(), 16);
    assert_reach(&containers[0], &addresses(&added[7]));

    std::thread::scope(|scope| {
        for container in &containers {
            scope.spawn(|| node.runtime.del(&network, &attachment(container, "eth0")).unwrap());
        }
    });
    node.left().assert_same(&before);
}
