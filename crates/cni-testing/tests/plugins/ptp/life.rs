//! The ptp plugin through every version and every end an attachment can come to.

use std::os::fd::AsFd;

use cni_netlink::{AddrFlags, LinkChange, MacAddr, NewVeth, NextHop, RouteSpec, Socket};
use cni_testing::Container;
use serde_json::json;

use crate::bridge::net::{Net, addresses, link, link_in, set};
use crate::ptp::{near, net, static_net};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

#[test]
fn every_version_lives_through_add_check_del_and_leaves_nothing() {
    for version in VERSIONS {
        let net = net(json!({"cniVersion": version}));
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
            net.host.plugin("ptp").del(&container, "eth0", &net.with_prev(&result)).ok();
            assert_eq!(net.leases(), [""; 0]);
        }
        container.snapshot().assert_same(&inside);
        // host-local's folder belongs to its leases, and stays.
        net.host.snapshot().without("leases").assert_same(&on_host.without("leases"));
    }
}

#[test]
fn every_version_is_deleted_when_its_namespace_is_gone_or_not_named() {
    for version in VERSIONS {
        let net = net(json!({"cniVersion": version}));
        let (mut gone, unnamed) = (net.host.container("gone"), net.host.container("unnamed"));
        net.add(&gone);
        net.add(&unnamed);
        gone.kill();
        net.del(&gone).ok();
        net.host.plugin("ptp").env("CNI_NETNS", "").del(&unnamed, "eth0", &net.conf).ok();
        assert_eq!(net.leases(), [""; 0]);
        assert!(unnamed.ns().socket().unwrap().link_by_name("eth0").is_err(), "{version}");
        assert!(Socket::open().unwrap().link_dump(Some("veth")).unwrap().is_empty(), "{version}");
        net.del(&gone).ok();
    }
}

#[test]
fn del_and_gc_work_with_keys_that_add_refuses() {
    let mut net = net(json!({}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    net.add(&one);
    net.add(&two);
    set(&mut net.conf, &json!({"ipMasq": true, "ipMasqBackend": "none", "mtu": -1}));
    net.del(&one).ok();
    net.conf["cni.dev/valid-attachments"] = json!([]);
    net.host.plugin("ptp").command("GC", &net.conf).ok();
    assert_eq!(net.leases(), [""; 0]);
    assert!(two.ns().socket().unwrap().link_by_name("eth0").is_err());
}

/// A pair as the reference makes it: the near end has a random name and no alias.
fn add_foreign_pair(container: &Container, name: &str, alias: Option<&str>) {
    let mut socket = Socket::open().unwrap();
    let veth = NewVeth {
        name,
        mac: MacAddr::random(),
        master: None,
        peer_name: "eth0",
        peer_mac: MacAddr::random(),
        peer_netns: Some(container.ns().as_fd()),
        mtu: None,
    };
    socket.link_add_veth(&veth).unwrap();
    let index = socket.link_by_name(name).unwrap().index;
    socket.link_change(index, &LinkChange { alias, up: Some(true), ..LinkChange::default() }).unwrap();
}

#[test]
fn del_removes_what_the_reference_made_and_leaves_another_attachments_alone() {
    let net = net(json!({}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    add_foreign_pair(&one, "veth1234abcd", None);
    add_foreign_pair(&two, "veth5678abcd", Some("cni:other:two:eth0"));
    net.del(&one).ok();
    net.del(&two).ok();
    let mut host = Socket::open().unwrap();
    assert!(host.link_by_name("veth1234abcd").is_err());
    assert_eq!(link_in(&two, "eth0").kind, "veth");
}

#[test]
fn a_late_del_does_not_touch_the_container_that_has_the_address_now() {
    let net = static_net(&[("10.88.0.5/24", "10.88.0.1"), ("fd00:88::5/64", "fd00:88::1")]);
    let (old, new, third) =
        (net.host.container("old"), net.host.container("new"), net.host.container("third"));
    let before = net.add(&old);
    let result = net.add(&new);
    let reached = |what: &str| {
        for address in addresses(&result) {
            let to = std::net::SocketAddr::new(address, 7000);
            let _server = new.serve(to);
            // Nobody answers in the old one.
            let echo = third.echo_tcp(to, "hello");
            assert!(echo.is_ok(), "{what}: {echo:?}");
        }
    };
    let mut elsewhere = net.conf.clone();
    elsewhere["ipam"]["addresses"] = json!([{"address": "10.88.0.9/24", "gateway": "10.88.0.1"}, {"address": "fd00:88::9/64", "gateway": "fd00:88::1"}]);
    net.host.plugin("ptp").add(&third, "eth0", &elsewhere).ok();
    reached("the old one still there");
    let (_, msg) = net.check(&old, &before).err();
    assert!(msg.contains("no route to 10.88.0.5"), "{msg}");
    net.del(&old).ok();
    reached("after its DEL");
    net.check(&new, &result).ok();
}

#[test]
fn gc_removes_what_no_attachment_owns_and_nothing_else() {
    let mut net = net(json!({}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let (other, foreign) = (net.host.container("other"), net.host.container("foreign"));
    let kept = net.add(&one);
    net.add(&two);
    let mut conf = net.conf.clone();
    conf["name"] = "net-2".into();
    conf["ipam"] =
        json!({"type": "static", "addresses": [{"address": "10.88.0.77/24", "gateway": "10.88.0.1"}]});
    let others = net.host.plugin("ptp").add(&other, "eth0", &conf).ok();
    add_foreign_pair(&foreign, "veth1234abcd", None);

    // Without a list nothing is known to be unused.
    let before = net.host.snapshot();
    net.host.plugin("ptp").command("GC", &net.conf).ok();
    net.host.snapshot().assert_same(&before);

    net.conf["cni.dev/valid-attachments"] = json!([{"containerID": "one", "ifname": "eth0"}]);
    net.host.plugin("ptp").command("GC", &net.conf).ok();
    assert!(two.ns().socket().unwrap().link_by_name("eth0").is_err());
    net.check(&one, &kept).ok();
    assert_eq!(net.leases().len(), 2);
    assert!(near(&others).up && link("veth1234abcd").up);
}

/// A network that was a bridge's and is ptp's now has attachments of both; the valid ones are named by the runtime, whoever
/// made them.
#[test]
fn gc_of_a_network_that_bridge_also_had_keeps_the_valid_attachments_of_both() {
    let ptp = net(json!({}));
    let (by_bridge, stale) = (ptp.host.container("by-bridge"), ptp.host.container("stale"));
    let by_ptp = ptp.host.container("by-ptp");
    let mut bridge = ptp.conf.clone();
    set(&mut bridge, &json!({"type": "bridge", "bridge": "br0", "ipam": null}));
    for container in [&by_bridge, &stale] {
        ptp.host.plugin("bridge").add(container, "eth0", &bridge).ok();
    }
    let kept = ptp.add(&by_ptp);
    let valid =
        json!([{"containerID": "by-bridge", "ifname": "eth0"}, {"containerID": "by-ptp", "ifname": "eth0"}]);
    for (plugin, conf) in [("bridge", &bridge), ("ptp", &ptp.conf)] {
        let mut conf = conf.clone();
        conf["cni.dev/valid-attachments"] = valid.clone();
        ptp.host.plugin(plugin).command("GC", &conf).ok();
        assert_eq!(link_in(&by_bridge, "eth0").kind, "veth");
        ptp.check(&by_ptp, &kept).ok();
        assert!(stale.ns().socket().unwrap().link_by_name("eth0").is_err());
    }
}

#[test]
fn status_is_good_where_an_add_is_possible() {
    let net = net(json!({}));
    net.host.plugin("ptp").command("STATUS", &net.conf).ok();
    for (keys, code) in [
        (json!({"ipam": {"type": "not-installed"}}), 50),
        (json!({"ipMasq": true, "ipMasqBackend": "ipvs"}), 7),
        (json!({"mtu": -1}), 7),
    ] {
        let mut conf = net.conf.clone();
        set(&mut conf, &keys);
        assert_eq!(net.host.plugin("ptp").command("STATUS", &conf).err().0, code, "{keys}");
    }
}

/// Each fault alone, and CHECK is content before and after.
#[test]
fn check_finds_what_was_changed() {
    let net = net(json!({}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    let faulty = |part: &str| {
        let (code, msg) = net.check(&container, &result).err();
        assert_eq!(code, 999, "{msg}");
        assert!(msg.contains(part), "{part}: {msg}");
    };
    let (mut host, mut inside) = (Socket::open().unwrap(), container.ns().socket().unwrap());
    let (near, eth0) = (near(&result), link_in(&container, "eth0"));
    let change = LinkChange::default;
    for (socket, link) in [(&mut host, &near), (&mut inside, &eth0)] {
        let mac = |mac| LinkChange { mac, ..change() };
        socket.link_change(link.index, &mac(Some(MacAddr::random()))).unwrap();
        faulty("MAC");
        socket.link_change(link.index, &mac(link.mac)).unwrap();
        let mtu = |mtu| LinkChange { mtu: Some(mtu), ..change() };
        socket.link_change(link.index, &mtu(1300)).unwrap();
        faulty("1300");
        socket.link_change(link.index, &mtu(link.mtu)).unwrap();
        net.check(&container, &result).ok();
    }
    let gateway = "fd00:88::1/128".parse().unwrap();
    host.addr_del(near.index, gateway).unwrap();
    faulty("the gateway's address fd00:88::1");
    host.addr_add(near.index, gateway, AddrFlags { nodad: true }).unwrap();

    for (socket, index, dst, gateway, scope, part) in [
        (&mut host, near.index, "10.88.0.2/32", None, 254, "no route to 10.88.0.2"),
        (&mut inside, eth0.index, "10.88.0.0/24", Some("10.88.0.1"), 0, "to 10.88.0.0/24 via 10.88.0.1"),
    ] {
        let route = RouteSpec {
            dst: dst.parse().unwrap(),
            next_hops: vec![NextHop { index, gateway: gateway.map(|gateway| gateway.parse().unwrap()) }],
            metric: None,
            table: None,
            scope: Some(scope),
            mtu: None,
            advmss: None,
        };
        socket.route_del(&route).unwrap();
        faulty(part);
        socket.route_add(&route).unwrap();
        net.check(&container, &result).ok();
    }
    inside.addr_del(eth0.index, "fd00:88::2/64".parse().unwrap()).unwrap();
    faulty("fd00:88::2");
    host.link_change(near.index, &LinkChange { up: Some(false), ..change() }).unwrap();
    faulty("down");
    inside.link_del(eth0.index).unwrap();
    faulty("eth0");
}

#[test]
fn eight_adds_at_once_reach_each_other() {
    let net = net(json!({}));
    let containers: Vec<Container> = (0..8).map(|i| net.host.container(&format!("c{i}"))).collect();
    let results: Vec<_> = std::thread::scope(|scope| {
        let net = &net;
        let add = |container| scope.spawn(move || net.add(container));
        let threads: Vec<_> = containers.iter().map(add).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (i, (container, result)) in containers.iter().zip(&results).enumerate() {
        net.check(container, result).ok();
        for address in addresses(&results[(i + 1) % results.len()]) {
            assert!(container.ping(address), "{address}");
        }
    }
}

#[test]
fn an_add_killed_at_any_moment_is_cleaned_up_by_del() {
    let net = net(json!({}));
    for (round, microseconds) in [300, 1000, 2000, 4000, 6000, 9000, 14000].into_iter().enumerate() {
        let container = net.host.container(&format!("c{round}"));
        kill_add_after(&net, &container, microseconds);
        net.del(&container).ok();
        assert!(container.ns().socket().unwrap().link_by_name("eth0").is_err());
        assert!(Socket::open().unwrap().link_dump(Some("veth")).unwrap().is_empty());
        net.add_and_check(&container);
        net.del(&container).ok();
    }
    assert_eq!(net.leases(), [""; 0]);
}

fn kill_add_after(net: &Net, container: &Container, microseconds: u64) {
    use std::io::Write;
    use std::process::Stdio;
    #[allow(clippy::disallowed_methods, reason = "this is the runtime's side")]
    let mut child = std::process::Command::new(net.host.bin_dir().join("ptp"))
        .env_clear()
        .envs([("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", container.id()), ("CNI_IFNAME", "eth0")])
        .envs([("CNI_NETNS", container.netns()), ("CNI_PATH", net.host.bin_dir().to_str().unwrap())])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(net.conf.to_string().as_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_micros(microseconds));
    child.kill().unwrap();
    child.wait().unwrap();
}
