//! When IPAM is asked, and what it finds: an IPAM plugin that is not known to do without has the container's interface there
//! and up, behind its filter, and one that refuses leaves nothing of it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;

use cni_host::Owner;
use cni_netlink::Socket;
use cni_testing::{Act, Container, Host, Syscall};
use nix::errno::Errno;
use nix::libc;
use serde_json::json;

use crate::bridge::failure::fails_cleanly;
use crate::bridge::net::{Net, link, set};
use crate::portmap::net::{reference, run};
use crate::uplink::Uplink;
use crate::{dummy::vm as dummy_vm, host_device::net as host_device_net, ptp, tap::net as tap_net};

/// A network of each plugin, and the machines outside that have to live as long.
fn network(plugin: &str) -> (Net, Vec<Container>) {
    match plugin {
        "bridge" => (Net::new(json!({"macspoofchk": true})), Vec::new()),
        "ptp" => (ptp::net(json!({})), Vec::new()),
        "tap" => (tap_net::net(&json!({})), Vec::new()),
        "dummy" => (dummy_vm::net(), Vec::new()),
        "host-device" => {
            let host_device_net::Net { host, conf, outside } = host_device_net::Net::new(json!({}));
            (Net { host, conf }, vec![outside])
        }
        on_master => {
            let Uplink { net, outside } = Uplink::v4(on_master, &json!({}));
            (net, vec![outside])
        }
    }
}

/// Beside what snapshots see.
fn seen_by_ipam(host: &Host) -> PathBuf {
    host.dir().with_file_name("seen")
}

/// An IPAM plugin that writes down what it finds at ADD, the links of the container and the rules of the host, and then
/// answers with an address, or refuses.
fn recording_ipam(net: &mut Net, refuses: bool) {
    let dir = net.host.dir().join("bin");
    std::fs::create_dir_all(&dir).unwrap();
    let (answer, exit) = if refuses {
        (json!({"cniVersion": "1.1.0", "code": 123, "msg": "no more addresses"}), 1)
    } else {
        (json!({"cniVersion": "1.1.0", "ips": [{"address": "10.88.0.5/24", "gateway": "10.88.0.1"}]}), 0)
    };
    let script = format!(
        "#!/bin/sh\necho $CNI_COMMAND >> {calls}\n[ $CNI_COMMAND = ADD ] || exit 0\n\
         nsenter --net=$CNI_NETNS ip -o link show > {seen}\n/usr/sbin/nft list ruleset >> {seen}\n\
         cat <<'END'\n{answer}\nEND\nexit {exit}\n",
        calls = net.host.dir().join("calls").display(),
        seen = seen_by_ipam(&net.host).display(),
    );
    std::fs::write(dir.join("fake-ipam"), script).unwrap();
    std::fs::set_permissions(dir.join("fake-ipam"), PermissionsExt::from_mode(0o755)).unwrap();
    net.conf["ipam"] = json!({"type": "fake-ipam"});
}

/// What IPAM found, and the line about the interface in it: "down", "up", or nothing for none.
fn found(host: &Host) -> (String, Option<&'static str>) {
    let seen = std::fs::read_to_string(seen_by_ipam(host)).unwrap();
    std::fs::remove_file(seen_by_ipam(host)).unwrap();
    let line = seen.lines().find(|line| line.contains(": eth0"));
    let flags = line.map(|line| line.split(['<', '>']).nth(1).unwrap());
    let state = flags.map(|flags| if flags.split(',').any(|flag| flag == "UP") { "up" } else { "down" });
    (seen, state)
}

fn finds_the_link_up(plugin: &str) {
    let (mut net, _others) = network(plugin);
    let container = net.host.container("one");
    let path = net.host.dir().join("bin");
    recording_ipam(&mut net, false);
    let run = || net.host.plugin(plugin).env("CNI_PATH", path.to_str().unwrap()).env("PATH", "/usr/bin:/bin");
    let result = run().add(&container, "eth0", &net.conf).ok();
    let (seen, state) = found(&net.host);
    assert_eq!(state, Some("up"), "{plugin}");
    if plugin == "bridge" {
        assert!(seen.contains("cni:net:one:eth0"), "the port is not checked yet: {seen}");
    }
    run().check(&container, "eth0", &net.with_prev(&result)).ok();
    run().del(&container, "eth0", &net.conf).ok();

    // Now what is shared is there, and stays.
    recording_ipam(&mut net, true);
    assert_eq!(fails_cleanly(&net, &container, "no more addresses"), 123, "{plugin}");
    assert_eq!(found(&net.host).1, Some("up"), "{plugin}, when it refuses");
}

#[test]
fn issue_14_ipam_finds_the_link_there_and_up() {
    for plugin in ["bridge", "ptp", "macvlan", "tap", "host-device"] {
        on_a_host(|| finds_the_link_up(plugin));
    }
}

#[test]
#[ignore = "needs a kernel with ipvlan and a kernel with vlan"]
fn issue_14_ipam_finds_the_link_there_and_up_on_a_master() {
    for plugin in ["ipvlan", "vlan"] {
        on_a_host(|| finds_the_link_up(plugin));
    }
}

#[test]
#[ignore = "needs a kernel with dummy"]
fn issue_14_ipam_finds_a_dummy_there_and_up() {
    on_a_host(|| finds_the_link_up("dummy"));
}

/// Where the reference has the link, ours has it too; in ptp it has none.
#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored ipam_order`"]
fn issue_14_the_references_ipam_finds_no_more_than_ours() {
    let theirs = |plugin: &str, expected: Option<&str>| {
        let (mut net, _others) = network(plugin);
        let container = net.host.container("one");
        recording_ipam(&mut net, false);
        let folder = reference(plugin).parent().unwrap().to_owned();
        let path = format!("{}:{}", folder.display(), net.host.dir().join("bin").display());
        let run = net.host.plugin(plugin).installed_in(&folder).env("CNI_PATH", &path);
        // What comes after IPAM does not matter: its tap and spoof check want programs.
        let _ = run.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").add(&container, "eth0", &net.conf);
        assert_eq!(found(&net.host).1, expected, "{plugin}");
    };
    for (plugin, state) in [
        ("bridge", Some("down")),
        ("ptp", None),
        ("macvlan", Some("down")),
        ("tap", Some("up")),
        ("host-device", Some("up")),
    ] {
        on_a_host(|| theirs(plugin, state));
    }
}

/// What needs no link is asked beside the making of it, or before a device is moved; nothing is left when it refuses.
#[test]
fn issue_14_a_refusal_of_host_local_leaves_nothing() {
    for plugin in ["bridge", "ptp", "macvlan", "tap", "host-device"] {
        on_a_host(|| {
            let (mut net, _others) = network(plugin);
            let leases = net.host.dir().join("leases");
            net.conf["ipam"] = json!({
                "type": "host-local",
                "dataDir": leases,
                "ranges": [[{"subnet": "10.88.0.0/24", "rangeStart": "10.88.0.5", "rangeEnd": "10.88.0.5"}]],
            });
            let (one, two) = (net.host.container("one"), net.host.container("two"));
            let other = net.host.container("other");
            net.host.plugin(plugin).add(&other, "eth0", &net.conf).ok();
            net.host.plugin(plugin).del(&other, "eth0", &net.conf).ok();
            net.host.plugin("host-local").add(&one, "eth0", &net.conf).ok();
            // Where host-local keeps its index.
            let seen = |host: &Host| host.snapshot().without("leases/");
            let before = (seen(&net.host), two.snapshot());
            let (_, msg) = net.try_add(&two).err();
            assert!(msg.contains("no IP addresses available"), "{plugin}: {msg}");
            seen(&net.host).assert_same(&before.0);
            two.snapshot().assert_same(&before.1);
        });
    }
}

fn port_name() -> String {
    let [network, container_id, ifname] = ["net", "one", "eth0"].map(str::to_owned);
    Owner { network, container_id, ifname }.veth_name()
}

/// Looks after each system call of ADD and DEL that changes something.
#[test]
fn issue_14_a_port_that_is_up_is_checked_for_spoofed_addresses() {
    let net = Net::new(json!({"macspoofchk": true}));
    let container = net.host.container("one");
    let (up, unchecked) = (Mutex::new(0), Mutex::new(Vec::new()));
    let watch = |call: &Syscall| {
        if call.returned.is_some() && call.changes() {
            let port = Socket::open().unwrap().link_by_name(&port_name());
            if port.is_ok_and(|port| port.up) {
                *up.lock().unwrap() += 1;
                let rules = run("nft", &["list", "ruleset"]);
                if !rules.contains("cni:net:one:eth0") {
                    unchecked.lock().unwrap().push(call.to_string());
                }
            }
        }
        Act::Go
    };
    net.host.plugin("bridge").watch(watch).add(&container, "eth0", &net.conf).ok();
    assert!(*up.lock().unwrap() > 0, "the port was never seen up in ADD");
    *up.lock().unwrap() = 0;
    net.host.plugin("bridge").watch(watch).del(&container, "eth0", &net.conf).ok();
    assert_eq!(*unchecked.lock().unwrap(), [""; 0]);
    assert_eq!(run("nft", &["list", "ruleset"]).matches("cni:net:one:eth0").count(), 0);
}

/// Whoever goes on sending keeps what keeps him in bounds, and his address.
#[test]
fn issue_14_a_pair_that_cannot_be_deleted_keeps_its_rules_and_its_lease() {
    let masquerade = json!({"ipMasq": true, "ipMasqBackend": "nftables"});
    for plugin in ["bridge", "ptp"] {
        on_a_host(|| {
            let (mut net, _) = network(plugin);
            set(&mut net.conf, &masquerade);
            let container = net.host.container("one");
            let result = net.add_and_check(&container);
            let before = net.host.snapshot();
            let refuse = |call: &Syscall| {
                let deletes_link = call.number == libc::SYS_sendto
                    && call.memory(call.args[1] + 4, 2) == libc::RTM_DELLINK.to_ne_bytes();
                if call.returned.is_none() && deletes_link { Act::Fail(Errno::EBUSY) } else { Act::Go }
            };
            let conf = net.with_prev(&result);
            let (_, msg) = net.host.plugin(plugin).watch(refuse).del(&container, "eth0", &conf).err();
            assert!(msg.contains("cannot delete the link"), "{plugin}: {msg}");
            net.host.snapshot().assert_same(&before);
            assert!(link(&port_name()).up);
            net.check(&container, &result).ok();
            net.del(&container).ok();
            assert_eq!(net.leases(), [""; 0]);
            let rules = run("nft", &["list", "ruleset"]);
            assert_eq!(rules.matches("cni:net:one:eth0").count(), 0, "{plugin}: {rules}");
        });
    }
}

/// Each host is a thread's.
fn on_a_host(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
