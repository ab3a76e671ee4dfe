//! The vrf plugin: packets, addresses and routes that stay, and every end it can come to. All of it wants VRFs, which Debian's
//! kernel has.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use cni_netlink::{AddrFlags, LinkChange, LinkKind, NewLink};
use cni_testing::{Container, EchoServer, Host, Outcome};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::{Value, json};

use crate::bridge::net::{link_in, set};
use crate::sbr::net::routing;
use crate::uplink::{add_link, has};

const VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];
pub(crate) const FAR: [&str; 2] = ["192.0.2.9", "2001:db8::9"];
const LINK_LOCAL: &str = "fe80::77";

/// The same addresses in each network, as customers of a carrier have them.
pub(crate) fn network(n: usize, host: u8) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": format!("net{n}"), "type": "bridge", "bridge": format!("br{n}"),
        "ipam": {"type": "static", "addresses": [
            {"address": format!("10.88.0.{host}/24"), "gateway": "10.88.0.254"},
            {"address": format!("fd00:88::{host}/64"), "gateway": "fd00:88::254"},
        ], "routes": [
            {"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "10.7.0.0/16", "gw": "10.88.0.9", "mtu": 1400, "priority": 7},
            {"dst": "10.8.0.0/16", "scope": 253}, {"dst": "fd07::/64", "gw": "fd00:88::9"},
            {"dst": "10.9.0.0/16", "gw": "10.88.0.9", "table": 500},
        ]},
    })
}

/// A network's gateway, which has the far addresses too and answers at a port of its own.
pub(crate) fn world(host: &Host, n: usize) -> (Container, Vec<EchoServer>) {
    let world = host.container("world");
    let mut conf = network(n, 254);
    conf["ipam"]["routes"] = json!([]);
    host.plugin("bridge").add(&world, "eth0", &conf).ok();
    let index = link_in(&world, "eth0").index;
    let serve = |far: &str| {
        let far: IpAddr = far.parse().unwrap();
        world.ns().socket().unwrap().addr_add(index, far.into(), AddrFlags { nodad: true }).unwrap();
        world.serve(SocketAddr::new(far, port(n)))
    };
    let servers = FAR.iter().map(|far| serve(far)).collect();
    (world, servers)
}

fn port(n: usize) -> u16 {
    7000 + n as u16
}

/// Which networks answer who sends by this device: an interface, or a VRF.
pub(crate) fn ways(container: &Container, device: &str, far: &str) -> Vec<usize> {
    let ask = |n: &usize| {
        let any = if far.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any).unwrap();
        setsockopt(&socket, sockopt::BindToDevice, &device.into()).unwrap();
        if socket.connect((far.parse::<IpAddr>().unwrap(), port(*n))).is_err() {
            return false;
        }
        for wait in [100, 400, 1500] {
            socket.set_read_timeout(Some(Duration::from_millis(wait))).unwrap();
            let mut buffer = [0; 100];
            match socket.send(b"hello").and_then(|_| socket.recv(&mut buffer)) {
                Ok(size) => return buffer[..size].ends_with(b" hello"),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        false
    };
    container.ns().run(|| (0..2).filter(|n| ask(n)).collect()).unwrap()
}

pub(crate) fn vrf(host: &Host, command: &str, container: &Container, ifname: &str, conf: &Value) -> Outcome {
    let run = host.plugin("vrf");
    match command {
        "ADD" => run.add(container, ifname, conf),
        "CHECK" => run.check(container, ifname, conf),
        "DEL" => run.del(container, ifname, conf),
        _ => run.command(command, conf),
    }
}

pub(crate) fn conf(prev: &Value, keys: &Value) -> Value {
    let mut conf = json!({"cniVersion": prev["cniVersion"], "name": "net", "type": "vrf", "vrfname": "red",
        "prevResult": prev});
    set(&mut conf, keys);
    conf
}

/// A container with an interface in network 0.
fn alone() -> (Host, Container, Value) {
    let host = Host::new();
    let container = host.container("one");
    let result = host.plugin("bridge").add(&container, "eth0", &network(0, 5)).ok();
    (host, container, result)
}

/// The addresses of an interface, and of its routes all but the table, which is the VRF's in place of the main one.
pub(crate) fn kept(container: &Container, ifname: &str, vrf: u32) -> Vec<String> {
    let mut inside = container.ns().socket().unwrap();
    let index = link_in(container, ifname).index;
    let addrs = inside.addr_dump(index).unwrap().into_iter();
    let mut lines: Vec<String> = addrs.map(|addr| format!("{} {}", addr.address, addr.dadfailed)).collect();
    for mut found in inside.route_dump_found(index, None).unwrap() {
        if found.spec.table == Some(vrf) {
            found.spec.table = Some(254);
        }
        lines.push(format!("{} {:?} {:?} {:?}", found.spec, found.spec.scope, found.src, found.spec.mtu));
    }
    lines.sort();
    lines
}

/// `eth0` once the kernel has given it its link-local address, which it does some time after the carrier is there.
fn link_with_own_address(container: &Container) -> u32 {
    let index = link_in(container, "eth0").index;
    let mut inside = container.ns().socket().unwrap();
    for _ in 0..500 {
        let addrs = inside.addr_dump(index).unwrap();
        if addrs.iter().any(|addr| addr.address.to_string().starts_with("fe80") && !addr.tentative) {
            return index;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no link-local address within ten seconds");
}

pub(crate) fn table_of(container: &Container, name: &str) -> LinkKind {
    link_in(container, name).settings.unwrap()
}

#[test]
#[ignore = "needs a kernel with vrf"]
fn networks_with_the_same_addresses_do_not_meet() {
    let host = Host::new();
    let _worlds = [world(&host, 0), world(&host, 1)];
    let container = host.container("one");
    let mut confs = Vec::new();
    for (n, name) in ["red", "blue"].into_iter().enumerate() {
        let ifname = format!("eth{n}");
        let mut bridge = network(n, 5);
        bridge["prevResult"] = host.plugin("bridge").add(&container, &ifname, &bridge).ok();
        let own = conf(&bridge["prevResult"], &json!({ "vrfname": name }));
        assert_eq!(vrf(&host, "ADD", &container, &ifname, &own).ok(), bridge["prevResult"]);
        confs.push((ifname, own, bridge));
    }
    for far in FAR {
        for (n, devices) in [["eth0", "red"], ["eth1", "blue"]].into_iter().enumerate() {
            for device in devices {
                assert_eq!(ways(&container, device, far), [n], "{far} by {device}");
            }
        }
    }
    assert!(!container.ping(FAR[0].parse().unwrap()), "nothing is left in the main table");
    assert_eq!(table_of(&container, "red"), LinkKind::Vrf { table: 1 });
    assert_eq!(table_of(&container, "blue"), LinkKind::Vrf { table: 2 });
    for (ifname, own, bridge) in &confs {
        vrf(&host, "CHECK", &container, ifname, own).ok();
        host.plugin("bridge").check(&container, ifname, bridge).ok();
    }
    for (ifname, own, bridge) in confs.iter().rev() {
        vrf(&host, "DEL", &container, ifname, own).ok();
        host.plugin("bridge").del(&container, ifname, bridge).ok();
    }
    assert!(!has(&container, "red") && !has(&container, "blue") && !has(&container, "eth0"));
}

#[test]
#[ignore = "needs a kernel with vrf"]
fn addresses_and_routes_of_both_families_and_every_scope_are_kept() {
    let (host, container, result) = alone();
    let mut inside = container.ns().socket().unwrap();
    let mut eth0 = link_with_own_address(&container);
    let link_local = format!("{LINK_LOCAL}/64").parse().unwrap();
    inside.addr_add(eth0, link_local, AddrFlags { nodad: true }).unwrap();
    // What the plugin that made the interface sets, which keeps some addresses; without it all go.
    for keep in ["1", "0"] {
        let path = "net/ipv6/conf/eth0/keep_addr_on_down";
        container.ns().run(|| cni_host::sysctl_write(path, keep)).unwrap().unwrap();
        let before = kept(&container, "eth0", 0);
        assert!(before.iter().filter(|line| line.starts_with("route")).count() >= 9, "{before:#?}");
        let own = conf(&result, &json!({"table": 77}));
        vrf(&host, "ADD", &container, "eth0", &own).ok();
        assert_eq!(kept(&container, "eth0", 77), before);
        assert_eq!(inside.route_dump(eth0, None).unwrap(), [], "the main table");
        vrf(&host, "DEL", &container, "eth0", &own).ok();
        host.plugin("bridge").del(&container, "eth0", &network(0, 5)).ok();
        host.plugin("bridge").add(&container, "eth0", &network(0, 5)).ok();
        eth0 = link_with_own_address(&container);
        inside.addr_add(eth0, link_local, AddrFlags { nodad: true }).unwrap();
    }
}

#[test]
#[ignore = "needs a kernel with vrf"]
fn a_vrf_is_shared_and_goes_with_the_last_that_is_in_it() {
    let host = Host::new();
    let container = host.container("one");
    let before = (container.snapshot(), routing(&container));
    let mut own = Vec::new();
    for n in 0..3 {
        let ifname = format!("eth{n}");
        let mut bridge = network(n, 5 + n as u8);
        // Their default routes stay beside each other.
        bridge["ipam"]["addresses"] = json!([
            {"address": format!("10.{n}.0.5/24"), "gateway": format!("10.{n}.0.1")},
            {"address": format!("fd00:{n}::5/64"), "gateway": format!("fd00:{n}::1")},
        ]);
        bridge["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
        bridge["prevResult"] = host.plugin("bridge").add(&container, &ifname, &bridge).ok();
        let conf = conf(&bridge["prevResult"], &json!({"table": if n == 1 { json!(0) } else { json!(42) }}));
        vrf(&host, "ADD", &container, &ifname, &conf).ok();
        own.push((ifname, conf, bridge));
    }
    assert_eq!(table_of(&container, "red"), LinkKind::Vrf { table: 42 });
    for (ifname, conf, bridge) in &own {
        vrf(&host, "CHECK", &container, ifname, conf).ok();
        host.plugin("bridge").check(&container, ifname, bridge).ok();
    }
    for (n, (ifname, conf, bridge)) in own.iter().enumerate() {
        assert!(has(&container, "red"));
        for _ in 0..2 {
            vrf(&host, "DEL", &container, ifname, conf).ok();
        }
        assert_eq!(has(&container, "red"), n < 2);
        host.plugin("bridge").del(&container, ifname, bridge).ok();
    }
    container.snapshot().assert_same(&before.0);
    let mut left = routing(&container);
    // The kernel's rules for all VRFs stay in a namespace that has had one (drivers/net/vrf.c, vrf_add_fib_rules).
    left.retain(|line| !line.ends_with("priority 1000"));
    assert_eq!(left, before.1);
}

#[test]
#[ignore = "needs a kernel with vrf"]
fn adds_at_one_time_share_one_vrf_or_get_tables_of_their_own() {
    const COUNT: usize = 8;
    let host = Host::new();
    let container = host.container("one");
    let ifname = |n: usize| format!("eth{n}");
    let confs: Vec<Value> = (0..COUNT)
        .map(|n| {
            let mut bridge = network(n, 5);
            bridge["ipam"]["routes"] = json!([]);
            let result = host.plugin("bridge").add(&container, &ifname(n), &bridge).ok();
            conf(
                &result,
                &json!({"vrfname": if n % 2 == 0 { "shared".to_owned() } else { format!("own{n}") }}),
            )
        })
        .collect();
    for _ in 0..3 {
        for command in ["ADD", "CHECK", "DEL"] {
            let (host, container) = (&host, &container);
            std::thread::scope(|scope| {
                for (n, conf) in confs.iter().enumerate() {
                    scope.spawn(move || vrf(host, command, container, &ifname(n), conf).ok());
                }
            });
            let vrfs = container.ns().socket().unwrap().link_dump(Some("vrf")).unwrap();
            let mut tables: Vec<_> = vrfs.iter().map(|vrf| format!("{:?}", vrf.settings)).collect();
            tables.sort();
            tables.dedup();
            let expected = if command == "DEL" { 0 } else { 1 + COUNT / 2 };
            assert_eq!((vrfs.len(), tables.len()), (expected, expected), "{command}: {tables:?}");
        }
    }
}

#[test]
#[ignore = "needs a kernel with vrf"]
fn every_version_lives_and_leaves_nothing() {
    for version in VERSIONS {
        let (host, container, result) = alone();
        let before = host.snapshot();
        let mut conf = conf(&result, &json!({}));
        conf["cniVersion"] = version.into();
        conf["prevResult"]["cniVersion"] = version.into();
        for (n, family) in ["4", "6"].into_iter().enumerate() {
            if version < "1.0.0" {
                conf["prevResult"]["ips"][n]["version"] = family.into();
            }
        }
        assert_eq!(vrf(&host, "ADD", &container, "eth0", &conf).ok()["cniVersion"], version);
        if version >= "0.4.0" {
            vrf(&host, "CHECK", &container, "eth0", &conf).ok();
        }
        for _ in 0..2 {
            vrf(&host, "DEL", &container, "eth0", &conf).ok();
            assert!(!has(&container, "red"));
            assert_eq!(link_in(&container, "eth0").master, None);
        }
        host.snapshot().assert_same(&before);
    }
}

/// ENODEV of the interface stopped the chain: https://github.com/containernetworking/plugins/pull/1282
#[test]
#[ignore = "needs a kernel with vrf"]
fn del_is_done_when_something_is_gone() {
    let (host, mut container, result) = alone();
    let own = conf(&result, &json!({}));
    vrf(&host, "ADD", &container, "eth0", &own).ok();
    host.plugin("vrf").env("CNI_NETNS", "").del(&container, "eth0", &own).ok();
    host.plugin("bridge").del(&container, "eth0", &network(0, 5)).ok();
    assert!(has(&container, "red") && !has(&container, "eth0"));
    vrf(&host, "DEL", &container, "eth0", &own).ok();
    assert!(!has(&container, "red"));
    vrf(&host, "DEL", &container, "eth0", &own).ok();
    container.kill();
    vrf(&host, "DEL", &container, "eth0", &own).ok();
}

#[test]
#[ignore = "needs a kernel with vrf"]
fn del_takes_only_what_is_its_own_whatever_the_keys_say_by_then() {
    let (host, container, result) = alone();
    let mut inside = container.ns().socket().unwrap();
    let other =
        NewLink { name: "other", kind: LinkKind::Vrf { table: 9 }, parent: None, mac: None, mtu: None };
    inside.link_add(&other).unwrap();
    add_link("eth9", Some(&container));
    let eth9 = link_in(&container, "eth9").index;
    let master = |index| LinkChange { master: Some(Some(index)), ..LinkChange::default() };
    inside.link_change(eth9, &master(link_in(&container, "other").index)).unwrap();

    vrf(&host, "ADD", &container, "eth0", &conf(&result, &json!({}))).ok();
    vrf(&host, "DEL", &container, "eth0", &conf(&result, &json!({"vrfname": "other", "table": 5}))).ok();
    assert!(!has(&container, "red") && has(&container, "other"));
    vrf(&host, "ADD", &container, "eth0", &conf(&result, &json!({}))).ok();
    vrf(&host, "DEL", &container, "eth0", &conf(&result, &json!({"vrfname": null, "table": -1}))).ok();
    assert!(!has(&container, "red") && has(&container, "other"));
    // Not a VRF, and no VRF's.
    vrf(&host, "DEL", &container, "eth0", &conf(&result, &json!({"vrfname": "eth9-peer"}))).ok();
    assert_eq!(link_in(&container, "eth9").master, Some(link_in(&container, "other").index));
}

#[test]
#[ignore = "needs a kernel with vrf"]
fn a_failing_add_leaves_nothing() {
    let (host, container, result) = alone();
    let mut inside = container.ns().socket().unwrap();
    let blue = NewLink { name: "blue", kind: LinkKind::Vrf { table: 9 }, parent: None, mac: None, mtu: None };
    inside.link_add(&blue).unwrap();
    add_link("eth9", Some(&container));
    let eth9 = link_in(&container, "eth9").index;
    let master =
        LinkChange { master: Some(Some(link_in(&container, "blue").index)), ..LinkChange::default() };
    inside.link_change(eth9, &master).unwrap();
    let all = |container: &Container| {
        let mut lines = kept(container, "eth0", 0);
        lines.extend(container.snapshot().0);
        lines.extend(routing(container).into_iter().filter(|line| !line.ends_with("priority 1000")));
        lines
    };
    let before = all(&container);
    for (ifname, keys, part) in [
        ("eth0", json!({"vrfname": ""}), "vrfname is missing"),
        ("eth0", json!({"vrfname": "no/name"}), "vrfname: "),
        ("eth0", json!({"table": -1}), "table: -1"),
        ("eth0", json!({"prevResult": null}), "prevResult is missing"),
        ("eth0", json!({"vrfname": "blue", "table": 8}), "the routing table of blue is 9, not 8"),
        ("eth0", json!({"vrfname": "eth9"}), "eth9 is not of kind vrf: it is veth"),
        ("eth9", json!({}), "eth9 has a master already: blue"),
        ("eth8", json!({}), "cannot find link eth8"),
        // Made, but the kernel puts no loopback interface into one.
        ("lo", json!({}), "cannot change the link with index 1: master"),
    ] {
        let (_, msg) = vrf(&host, "ADD", &container, ifname, &conf(&result, &keys)).err();
        assert!(msg.contains(part), "{msg}");
        assert_eq!(all(&container), before, "{part}");
    }
    for netns in ["/nonexistent/netns", "/dev/null"] {
        let run = host.plugin("vrf").env("CNI_NETNS", netns);
        assert!(run.add(&container, "eth0", &conf(&result, &json!({}))).err().1.contains(netns));
    }
}

#[test]
#[ignore = "needs a kernel with vrf"]
fn check_finds_what_was_changed() {
    let (host, container, result) = alone();
    let own = conf(&result, &json!({}));
    let fault = |conf: &Value, part: &str| {
        let (code, msg) = vrf(&host, "CHECK", &container, "eth0", conf).err();
        assert!(code == 999 && msg.contains(part), "{code}: {msg}");
    };
    fault(&own, "cannot find red");
    vrf(&host, "ADD", &container, "eth0", &own).ok();
    fault(&conf(&result, &json!({"table": 5})), "the routing table of red is 1, not 5");
    fault(&conf(&result, &json!({"vrfname": "eth0"})), "eth0 is not of kind vrf: it is veth");
    let mut inside = container.ns().socket().unwrap();
    let [red, eth0] = ["red", "eth0"].map(|name| link_in(&container, name).index);
    let up = |up| LinkChange { up: Some(up), ..LinkChange::default() };
    inside.link_change(red, &up(false)).unwrap();
    fault(&own, "red is down");
    inside.link_change(red, &up(true)).unwrap();
    vrf(&host, "CHECK", &container, "eth0", &own).ok();
    inside.link_change(eth0, &LinkChange { master: Some(None), ..LinkChange::default() }).unwrap();
    fault(&own, "eth0 is not in red");
    inside.link_del(eth0).unwrap();
    fault(&own, "cannot find eth0");
}

#[test]
#[ignore = "needs a kernel with vrf"]
fn gc_leaves_containers_alone_and_status_finds_the_module() {
    let (host, container, result) = alone();
    let mut own = conf(&result, &json!({}));
    vrf(&host, "ADD", &container, "eth0", &own).ok();
    let before = (container.snapshot(), host.snapshot());
    set(&mut own, &json!({"prevResult": null, "cni.dev/valid-attachments": []}));
    vrf(&host, "GC", &container, "eth0", &own).ok();
    vrf(&host, "STATUS", &container, "eth0", &own).ok();
    own["vrfname"] = "".into();
    assert_eq!(vrf(&host, "STATUS", &container, "eth0", &own).err().0, 7);
    container.snapshot().assert_same(&before.0);
    host.snapshot().assert_same(&before.1);
}

/// What sbr moved to its tables is put back there.
#[test]
#[ignore = "needs a kernel with vrf"]
fn tables_of_sbr_outlive_the_vrfs_grasp() {
    let (host, container, result) = alone();
    let mut sbr = conf(&result, &json!({"vrfname": null}));
    sbr["type"] = "sbr".into();
    host.plugin("sbr").add(&container, "eth0", &sbr).ok();
    let before = kept(&container, "eth0", 0);
    let own = conf(&result, &json!({}));
    vrf(&host, "ADD", &container, "eth0", &own).ok();
    host.plugin("sbr").check(&container, "eth0", &sbr).ok();
    let after = kept(&container, "eth0", 0);
    // All but those by a source address, which the kernel takes in the VRF's table only.
    let mut lost = before.iter().filter(|line| !after.contains(line));
    assert!(lost.all(|line| line.contains("Some(10.88.0.5)")), "{before:#?}\n{after:#?}");
    assert!(
        after
            .iter()
            .any(|line| line.starts_with("route 0.0.0.0/0 via 10.88.0.254") && line.contains("table 100"))
    );
    vrf(&host, "DEL", &container, "eth0", &own).ok();
    host.plugin("sbr").del(&container, "eth0", &sbr).ok();
}

#[test]
#[ignore = "needs a kernel with vrf"]
fn the_conflist_of_the_documentation_works_when_pasted() {
    let page = include_str!("../../../../../docs/plugins/vrf.md");
    let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let list: Value = serde_json::from_str(block).unwrap();
    let host = Host::new();
    let container = host.container("one");
    let mut prev = Value::Null;
    for plugin in list["plugins"].as_array().unwrap() {
        // As a runtime makes a plugin's configuration.
        let mut conf = plugin.clone();
        set(&mut conf, &json!({"cniVersion": list["cniVersion"], "name": list["name"], "prevResult": prev}));
        if conf["ipam"]["type"] == "host-local" {
            conf["ipam"]["dataDir"] = host.dir().join("leases").to_str().unwrap().into();
        }
        prev = host.plugin(plugin["type"].as_str().unwrap()).add(&container, "eth0", &conf).ok();
    }
    let name = list["plugins"][1]["vrfname"].as_str().unwrap();
    assert_eq!(link_in(&container, "eth0").master, Some(link_in(&container, name).index));
}
