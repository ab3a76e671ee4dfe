//! Chains in which some plugins are the reference's and some are ours, under our libcni: addresses, ports by packets, CHECK,
//! and what is left. podman_reference.rs has the same under Go's libcni.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use cni_testing::{Container, HttpServer, Snapshot};
use cni_types::{ContainerId, IfName, SpecVersion};
use libcni::{Attachment, Network, Runtime};
use serde_json::json;

use crate::podman::net::run_files;
use crate::portmap::net::{HOST, OUTSIDE, Site, reference};
use crate::reference::is_1_10;

/// The plugins of the chain, the IPAM last.
const ALL: [&str; 6] = ["bridge", "portmap", "firewall", "tuning", "bandwidth", "host-local"];

/// Where the chain's port is published.
const PORT: u16 = 8080;

/// A host with a network on it, whose plugins are chosen for each call.
struct Node {
    site: Site,
    backend: &'static str,
    network: Network,
    /// What the reference does otherwise since 1.10.0.
    is_1_10: bool,
    _pages: Vec<HttpServer>,
}

impl Node {
    /// Masquerading and ports by `backend`. The firewall's is iptables, which of the two that ours has is the reference's, too.
    fn new(backend: &'static str) -> Self {
        let site = Site::new(backend);
        let dir = site.host.dir();
        let rate = 100_000_000;
        let list = json!({"cniVersion": "1.0.0", "name": "net", "plugins": [
            {
                "type": "bridge", "bridge": "br0", "isDefaultGateway": true, "ipMasq": true, "ipMasqBackend": backend,
                "ipam": {
                    "type": "host-local", "dataDir": dir.join("leases"),
                    "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]],
                },
            },
            {"type": "portmap", "backend": backend, "capabilities": {"portMappings": true}},
            {"type": "firewall", "backend": "iptables"},
            {"type": "tuning", "mtu": 1400, "sysctl": {"net.core.somaxconn": "500"}},
            {
                "type": "bandwidth", "ingressRate": rate, "ingressBurst": rate,
                "egressRate": rate, "egressBurst": rate,
            },
        ]});
        let network = Network::from_slice(list.to_string().as_bytes()).unwrap();
        let _pages = serve(&site.outside, "outside", OUTSIDE.map(ip));
        let is_1_10 = is_1_10(&site.host);
        Node { site, backend, network, is_1_10, _pages }
    }

    /// A runtime whose plugins are the reference's where they are among `theirs`, else ours.
    fn runtime(&self, theirs: &[&str]) -> Runtime {
        let folder = self.site.host.dir().with_file_name(format!("plugins {}", theirs.join(" ")));
        if fs::create_dir(&folder).is_ok() {
            for plugin in ALL {
                let ours = self.site.host.bin_dir().join(plugin);
                let program = if theirs.contains(&plugin) { reference(plugin) } else { ours };
                symlink(program, folder.join(plugin)).unwrap();
            }
        }
        Runtime::new(vec![folder], self.site.host.dir().join("cache"))
    }

    fn attachment(&self, container: &Container) -> Attachment {
        let id = ContainerId::new(container.id()).unwrap();
        let mut attachment = Attachment::new(id, IfName::new("eth0").unwrap());
        attachment.netns = Some(container.netns().to_owned());
        let mapping = json!([{"hostPort": PORT, "containerPort": 80, "protocol": "tcp"}]);
        attachment.capability_args.insert("portMappings".to_owned(), mapping);
        attachment
    }

    /// ADD and CHECK by these runtimes, with pages fetched both ways through the host.
    fn add_and_check(&self, container: &Container, adds: &Runtime, checks: &Runtime) {
        let attachment = self.attachment(container);
        let added = adds.add(&self.network, &attachment).unwrap();
        assert_eq!(added.result.ips.len(), 2, "{}", added.json);
        checks.check(&self.network, &attachment).unwrap();
        let _pages = serve(container, "inside", added.result.ips.iter().map(|ip| ip.address.addr()));
        for (host, outside) in HOST.into_iter().zip(OUTSIDE) {
            let published = SocketAddr::new(ip(host), PORT);
            let page = self.site.outside.http_get(published, "/").unwrap().1;
            assert_eq!(page.trim_end(), format!("inside answers {outside}"));
            let page = container.http_get(SocketAddr::new(ip(outside), 80), "/").unwrap().1;
            assert_eq!(page.trim_end(), format!("outside answers {host}"), "masquerading");
        }
    }

    /// DEL, after which everything is as it was `before`, where that is told.
    ///
    /// One exception, which is the reference's before 1.10.0: with masquerading by nftables, its bridge looks for an iptables rule
    /// as well, and takes for a failure that iptables of nf_tables knows no such chain. By then it has deleted all that was
    /// its own; libcni keeps its cache entry for a DEL that succeeds.
    #[track_caller]
    fn del(&self, container: &Container, theirs: &[&str], before: Option<&Snapshot>) {
        let runtime = self.runtime(theirs);
        let attachment = self.attachment(container);
        let deleted = runtime.del(&self.network, &attachment);
        if self.backend == "nftables" && theirs.contains(&"bridge") && !self.is_1_10 {
            let error = deleted.unwrap_err();
            let each: Vec<String> = error.each().map(ToString::to_string).collect();
            let known =
                ["/bridge failed: running [", "iptables -t nat -D POSTROUTING -s 10.88.0.", "does not exist"];
            assert!(each.len() == 1 && known.iter().all(|part| each[0].contains(part)), "{each:#?}");
            runtime.cache().remove(&self.network.name, &attachment.key()).unwrap();
        } else {
            deleted.unwrap();
        }
        if let Some(before) = before {
            self.left().assert_same(before);
        }
    }

    /// The one file of libcni's cache.
    fn cache_entry(&self) -> (PathBuf, Vec<u8>) {
        let mut entries = fs::read_dir(self.site.host.dir().join("cache/results")).unwrap();
        let path = entries.next().unwrap().unwrap().path();
        assert!(entries.next().is_none());
        let text = fs::read(&path).unwrap();
        (path, text)
    }

    /// All there is, but which address comes next.
    fn left(&self) -> Snapshot {
        let mut left = self.site.host.snapshot().without("last_reserved_ip");
        left.0.extend(run_files());
        left
    }
}

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn serve(container: &Container, name: &str, addresses: impl IntoIterator<Item = IpAddr>) -> Vec<HttpServer> {
    let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 80));
    addresses.map(|address| container.serve_http(address, name)).collect()
}

/// A node that has seen a container of each kind come and go, and what is there then: what stays for the next container.
fn after_a_first(backend: &'static str) -> (Node, Snapshot) {
    let node = Node::new(backend);
    let first = node.site.host.container("first");
    for theirs in [&[][..], &ALL] {
        let runtime = node.runtime(theirs);
        node.add_and_check(&first, &runtime, &runtime);
        node.del(&first, theirs, None);
    }
    let before = node.left();
    for own in [
        "first",
        "10.88.0.2",
        "10.88.0.3",
        "fd00:88::2",
        "fd00:88::3",
        "CNI-DN-",
        "CNI-SN-",
        "link veth",
        "ifb",
    ] {
        let left: Vec<&String> = before.0.iter().filter(|line| line.contains(own)).collect();
        assert!(left.is_empty(), "{backend}: {left:#?}");
    }
    (node, before)
}

/// One of the reference among ours, one of ours among the reference's; each with everything that it promises.
fn every_swap(backend: &'static str) {
    let (node, before) = after_a_first(backend);
    let one = ALL.map(|plugin| vec![plugin]);
    let all_but_one = ALL.map(|plugin| ALL.into_iter().filter(|other| *other != plugin).collect());
    for theirs in one.into_iter().chain(all_but_one) {
        eprintln!("{backend}, the reference's: {theirs:?}");
        let (container, runtime) = (node.site.host.container("one"), node.runtime(&theirs));
        node.add_and_check(&container, &runtime, &runtime);
        node.del(&container, &theirs, Some(&before));
    }
}

#[test]
#[ignore = "needs the reference's plugins, nft and iptables: add -- --ignored chain::reference"]
fn every_plugin_is_exchanged_alone_with_nftables() {
    every_swap("nftables");
}

#[test]
#[ignore = "needs the reference's plugins, nft and iptables: add -- --ignored chain::reference"]
fn every_plugin_is_exchanged_alone_with_iptables() {
    every_swap("iptables");
}

/// What ours alone has of a container, which the reference leaves: the records of the firewall, of masquerading and of portmap, the
/// firewall's rule for published ports, which nft prints too, and the index of leases, whose entry names none any more.
const OURS: [&str; 6] = [
    "/run/cni-plugins-rs/firewall/iptables/",
    "/run/cni-plugins-rs/masquerade/",
    "/run/cni-plugins-rs/portmap/",
    "-m conntrack --ctstate DNAT -j ACCEPT",
    "ct status dnat counter accept",
    ".index/",
];

#[test]
#[ignore = "needs the reference's plugins, nft and iptables: add -- --ignored chain::reference"]
fn what_one_set_added_the_other_checks_and_deletes() {
    let (node, before) = after_a_first("iptables");
    let (ours, theirs) = (node.runtime(&[]), node.runtime(&ALL));
    let container = node.site.host.container("one");
    node.add_and_check(&container, &theirs, &ours);
    node.del(&container, &[], Some(&before));

    node.add_and_check(&container, &ours, &theirs);
    node.del(&container, &ALL, None);
    let mut left = node.left();
    left.0.retain(|line| before.0.contains(line) || !OURS.iter().any(|part| line.contains(part)));
    left.assert_same(&before);
    node.del(&container, &[], Some(&before));
}

/// Our tables of nf_tables are not the reference's, which does not look into them; ours looks into the reference's.
#[test]
#[ignore = "needs the reference's plugins, nft and iptables: add -- --ignored chain::reference"]
fn with_nftables_the_reference_leaves_our_elements_and_ours_removes_them() {
    let (node, before) = after_a_first("nftables");
    let (ours, theirs) = (node.runtime(&[]), node.runtime(&ALL));
    let container = node.site.host.container("one");
    let attachment = node.attachment(&container);
    node.add_and_check(&container, &theirs, &ours);
    node.del(&container, &[], Some(&before));

    let mut newest = node.network.clone();
    newest.cni_version = SpecVersion::V1_1_0;
    let forget = || ours.cache().remove(&node.network.name, &attachment.key()).unwrap();
    let told = || ours.del(&node.network, &attachment).unwrap();
    let untold = || {
        forget();
        ours.del(&node.network, &attachment).unwrap();
    };
    let collected = || {
        forget();
        assert_eq!(ours.gc(&newest, Some(&[])).errors.len(), 0);
    };
    for removed in [&told as &dyn Fn(), &untold, &collected] {
        node.add_and_check(&container, &ours, &ours);
        let refused = theirs.check(&node.network, &attachment).unwrap_err().to_string();
        assert!(refused.contains("/portmap failed: missing hostport rules"), "{refused}");
        // The cache entry tells our DEL the addresses. Before 1.10.0 the error of its bridge keeps it, as libcni has it; put back it
        // is what a runtime with a cache of its own has.
        let entry = node.cache_entry();
        assert_eq!(theirs.del(&node.network, &attachment).is_ok(), node.is_1_10);
        fs::write(&entry.0, &entry.1).unwrap();
        assert_elements_alone(&node.left(), &before);
        removed();
        // GC also takes the chains of subnets that nobody uses.
        let left = node.left();
        let more: Vec<&String> = left.0.iter().filter(|line| !before.0.contains(line)).collect();
        assert_eq!(more, [""; 0]);
    }
}

/// Of what is left by the reference, the packet filter has elements of the container's, and there is what ours alone reads.
#[track_caller]
fn assert_elements_alone(left: &Snapshot, before: &Snapshot) {
    let new = left.0.iter().filter(|line| !before.0.contains(line));
    let (elements, others): (Vec<_>, Vec<_>) = new.partition(|line| line.starts_with("nft \t\telements = "));
    // Of each family masquerading with its count, the mapping and its masquerading; and the count of these.
    assert_eq!(elements.len(), 9, "{elements:#?}");
    assert!(elements.iter().all(|line| line.contains("\"cni:net:one:eth0\"")), "{elements:#?}");
    let known = |line: &str| line.contains("cache/results/") || OURS.iter().any(|part| line.contains(part));
    assert!(others.iter().all(|line| known(line)), "{others:#?}");
}

#[test]
#[ignore = "needs the reference's plugins, nft and iptables: add -- --ignored chain::reference"]
fn an_element_that_the_reference_left_does_not_keep_its_next_container_from_the_port() {
    let (node, _) = after_a_first("nftables");
    let (ours, theirs) = (node.runtime(&[]), node.runtime(&ALL));
    let [old, new] = ["old", "new"].map(|id| node.site.host.container(id));
    node.add_and_check(&old, &ours, &ours);
    node.del(&old, &ALL, None);
    node.add_and_check(&new, &theirs, &theirs);
}
