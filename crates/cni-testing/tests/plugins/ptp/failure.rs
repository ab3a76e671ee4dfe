//! An ADD of the ptp plugin that fails at each of its steps leaves nothing behind.

use serde_json::{Value, json};

use crate::bridge::failure::{fails_cleanly, fake_ipam};
use crate::bridge::net::{link_in, make_bridge};
use crate::ptp::net;

fn answer(ips: Value, routes: Value) -> Value {
    json!({"cniVersion": "1.1.0", "ips": ips, "routes": routes})
}

fn dual_stack() -> Value {
    json!([{"address": "10.88.0.5/24", "gateway": "10.88.0.1"}, {"address": "fd00:88::5/64", "gateway": "fd00:88::1"}])
}

#[test]
fn a_name_that_is_taken_in_the_container_is_refused_before_ipam() {
    let mut net = net(json!({}));
    fake_ipam(&mut net, &answer(dual_stack(), json!([])), 0);
    let container = net.host.container("one");
    container.ns().run(|| make_bridge("eth0")).unwrap();
    assert_eq!(fails_cleanly(&net, &container, "eth0"), 999);
    assert!(!net.host.dir().join("calls").exists());
    assert_eq!(link_in(&container, "eth0").kind, "bridge");
}

#[test]
fn a_second_add_of_an_attachment_is_refused_and_the_first_lives_on() {
    let net = net(json!({}));
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
fn a_missing_or_failing_ipam_plugin_leaves_nothing() {
    let mut net = net(json!({}));
    let container = net.host.container("one");
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "code": 123, "msg": "no more addresses"}), 1);
    assert_eq!(fails_cleanly(&net, &container, "no more addresses"), 123);
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0"}), 0);
    fails_cleanly(&net, &container, "no address");
    net.conf["ipam"]["type"] = "not-installed".into();
    fails_cleanly(&net, &container, "not-installed");
    for ipam in [Value::Null, json!({})] {
        net.conf["ipam"] = ipam;
        assert_eq!(fails_cleanly(&net, &container, "ipam"), 7);
        assert_eq!(net.host.plugin("ptp").command("STATUS", &net.conf).err().0, 7);
        net.del(&container).ok();
    }
}

#[test]
fn an_answer_of_ipam_that_cannot_be_carried_out_leaves_nothing() {
    let mut net = net(json!({}));
    let container = net.host.container("one");
    let v4 = || json!([{"address": "10.88.0.5/24", "gateway": "10.88.0.1"}]);
    for (ips, routes, part) in [
        // Found before anything is made.
        (
            json!([{"address": "10.88.0.5/24"}]),
            json!([]),
            "10.88.0.5/24 of the IPAM plugin: it has no gateway",
        ),
        (json!([{"address": "10.88.0.5/24", "gateway": "fd00:88::1"}]), json!([]), "fd00:88::1"),
        (json!([{"address": "10.88.0.1/24", "gateway": "10.88.0.1"}]), json!([]), "its own gateway"),
        // Refused by the kernel on the host's end.
        (json!([{"address": "fd00:88::5/64", "gateway": "ff02::1"}]), json!([]), "ff02::1"),
        // Refused by the kernel in the container.
        (v4(), json!([{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]), "192.0.2.1"),
        (
            json!([{"address": "10.88.0.5/24", "gateway": "10.88.0.1"}, {"address": "10.88.0.5/24", "gateway": "10.88.0.1"}]),
            json!([]),
            "10.88.0.5",
        ),
    ] {
        fake_ipam(&mut net, &answer(ips, routes), 0);
        fails_cleanly(&net, &container, part);
    }
}

#[test]
fn an_impossible_mtu_leaves_nothing() {
    let mut net = net(json!({"mtu": 65536}));
    fake_ipam(&mut net, &answer(dual_stack(), json!([])), 0);
    let container = net.host.container("one");
    fails_cleanly(&net, &container, "veth");
    for (mtu, code) in [(json!(-1), 7), (json!("1400"), 6)] {
        net.conf["mtu"] = mtu;
        assert_eq!(fails_cleanly(&net, &container, "mtu"), code);
    }
}

/// Masquerading is among the last steps.
#[test]
fn masquerading_that_cannot_be_had_leaves_nothing() {
    let mut net = net(json!({"ipMasq": true, "ipMasqBackend": "iptables"}));
    fake_ipam(&mut net, &answer(dual_stack(), json!([])), 0);
    // No iptables on this host, but a shell for the IPAM plugin.
    net.host.hide(&["/run", "/usr/sbin"]);
    let container = net.host.container("one");
    assert_eq!(fails_cleanly(&net, &container, "cannot find iptables"), 999);
    assert_eq!(net.host.plugin("ptp").command("STATUS", &net.conf).err().0, 50);
    net.conf["ipMasqBackend"] = "ipvs".into();
    assert_eq!(fails_cleanly(&net, &container, "ipMasqBackend"), 7);
}

#[test]
fn a_namespace_that_is_gone_or_none_leaves_nothing() {
    let net = net(json!({}));
    let container = net.host.container("one");
    for netns in ["/nonexistent/netns", "/dev/null"] {
        let before = net.host.snapshot();
        let (_, msg) =
            net.host.plugin("ptp").env("CNI_NETNS", netns).add(&container, "eth0", &net.conf).err();
        assert!(msg.contains(netns), "{msg}");
        net.host.snapshot().assert_same(&before);
    }
}
