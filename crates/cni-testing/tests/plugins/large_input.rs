//! Issue 14, part 3: input of megabytes costs memory near its size and time in proportion to it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cni_testing::Host;
use serde_json::{Value, json};

const PLUGINS: [&str; 17] = [
    "bandwidth",
    "bridge",
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
