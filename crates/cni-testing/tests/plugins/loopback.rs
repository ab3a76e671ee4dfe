//! The loopback plugin.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};

use cni_netlink::{AddrFlags, Link, LinkChange, Socket};
use cni_testing::{Container, Host, Outcome};
use serde_json::{Value, json};

fn conf(version: &str) -> Value {
    json!({"cniVersion": version, "name": "lo-net", "type": "loopback"})
}

fn add(host: &Host, container: &Container, conf: &Value) -> Outcome {
    host.plugin("loopback").add(container, "lo", conf)
}

fn check(host: &Host, container: &Container) -> Outcome {
    host.plugin("loopback").check(container, "lo", &conf("1.1.0"))
}

fn del(host: &Host, container: &Container) -> Outcome {
    host.plugin("loopback").del(container, "lo", &conf("1.1.0"))
}

/// A socket in the container, and its lo.
fn lo(container: &Container) -> (Socket, Link) {
    let mut socket = container.ns().socket().unwrap();
    let link = socket.link_by_name("lo").unwrap();
    (socket, link)
}

fn is_up(container: &Container) -> bool {
    lo(container).1.up
}

/// Whether a datagram to this address of the container's own comes back to it.
fn hears_itself(container: &Container, address: &str) -> bool {
    let exchange = || {
        let socket = UdpSocket::bind(SocketAddr::new(address.parse().unwrap(), 0))?;
        socket.set_read_timeout(Some(std::time::Duration::from_secs(1)))?;
        socket.send_to(b"hello", socket.local_addr()?)?;
        socket.recv(&mut [0; 5])
    };
    container.ns().run(exchange).unwrap().is_ok()
}

/// In a user namespace that the host's network namespace is not of, but the container's is.
#[test]
fn it_works_where_whoever_enters_the_container_cannot_come_back() {
    let host = Host::new();
    let script = "unshare --net sleep 60 </dev/null & container=/proc/$!/ns/net
        while [ $(readlink $container) = $(readlink /proc/self/ns/net) ]; do sleep 0.01; done
        CNI_NETNS=$container \"$PLUGIN\"; code=$?; kill $!; exit $code";
    #[allow(clippy::disallowed_methods, reason = "this is the runtime's side")]
    let mut child = Command::new("unshare")
        .args(["--user", "--map-root-user", "sh", "-c", script])
        .env("PLUGIN", host.bin_dir().join("loopback"))
        .envs([
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "c1"),
            ("CNI_IFNAME", "lo"),
            ("CNI_PATH", "/none"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(conf("1.0.0").to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success() && result["ips"][0]["address"] == "127.0.0.1/8", "{result}");
}

#[test]
fn add_brings_lo_up_and_reports_it_in_every_version() {
    let host = Host::new();
    let before = host.snapshot();
    for (version, expected) in [
        ("0.1.0", json!({"ip4": {"ip": "127.0.0.1/8"}, "ip6": {"ip": "::1/128"}})),
        ("0.2.0", json!({"ip4": {"ip": "127.0.0.1/8"}, "ip6": {"ip": "::1/128"}})),
        ("0.3.0", with_interfaces(true)),
        ("0.3.1", with_interfaces(true)),
        ("0.4.0", with_interfaces(true)),
        ("1.0.0", with_interfaces(false)),
        ("1.1.0", with_interfaces(false)),
    ] {
        let container = host.container("c1");
        assert!(!hears_itself(&container, "127.0.0.1"), "{version}");
        let mut expected = expected;
        expected["cniVersion"] = version.into();
        if expected.get("interfaces").is_some() {
            expected["interfaces"][0]["sandbox"] = container.netns().into();
        }
        let mut result = add(&host, &container, &conf(version)).ok();
        // Empty, and which version prints it so is the specification's matter.
        result.as_object_mut().unwrap().retain(|key, value| key != "dns" || *value != json!({}));
        assert_eq!(result, expected, "{version}");
        assert!(hears_itself(&container, "127.0.0.1"), "{version}");
        assert!(hears_itself(&container, "::1"), "{version}");
    }
    host.snapshot().assert_same(&before);
}

fn with_interfaces(family: bool) -> Value {
    let mut result = json!({
        "interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00"}],
        "ips": [{"address": "127.0.0.1/8", "interface": 0}, {"address": "::1/128", "interface": 0}],
    });
    if family {
        result["ips"][0]["version"] = "4".into();
        result["ips"][1]["version"] = "6".into();
    }
    result
}

#[test]
fn the_interface_is_lo_whatever_the_runtime_calls_it() {
    let host = Host::new();
    let container = host.container("c1");
    let result = host.plugin("loopback").add(&container, "eth0", &conf("1.0.0")).ok();
    assert_eq!(result["interfaces"][0]["name"], "lo");
    assert!(is_up(&container));
    host.plugin("loopback").del(&container, "eth0", &conf("1.0.0")).ok();
    assert!(!is_up(&container));
}

#[test]
fn a_second_add_changes_nothing_and_answers_the_same() {
    let host = Host::new();
    let container = host.container("c1");
    let first = add(&host, &container, &conf("1.1.0")).ok();
    let before = container.snapshot();
    assert_eq!(add(&host, &container, &conf("1.1.0")).ok(), first);
    container.snapshot().assert_same(&before);
}

#[test]
fn the_result_of_the_plugin_before_is_passed_on() {
    let host = Host::new();
    let container = host.container("c1");
    let prev = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "eth0", "mac": "02:42:ac:11:00:02", "sandbox": container.netns(), "mtu": 1400}],
        "ips": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0", "mtu": 1300}],
        "dns": {"nameservers": ["10.1.0.1"]},
    });
    let mut conf = conf("1.1.0");
    conf["prevResult"] = prev.clone();
    assert_eq!(add(&host, &container, &conf).ok(), prev);
    assert!(is_up(&container));
}

#[test]
fn a_prev_result_that_cannot_be_read_fails_before_anything_is_touched() {
    let host = Host::new();
    let container = host.container("c1");
    let mut conf = conf("1.0.0");
    conf["prevResult"] = json!({"cniVersion": "1.0.0", "ips": [{"address": "nonsense"}]});
    let (_, msg) = add(&host, &container, &conf).err();
    assert!(msg.contains("nonsense"), "{msg}");
    assert!(!is_up(&container));
    // But it must not keep a container from being removed.
    host.plugin("loopback").del(&container, "lo", &conf).ok();
}

#[test]
fn without_ipv6_only_ipv4_is_reported_and_checked() {
    let host = Host::new();
    let container = host.container("c1");
    let off = || cni_host::sysctl_write("net/ipv6/conf/lo/disable_ipv6", "1");
    container.ns().run(off).unwrap().unwrap();
    let result = add(&host, &container, &conf("1.0.0")).ok();
    assert_eq!(result["ips"], json!([{"address": "127.0.0.1/8", "interface": 0}]));
    check(&host, &container).ok();
}

#[test]
fn an_add_that_fails_leaves_lo_as_it_was() {
    let host = Host::new();
    let container = host.container("c1");
    let (mut socket, link) = lo(&container);
    socket.addr_add(link.index, "10.1.0.5/32".parse().unwrap(), AddrFlags::default()).unwrap();
    let before = container.snapshot();

    let (code, msg) = add(&host, &container, &conf("1.0.0")).err();
    let text =
        format!("cannot take lo in {} for a loopback interface: it has 10.1.0.5/32", container.netns());
    assert_eq!((code, msg), (999, text));
    container.snapshot().assert_same(&before);

    // One that was up stays up.
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    socket.link_change(link.index, &up).unwrap();
    assert_eq!(add(&host, &container, &conf("1.0.0")).err().0, 999);
    assert!(is_up(&container));
}

#[test]
fn check_passes_after_add_and_names_what_has_gone() {
    let host = Host::new();
    let container = host.container("c1");
    let difference = || check(&host, &container).err();
    let named = |what: &str| (999, format!("lo in {} {what}", container.netns()));
    assert_eq!(difference(), named("is down"));

    let result = add(&host, &container, &conf("1.1.0")).ok();
    let mut conf = conf("1.1.0");
    conf["prevResult"] = result;
    host.plugin("loopback").check(&container, "lo", &conf).ok();

    let (mut socket, link) = lo(&container);
    socket.addr_del(link.index, "127.0.0.1/8".parse().unwrap()).unwrap();
    assert_eq!(difference(), named("has no address of 127.0.0.0/8"));
}

#[test]
fn del_sets_lo_down_as_often_as_it_is_called() {
    let host = Host::new();
    let mut container = host.container("c1");
    add(&host, &container, &conf("1.1.0")).ok();
    for _ in 0..2 {
        assert_eq!(del(&host, &container).ok(), Value::Null);
        assert!(!is_up(&container));
    }
    container.kill();
    assert_eq!(del(&host, &container).ok(), Value::Null);
    assert_eq!(
        host.plugin("loopback").env("CNI_NETNS", "").del(&container, "lo", &conf("1.1.0")).ok(),
        Value::Null
    );
}

/// The reference fails here for ever: what `umount` leaves of a namespace is a file like any other to it.
#[test]
fn del_succeeds_on_the_file_that_an_unmounted_namespace_leaves() {
    let host = Host::new();
    let container = host.container("c1");
    let left = host.dir().join("blue");
    std::fs::write(&left, "").unwrap();
    let run = host.plugin("loopback").env("CNI_NETNS", left.to_str().unwrap());
    assert_eq!(run.del(&container, "lo", &conf("1.1.0")).ok(), Value::Null);
}

#[test]
fn a_namespace_that_is_gone_or_none_is_named() {
    let host = Host::new();
    let mut container = host.container("c1");
    container.kill();
    let gone = (8, format!("network namespace {} is gone: no such path", container.netns()));
    assert_eq!(add(&host, &container, &conf("1.1.0")).err(), gone);
    assert_eq!(check(&host, &container).err(), gone);

    let none = (8, "cannot use network namespace /dev/null: it is not a namespace".to_owned());
    let run = || host.plugin("loopback").env("CNI_NETNS", "/dev/null");
    assert_eq!(run().add(&container, "lo", &conf("1.1.0")).err(), none);
    assert_eq!(run().del(&container, "lo", &conf("1.1.0")).err(), none);
}

/// plugins#714: the host's own lo was taken down.
#[test]
fn plugins_714_the_hosts_own_lo_stays_up() {
    let host = Host::new();
    let container = host.container("c1");
    let before = host.snapshot();
    let run = || host.plugin("loopback").env("CNI_NETNS", "/proc/self/ns/net");
    assert_eq!(run().add(&container, "lo", &conf("1.1.0")).err().0, 8);
    assert_eq!(run().del(&container, "lo", &conf("1.1.0")).err().0, 8);
    host.snapshot().assert_same(&before);
    assert!(Socket::open().unwrap().link_by_name("lo").unwrap().up);
}

#[test]
fn gc_and_status_succeed_and_touch_nothing() {
    let host = Host::new();
    let container = host.container("c1");
    add(&host, &container, &conf("1.1.0")).ok();
    let (before, inside) = (host.snapshot(), container.snapshot());
    let mut conf = conf("1.1.0");
    assert_eq!(host.plugin("loopback").command("STATUS", &conf).ok(), Value::Null);
    for valid in [json!([]), json!([{"containerID": "c1", "ifname": "lo"}]), Value::Null] {
        conf["cni.dev/valid-attachments"] = valid;
        assert_eq!(host.plugin("loopback").command("GC", &conf).ok(), Value::Null);
    }
    host.snapshot().assert_same(&before);
    container.snapshot().assert_same(&inside);
}
