//! Folders that fail the plugins that write to them: full, read-only, with something else in the place of files, locked for long.
//! An ADD says which, takes back all, and works when the fault is gone; what was there before is not lost.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cni_host::LockFile;
use cni_testing::{Container, Snapshot};
use nix::mount::{MsFlags, mount};
use serde_json::json;

use crate::host_local::{Node, addresses};
use crate::life::{self, Life};

/// Anything shorter than a page takes one of a full file system's.
const SIZE: &str = "size=64k";

/// A plugin, and the folder that it writes to, now a file system of its own.
fn on_own_file_system(life: Life, folder: &Path) -> (Life, PathBuf) {
    fs::create_dir_all(folder).unwrap();
    life.host.hide(&[folder.to_str().unwrap()]);
    remount(folder, MsFlags::empty());
    (life, folder.to_owned())
}

fn remount(folder: &Path, flags: MsFlags) {
    mount(None::<&str>, folder, None::<&str>, MsFlags::MS_REMOUNT | flags, Some(SIZE)).unwrap();
}

/// All that keep something on disk.
fn each(test: impl Fn(Life, &Path) + Sync) {
    let run = |make: &(dyn Fn() -> (Life, PathBuf) + Sync)| {
        // Each host is a thread's.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (life, folder) = make();
                test(life, &folder);
            });
        });
    };
    let of_run = |life: Life| on_own_file_system(life, Path::new("/run"));
    let below = |life: Life, folder: &str| {
        let folder = life.host.dir().join(folder);
        on_own_file_system(life, &folder)
    };
    run(&|| below(life::host_local(), "leases"));
    run(&|| below(life::bridge("nftables", life::leases), "leases"));
    run(&|| below(life::tuning(), "tuning"));
    run(&|| of_run(life::host_device()));
    if Path::new("/usr/sbin/iptables-save").exists() {
        run(&|| of_run(life::firewall("iptables")));
        run(&|| of_run(life::bridge("iptables", life::fixed)));
    }
}

fn seen(life: &Life) -> Snapshot {
    life.seen().without("filler")
}

/// An ADD that fails because of the folder, and leaves everything as it is.
#[track_caller]
fn is_refused(life: &Life, folder: &Path, reason: &str) {
    let before = seen(life);
    let (code, msg) = life.try_add().err();
    assert_eq!(code, 5, "{msg}");
    assert!(msg.contains(&folder.display().to_string()) && msg.contains(reason), "{msg}");
    seen(life).assert_same(&before);
}

#[test]
fn a_full_file_system_refuses_add_and_no_del() {
    each(|mut life, folder| {
        life.once();
        let (before, filler) = (seen(&life), folder.join("filler"));
        let fill = || fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
        fill();
        is_refused(&life, folder, "No space left on device");
        fs::remove_file(&filler).unwrap();
        life.add();
        fill();
        life.del();
        fs::remove_file(&filler).unwrap();
        seen(&life).assert_same(&before);
        life.once();
    });
}

#[test]
fn a_read_only_file_system_refuses_add_and_loses_nothing() {
    each(|mut life, folder| {
        if folder == Path::new("/run") {
            // What is kept there is done without: `unheard` has it.
            return;
        }
        life.once();
        let before = seen(&life);
        remount(folder, MsFlags::MS_RDONLY);
        is_refused(&life, folder, "Read-only file system");
        remount(folder, MsFlags::empty());
        life.add();
        remount(folder, MsFlags::MS_RDONLY);
        // It does what it can, and the runtime asks again when it says that something is left.
        let outcome = life.try_del();
        if outcome.code != Some(0) {
            let (_, msg) = outcome.err();
            assert!(
                msg.contains(&folder.display().to_string()) && msg.contains("Read-only file system"),
                "{msg}"
            );
        }
        remount(folder, MsFlags::empty());
        life.del();
        seen(&life).assert_same(&before);
        life.once();
    });
}

/// Five addresses, 10.1.2.2 to 10.1.2.6.
fn node() -> Node {
    Node::new(json!([[{"subnet": "10.1.2.0/29"}]]))
}

/// ADD of a fresh container, CHECK, DEL.
fn lives(node: &Node) -> Vec<String> {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let container = node.host.container(&format!("live{n}"));
    let got = addresses(&node.add(&container, "eth0"));
    node.host.plugin("host-local").check(&container, "eth0", &node.conf).ok();
    node.del(&container, "eth0").ok();
    got
}

fn commands_go_on(node: &Node, container: &Container) {
    let mut gc = node.conf.clone();
    gc["cni.dev/valid-attachments"] = json!([{"containerID": container.id(), "ifname": "eth0"}]);
    node.host.plugin("host-local").command("GC", &gc).ok();
    node.host.plugin("host-local").command("STATUS", &node.conf).ok();
    node.host.plugin("host-local").check(container, "eth0", &node.conf).ok();
}

#[test]
fn what_is_no_lease_keeps_its_address_and_nobody_from_working() {
    let node = node();
    let c1 = node.host.container("c1");
    assert_eq!(addresses(&node.add(&c1, "eth0")), ["10.1.2.2/29"]);
    fs::create_dir(node.path("10.1.2.3")).unwrap();
    fs::write(node.path("10.1.2.4"), [0xff, 0xfe, 0, 1, 2, b'\r', b'\n', 3]).unwrap();
    symlink("/nowhere", node.path("10.1.2.5")).unwrap();
    fs::write(node.path("10.1.2.6"), vec![b'x'; 100_000]).unwrap();
    let text = "failed to allocate for range 0: no IP addresses available in range set: 10.1.2.1-10.1.2.6";
    let c2 = node.host.container("c2");
    assert_eq!(node.add(&c2, "eth0").err(), (999, text.to_owned()));
    node.del(&c2, "eth0").ok();
    // Not on purpose: the address becomes free, and the others stay.
    fs::remove_file(node.path("10.1.2.6")).unwrap();
    assert_eq!(lives(&node), ["10.1.2.6/29"]);
    commands_go_on(&node, &c1);
    for kept in ["10.1.2.3", "10.1.2.4", "10.1.2.5"] {
        assert!(node.path(kept).symlink_metadata().is_ok(), "{kept}");
    }
    node.del(&c1, "eth0").ok();
    assert_eq!(lives(&node).len(), 1);
}

/// Nothing of ours, nor the round robin of the reference, is needed.
#[test]
fn damaged_helpers_of_the_leases_cost_nothing_but_the_turn() {
    let node = node();
    let c1 = node.host.container("c1");
    node.add(&c1, "eth0").ok();
    let last = node.path("last_reserved_ip.0");
    for content in [&b""[..], b"10.1.2.", b"\xff\xfe\x00", b"192.0.2.1", b"fd00::1"] {
        fs::write(&last, content).unwrap();
        assert_eq!(lives(&node), ["10.1.2.3/29"], "{content:?}");
        commands_go_on(&node, &c1);
    }
    let beside = |name: &str| node.path("").parent().unwrap().join(name);
    let index = beside(".blue.index");
    for damage in 0..4 {
        let _ = fs::remove_dir_all(&index);
        match damage {
            0 => fs::write(&index, "in the way").unwrap(),
            1 => {
                fs::create_dir(&index).unwrap();
                fs::write(index.join("stamp"), [0xff; 100]).unwrap();
                symlink("10.1.2.5,nonsense", index.join("c1:eth0")).unwrap();
            }
            2 => fs::create_dir_all(index.join("stamp/full")).unwrap(),
            _ => {}
        }
        assert_eq!(lives(&node).len(), 1, "{damage}");
        commands_go_on(&node, &c1);
        let _ = fs::remove_file(&index);
    }
    fs::create_dir(beside(".blue.tmp")).unwrap();
    assert_eq!(lives(&node).len(), 1);
    node.del(&c1, "eth0").ok();
    assert!(node.leases().is_empty());
}

#[test]
fn what_is_in_the_place_of_a_file_is_named() {
    let node = node();
    let c1 = node.host.container("c1");
    let refused = |path: &Path, reason: &str| {
        let (code, msg) = node.add(&c1, "eth0").err();
        assert_eq!(code, 5, "{msg}");
        assert!(msg.contains(path.to_str().unwrap()) && msg.contains(reason), "{msg}");
    };
    let network = node.path("").components().collect::<PathBuf>();
    let folder = network.parent().unwrap();
    fs::write(folder, "no folder").unwrap();
    refused(&network, "Not a directory");
    fs::remove_file(folder).unwrap();
    fs::create_dir_all(&network).unwrap();
    fs::create_dir(network.join("lock")).unwrap();
    refused(&network.join("lock"), "Is a directory");
    fs::remove_dir(network.join("lock")).unwrap();
    fs::create_dir(network.join("last_reserved_ip.0")).unwrap();
    refused(&network.join("last_reserved_ip.0"), "Is a directory");
    fs::remove_dir(network.join("last_reserved_ip.0")).unwrap();
    assert!(node.leases().is_empty(), "{:?}", node.leases());
    assert_eq!(lives(&node), ["10.1.2.2/29"]);
}

/// By somebody who has stopped in the middle. All at once, since each waits for half a minute.
#[test]
fn a_lock_that_is_held_for_long_is_given_up_by_name_and_not_waited_for_again() {
    let wait = |make: &dyn Fn() -> Life, lock: &dyn Fn(&Life) -> PathBuf| {
        let mut life = make();
        life.once();
        let before = seen(&life);
        life.begin();
        let path = lock(&life);
        let file = LockFile::open(&path).unwrap();
        let held = file.lock(Duration::from_secs(5)).unwrap();
        let since = Instant::now();
        let (code, msg) = life.try_add().err();
        assert!(since.elapsed() < Duration::from_secs(45), "{:?}", since.elapsed());
        assert!(msg.contains(path.to_str().unwrap()) && msg.contains("30 s"), "{code} {msg}");
        life.end();
        // The firewall keeps a record where it could not look at the rules; DEL finds it.
        let part = "run/cni-plugins-rs/firewall/iptables/";
        seen(&life).without(part).assert_same(&before.clone().without(part));
        drop(held);
        life.once();
        seen(&life).assert_same(&before);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| wait(&life::host_local, &|life| life.host.dir().join("leases/net/lock")));
        scope.spawn(|| wait(&life::sbr, &|life| life.container.netns().into()));
        if Path::new("/usr/sbin/iptables-save").exists() {
            let firewall = || life::firewall("iptables");
            scope.spawn(move || wait(&firewall, &|_| "/run/cni-plugins-rs/firewall/iptables.lock".into()));
        }
        if Path::new("/usr/sbin/iptables-legacy-save").exists()
            && Path::new("/proc/net/ip_tables_names").exists()
        {
            // With iptables-nft there is no lock to be held.
            let plugins: [fn() -> Life; 3] = [
                || life::firewall(life::LEGACY),
                || life::portmap(life::LEGACY),
                || life::bridge(life::LEGACY, life::fixed),
            ];
            for make in plugins {
                scope.spawn(move || wait(&make, &|_| "/run/cni-plugins-rs/iptables.lock".into()));
            }
        }
    });
}
