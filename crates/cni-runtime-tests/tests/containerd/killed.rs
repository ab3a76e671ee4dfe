//! containerd killed while pods come and go. Debian's 1.6.20 puts a sandbox on record before it gives it a network, so after
//! a restart its own DEL cleans up what was half done; what it has lost from its records is for GC.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cni_host::NetNs;
use cni_testing::Snapshot;

use crate::life::{DUAL, bridge};
use crate::many::{Numbered, WORKERS, assert_reachable, by_workers, config};
use crate::node::{Node, Pod, names};

/// Pods that run before anything happens, and all that there shall be.
const RUNNING: u16 = 6;
const ALL: u16 = 18;

/// A node with some pods.
struct Site {
    node: Node,
    before: Snapshot,
    /// The pods of which kubelet has been told that they run.
    started: Mutex<Vec<Numbered<String>>>,
}

impl Site {
    fn new() -> Self {
        let node = Node::new(&bridge(&DUAL));
        let before = node.after_a_first(&config(&node, 0));
        let site = Site { node, before, started: Mutex::default() };
        site.start_pods(0..RUNNING);
        assert_eq!(site.started().len(), usize::from(RUNNING));
        site
    }

    /// Those that do not come to run because containerd is killed are not noted.
    fn start_pods(&self, numbers: Range<u16>) {
        let numbers: Vec<u16> = numbers.collect();
        by_workers(&self.node, &numbers, |cri, number| {
            if let Ok(id) = cri.run_pod_sandbox(&config(&self.node, *number)) {
                self.started.lock().unwrap().push((*number, id));
            }
        });
    }

    fn started(&self) -> Vec<Numbered<String>> {
        self.started.lock().unwrap().clone()
    }

    /// Kills containerd while pods are being started, a moment after an attachment has come into the list, and starts it again.
    fn kill_when_there_is_a_new(&self, list: fn(&Node) -> Vec<String>) {
        std::thread::scope(|scope| {
            let starting = scope.spawn(|| self.start_pods(RUNNING..ALL));
            wait_for(|| self.started().len() > usize::from(RUNNING) + 2);
            let mut seen: HashSet<String> = list(&self.node).into_iter().collect();
            wait_for(|| list(&self.node).into_iter().any(|id| seen.insert(id)));
            self.node.kill();
            starting.join().unwrap();
        });
        self.node.start();
    }

    /// The pods on containerd's record.
    fn known(&self) -> Vec<String> {
        let known = self.node.cri().list_pod_sandboxes().unwrap();
        known.into_iter().map(|sandbox| sandbox.id).collect()
    }

    /// Those of them that kubelet was not told of.
    fn half_started(&self) -> Vec<String> {
        let started: HashSet<String> = self.started().into_iter().map(|(_, id)| id).collect();
        self.known().into_iter().filter(|id| !started.contains(id)).collect()
    }

    #[track_caller]
    fn assert_running_reachable(&self) {
        let mut cri = self.node.cri();
        let find = |(number, id): &Numbered<String>| (*number, Pod::find(&mut cri, id));
        let pods: Vec<Numbered<Pod>> = self.started().iter().map(find).collect();
        assert_reachable(&self.node, &pods);
    }

    /// Has containerd remove all pods that it knows, as kubelet does with those that nobody wants any more.
    #[track_caller]
    fn remove_known(&self) {
        by_workers(&self.node, &self.known(), |cri, id| {
            cri.stop_pod_sandbox(id).unwrap();
            cri.remove_pod_sandbox(id).unwrap();
        });
    }

    /// Nothing is left but namespaces of which containerd has no record. Those are its own to remove; what the plugins put
    /// inside must be gone.
    #[track_caller]
    fn assert_nothing_left(&self) {
        for name in names(Path::new("/run/netns")) {
            let path = Path::new("/run/netns").join(name);
            // One that containerd was making is an empty file still.
            if let Some(links) = links_in(&path) {
                assert_eq!(links, ["lo"], "{}", path.display());
                self.node.run(&format!("umount {}", path.display()));
            }
            std::fs::remove_file(path).unwrap();
        }
        self.node.snapshot().assert_same(&self.before);
    }
}

#[track_caller]
fn wait_for(mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(60), "not within a minute");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `None` when no namespace is there.
fn links_in(netns: &Path) -> Option<Vec<String>> {
    let mut inside = NetNs::open(netns).ok()?.socket().unwrap();
    Some(inside.link_dump(None).unwrap().into_iter().map(|link| link.name).collect())
}

/// Whether one is in both.
fn meet(some: &[String], others: &[String]) -> bool {
    some.iter().any(|id| others.contains(id))
}

/// A node whose containerd was killed when there was a new such thing of a pod that was being added, so that it is as wanted. On a
/// busy machine the rest of the ADD may be done before the kill is.
fn killed_at(thing: fn(&Node) -> Vec<String>, is_wanted: impl Fn(&Site) -> bool) -> Site {
    let mut tries = (0..10).map(|_| {
        let site = Site::new();
        site.kill_when_there_is_a_new(thing);
        site
    });
    tries.find(|site| is_wanted(site)).expect("no pod was being added")
}

/// One pod has a lease, and containerd was not told of a result.
fn has_half_added(site: &Site) -> bool {
    let (leases, results) = (site.node.leases(), site.node.results());
    site.half_started().iter().any(|id| leases.contains(id) && !results.contains(id))
}

/// A lease is the first that an ADD leaves, so the chain ends after its first plugin.
#[test]
#[ignore = "needs root, containerd, runc, busybox-static and iptables: `cargo xtask test` as root installs and runs it"]
fn what_was_half_added_when_containerd_was_killed_is_deleted() {
    let site = killed_at(Node::leases, has_half_added);
    site.assert_running_reachable();
    site.remove_known();
    site.assert_nothing_left();
}

/// A cached result is the last, and then containerd has the sandbox still to make.
#[test]
#[ignore = "needs root, containerd, runc, busybox-static and iptables: `cargo xtask test` as root installs and runs it"]
fn what_was_added_for_a_pod_that_never_ran_is_deleted() {
    let site = killed_at(Node::results, |site| meet(&site.half_started(), &site.node.results()));
    site.assert_running_reachable();
    site.remove_known();
    site.assert_nothing_left();
}

#[test]
#[ignore = "needs root, containerd, runc, busybox-static and iptables: `cargo xtask test` as root installs and runs it"]
fn what_was_half_deleted_when_containerd_was_killed_is_deleted_again() {
    let site = Site::new();
    site.start_pods(RUNNING..ALL);
    let all = site.known();
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| {
            by_workers(&site.node, &all, |cri, id| {
                // Those that come after the kill fail.
                let _ = cri.stop_pod_sandbox(id).and_then(|()| cri.remove_pod_sandbox(id));
            });
        });
        // One more than there are workers, so one of them has come to its second pod and has removed its first.
        wait_for(|| site.node.results().len() < usize::from(ALL) - WORKERS);
        let leases = site.node.leases().len();
        wait_for(|| site.node.leases().len() < leases);
        site.node.kill();
        stopping.join().unwrap();
    });
    site.node.start();
    let (known, leases) = (site.known(), site.node.leases());
    assert!(known.len() < all.len(), "no pod had been removed");
    assert!(known.iter().any(|id| !leases.contains(id)) && meet(&known, &leases), "no pod was being stopped");
    site.remove_known();
    site.assert_nothing_left();
}

/// Pods whose records are deleted behind the back of the part that serves CRI, which then never calls DEL: two that run, and
/// those that were half added, of which no cache says anything. The others go on while GC collects them.
#[test]
#[ignore = "needs root, containerd, runc, busybox-static and iptables: `cargo xtask test` as root installs and runs it"]
fn what_containerd_has_forgotten_is_collected() {
    let site = killed_at(Node::leases, has_half_added);
    let mut lost = site.half_started();
    let running = site.started().len() - 2;
    lost.extend(site.started.lock().unwrap().drain(running..).map(|(_, id)| id));
    for id in &lost {
        // Those that were half added may have a process or not; and the part that serves CRI, which sees one end, may be the
        // first to delete it.
        wait_for(|| {
            site.node.run(&format!("ctr -n k8s.io tasks delete --force {id} || :"));
            !site.node.run("ctr -n k8s.io tasks list -q").contains(id)
        });
    }
    site.node.run(&format!("ctr -n k8s.io containers delete {}", lost.join(" ")));
    site.node.kill();
    site.node.start();
    let known = site.known();
    assert!(!meet(&known, &lost));
    let (leases, results) = (site.node.leases(), site.node.results());
    assert!(meet(&lost, &results), "nothing for DEL by the cache");
    assert!(
        lost.iter().any(|id| leases.contains(id) && !results.contains(id)),
        "nothing for the plugins' GC"
    );

    site.node.collect_garbage(&known);
    assert!(!meet(&lost, &site.node.leases()) && !meet(&lost, &site.node.results()));
    site.assert_running_reachable();
    site.remove_known();
    site.assert_nothing_left();
}
