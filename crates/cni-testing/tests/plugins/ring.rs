//! A plugin that is asked to be its own IPAM plugin (issue 14, part 3): each call would start the next without end.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use cni_testing::{Act, Host, Outcome, Syscall};
use nix::libc;
use serde_json::{Value, json};

use crate::life::{self, Life};
use crate::one_executable::install;

/// A command under watch, with the count of programs that it started.
fn run(life: &Life, command: &str) -> (Outcome, usize) {
    let mut programs = 0;
    let outcome = life.watched(command, |call: &Syscall| {
        programs += usize::from(call.number == libc::SYS_execve && call.returned.is_none());
        // Without the bound it would go on to the end of the machine's memory.
        if programs > 20 { Act::KillAll } else { Act::Go }
    });
    (outcome, programs)
}

fn refused_and_removable(mut life: Life, ipam: &str) {
    // What is shared and stays, as after any ADD.
    life.once();
    life.conf["ipam"] = json!({"type": ipam});
    let what = format!("{} with {ipam}", life.conf["type"]);
    let before = life.seen();
    for command in ["ADD", "STATUS"] {
        let (outcome, programs) = run(&life, command);
        let (code, msg) = outcome.err();
        assert!(programs <= 3, "{what}: {command} started {programs} programs");
        // Through another plugin an ADD may fail by the interface's name, which has been taken.
        if command == "STATUS" || life.conf["type"] == ipam {
            assert_eq!(code, 7, "{what}: {command}: {msg}");
            assert!(msg.starts_with("ipam"), "{what}: {command}: {msg}");
        }
    }
    let (outcome, programs) = run(&life, "DEL");
    outcome.ok();
    assert!(programs <= 3, "{what}: DEL started {programs} programs");
    life.gc();
    // The other plugin's bridge stays too.
    life.seen().without("link cni0 ").assert_same(&before);
}

#[test]
fn bridge_is_not_its_own_ipam_plugin() {
    refused_and_removable(life::bridge("nftables", life::fixed), "bridge");
}

#[test]
fn ptp_is_not_its_own_ipam_plugin() {
    refused_and_removable(life::ptp("nftables", life::fixed), "ptp");
}

/// ipvlan, vlan and dummy do it as macvlan does.
#[test]
fn macvlan_is_not_its_own_ipam_plugin() {
    refused_and_removable(life::on_master("macvlan"), "macvlan");
}

#[test]
fn tap_is_not_its_own_ipam_plugin() {
    refused_and_removable(life::tap(), "tap");
}

#[test]
fn host_device_is_not_its_own_ipam_plugin() {
    refused_and_removable(life::host_device(), "host-device");
}

#[test]
fn bridge_is_not_its_own_ipam_plugin_through_ptp() {
    refused_and_removable(life::bridge("nftables", life::fixed), "ptp");
}

#[test]
fn ptp_is_not_its_own_ipam_plugin_through_bridge() {
    refused_and_removable(life::ptp("nftables", life::fixed), "bridge");
}

/// In one executable a delegate is a call, and the ring would be a stack overflow.
#[test]
fn nor_is_one_within_one_executable() {
    for ipam in ["bridge", "ptp"] {
        let host = Host::new();
        refused_in(&host, &install(&host), ipam);
    }
}

/// By another name it is found out by the one that is asked.
#[test]
fn nor_is_one_by_another_name() {
    let host = Host::new();
    let dir = host.dir().join("bin");
    fs::create_dir(&dir).unwrap();
    for name in ["bridge", "other"] {
        symlink(host.bin_dir().join("bridge"), dir.join(name)).unwrap();
    }
    refused_in(&host, &dir, "other");
}

fn refused_in(host: &Host, dir: &Path, ipam: &str) {
    let container = host.container("c1");
    let conf: Value = json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge", "ipam": {"type": ipam}});
    let (code, msg) = host.plugin("bridge").installed_in(dir).add(&container, "eth0", &conf).err();
    assert!(code == 7 || ipam == "ptp", "{ipam}: {msg}");
    host.plugin("bridge").installed_in(dir).command("STATUS", &conf).err();
    host.plugin("bridge").installed_in(dir).del(&container, "eth0", &conf).ok();
}
