//! The bridge plugin through every version and every end an attachment can come to.

use std::process::Stdio;

use cni_host::Owner;
use cni_netlink::{LinkChange, MacAddr, NewVeth, Socket};
use cni_testing::Container;
use serde_json::json;

use crate::bridge::net::{Net, link, link_in, make_bridge, port};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

#[test]
fn every_version_lives_through_add_check_del_and_leaves_nothing() {
    for version in VERSIONS {
        let net = Net::new(json!({"cniVersion": version}));
        make_bridge("br0");
        let container = net.host.container("one");
        let (on_host, inside) = (net.host.snapshot(), container.snapshot());
        let result = net.add(&container);
        assert_eq!(result["cniVersion"], version);
        if version < "0.3.0" {
            assert_eq!(result["ip4"]["ip"], "10.88.0.2/24");
            assert_eq!(result["ip6"]["gateway"], "fd00:88::1");
        } else {
            assert_eq!(result["ips"][0]["address"], "10.88.0.2/24");
        }
        if version < "0.4.0" {
            assert_eq!(net.check(&container, &result).err().0, 1, "no CHECK in {version}");
        } else {
            net.check(&container, &result).ok();
        }
        for _ in 0..2 {
            net.host.plugin("bridge").del(&container, "eth0", &net.with_prev(&result)).ok();
            assert_eq!(net.leases(), [""; 0]);
        }
        container.snapshot().assert_same(&inside);
        // The gateway belongs to the network and host-local's folder to its leases: both stay.
        let left = |line: &str| net.host.snapshot().without("10.88.0.").without("fd00:88::").without(line);
        left("leases").assert_same(&on_host.without("leases"));
    }
}

#[test]
fn every_version_is_deleted_when_its_namespace_is_gone_or_not_named() {
    for version in VERSIONS {
        let net = Net::new(json!({"cniVersion": version}));
        let (mut gone, unnamed) = (net.host.container("gone"), net.host.container("unnamed"));
        net.add(&gone);
        net.add(&unnamed);
        gone.kill();
        net.del(&gone).ok();
        net.host.plugin("bridge").env("CNI_NETNS", "").del(&unnamed, "eth0", &net.conf).ok();
        assert_eq!(net.leases(), [""; 0]);
        assert!(unnamed.ns().socket().unwrap().link_by_name("eth0").is_err(), "{version}");
        assert!(Socket::open().unwrap().link_dump(Some("veth")).unwrap().is_empty(), "{version}");
        net.del(&gone).ok();
    }
}

#[test]
fn del_of_what_was_never_there_succeeds() {
    let net = Net::new(json!({}));
    let container = net.host.container("one");
    net.del(&container).ok();
    assert!(Socket::open().unwrap().link_by_name("br0").is_err());
}

#[test]
fn del_and_gc_work_with_keys_that_add_refuses() {
    let mut net = Net::new(json!({}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    net.add(&one);
    net.add(&two);
    net.conf["ipMasq"] = true.into();
    net.conf["ipMasqBackend"] = "none".into();
    net.conf["hairpinMode"] = true.into();
    net.conf["promiscMode"] = true.into();
    net.del(&one).ok();
    net.conf["cni.dev/valid-attachments"] = json!([]);
    net.host.plugin("bridge").command("GC", &net.conf).ok();
    assert_eq!(net.leases(), [""; 0]);
    assert!(two.ns().socket().unwrap().link_by_name("eth0").is_err());
}

/// A pair as the reference makes it: the near end has a random name and no alias.
fn add_foreign_pair(container: &Container, name: &str, ifname: &str, alias: Option<&str>) {
    let mut socket = Socket::open().unwrap();
    let veth = NewVeth {
        name,
        mac: MacAddr::random(),
        master: None,
        peer_name: ifname,
        peer_mac: MacAddr::random(),
        peer_netns: Some(std::os::fd::AsFd::as_fd(container.ns())),
        mtu: None,
    };
    socket.link_add_veth(&veth).unwrap();
    let index = socket.link_by_name(name).unwrap().index;
    socket.link_change(index, &LinkChange { alias, up: Some(true), ..LinkChange::default() }).unwrap();
}

#[test]
fn del_removes_a_pair_that_the_reference_made() {
    let net = Net::layer2(json!({}));
    let container = net.host.container("one");
    add_foreign_pair(&container, "veth1234abcd", "eth0", None);
    net.del(&container).ok();
    assert!(Socket::open().unwrap().link_by_name("veth1234abcd").is_err());
}

#[test]
fn del_leaves_alone_what_is_another_attachments_or_no_veth() {
    let net = Net::layer2(json!({}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let other = Owner { network: "other".into(), container_id: "one".into(), ifname: "eth0".into() };
    add_foreign_pair(&one, "veth1234abcd", "eth0", Some(&other.alias()));
    net.del(&one).ok();
    assert_eq!(link_in(&one, "eth0").kind, "veth");

    two.ns().run(|| make_bridge("eth0")).unwrap();
    net.del(&two).ok();
    assert_eq!(link_in(&two, "eth0").kind, "bridge");
}

#[test]
fn a_late_del_does_not_touch_the_container_that_has_the_address_now() {
    let mut net = Net::new(json!({}));
    net.conf["ipam"] = json!({"type": "static", "addresses": [{"address": "10.88.0.5/24"}]});
    let (mut old, new) = (net.host.container("old"), net.host.container("new"));
    net.add(&old);
    old.kill();
    let result = net.add(&new);
    net.del(&old).ok();
    net.check(&new, &result).ok();
    assert!(net.host.ping("10.88.0.5".parse().unwrap()));
}

#[test]
fn add_replaces_what_a_killed_add_left_in_another_namespace() {
    let net = Net::layer2(json!({}));
    let old = net.host.container("one");
    let first = port(&net.add(&old));
    // The same container again, in a new namespace, without a DEL in between.
    let new = net.host.container("one");
    let second = port(&net.add_and_check(&new));
    assert_eq!(first.name, second.name);
    assert_ne!(first.index, second.index);
    assert!(old.ns().socket().unwrap().link_by_name("eth0").is_err());
}

#[test]
fn an_add_killed_at_any_moment_is_cleaned_up_by_del() {
    let net = Net::new(json!({}));
    for (round, microseconds) in [300, 1000, 2000, 3000, 4000, 6000, 8000, 12000].into_iter().enumerate() {
        let container = net.host.container(&format!("c{round}"));
        let mut child = spawn_add(&net, &container);
        std::thread::sleep(std::time::Duration::from_micros(microseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        net.del(&container).ok();
        assert!(container.ns().socket().unwrap().link_by_name("eth0").is_err());
        let owner =
            Owner { network: "net".into(), container_id: container.id().into(), ifname: "eth0".into() };
        assert!(Socket::open().unwrap().link_by_name(&owner.veth_name()).is_err());
        net.add_and_check(&container);
        net.del(&container).ok();
    }
    assert_eq!(net.leases(), [""; 0]);
}

/// An ADD that is still running.
pub(crate) fn spawn_add(net: &Net, container: &Container) -> std::process::Child {
    use std::io::Write;
    #[allow(clippy::disallowed_methods, reason = "this is the runtime's side")]
    let mut child = std::process::Command::new(net.host.bin_dir().join(net.plugin()))
        .env_clear()
        .envs([("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", container.id()), ("CNI_IFNAME", "eth0")])
        .envs([("CNI_NETNS", container.netns()), ("CNI_PATH", net.host.bin_dir().to_str().unwrap())])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(net.conf.to_string().as_bytes()).unwrap();
    child
}

#[test]
fn gc_removes_what_no_attachment_owns_and_nothing_else() {
    let mut net = Net::new(json!({}));
    let (one, two, other) =
        (net.host.container("one"), net.host.container("two"), net.host.container("other"));
    let kept = net.add(&one);
    net.add(&two);
    let stranger = Net {
        host: net.host,
        conf: {
            let mut conf = net.conf.clone();
            conf["name"] = "net-2".into();
            conf["ipam"] = json!({"type": "static", "addresses": [{"address": "10.88.0.77/24"}]});
            conf
        },
    };
    let others = stranger.add(&other);
    net.host = stranger.host;
    let (foreign, _) = (net.host.container("foreign"), ());
    add_foreign_pair(&foreign, "veth1234abcd", "eth0", None);

    // Without a list nothing is known to be unused.
    let before = net.host.snapshot();
    net.host.plugin("bridge").command("GC", &net.conf).ok();
    net.host.snapshot().assert_same(&before);

    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        let mut conf = net.conf.clone();
        conf[key] = json!([{"containerID": "one", "ifname": "eth0"}]);
        net.host.plugin("bridge").command("GC", &conf).ok();
    }
    assert!(two.ns().socket().unwrap().link_by_name("eth0").is_err());
    net.check(&one, &kept).ok();
    assert_eq!(net.leases().len(), 2);
    assert!(port(&others).up && link("veth1234abcd").up);
}

#[test]
fn status_is_good_before_the_bridge_is_made_and_bad_when_it_never_can_be() {
    let net = Net::new(json!({}));
    let status = |conf| net.host.plugin("bridge").command("STATUS", conf);
    status(&net.conf).ok();
    net.add(&net.host.container("one"));
    status(&net.conf).ok();

    let mut conf = net.conf.clone();
    conf["bridge"] = "lo".into();
    let (code, msg) = status(&conf).err();
    assert_eq!(code, 50);
    assert!(msg.contains("lo") && msg.contains("not a bridge"), "{msg}");

    let mut conf = net.conf.clone();
    conf["ipam"]["type"] = "not-installed".into();
    assert_eq!(status(&conf).err().0, 50);
}

#[test]
fn check_finds_what_was_changed() {
    let net = Net::new(json!({}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    let mut host = Socket::open().unwrap();
    let (bridge, port) = (link("br0"), port(&result));
    let mut faults = |wrong: &LinkChange<'_>, right: &LinkChange<'_>, part: &str| {
        host.link_change(port.index, wrong).unwrap();
        let (code, msg) = net.check(&container, &result).err();
        assert_eq!(code, 999, "{msg}");
        assert!(msg.contains(part), "{msg}");
        host.link_change(port.index, right).unwrap();
        net.check(&container, &result).ok();
    };
    let change = LinkChange::default;
    faults(
        &LinkChange { master: Some(None), ..change() },
        &LinkChange { master: Some(Some(bridge.index)), ..change() },
        "not a port of br0",
    );
    let mac = |mac| LinkChange { mac, ..change() };
    faults(&mac(Some(MacAddr::random())), &mac(port.mac), "MAC");
    let mtu = |mtu| LinkChange { mtu: Some(mtu), ..change() };
    faults(&mtu(1300), &mtu(port.mtu), "1300");
    faults(&LinkChange { up: Some(false), ..change() }, &LinkChange { up: Some(true), ..change() }, "down");

    let gateway = "10.88.0.1/24".parse().unwrap();
    host.addr_del(bridge.index, gateway).unwrap();
    assert!(net.check(&container, &result).err().1.contains("10.88.0.1"));
    host.addr_add(bridge.index, gateway, cni_netlink::AddrFlags::default()).unwrap();
    net.check(&container, &result).ok();

    let eth0 = link_in(&container, "eth0").index;
    let mut inside = container.ns().socket().unwrap();
    inside.addr_del(eth0, "fd00:88::2/64".parse().unwrap()).unwrap();
    assert!(net.check(&container, &result).err().1.contains("fd00:88::2"));
    inside.link_del(eth0).unwrap();
    assert!(net.check(&container, &result).err().1.contains("eth0"));
}
