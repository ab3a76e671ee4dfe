//! The host-local plugin among others of its kind, and on a disk that fails it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cni_testing::{Container, Host};
use nix::mount::{MsFlags, mount};
use serde_json::json;

use crate::host_local::{Node, addresses};

/// Starts an executable of host-local, ours or the reference's, for network `blue` of this node.
#[allow(clippy::disallowed_methods, reason = "this is the runtime's side")]
fn start(node: &Node, program: &Path, command: &str, id: &str) -> Child {
    let conf = node.host.dir().join("conf.json");
    if !conf.exists() {
        fs::write(&conf, node.conf.to_string()).unwrap();
    }
    Command::new(program)
        .env_clear()
        .envs([
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", id),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/nowhere"),
        ])
        .env("CNI_NETNS", "/nowhere/netns")
        .stdin(fs::File::open(conf).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()))
}

/// What it printed, if it succeeded.
fn finish(child: Child) -> Result<String, String> {
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    if output.status.success() { Ok(stdout) } else { Err(stdout) }
}

fn ours(host: &Host) -> PathBuf {
    host.bin_dir().join("host-local")
}

/// The lease of each holder that has one, as the files tell; panics when one holder has two.
fn holders(node: &Node) -> BTreeSet<String> {
    let leases = node.leases();
    let holders: BTreeSet<String> = leases.values().cloned().collect();
    assert_eq!(holders.len(), leases.len(), "{leases:?}");
    holders
}

#[test]
fn many_at_once_get_different_addresses_until_none_is_left() {
    let node = Node::new(json!([[{ "subnet": "10.1.2.0/27" }]]));
    let program = ours(&node.host);
    let ids: Vec<String> = (0..40).map(|n| format!("c{n}")).collect();

    let children: Vec<Child> = ids.iter().map(|id| start(&node, &program, "ADD", id)).collect();
    let outcomes: Vec<_> = children.into_iter().map(finish).collect();
    let (got, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let distinct: BTreeSet<_> = got.iter().map(|result| result.as_ref().unwrap()).collect();
    assert_eq!(
        (got.len(), distinct.len(), refused.len()),
        (29, 29, 11),
        "32 less network, broadcast and gateway"
    );
    for refusal in refused {
        let text = refusal.unwrap_err();
        assert!(text.contains("no IP addresses available in range set: 10.1.2.1-10.1.2.30"), "{text}");
    }
    assert_eq!(holders(&node).len(), 29);

    let children: Vec<Child> = ids.iter().map(|id| start(&node, &program, "DEL", id)).collect();
    children.into_iter().for_each(|child| drop(finish(child).unwrap()));
    assert!(node.leases().is_empty());
}

#[test]
fn a_plugin_killed_at_any_moment_leaves_whole_leases_and_del_still_finds_them() {
    let node = Node::new(json!([[{ "subnet": "10.1.2.0/24" }], [{ "subnet": "2001:db8::/64" }]]));
    let program = ours(&node.host);
    for n in 0..60u32 {
        let id = format!("c{n}");
        let mut child = start(&node, &program, "ADD", &id);
        std::thread::sleep(Duration::from_micros(u64::from(n) * 50));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for (address, text) in node.leases() {
        let id =
            text.strip_suffix("\r\neth0").unwrap_or_else(|| panic!("half a lease of {address}: {text:?}"));
        finish(start(&node, &program, "DEL", id)).unwrap();
    }
    assert!(node.leases().is_empty());
    assert_eq!(node.add(&node.host.container("next"), "eth0").code, Some(0));
}

/// A network whose dataDir is a file system of its own, which `remount` can take away things of.
fn on_own_file_system() -> Node {
    let node = Node::new(json!([[{ "subnet": "10.1.2.0/24" }]]));
    let folder = data_dir(&node);
    fs::create_dir(&folder).unwrap();
    node.host.hide(&[folder.to_str().unwrap()]);
    node
}

fn data_dir(node: &Node) -> PathBuf {
    node.host.dir().join("ipam")
}

fn remount(node: &Node, flags: MsFlags, options: &str) {
    mount(None::<&str>, &data_dir(node), None::<&str>, MsFlags::MS_REMOUNT | flags, Some(options)).unwrap();
}

/// One container with a lease and one without.
fn two(node: &Node) -> (Container, Container) {
    let (c1, c2) = (node.host.container("c1"), node.host.container("c2"));
    assert_eq!(addresses(&node.add(&c1, "eth0")), ["10.1.2.2/24"]);
    (c1, c2)
}

#[test]
fn a_full_disk_refuses_add_leaves_nothing_of_it_and_lets_del_through() {
    let node = on_own_file_system();
    let (c1, c2) = two(&node);
    // Root, blue, lock, lease, last_reserved_ip, index, its entry, its bits, its stamp.
    remount(&node, MsFlags::empty(), "nr_inodes=9");
    let before = node.host.snapshot();
    let path = node.path("10.1.2.3");
    let text = format!("cannot write lease {}: No space left on device (os error 28)", path.display());
    assert_eq!(node.add(&c2, "eth0").err(), (5, text));
    node.host.snapshot().assert_same(&before);

    let status = node.host.plugin("host-local").command("STATUS", &node.conf);
    let text = format!(
        "cannot write to {}: the file system has no free inodes",
        data_dir(&node).join("blue").display()
    );
    assert_eq!(status.err(), (50, text));
    node.del(&c1, "eth0").ok();
    assert_eq!(addresses(&node.add(&c2, "eth0")), ["10.1.2.3/24"]);
}

#[test]
fn a_read_only_disk_is_told_by_path_and_errno() {
    let node = on_own_file_system();
    let (c1, c2) = two(&node);
    let before = node.host.snapshot();
    remount(&node, MsFlags::MS_RDONLY, "");
    let reason = "Read-only file system (os error 30)";
    let lease = |address: &str| data_dir(&node).join("blue").join(address).display().to_string();
    assert_eq!(
        node.add(&c2, "eth0").err(),
        (5, format!("cannot write lease {}: {reason}", lease("10.1.2.3")))
    );
    assert_eq!(
        node.del(&c1, "eth0").err(),
        (5, format!("cannot remove lease {}: {reason}", lease("10.1.2.2")))
    );
    node.del(&c2, "eth0").ok();
    let status = node.host.plugin("host-local").command("STATUS", &node.conf);
    let folder = data_dir(&node).join("blue");
    assert_eq!(status.err(), (50, format!("cannot write to {}: {reason}", folder.display())));
    node.host.snapshot().assert_same(&before);
}

#[test]
fn a_mount_over_the_networks_folder_is_no_obstacle() {
    let node = Node::new(json!([[{ "subnet": "10.1.2.0/24" }]]));
    fs::create_dir_all(node.path("")).unwrap();
    // A lease cannot be linked from beside the folder into it.
    node.host.hide(&[node.path("").to_str().unwrap()]);
    let (c1, _) = two(&node);
    assert_eq!(node.add(&c1, "eth0").err().0, 999);
    node.del(&c1, "eth0").ok();
    assert!(node.leases().is_empty());
}

/// Both plugins on one network at once, each freeing what the other gave.
#[test]
#[ignore = "needs the reference's host-local in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored host_local`"]
fn the_references_host_local_and_ours_serve_one_network() {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests themselves, not CNI's")]
    let folder = std::env::var_os("CNI_REFERENCE_DIR").unwrap_or_else(|| "/usr/lib/cni".into());
    let node = Node::new(json!([[{ "subnet": "10.1.2.0/25" }], [{ "subnet": "2001:db8::/64" }]]));
    // The version that all releases of the reference from 0.7 on speak, and some.
    let mut conf = node.conf.clone();
    conf["cniVersion"] = json!("0.4.0");
    let node = Node { conf, ..node };
    let programs = [ours(&node.host), Path::new(&folder).join("host-local")];
    let run_all = |command: &str, ids: std::ops::Range<usize>, turn: usize| -> Vec<Result<String, String>> {
        let start = |n: usize| start(&node, &programs[(n + turn) % 2], command, &format!("c{n}"));
        let children: Vec<Child> = ids.map(start).collect();
        children.into_iter().map(finish).collect()
    };
    let families = |node: &Node| {
        let leases = node.leases();
        let (v4, v6): (Vec<_>, Vec<_>) = leases.into_iter().partition(|(address, _)| address.contains('.'));
        let of = |leases: Vec<(String, String)>| {
            leases.into_iter().map(|(_, text)| text).collect::<BTreeSet<_>>().len()
        };
        (of(v4), of(v6))
    };

    for round in 0..4 {
        let added = run_all("ADD", 0..60, round);
        added.iter().for_each(|outcome| assert!(outcome.is_ok(), "{outcome:?}"));
        assert_eq!((node.leases().len(), families(&node)), (120, (60, 60)), "everybody has one of each set");
        for again in run_all("ADD", 0..8, round + 1) {
            let text = again.unwrap_err();
            assert!(text.contains("duplicate allocation is not allowed"), "{text}");
        }
        for check in run_all("CHECK", 0..8, round + 1) {
            check.unwrap();
        }
        for del in run_all("DEL", 0..60, round + 1) {
            del.unwrap();
        }
        assert!(node.leases().is_empty(), "{:?}", node.leases());
    }
}
