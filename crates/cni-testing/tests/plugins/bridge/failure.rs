//! An ADD of the bridge plugin that fails at each of its steps leaves nothing behind, and ADDs at one time do not disturb
//! each other.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cni_netlink::Socket;
use cni_testing::{Container, Outcome};
use serde_json::{Value, json};

use crate::bridge::net::{Net, addresses, link, link_in, make_bridge};

/// An IPAM plugin that answers ADD with `answer` and writes down what it was asked.
pub(crate) fn fake_ipam(net: &mut Net, answer: &Value, exit: u8) {
    let dir = bin(net);
    std::fs::create_dir_all(&dir).unwrap();
    let log = calls_file(net);
    let script = format!(
        "#!/bin/sh\necho \"$CNI_COMMAND\" >> {}\n[ \"$CNI_COMMAND\" = ADD ] || exit 0\ncat <<'END'\n{answer}\nEND\nexit {exit}\n",
        log.display()
    );
    let path = dir.join("fake-ipam");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    net.conf["ipam"] = json!({"type": "fake-ipam"});
}

fn bin(net: &Net) -> PathBuf {
    net.host.dir().join("bin")
}

fn calls_file(net: &Net) -> PathBuf {
    net.host.dir().join("calls")
}

/// The commands that the fake IPAM plugin was run with since the last look.
fn calls(net: &Net) -> Vec<String> {
    let text = std::fs::read_to_string(calls_file(net)).unwrap_or_default();
    let _ = std::fs::remove_file(calls_file(net));
    text.lines().map(str::to_owned).collect()
}

fn add_with_fake(net: &Net, container: &Container) -> Outcome {
    let path = bin(net);
    let run =
        net.host.plugin(net.plugin()).env("CNI_PATH", path.to_str().unwrap()).env("PATH", "/usr/bin:/bin");
    run.add(container, "eth0", &net.conf)
}

/// Runs an ADD that has to fail with `part` in its message, and compares host and container before and after.
#[track_caller]
pub(crate) fn fails_cleanly(net: &Net, container: &Container, part: &str) -> u64 {
    calls(net);
    let before = (net.host.snapshot(), container.snapshot());
    let outcome = add_with_fake(net, container);
    let (code, msg) = outcome.err();
    assert!(msg.contains(part), "{msg}");
    assert_eq!(outcome.stderr, "", "nothing went wrong with taking it back");
    let asked = calls(net);
    net.host.snapshot().assert_same(&before.0);
    container.snapshot().assert_same(&before.1);
    assert_eq!(asked.first().map_or("none", String::as_str), if asked.is_empty() { "none" } else { "ADD" });
    assert_eq!(
        asked.iter().filter(|call| *call == "DEL").count(),
        usize::from(!asked.is_empty()),
        "{asked:?}"
    );
    code
}

fn dual_stack() -> Value {
    json!({"cniVersion": "1.1.0", "ips": [{"address": "10.88.0.5/24"}, {"address": "fd00:88::5/64"}]})
}

#[test]
fn a_name_that_is_taken_in_the_container_is_refused_before_ipam() {
    let mut net = Net::new(json!({}));
    fake_ipam(&mut net, &dual_stack(), 0);
    let container = net.host.container("one");
    container.ns().run(|| make_bridge("eth0")).unwrap();
    assert_eq!(fails_cleanly(&net, &container, "eth0"), 999);
    add_with_fake(&net, &container);
    assert_eq!(calls(&net), [""; 0]);
    assert_eq!(link_in(&container, "eth0").kind, "bridge");
}

#[test]
fn a_second_add_of_an_attachment_is_refused_and_the_first_lives_on() {
    let net = Net::new(json!({}));
    let container = net.host.container("one");
    let result = net.add(&container);
    let (code, msg) = net.try_add(&container).err();
    assert_eq!(code, 999);
    assert!(msg.contains("eth0") && msg.contains("already exists"), "{msg}");
    // Nor is it by one into another namespace, which IPAM refuses while the pair is made beside it.
    let elsewhere = net.host.container("one");
    assert_eq!(net.try_add(&elsewhere).err().0, 999);
    net.check(&container, &result).ok();
    assert_eq!(net.leases().len(), 2);
}

#[test]
fn a_failing_ipam_plugin_leaves_nothing() {
    let mut net = Net::new(json!({}));
    let container = net.host.container("one");
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "code": 123, "msg": "no more addresses"}), 1);
    assert_eq!(fails_cleanly(&net, &container, "no more addresses"), 123);
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0"}), 0);
    fails_cleanly(&net, &container, "no address");
    fake_ipam(&mut net, &json!("no result"), 0);
    fails_cleanly(&net, &container, "fake-ipam");
    net.conf["ipam"]["type"] = "not-installed".into();
    fails_cleanly(&net, &container, "not-installed");
}

#[test]
fn an_impossible_result_of_ipam_leaves_nothing() {
    let mut net = Net::new(json!({}));
    let container = net.host.container("one");
    for (ips, routes, part) in [
        // Found before anything is made.
        (json!([{"address": "10.88.0.5/24", "gateway": "fd00:88::1"}]), json!([]), "fd00:88::1"),
        // Refused by the kernel in the container.
        (
            json!([{"address": "10.88.0.5/24"}]),
            json!([{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]),
            "192.0.2.1",
        ),
        (json!([{"address": "10.88.0.5/24"}, {"address": "10.88.0.5/24"}]), json!([]), "10.88.0.5"),
        (
            json!([{"address": "fd00:88::5/64"}]),
            json!([{"dst": "fd09::/64", "gw": "2001:db8::1"}]),
            "2001:db8::1",
        ),
    ] {
        fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "ips": ips, "routes": routes}), 0);
        fails_cleanly(&net, &container, part);
    }
}

#[test]
fn a_bridges_name_that_something_else_has_leaves_nothing() {
    let mut net = Net::new(json!({"bridge": "lo"}));
    fake_ipam(&mut net, &dual_stack(), 0);
    fails_cleanly(&net, &net.host.container("one"), "lo exists but is not a bridge");
}

#[test]
fn an_impossible_mtu_leaves_nothing() {
    let mut net = Net::new(json!({"mtu": 65536}));
    fake_ipam(&mut net, &dual_stack(), 0);
    let container = net.host.container("one");
    fails_cleanly(&net, &container, "br0");
    make_bridge("br0");
    fails_cleanly(&net, &container, "veth");
}

#[test]
fn a_gateway_in_conflict_leaves_nothing() {
    let mut net = Net::new(json!({}));
    let bridge = make_bridge("br0");
    let mut socket = Socket::open().unwrap();
    // Only the second family is in conflict; the first one's address must not stay.
    socket.addr_add(bridge.index, "fd00:88::99/64".parse().unwrap(), Default::default()).unwrap();
    fake_ipam(&mut net, &dual_stack(), 0);
    fails_cleanly(&net, &net.host.container("one"), "fd00:88::99/64");
}

#[test]
fn a_gateway_that_the_kernel_refuses_leaves_nothing() {
    let mut net = Net::new(json!({"isDefaultGateway": false, "isGateway": true}));
    let ips = json!([{"address": "10.88.0.5/24"}, {"address": "fd00:88::5/64", "gateway": "ff02::1"}]);
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "ips": ips}), 0);
    let container = net.host.container("one");
    fails_cleanly(&net, &container, "ff02::1");
    make_bridge("br0");
    fails_cleanly(&net, &container, "ff02::1");
}

#[test]
fn a_namespace_that_is_gone_or_none_leaves_nothing() {
    let mut net = Net::new(json!({}));
    fake_ipam(&mut net, &dual_stack(), 0);
    let container = net.host.container("one");
    for netns in ["/nonexistent/netns", "/dev/null"] {
        let before = net.host.snapshot();
        let path = bin(&net);
        let run =
            net.host.plugin(net.plugin()).env("CNI_PATH", path.to_str().unwrap()).env("CNI_NETNS", netns);
        let (_, msg) = run.add(&container, "eth0", &net.conf).err();
        assert!(msg.contains(netns), "{msg}");
        net.host.snapshot().assert_same(&before);
        assert!(!Path::new(&calls_file(&net)).exists());
    }
}

#[test]
fn a_failing_add_keeps_the_bridge_and_the_gateway_of_others() {
    let net = Net::new(json!({}));
    let one = net.host.container("one");
    let result = net.add(&one);
    let mut failing = Net { host: net.host, conf: net.conf.clone() };
    let route = json!([{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]);
    fake_ipam(
        &mut failing,
        &json!({"cniVersion": "1.1.0", "ips": [{"address": "10.88.0.9/24"}], "routes": route}),
        0,
    );
    fails_cleanly(&failing, &failing.host.container("two"), "192.0.2.1");
    let net = Net { host: failing.host, conf: net.conf };
    net.check(&one, &result).ok();
    assert!(one.ping("10.88.0.1".parse().unwrap()));
}

#[test]
fn eight_first_adds_at_once_make_one_bridge() {
    let net = Net::new(json!({}));
    let containers: Vec<_> = (0..8).map(|i| net.host.container(&format!("c{i}"))).collect();
    let outcomes = at_once(&net, &containers);
    let results: Vec<Value> = outcomes.iter().map(Outcome::ok).collect();
    for (i, (container, result)) in containers.iter().zip(&results).enumerate() {
        net.check(container, result).ok();
        for address in addresses(&results[(i + 1) % results.len()]) {
            assert!(container.ping(address), "{address}");
        }
    }
    let bridges = Socket::open().unwrap().link_dump(Some("bridge")).unwrap();
    assert_eq!(bridges.len(), 1);
    assert_eq!(net.leases().len(), 16);
}

#[test]
fn first_adds_that_fail_do_not_take_the_bridge_from_those_that_succeed() {
    for _ in 0..4 {
        let mut net = Net::layer2(json!({}));
        net.conf["isDefaultGateway"] = true.into();
        // Those with an odd ID fail after the veth pair is made.
        let good = r#"{"cniVersion":"1.1.0","ips":[{"address":"10.88.0.'$(printf %s "$CNI_CONTAINERID" | tr -d c)'/24"}]"#;
        fake_ipam(&mut net, &Value::Null, 0);
        let script = format!(
            "#!/bin/sh\n[ \"$CNI_COMMAND\" = ADD ] || exit 0\nprintf %s '{good}'\ncase $CNI_CONTAINERID in *[13579])\n\
             printf %s ',\"routes\":[{{\"dst\":\"10.9.0.0/16\",\"gw\":\"192.0.2.1\"}}]';; esac\nprintf %s '}}'\n"
        );
        std::fs::write(bin(&net).join("fake-ipam"), script).unwrap();
        let containers: Vec<_> = (0..8).map(|i| net.host.container(&format!("c1{i}"))).collect();
        let outcomes = at_once(&net, &containers);
        for (i, (container, outcome)) in containers.iter().zip(&outcomes).enumerate() {
            if i % 2 == 1 {
                assert!(outcome.err().1.contains("192.0.2.1"));
                assert!(container.ns().socket().unwrap().link_by_name("eth0").is_err());
            } else {
                let run = net.host.plugin("bridge").env("CNI_PATH", bin(&net).to_str().unwrap());
                run.check(container, "eth0", &net.with_prev(&outcome.ok())).ok();
                assert!(container.ping("10.88.0.1".parse().unwrap()));
            }
        }
        let veths = Socket::open().unwrap().link_dump(Some("veth")).unwrap();
        assert_eq!(veths.len(), 4);
        assert!(veths.iter().all(|veth| veth.master == Some(link("br0").index)));
    }
}

pub(crate) fn at_once(net: &Net, containers: &[Container]) -> Vec<Outcome> {
    let path = format!("{}:{}", bin(net).display(), net.host.bin_dir().display());
    std::thread::scope(|scope| {
        let add = |container| {
            let run = net.host.plugin("bridge").env("CNI_PATH", &path);
            move || run.add(container, "eth0", &net.conf)
        };
        let runs: Vec<_> = containers.iter().map(|container| scope.spawn(add(container))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    })
}

#[test]
fn vlan_on_a_kernel_that_cannot_filter_is_a_clear_error() {
    let mut net = Net::new(json!({"vlan": 100}));
    fake_ipam(&mut net, &dual_stack(), 0);
    let container = net.host.container("one");
    if crate::bridge::vlan::kernel_filters() {
        add_with_fake(&net, &container).ok();
    } else {
        assert_eq!(fails_cleanly(&net, &container, "CONFIG_BRIDGE_VLAN_FILTERING"), 2);
    }
}
