//! The firewall plugin where something is in its way: killed in the middle, a read-only /run, programs that are missing.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use crate::bridge::net::make_bridge;
use crate::firewall::net::Site;
use crate::portmap::net::run;

/// A configuration of an attachment that no bridge plugin made.
fn conf(backend: &str, interfaces: Value, addresses: &[&str], keys: Value) -> Value {
    let ips: Vec<Value> = addresses.iter().map(|address| json!({"address": address})).collect();
    let mut conf = json!({
        "cniVersion": "1.1.0", "name": "blue", "type": "firewall", "backend": backend,
        "prevResult": {"cniVersion": "1.1.0", "interfaces": interfaces, "ips": ips},
    });
    crate::bridge::net::set(&mut conf, &keys);
    conf
}

fn without_prev(conf: &Value) -> Value {
    let mut conf = conf.clone();
    conf.as_object_mut().unwrap().remove("prevResult");
    conf
}

const DUAL: [&str; 2] = ["10.11.0.5/24", "fd00:11::5/64"];

fn read_only_run() {
    let none = None::<&str>;
    mount(none, "/run", none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none).unwrap();
}

/// A folder for PATH with a program of the test's own in it.
fn path_with(site: &Site, program: &str, script: &str) -> String {
    let folder: PathBuf = site.host.dir().with_file_name("path");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join(program);
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", folder.display())
}

/// A PATH with iptables-legacy, but for one of its programs.
fn legacy_with(site: &Site, program: &str, script: &str) -> String {
    let path = path_with(site, program, script);
    let folder = PathBuf::from(path.split(':').next().unwrap());
    for name in ["iptables", "ip6tables"] {
        symlink("/usr/sbin/xtables-legacy-multi", folder.join(name)).unwrap();
    }
    path
}

/// How many rules both families' iptables-legacy have for containers.
fn legacy_rules() -> usize {
    let text = ["iptables-legacy", "ip6tables-legacy"].map(|program| run(program, &["-S"])).concat();
    text.lines().filter(|line| line.ends_with("-j ACCEPT")).count()
}

#[test]
fn the_nftables_backend_needs_nothing_to_be_writable() {
    let site = Site::new("nftables");
    make_bridge("br0");
    let container = site.host.container("c1");
    let conf = conf("nftables", json!([{"name": "br0"}]), &DUAL, json!({"ingressPolicy": "isolated"}));
    read_only_run();
    let run = || site.host.plugin("firewall");
    run().add(&container, "eth0", &conf).ok();
    run().check(&container, "eth0", &conf).ok();
    let mut gc = without_prev(&conf);
    gc["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
    run().command("GC", &gc).ok();
    run().check(&container, "eth0", &conf).ok();
    run().del(&container, "eth0", &without_prev(&conf)).ok();
    run().check(&container, "eth0", &conf).err();
}

#[test]
#[ignore = "needs iptables: add -- --ignored firewall::trouble"]
fn where_nothing_can_be_recorded_the_iptables_backend_goes_by_prev_result() {
    let site = Site::new("iptables");
    let container = site.host.container("c1");
    let conf = conf("iptables", json!([{"name": "br0"}]), &DUAL, json!({}));
    read_only_run();
    let added = site.host.plugin("firewall").add(&container, "eth0", &conf);
    added.ok();
    assert!(added.stderr.contains("/run/cni-plugins-rs/firewall/iptables is read-only"), "{}", added.stderr);
    let accepted = || site.rules().0.iter().filter(|line| line.contains("-j ACCEPT")).count();
    assert_eq!(accepted(), 6);
    site.host.plugin("firewall").check(&container, "eth0", &conf).ok();
    site.host.plugin("firewall").del(&container, "eth0", &conf).ok();
    assert_eq!(accepted(), 0);
}

/// IPv4's rules are there, IPv6's are not, and the runtime has no result of it. With iptables-nft both are one transaction.
#[test]
#[ignore = "needs iptables-nft and iptables-legacy: add -- --ignored firewall::trouble"]
fn an_add_that_was_killed_half_way_is_deleted_whole() {
    let site = Site::new("iptables");
    let container = site.host.container("c1");
    let conf = conf("iptables", json!([{"name": "br0"}]), &DUAL, json!({}));
    let path = legacy_with(&site, "ip6tables-legacy-restore", "#!/bin/sh\nkill -9 $PPID\n");
    let killed = site.host.plugin("firewall").env("PATH", &path).add(&container, "eth0", &conf);
    assert_eq!((killed.code, &*killed.stdout), (None, ""));
    assert_eq!(legacy_rules(), 3);
    site.host.plugin("firewall").del(&container, "eth0", &without_prev(&conf)).ok();
    assert_eq!(legacy_rules(), 0);
    assert_eq!(std::fs::read_dir("/run/cni-plugins-rs/firewall/iptables").unwrap().count(), 0);
}

#[test]
#[ignore = "needs iptables-nft and iptables-legacy: add -- --ignored firewall::trouble"]
fn an_add_that_fails_half_way_takes_the_other_family_back() {
    let site = Site::new("iptables");
    let container = site.host.container("c1");
    let conf = conf("iptables", json!([{"name": "br0"}]), &DUAL, json!({}));
    let script = "#!/bin/sh\ncat >/dev/null; echo no room left >&2; exit 1\n";
    let path = legacy_with(&site, "ip6tables-legacy-restore", script);
    let (_, msg) = site.host.plugin("firewall").env("PATH", &path).add(&container, "eth0", &conf).err();
    assert!(msg.contains("ip6tables-legacy-restore") && msg.contains("no room left"), "{msg}");
    assert_eq!(legacy_rules(), 0);
}

/// Debian's package has both; a minimal image may not.
#[test]
#[ignore = "needs iptables: add -- --ignored firewall::trouble"]
fn a_family_of_which_the_programs_are_missing_is_named_and_keeps_no_del_from_succeeding() {
    let site = Site::new("iptables");
    let container = site.host.container("c1");
    site.network("blue", 11, json!({})).join("other");
    let path = path_with(&site, "unrelated", "");
    let folder = PathBuf::from(path.split(':').next().unwrap());
    let real = std::fs::canonicalize("/usr/sbin/iptables").unwrap();
    std::fs::copy(&real, folder.join("xtables-nft-multi")).unwrap();
    symlink("xtables-nft-multi", folder.join("iptables")).unwrap();
    site.host.hide(&["/usr/sbin", "/usr/local/sbin"]);
    assert!(!Path::new("/usr/sbin/ip6tables").exists());
    let run = || site.host.plugin("firewall").env("PATH", &path);
    let both = conf("iptables", json!([{"name": "br0"}]), &DUAL, json!({}));
    let (_, msg) = run().add(&container, "eth0", &both).err();
    assert!(msg.contains("cannot find ip6tables in"), "{msg}");
    run().del(&container, "eth0", &both).ok();

    let ipv4 = conf("iptables", json!([{"name": "br0"}]), &DUAL[..1], json!({}));
    run().add(&container, "eth0", &ipv4).ok();
    run().check(&container, "eth0", &ipv4).ok();
    run().del(&container, "eth0", &ipv4).ok();
    run().check(&container, "eth0", &ipv4).err();
}

#[test]
fn containers_with_ipv6_alone_and_without_any_address_are_let_through() {
    let site = Site::new("nftables");
    make_bridge("br0");
    for (id, addresses) in [("six", &DUAL[1..]), ("none", &[])] {
        let container = site.host.container(id);
        let before = site.rules();
        let conf =
            conf("nftables", json!([{"name": "br0"}]), addresses, json!({"ingressPolicy": "isolated"}));
        let run = || site.host.plugin("firewall");
        run().add(&container, "eth0", &conf).ok();
        run().check(&container, "eth0", &conf).ok();
        run().del(&container, "eth0", &conf).ok();
        run().del(&container, "eth0", &without_prev(&conf)).ok();
        if id == "none" {
            site.rules().assert_same(&before);
        }
        assert!(!site.rules().to_string().contains(&format!("cni:blue:{id}")), "{}", site.rules());
    }
}

#[test]
fn names_as_long_as_they_may_be_are_told_apart() {
    let site = Site::new("nftables");
    let (network, id) = ("n".repeat(200), "c".repeat(250));
    let [one, two] = [format!("{id}1"), format!("{id}2")].map(|id| site.host.container(&id));
    let confs = ["10.11.0.5/24", "10.11.0.6/24"]
        .map(|address| conf("nftables", json!([{"name": "br0"}]), &[address], json!({"name": network})));
    let run = || site.host.plugin("firewall");
    run().add(&one, "eth0", &confs[0]).ok();
    run().add(&two, "eth0", &confs[1]).ok();
    run().del(&one, "eth0", &without_prev(&confs[0])).ok();
    run().check(&one, "eth0", &confs[0]).err();
    run().check(&two, "eth0", &confs[1]).ok();
    let mut gc = without_prev(&confs[1]);
    gc["cni.dev/valid-attachments"] = json!([]);
    run().command("GC", &gc).ok();
    run().check(&two, "eth0", &confs[1]).err();
}
