//! One pod from its start to its end.

use std::net::IpAddr;

use cni_netlink::Socket;
use serde_json::{Value, json};

use crate::cri::{PodSandboxConfig, Protocol};
use crate::node::{HOST, Node, OUTSIDE, Pod, at, port};

/// Both families, as host-local gives them.
pub(crate) const DUAL: [&str; 2] = ["10.88.0.0/24", "fd00:88::/64"];

/// What most nodes have, with every plugin that kubelet's pods can ask something of.
pub(crate) fn bridge(subnets: &[&str]) -> Value {
    json!([
        { "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "ipam": ipam(subnets) },
        { "type": "portmap", "capabilities": { "portMappings": true } },
        { "type": "firewall" },
        { "type": "tuning", "sysctl": { "net.core.somaxconn": "500" } },
        { "type": "bandwidth", "capabilities": { "bandwidth": true } },
    ])
}

fn ptp(subnets: &[&str]) -> Value {
    json!([
        { "type": "ptp", "ipMasq": true, "ipMasqBackend": "nftables", "ipam": ipam(subnets) },
        { "type": "portmap", "backend": "nftables", "capabilities": { "portMappings": true } },
        { "type": "firewall", "backend": "nftables" },
    ])
}

fn ipam(subnets: &[&str]) -> Value {
    let ranges: Vec<Value> = subnets.iter().map(|subnet| json!([{ "subnet": subnet }])).collect();
    let default = |subnet: &&str| json!({ "dst": if subnet.contains(':') { "::/0" } else { "0.0.0.0/0" } });
    let routes: Vec<Value> = subnets.iter().map(default).collect();
    json!({ "type": "host-local", "ranges": ranges, "routes": routes })
}

/// With ports of TCP and UDP, and the annotations that containerd makes the limits of.
fn pod(node: &Node) -> PodSandboxConfig {
    let mut pod = node.pod("web");
    pod.port_mappings = vec![port(8080, Protocol::Tcp), port(9090, Protocol::Udp)];
    for (direction, limit) in [("ingress", "10M"), ("egress", "20M")] {
        pod.annotations.insert(format!("kubernetes.io/{direction}-bandwidth"), limit.to_owned());
    }
    pod
}

/// From the outside and from the node itself, by each address of the node's that has the pod's family.
#[track_caller]
fn ports_are_published(node: &Node, pod: &Pod) {
    let _servers = pod.serve();
    for address in &pod.addresses {
        let family = usize::from(address.is_ipv6());
        let host = HOST[family];
        let answers =
            [node.outside.echo_tcp(at(host, 8080), "hello"), node.outside.echo_udp(at(host, 9090), "hello")];
        for answer in answers.map(Result::unwrap) {
            assert!(answer.contains(OUTSIDE[family]) && answer.ends_with(" hello"), "{answer}");
        }
        node.host.echo_tcp(at(host, 8080), "hello").unwrap();
        node.host.echo_udp(at(host, 9090), "hello").unwrap();
    }
    node.host.echo_tcp(at("127.0.0.1", 8080), "hello").unwrap();
}

/// Bytes per second of the token buckets on links of a kind.
fn limits(kind: &str) -> Vec<u64> {
    let mut socket = Socket::open().unwrap();
    let links = socket.link_dump(Some(kind)).unwrap();
    links.iter().filter_map(|link| socket.tbf_get(link.index).unwrap()).map(|limit| limit.rate).collect()
}

#[test]
#[ignore = "needs root, containerd, runc, busybox-static and iptables: `cargo xtask test` as root installs and runs it"]
fn a_pod_behind_a_bridge_has_its_ports_and_limits_and_leaves_nothing() {
    let node = Node::new(&bridge(&DUAL[..1]));
    let before = node.after_a_first(&pod(&node));
    let mut cri = node.cri();
    let pod = Pod::run(&mut cri, &pod(&node));
    // host-local gives out each address of the range once before it begins anew.
    assert_eq!(pod.addresses, ["10.88.0.3".parse::<IpAddr>().unwrap()]);
    ports_are_published(&node, &pod);
    assert_eq!(limits("veth"), [10_000_000 / 8], "what the pod receives");
    assert_eq!(limits("ifb"), [20_000_000 / 8], "what the pod sends");
    assert_eq!(node.leases(), [pod.id.as_str()]);
    assert_eq!(node.results(), [pod.id.as_str()]);
    pod.remove(&mut cri);
    node.snapshot().assert_same(&before);
}

#[test]
#[ignore = "needs root, containerd, runc, busybox-static and iptables: `cargo xtask test` as root installs and runs it"]
fn a_pod_behind_ptp_has_its_ports_and_leaves_nothing() {
    let node = Node::new(&ptp(&DUAL[..1]));
    let before = node.after_a_first(&pod(&node));
    let mut cri = node.cri();
    let pod = Pod::run(&mut cri, &pod(&node));
    ports_are_published(&node, &pod);
    pod.remove(&mut cri);
    node.snapshot().assert_same(&before);
}

#[test]
#[ignore = "needs root, containerd, runc, busybox-static and iptables: `cargo xtask test` as root installs and runs it"]
fn a_pod_of_both_families_has_both_addresses() {
    for plugins in [bridge(&DUAL), ptp(&DUAL)] {
        let node = Node::new(&plugins);
        let before = node.after_a_first(&pod(&node));
        let mut cri = node.cri();
        let pod = Pod::run(&mut cri, &pod(&node));
        let expected: [IpAddr; 2] = ["10.88.0.3".parse().unwrap(), "fd00:88::3".parse().unwrap()];
        assert_eq!(pod.addresses, expected);
        ports_are_published(&node, &pod);
        pod.remove(&mut cri);
        node.snapshot().assert_same(&before);
    }
}
