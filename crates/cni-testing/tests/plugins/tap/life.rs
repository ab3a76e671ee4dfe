//! The tap plugin through every version and every end an attachment can come to.

use cni_host::{NewTap, Tap};
use cni_netlink::{LinkChange, MacAddr};
use cni_testing::Container;
use serde_json::{Value, json};

use crate::bridge::failure::{fails_cleanly, fake_ipam};
use crate::bridge::net::{link_in, make_bridge, set};
use crate::tap::net::{layer2, net};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

fn has_eth0(container: &Container) -> bool {
    container.ns().socket().unwrap().link_by_name("eth0").is_ok()
}

#[test]
fn every_version_lives_and_leaves_nothing() {
    for version in VERSIONS {
        let mut net = net(&json!({"cniVersion": version}));
        net.conf["ipam"] = json!({"type": "static", "addresses": [
            {"address": "10.88.0.2/24", "gateway": "10.88.0.1"}, {"address": "fd00:88::2/64"},
        ]});
        let container = net.host.container("one");
        let before = (net.host.snapshot(), container.snapshot());
        let result = net.add(&container);
        assert_eq!(result["cniVersion"], version);
        if version < "0.3.0" {
            assert_eq!(result["ip4"]["ip"], "10.88.0.2/24");
            assert_eq!(result["ip6"]["ip"], "fd00:88::2/64");
        } else {
            assert_eq!(result["ips"][0]["address"], "10.88.0.2/24");
            assert_eq!(result["ips"][1]["interface"], 0);
            assert_eq!(result["interfaces"][0]["sandbox"], container.netns());
        }
        if version < "0.4.0" {
            assert_eq!(net.check(&container, &result).err().0, 1, "no CHECK in {version}");
        } else {
            net.check(&container, &result).ok();
        }
        for _ in 0..2 {
            net.host.plugin("tap").del(&container, "eth0", &net.with_prev(&result)).ok();
            container.snapshot().assert_same(&before.1);
            net.host.snapshot().assert_same(&before.0);
        }
    }
}

#[test]
fn the_lease_goes_when_the_namespace_is_gone_or_not_named() {
    let net = net(&json!({}));
    let (mut gone, unnamed) = (net.host.container("gone"), net.host.container("unnamed"));
    net.add(&gone);
    net.add(&unnamed);
    assert_eq!(net.leases().len(), 4);
    gone.kill();
    for _ in 0..2 {
        net.del(&gone).ok();
        net.host.plugin("tap").env("CNI_NETNS", "").del(&unnamed, "eth0", &net.conf).ok();
        assert_eq!(net.leases(), [""; 0]);
    }
}

#[test]
fn del_takes_only_what_is_its_own() {
    let net = net(&json!({}));
    net.del(&net.host.container("never-added")).ok();

    // A link of another kind under the interface's name.
    let other = net.host.container("other");
    other.ns().run(|| make_bridge("eth0")).unwrap();
    net.del(&other).ok();
    assert_eq!(link_in(&other, "eth0").kind, "bridge");

    // Another network's, whatever the name.
    let one = net.host.container("one");
    let result = net.add(&one);
    let mut stranger = net.conf.clone();
    stranger["name"] = "stranger".into();
    net.host.plugin("tap").del(&one, "eth0", &stranger).ok();
    net.check(&one, &result).ok();

    // One that the reference made says nothing of whose it is.
    let old = net.host.container("old");
    let tap = NewTap { name: "eth0", multi_queue: false, owner: None, group: None };
    old.ns().run(|| Tap::add(&tap)).unwrap().unwrap();
    net.del(&old).ok();
    assert!(!has_eth0(&old));
}

#[test]
fn del_and_gc_work_with_keys_that_add_refuses() {
    let mut net = net(&json!({}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    net.add(&one);
    net.add(&two);
    set(&mut net.conf, &json!({"mtu": -1, "mac": "none", "bridge": "nope", "selinuxContext": "none"}));
    net.del(&one).ok();
    assert!(!has_eth0(&one));
    net.conf["cni.dev/valid-attachments"] = json!([]);
    net.host.plugin("tap").command("GC", &net.conf).ok();
    assert_eq!(net.leases(), [""; 0]);
}

#[test]
fn gc_releases_the_leases_of_no_attachment_and_nothing_else() {
    let net = net(&json!({}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let kept = net.add(&one);
    net.add(&two);
    let before = net.host.snapshot();
    net.host.plugin("tap").command("GC", &net.conf).ok();
    net.host.snapshot().assert_same(&before);
    let mut conf = net.conf.clone();
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "one", "ifname": "eth0"}]);
    net.host.plugin("tap").command("GC", &conf).ok();
    net.check(&one, &kept).ok();
    assert_eq!(net.leases().len(), 2);
}

#[test]
fn status_says_what_an_add_would_find() {
    let net = net(&json!({}));
    let status = |keys: Value| {
        let mut conf = net.conf.clone();
        set(&mut conf, &keys);
        net.host.plugin("tap").command("STATUS", &conf)
    };
    status(json!({})).ok();
    status(json!({"ipam": null})).ok();
    assert_eq!(status(json!({"mtu": -1})).err().0, 7);
    assert_eq!(status(json!({"owner": -1})).err().0, 6);
    assert_eq!(status(json!({"ipam": {"type": "not-installed"}})).err().0, 50);
    net.host.hide(&["/dev/net"]);
    let (code, msg) = status(json!({})).err();
    assert!(code == 50 && msg.starts_with("cannot open /dev/net/tun: No such file"), "{code}: {msg}");
}

#[test]
fn a_failing_add_leaves_nothing() {
    let mut net = net(&json!({}));
    let container = net.host.container("one");
    let ips = json!([{"address": "10.88.0.5/24"}]);
    for (answer, exit, part) in [
        (json!({"cniVersion": "1.1.0", "code": 123, "msg": "no more addresses"}), 1, "no more addresses"),
        (json!({"cniVersion": "1.1.0"}), 0, "no address"),
        (json!("no result"), 0, "fake-ipam"),
        // Refused by the kernel, when the device is there already.
        (
            json!({"cniVersion": "1.1.0", "ips": [{"address": "10.88.0.5/24"}, {"address": "10.88.0.5/24"}]}),
            0,
            "10.88.0.5",
        ),
        (
            json!({"cniVersion": "1.1.0", "ips": ips, "routes": [{"dst": "10.9.0.0/16", "gw": "192.0.2.1"}]}),
            0,
            "192.0.2.1",
        ),
    ] {
        fake_ipam(&mut net, &answer, exit);
        fails_cleanly(&net, &container, part);
    }
    // The device itself is refused: (gid_t) -1 is no group.
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "ips": ips}), 0);
    net.conf["group"] = u32::MAX.into();
    fails_cleanly(&net, &container, "cannot set the group of tap eth0");
    // Before IPAM is asked.
    set(&mut net.conf, &json!({"group": null, "mac": "none"}));
    assert_eq!(fails_cleanly(&net, &container, "mac: \"none\""), 7);
    set(&mut net.conf, &json!({"mac": null}));
    container.ns().run(|| make_bridge("eth0")).unwrap();
    fails_cleanly(&net, &container, "already exists");
    assert_eq!(link_in(&container, "eth0").kind, "bridge");
}

#[test]
fn a_second_add_is_refused_and_the_first_lives_on() {
    let net = net(&json!({}));
    let container = net.host.container("one");
    let result = net.add(&container);
    assert!(net.try_add(&container).err().1.contains("already exists"));
    net.check(&container, &result).ok();
    assert_eq!(net.leases().len(), 2);
}

#[test]
fn check_finds_what_was_changed() {
    let net = net(&json!({"mtu": 1400}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    let mut inside = container.ns().socket().unwrap();
    let eth0 = link_in(&container, "eth0");
    let mut faults = |wrong: &LinkChange<'_>, right: &LinkChange<'_>, part: &str| {
        inside.link_change(eth0.index, wrong).unwrap();
        let (code, msg) = net.check(&container, &result).err();
        assert!(code == 999 && msg.contains(part), "{code}: {msg}");
        inside.link_change(eth0.index, right).unwrap();
        net.check(&container, &result).ok();
    };
    let change = LinkChange::default;
    let mac = |mac| LinkChange { mac, ..change() };
    faults(&mac(Some(MacAddr::random())), &mac(eth0.mac), "MAC");
    let mtu = |mtu| LinkChange { mtu: Some(mtu), ..change() };
    faults(&mtu(1300), &mtu(1400), "1300, not 1400");

    inside.addr_del(eth0.index, "10.88.0.2/24".parse().unwrap()).unwrap();
    assert!(net.check(&container, &result).err().1.contains("10.88.0.2"));
    inside.link_change(eth0.index, &LinkChange { up: Some(false), ..change() }).unwrap();
    assert!(net.check(&container, &result).err().1.contains("eth0 is down"));
    inside.link_del(eth0.index).unwrap();
    assert!(net.check(&container, &result).err().1.contains("cannot find eth0"));
    container.ns().run(|| make_bridge("eth0")).unwrap();
    assert!(net.check(&container, &result).err().1.contains("eth0 is not of kind tun: it is bridge"));
    assert_eq!(net.host.plugin("tap").check(&container, "eth0", &net.conf).err().0, 7);
}

#[test]
fn an_add_after_a_container_of_the_same_name_works_without_its_del() {
    let net = layer2(&json!({}));
    let mut old = net.host.container("one");
    net.add(&old);
    old.kill();
    net.add_and_check(&net.host.container("one"));
}
