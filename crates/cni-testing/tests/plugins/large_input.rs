//! Issue 14, part 3: input of megabytes costs memory near its size and time in proportion to it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cni_testing::Host;
use serde_json::{Value, json};

const PLUGINS: [&str; 18] = [
    "bandwidth",
    "bridge",
    "dhcp",
    "dummy",
    "firewall",
    "host-device",
    "host-local",
    "ipvlan",
    "loopback",
    "macvlan",
    "portmap",
    "ptp",
    "sbr",
    "static",
    "tap",
    "tuning",
    "vlan",
    "vrf",
];

/// Plugins of a folder that may not have more memory than this, in KiB: some times the input's size, and what a program and the
/// stacks of its threads map without using it.
fn bounded(host: &Host, kib: usize) -> PathBuf {
    let dir = host.dir().join("bin");
    fs::create_dir(&dir).unwrap();
    for plugin in PLUGINS {
        let (path, real) = (dir.join(plugin), host.bin_dir().join(plugin));
        fs::write(&path, format!("#!/bin/sh\nulimit -v {kib}\nexec {}\n", real.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    dir
}

#[test]
fn an_unknown_key_of_small_objects_is_not_built_by_any_plugin() {
    let host = Host::new();
    let dir = bounded(&host, 80_000);
    let container = host.container("c1");
    // As a tree of values these 2.4 MB took 400 MB.
    let objects = vec!["{}"; 400_000].join(",");
    let conf = format!(
        r#"{{"cniVersion": "1.1.0", "name": "net", "type": "any", "unknown": [{objects}],
            "runtimeConfig": {{"unknown": [{objects}]}}, "cni.dev/valid-attachments": []}}"#
    );
    for plugin in PLUGINS {
        for command in ["DEL", "GC"] {
            let vars = [
                ("CNI_COMMAND", command),
                ("CNI_CONTAINERID", "c1"),
                ("CNI_IFNAME", "eth0"),
                ("CNI_NETNS", container.netns()),
            ];
            let run = host.plugin(plugin).installed_in(&dir);
            let outcome = vars.iter().fold(run, |run, (key, value)| run.env(key, value)).raw(conf.as_bytes());
            assert_eq!(outcome.code, Some(0), "{plugin} {command}: {outcome:?}");
        }
    }
}

#[test]
fn a_garbage_collection_is_linear_in_what_is_in_use() {
    const IN_USE: usize = 100_000;
    const LEASES: usize = 20_000;
    let host = Host::new();
    let dir = bounded(&host, 300_000);
    let data = host.dir().join("leases");
    fs::create_dir_all(data.join("net")).unwrap();
    let address = |n: usize| format!("10.1.{}.{}", n / 250, n % 250 + 1);
    for n in 0..LEASES {
        // Each second one is not in use any more.
        let id = if n % 2 == 0 { n } else { n + IN_USE };
        fs::write(data.join("net").join(address(n)), format!("container-{id}\r\neth0")).unwrap();
    }
    let in_use: Vec<Value> =
        (0..IN_USE).map(|n| json!({"containerID": format!("container-{n}"), "ifname": "eth0"})).collect();
    let conf = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "cni.dev/valid-attachments": in_use,
        "ipam": {"type": "host-local", "dataDir": data, "subnet": "10.1.0.0/16"},
    });
    let start = Instant::now();
    host.plugin("bridge").installed_in(&dir).command("GC", &conf).ok();
    // Some seconds for an executable with all of its checks; the lists against each other would take minutes.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    for n in 0..LEASES {
        assert_eq!(data.join("net").join(address(n)).exists(), n % 2 == 0, "{}", address(n));
    }
}

/// Who is in the container may make any number of routes, and rules by which they could be the interface's. Each table is read once.
#[test]
fn a_check_reads_each_table_once_however_many_rules_lead_to_it() {
    const RULES: usize = 250;
    let host = Host::new();
    let container = host.container("c1");
    let routes: Vec<Value> = (0..20).map(|n| json!({"dst": format!("10.200.{n}.0/24")})).collect();
    let mut conf = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge",
        "ipam": {"type": "static", "addresses": [{"address": "10.88.0.5/24", "gateway": "10.88.0.1"}], "routes": routes},
    });
    conf["prevResult"] = host.plugin("bridge").add(&container, "eth0", &conf).ok();
    // As sbr does it: from main to where the address's packets are routed, here the last of all tables.
    let moved =
        (0..20).map(|n| format!("route del 10.200.{n}.0/24\nroute add 10.200.{n}.0/24 dev eth0 table 1249"));
    let many = (0..30_000).map(|n| {
        format!("route add 172.{}.{}.{}/32 dev eth0 table 1000", 16 + n / 65536, n / 256 % 256, n % 256)
    });
    let rules = (0..RULES).map(|n| format!("rule add from 10.88.0.5 lookup {} pref {}", 1000 + n, 1000 + n));
    let again = (0..RULES).map(|n| format!("rule add from 10.88.0.5 lookup 1000 pref {}", 2000 + n));
    let batch = host.dir().join("batch");
    fs::write(&batch, moved.chain(many).chain(rules).chain(again).collect::<Vec<_>>().join("\n")).unwrap();
    #[allow(clippy::disallowed_methods, reason = "the container's own program")]
    let ip = || std::process::Command::new("ip").arg("-batch").arg(&batch).status();
    assert!(container.ns().run(ip).unwrap().unwrap().success());

    let start = Instant::now();
    host.plugin("bridge").check(&container, "eth0", &conf).ok();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
