//! The executable that is every plugin: what a plugin delegates to another link of it costs no process, and is told from a process
//! by nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use cni_testing::{Act, Container, Host, Outcome, Syscall};
use nix::libc;
use serde_json::{Value, json};

use crate::life::leases;

/// All plugins as links to one executable, below the host's own folder.
pub(crate) fn install(host: &Host) -> PathBuf {
    let dir = host.dir().join("bin");
    #[allow(clippy::disallowed_methods, reason = "this is the person who installs")]
    let output =
        Command::new(host.bin_dir().join("cni-plugins")).arg("install").arg("--dir").arg(&dir).output();
    assert!(output.unwrap().status.success());
    dir
}

fn conf(host: &Host) -> Value {
    json!({
        "cniVersion": "1.1.0",
        "name": "net",
        "type": "bridge",
        "bridge": "one0",
        "isDefaultGateway": true,
        "ipam": leases(host),
    })
}

/// Runs bridge of this folder, and counts how often a program is started.
fn run(host: &Host, dir: &Path, command: &str, container: &Container, conf: &Value) -> (Outcome, usize) {
    let mut programs = 0;
    let watch = |call: &Syscall| {
        programs += usize::from(call.number == libc::SYS_execve && call.returned.is_none());
        Act::Go
    };
    let plugin = host.plugin("bridge").installed_in(dir).watch(watch);
    let outcome = match command {
        "ADD" => plugin.add(container, "eth0", conf),
        "CHECK" => plugin.check(container, "eth0", conf),
        _ => plugin.del(container, "eth0", conf),
    };
    (outcome, programs)
}

/// ADD, CHECK, a second ADD, DEL: how many programs each started, and the second ADD's error.
fn life(host: &Host, dir: &Path) -> ([usize; 4], String) {
    let container = host.container("c1");
    let mut conf = conf(host);
    let (added, add) = run(host, dir, "ADD", &container, &conf);
    let result = added.ok();
    let address = result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
    let lease = host.dir().join("leases/net").join(&address);
    assert_eq!(fs::read_to_string(&lease).unwrap(), "c1\r\neth0");

    conf["prevResult"] = result;
    let (checked, check) = run(host, dir, "CHECK", &container, &conf);
    checked.ok();
    // A restarted container of the same name.
    let restarted = host.container("c1");
    let (refused, again) = run(host, dir, "ADD", &restarted, &conf);
    assert!(lease.exists());
    let (deleted, del) = run(host, dir, "DEL", &container, &conf);
    deleted.ok();
    assert!(!lease.exists());
    ([add, check, again, del], refused.err().1.replace(&address, "ADDRESS"))
}

#[test]
fn a_delegate_that_is_the_same_file_is_no_process_and_a_copy_is_one() {
    let host = Host::new();
    let dir = install(&host);
    let (programs, error) = life(&host, &dir);
    assert_eq!(programs, [0; 4]);

    let host_local = dir.join("host-local");
    let moved = host.dir().join("moved");
    fs::rename(&host_local, &moved).unwrap();
    symlink(&moved, &host_local).unwrap();
    assert_eq!(life(&host, &dir), ([0; 4], error.clone()));

    fs::remove_file(&host_local).unwrap();
    fs::copy(&moved, &host_local).unwrap();
    assert_eq!(life(&host, &dir), ([1; 4], error));
}

/// A failed ADD is taken back by a DEL, whose lines say so.
#[test]
fn the_log_tells_the_delegates_lines_from_the_plugins() {
    let host = Host::new();
    let dir = install(&host);
    let mut conf = conf(&host);
    // Refused once the addresses are known: there is no route by a gateway that is nowhere.
    conf["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0", "gw": "192.0.2.1"}]);
    let log = host.dir().join("log");
    let plugin = host.plugin("bridge").installed_in(&dir).env("CNI_LOG_LEVEL", "debug");
    plugin.env("CNI_LOG_FILE", log.to_str().unwrap()).add(&host.container("c1"), "eth0", &conf).err();
    let lines = fs::read_to_string(log).unwrap();
    let spoken: BTreeSet<(String, String)> = lines
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            (line["plugin"].as_str().unwrap().to_owned(), line["command"].as_str().unwrap().to_owned())
        })
        .collect();
    let known = [("bridge", "ADD"), ("host-local", "ADD"), ("host-local", "DEL")];
    assert_eq!(spoken, known.map(|(plugin, command)| (plugin.to_owned(), command.to_owned())).into());
}
