//! On a host with other programs' rules in both iptables: what the plugins run for their own, and what others' rules are to them.

use std::sync::atomic::{AtomicUsize, Ordering};

use cni_testing::{Act, Syscall};
use nix::libc;
use serde_json::{Value, json};

use crate::portmap::net::{BACKENDS, Pod, Site, run};

/// kube-proxy's, in both families of both iptables; with one that the owner has put there by nft, which iptables-save calls
/// incompatible.
fn others_rules() {
    for program in ["iptables", "iptables-legacy", "ip6tables", "ip6tables-legacy"] {
        for table in ["nat", "filter"] {
            run(program, &["-t", table, "-N", "KUBE-SERVICES"]);
            run(
                program,
                &["-t", table, "-A", "OUTPUT", "-m", "comment", "--comment", "x", "-j", "KUBE-SERVICES"],
            );
        }
    }
    for family in ["ip", "ip6"] {
        run("nft", &["add", "rule", family, "filter", "OUTPUT", "ct", "state", "established", "accept"]);
        run("nft", &["add", "rule", family, "nat", "OUTPUT", "oifname", "nowhere", "counter"]);
    }
}

/// The result of a plugin's command, and how often it ran iptables.
#[track_caller]
fn ran(site: &Site, plugin: &str, command: &str, pod: &Pod, conf: &Value) -> (Value, usize) {
    let programs = AtomicUsize::new(0);
    let watch = |call: &Syscall| {
        let is_start = call.number == libc::SYS_execve && call.returned.is_none();
        programs.fetch_add(usize::from(is_start && call.text(0).contains("tables")), Ordering::Relaxed);
        Act::Go
    };
    let ifname = if plugin == "bridge" { "eth9" } else { "eth0" };
    let run = site.host.plugin(plugin).env("PATH", &site.path()).watch(watch);
    let outcome = match command {
        "ADD" => run.add(&pod.container, ifname, conf),
        "CHECK" => run.check(&pod.container, ifname, conf),
        "DEL" => run.del(&pod.container, ifname, conf),
        _ => run.command(command, conf),
    };
    (outcome.ok(), programs.into_inner())
}

/// The three plugins that have backends, in the order of a chain, each with what it is told.
fn plugins(site: &Site, pod: &Pod) -> [(&'static str, Value); 3] {
    let backend = site.backend.split('-').next().unwrap();
    let addresses = json!([{"address": "10.99.0.5/24"}, {"address": "fd00:99::5/64"}]);
    let bridge = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br9", "ipMasq": true, "ipMasqBackend": backend,
        "ipam": {"type": "static", "addresses": addresses},
    });
    let firewall = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "firewall", "backend": backend, "prevResult": pod.result,
    });
    [
        ("bridge", bridge),
        ("portmap", site.conf(pod, &["8080/tcp", "8081/udp"], json!({}))),
        ("firewall", firewall),
    ]
}

#[test]
#[ignore = "needs iptables-nft, iptables-legacy and nft: add -- --ignored others_rules"]
fn only_a_change_of_iptables_legacy_runs_a_program() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        others_rules();
        let changes = usize::from(backend == "iptables-legacy");
        for (plugin, mut conf) in plugins(&site, &pod) {
            let (result, programs) = ran(&site, plugin, "ADD", &pod, &conf);
            assert_eq!(programs > 0, changes > 0, "{backend}: ADD of {plugin} ran {programs}");
            if plugin == "bridge" {
                conf["prevResult"] = result;
            }
            let programs = ran(&site, plugin, "CHECK", &pod, &conf).1;
            assert_eq!(programs, 0, "{backend}: CHECK of {plugin}");
            let mut gc = conf.clone();
            gc.as_object_mut().unwrap().remove("prevResult");
            gc["cni.dev/valid-attachments"] =
                json!([{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c1", "ifname": "eth9"}]);
            for command in ["GC", "STATUS"] {
                let programs = ran(&site, plugin, command, &pod, &gc).1;
                assert_eq!(programs, 0, "{backend}: {command} of {plugin}");
            }
            // One for each family at most.
            let programs = ran(&site, plugin, "DEL", &pod, &conf).1;
            assert!(programs <= 2 * changes, "{backend}: DEL of {plugin} ran {programs}");
            let programs = ran(&site, plugin, "DEL", &pod, &conf).1;
            assert_eq!(programs, 0, "{backend}: a second DEL of {plugin}");
        }
    }
}
