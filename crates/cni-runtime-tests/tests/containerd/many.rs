//! Many pods at once, as a node has them that boots or is drained.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cri::{Cri, PodSandboxConfig, Protocol};
use crate::life::{DUAL, bridge};
use crate::node::{HOST, Node, OUTSIDE, Pod, at, port};

/// How many calls are made at a time.
pub(crate) const WORKERS: usize = 4;

/// The number of a pod, and what it became.
pub(crate) type Numbered<T> = (u16, T);

/// A pod with a port of the node's own.
pub(crate) fn config(node: &Node, number: u16) -> PodSandboxConfig {
    let mut pod = node.pod(&format!("pod-{number}"));
    pod.port_mappings = vec![port(port_of(number), Protocol::Tcp)];
    pod
}

fn port_of(number: u16) -> u16 {
    20000 + number
}

/// Has workers take a job each until none is left, each over a connection of its own.
pub(crate) fn by_workers<J: Sync, R: Send>(
    node: &Node,
    jobs: &[J],
    work: impl Fn(&mut Cri, &J) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut cri = node.cri();
        let jobs = std::iter::from_fn(|| jobs.get(next.fetch_add(1, Ordering::Relaxed)));
        jobs.map(|job| work(&mut cri, job)).collect::<Vec<R>>()
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

/// Each pod answers the node at its addresses, and the outside through its port. Only one pod listens at a time, so that a
/// port which leads to another one is found.
#[track_caller]
pub(crate) fn assert_reachable(node: &Node, pods: &[Numbered<Pod>]) {
    for (number, pod) in pods {
        let _servers = pod.serve();
        for address in &pod.addresses {
            assert!(node.host.ping(*address), "pod {number} does not answer at {address}");
            let family = usize::from(address.is_ipv6());
            let answer = node.outside.echo_tcp(at(HOST[family], port_of(*number)), "hello");
            let answer = answer.unwrap_or_else(|error| panic!("pod {number}: {error}"));
            assert!(answer.contains(OUTSIDE[family]), "{answer}");
        }
    }
}

#[test]
#[ignore = "needs root, containerd, runc, busybox-static and iptables: `cargo xtask test` as root installs and runs it"]
fn fifty_pods_at_once_have_addresses_of_their_own_and_leave_nothing() {
    let node = Node::new(&bridge(&DUAL));
    let before = node.after_a_first(&config(&node, 0));
    let numbers: Vec<u16> = (0..50).collect();
    let run = |cri: &mut Cri, number: &u16| (*number, Pod::run(cri, &config(&node, *number)));
    let pods = by_workers(&node, &numbers, run);
    let addresses: HashSet<_> = pods.iter().flat_map(|(_, pod)| &pod.addresses).collect();
    assert_eq!(addresses.len(), 100, "one of each family a pod, and no two alike: {addresses:?}");
    assert_eq!(node.leases().len(), 100);
    assert_reachable(&node, &pods);
    by_workers(&node, &pods, |cri, (_, pod)| pod.remove(cri));
    node.snapshot().assert_same(&before);
}
