//! The host-device plugin: a device goes into a container, works there, and comes back as it was.

mod failure;
mod find;
mod hostile;
pub(crate) mod net;
mod network;
mod reference;
mod vm;

use std::net::IpAddr;

use cni_netlink::{LinkChange, MacAddr, NewBridge, Socket};
use cni_testing::Container;
use serde_json::{Value, json};

use crate::bridge::net::{link, link_in, set};
use crate::host_device::net::{ALIAS, INSIDE, Net, OUTSIDE, add_device, change, records};
use crate::ipam::VERSIONS;
use crate::portmap::net::run;

fn has(name: &str) -> bool {
    Socket::open().unwrap().link_by_name(name).is_ok()
}

fn change_in(container: &Container, name: &str, change: &LinkChange<'_>) {
    let mut socket = container.ns().socket().unwrap();
    let index = socket.link_by_name(name).unwrap().index;
    socket.link_change(index, change).unwrap();
}

fn add_bridge(socket: &mut Socket, name: &str) {
    socket.link_add_bridge(&NewBridge { name, mac: None, mtu: None, vlan_filtering: false }).unwrap();
}

#[test]
fn a_device_works_in_the_container_and_comes_back_as_it_was() {
    let net = Net::with_leases(json!({}));
    let container = net.host.container("one");
    let (on_host, in_it, device) = (net.host.snapshot(), container.snapshot(), link("uplink"));
    let result = net.add_and_check(&container);
    assert!(!has("uplink"));
    let inside = link_in(&container, "eth0");
    assert_eq!((inside.address, inside.mtu, inside.up), (device.address.clone(), 1400, true));
    assert_eq!(inside.alias.as_deref(), Some("uplink"), "as the reference has it");
    let interface = json!([{"name": "eth0", "mac": device.mac.unwrap().to_string(), "mtu": 1400,
        "sandbox": container.netns()}]);
    assert_eq!(result["interfaces"], interface);
    assert_eq!(result["ips"][1]["interface"], 0);

    let _servers = net.serve();
    for address in OUTSIDE {
        let address: IpAddr = address.parse().unwrap();
        assert!(container.ping(address), "{address}");
        let from_inside =
            |echo: String| assert!(echo.contains("10.88.0.2:") || echo.contains("[fd00:88::2]:"), "{echo}");
        from_inside(container.echo_tcp((address, 80).into(), "hello").unwrap());
        from_inside(container.echo_udp((address, 80).into(), "hello").unwrap());
    }

    for _ in 0..2 {
        net.del(&container).ok();
        net.host.snapshot().without("leases").assert_same(&on_host.clone().without("leases"));
        container.snapshot().assert_same(&in_it);
        assert_eq!((net.leases().len(), records()), (0, 0));
    }
    assert_eq!(link("uplink").alias.as_deref(), Some(ALIAS));
}

#[test]
fn every_version_lives_through_add_check_and_del() {
    for version in VERSIONS {
        let net = Net::new(json!({"cniVersion": version}));
        let container = net.host.container("one");
        let before = net.host.snapshot();
        let result = net.add(&container);
        assert_eq!(result["cniVersion"], version);
        if version < "0.3.0" {
            assert_eq!(result["ip4"]["ip"], "10.88.0.5/24");
            assert_eq!(result["ip6"]["gateway"], "fd00:88::9");
        } else {
            assert_eq!(result["ips"][0]["address"], "10.88.0.5/24");
            assert_eq!(result["interfaces"][0]["name"], "eth0");
            assert_eq!(result["interfaces"][0]["mtu"].is_null(), version < "1.0.0");
        }
        assert!(container.ping(OUTSIDE[1].parse().unwrap()), "{version}");
        if version < "0.4.0" {
            assert_eq!(net.check(&container, &result).err().0, 1, "no CHECK in {version}");
        } else {
            net.check(&container, &result).ok();
        }
        net.del(&container).ok();
        net.host.snapshot().assert_same(&before);
    }
}

#[test]
fn without_ipam_the_device_is_moved_and_set_up() {
    let net = Net::layer2(json!({"dns": {"nameservers": ["10.0.0.1"]}}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    assert!(link_in(&container, "eth0").up);
    assert_eq!((&result["ips"], &result["dns"]), (&Value::Null, &Value::Null));
    net.del(&container).ok();
    assert!(!link("uplink").up, "whether it was up nobody knows any more");
}

#[test]
fn the_result_comes_behind_that_of_the_plugins_before() {
    let mut net = Net::new(json!({"dns": {"nameservers": ["10.0.0.1"]}}));
    net.conf["prevResult"] = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "lo", "sandbox": "/x"}],
        "ips": [{"address": "127.0.0.1/8", "interface": 0}],
        "dns": {"search": ["example.org"]},
    });
    let result = net.add(&net.host.container("one"));
    assert_eq!(result["interfaces"][0]["name"], "lo");
    assert_eq!(result["interfaces"][1]["name"], "eth0");
    let of: Vec<_> = result["ips"].as_array().unwrap().iter().map(|ip| ip["interface"].clone()).collect();
    assert_eq!(of, [0, 1, 1]);
    assert_eq!(result["dns"], json!({"nameservers": ["10.0.0.1"]}));
}

#[test]
fn a_tap_device_is_given_like_any_other() {
    let net = Net::layer2(json!({"device": "tap7"}));
    run("ip", &["tuntap", "add", "dev", "tap7", "mode", "tap"]);
    let container = net.host.container("one");
    let before = net.host.snapshot();
    net.add_and_check(&container);
    assert_eq!(link_in(&container, "eth0").kind, "tun");
    net.del(&container).ok();
    net.host.snapshot().assert_same(&before);
}

/// https://github.com/containernetworking/plugins/issues/1196
#[test]
fn issue_1196_the_lease_is_released_when_the_namespace_is_gone_or_not_named() {
    let net = Net::with_leases(json!({}));
    let mut gone = net.host.container("gone");
    net.add(&gone);
    assert_eq!(net.leases().len(), 2);
    gone.kill();
    for _ in 0..2 {
        net.del(&gone).ok();
        assert_eq!((net.leases().len(), records()), (0, 0));
    }

    let unnamed = net.host.container("unnamed");
    add_device(&net.outside, "uplink2", "wire2");
    let net = Net {
        conf: {
            let mut conf = net.conf.clone();
            conf["device"] = "uplink2".into();
            conf
        },
        ..net
    };
    net.add(&unnamed);
    net.host.plugin("host-device").env("CNI_NETNS", "").del(&unnamed, "eth0", &net.conf).ok();
    assert_eq!(net.leases().len(), 0);
}

/// https://github.com/containernetworking/plugins/issues/773
#[test]
fn issue_773_a_device_that_the_container_renamed_comes_back() {
    let net = Net::layer2(json!({}));
    let container = net.host.container("one");
    let before = net.host.snapshot();
    net.add(&container);
    let down = LinkChange { up: Some(false), ..LinkChange::default() };
    change_in(&container, "eth0", &down);
    change_in(&container, "eth0", &LinkChange { name: Some("mine0"), ..LinkChange::default() });
    // And has something else under the old name.
    add_bridge(&mut container.ns().socket().unwrap(), "eth0");
    net.del(&container).ok();
    net.host.snapshot().assert_same(&before);
    assert_eq!(link_in(&container, "eth0").kind, "bridge");
}

#[test]
fn what_the_container_writes_into_the_alias_chooses_no_name_on_the_host() {
    for alias in ["", "docker0", "no name of a link"] {
        let net = Net::layer2(json!({}));
        let container = net.host.container("one");
        let before = net.host.snapshot();
        net.add(&container);
        change_in(&container, "eth0", &LinkChange { alias: Some(alias), ..LinkChange::default() });
        net.del(&container).ok();
        net.host.snapshot().assert_same(&before);
    }
}

#[test]
fn a_device_whose_index_is_taken_in_the_container_is_found_all_the_same() {
    let net = Net::new(json!({}));
    let container = net.host.container("one");
    let index = link("uplink").index;
    let mut inside = container.ns().socket().unwrap();
    for i in 2..=index {
        add_bridge(&mut inside, &format!("br{i}"));
    }
    inside.link_by_index(index).unwrap();
    net.add_and_check(&container);
    assert_ne!(link_in(&container, "eth0").index, index);
    assert!(container.ping(OUTSIDE[0].parse().unwrap()));
    net.del(&container).ok();
    assert_eq!(link("uplink").alias.as_deref(), Some(ALIAS));
}

#[test]
fn names_that_others_have_on_either_side_are_no_obstacle() {
    let net = Net::layer2(json!({}));
    let container = net.host.container("one");
    // The device's name in the container, and the container's on the host.
    add_bridge(&mut container.ns().socket().unwrap(), "uplink");
    add_bridge(&mut Socket::open().unwrap(), "eth0");
    let before = (net.host.snapshot(), container.snapshot());
    net.add_and_check(&container);
    assert_eq!(link_in(&container, "eth0").kind, "veth");
    net.del(&container).ok();
    net.host.snapshot().assert_same(&before.0);
    container.snapshot().assert_same(&before.1);
}

#[test]
fn a_device_whose_name_was_taken_comes_back_under_another_until_it_is_free() {
    for by_add in [false, true] {
        let net = Net::layer2(json!({}));
        let (one, two) = (net.host.container("one"), net.host.container("two"));
        let (address, before) = (link("uplink").address, net.host.snapshot());
        net.add(&one);
        add_bridge(&mut Socket::open().unwrap(), "uplink");
        let outcome = net.del(&one);
        outcome.ok();
        let devices = Socket::open().unwrap().link_dump(Some("veth")).unwrap();
        let [device] = &devices[..] else { panic!("{devices:?}") };
        assert_eq!((&device.address, device.alias.as_deref()), (&address, Some("uplink")));
        assert!(device.name.starts_with("dev"), "{}", device.name);
        let told =
            format!("host-device: uplink is taken on the host: the device came back as {}", device.name);
        assert_eq!(outcome.stderr.trim(), told);
        // Nothing to be done yet.
        net.gc(&[]);
        net.del(&one).ok();

        net.gc(&[]);
        let mut socket = Socket::open().unwrap();
        socket.link_del(link("uplink").index).unwrap();
        if by_add {
            change(&device.name.clone(), &LinkChange { up: Some(true), ..LinkChange::default() });
            let mac = device.mac.unwrap().to_string();
            let net = Net {
                conf: json!({"cniVersion": "1.1.0", "name": "other", "type": "host-device", "hwaddr": mac}),
                ..net
            };
            net.add_and_check(&two);
            assert_eq!(link_in(&two, "eth0").alias.as_deref(), Some("uplink"));
            net.del(&two).ok();
            net.host.snapshot().assert_same(&before);
        } else {
            // As udev does with a card's own name.
            run("ip", &["link", "property", "add", "dev", &device.name, "altname", "uplink"]);
            net.gc(&[]);
            net.host.snapshot().assert_same(&before);
        }
        assert_eq!(records(), 0);
    }
}

#[test]
fn del_takes_no_interface_that_is_not_its_own() {
    let net = Net::layer2(json!({}));
    let container = net.host.container("one");
    net.del(&container).ok();
    assert!(has("uplink"));
    // Another plugin's, without an alias.
    add_bridge(&mut container.ns().socket().unwrap(), "eth0");
    net.del(&container).ok();
    assert_eq!(link_in(&container, "eth0").kind, "bridge");

    // Another network's device, when this one's comes late.
    let two = net.host.container("two");
    net.add(&two);
    let mut conf = net.conf.clone();
    conf["name"] = "late".into();
    net.host.plugin("host-device").del(&two, "eth0", &conf).ok();
    assert_eq!(link_in(&two, "eth0").kind, "veth");
    net.del(&two).ok();
    assert_eq!(link("uplink").alias.as_deref(), Some(ALIAS));
}

#[test]
fn of_adds_for_one_device_at_once_one_gets_it_and_the_others_leave_no_trace() {
    let net = Net::with_leases(json!({}));
    let containers: Vec<Container> = (0..8).map(|i| net.host.container(&format!("c{i}"))).collect();
    let empty = containers[0].snapshot();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let adds: Vec<_> =
            containers.iter().map(|container| scope.spawn(|| net.try_add(container))).collect();
        adds.into_iter().map(|add| add.join().unwrap()).collect()
    });
    let won: Vec<usize> = (0..8).filter(|i| outcomes[*i].code == Some(0)).collect();
    let [winner] = won[..] else { panic!("{outcomes:#?}") };
    assert_eq!((net.leases().len(), records()), (2, 1));
    for (i, container) in containers.iter().enumerate().filter(|(i, _)| *i != winner) {
        assert!(outcomes[i].err().1.contains("uplink"), "{:?}", outcomes[i]);
        assert_eq!(outcomes[i].stderr, "");
        container.snapshot().assert_same(&empty);
        net.del(container).ok();
    }
    net.check(&containers[winner], &outcomes[winner].ok()).ok();
    assert!(containers[winner].ping(OUTSIDE[0].parse().unwrap()));
    net.del(&containers[winner]).ok();
    assert_eq!((link("uplink").alias.as_deref(), net.leases().len(), records()), (Some(ALIAS), 0, 0));
}

#[test]
fn gc_brings_back_what_no_attachment_has_and_nothing_else() {
    let net = Net::with_leases(json!({}));
    for (name, peer) in [("up1", "w1"), ("up2", "w2"), ("up3", "w3")] {
        add_device(&net.outside, name, peer);
    }
    let with = |device: &str, name: &str| {
        let mut conf = net.conf.clone();
        conf["device"] = device.into();
        conf["name"] = name.into();
        conf
    };
    let add = |container: &Container, conf: &Value| {
        net.host.plugin("host-device").add(container, "eth0", conf).ok()
    };
    let (valid, stale, other) =
        (net.host.container("valid"), net.host.container("stale"), net.host.container("other"));
    let mut dead = net.host.container("dead");
    add(&valid, &net.conf);
    add(&stale, &with("up1", "net"));
    add(&other, &with("up2", "green"));
    add(&dead, &with("up3", "net"));
    dead.kill();

    // Without a list nothing is known to be unused.
    net.host.plugin("host-device").command("GC", &net.conf).ok();
    assert_eq!(records(), 4);
    net.gc(&["valid"]);
    assert_eq!((records(), net.leases().len()), (2, 2));
    assert_eq!(link("up1").alias.as_deref(), Some(ALIAS));
    assert!(!has("uplink") && !has("up2") && !has("up3"), "a veth dies with its namespace");
    assert!(stale.ns().socket().unwrap().link_by_name("eth0").is_err());
    for container in [&valid, &other] {
        assert!(link_in(container, "eth0").up);
    }
}

#[test]
fn status_tells_whether_there_is_such_a_device() {
    let net = Net::new(json!({}));
    let status = |keys: Value| {
        let mut conf = net.conf.clone();
        set(&mut conf, &keys);
        net.host.plugin("host-device").command("STATUS", &conf)
    };
    let mac = link("uplink").mac.unwrap().to_string();
    let by_mac = json!({"device": null, "hwaddr": mac});
    // A device that comes with each ADD cannot be looked for.
    for good in [json!({}), by_mac.clone(), json!({"device": null})] {
        status(good).ok();
    }
    for missing in [
        json!({"device": "nowhere"}),
        json!({"device": null, "pciBusID": "0000:03:00.0"}),
        json!({"device": null, "kernelpath": "/sys/devices/x"}),
    ] {
        assert_eq!(status(missing).err().0, 50);
    }
    assert_eq!(status(json!({"device": null, "pciBusID": ".."})).err().0, 7);
    assert_eq!(status(json!({"ipam": {"type": "not-installed"}})).err().0, 50);

    // In use is not missing.
    net.add(&net.host.container("one"));
    status(json!({})).ok();
    status(by_mac).ok();
}

#[test]
fn check_finds_what_was_changed() {
    let net = Net::new(json!({}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    let found = |part: &str| {
        let (code, msg) = net.check(&container, &result).err();
        assert_eq!(code, 999);
        assert!(msg.contains(part), "{msg}");
    };
    let mac = link_in(&container, "eth0").mac;
    change_in(&container, "eth0", &LinkChange { mac: Some(MacAddr::random()), ..LinkChange::default() });
    found("MAC");
    change_in(&container, "eth0", &LinkChange { mac, ..LinkChange::default() });
    net.check(&container, &result).ok();

    let mut inside = container.ns().socket().unwrap();
    let index = link_in(&container, "eth0").index;
    inside.addr_del(index, format!("{}/64", INSIDE[1]).parse().unwrap()).unwrap();
    found(INSIDE[1]);
    change_in(&container, "eth0", &LinkChange { up: Some(false), ..LinkChange::default() });
    change_in(&container, "eth0", &LinkChange { name: Some("eth9"), ..LinkChange::default() });
    found("eth0");
    let mut conf = net.conf.clone();
    conf.as_object_mut().unwrap().remove("prevResult");
    assert_eq!(net.host.plugin("host-device").check(&container, "eth0", &conf).err().0, 7);
}

#[test]
fn the_conflist_of_the_documentation_works_when_pasted() {
    let page = include_str!("../../../../docs/plugins/host-device.md");
    let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let list: Value = serde_json::from_str(block).unwrap();
    let mut net = Net::new(json!({}));
    change("uplink", &LinkChange { name: Some("ens3"), ..LinkChange::default() });
    // As a runtime makes the plugin's configuration.
    net.conf = list["plugins"][0].clone();
    set(&mut net.conf, &json!({"cniVersion": list["cniVersion"], "name": list["name"]}));
    let container = net.host.container("one");
    net.add_and_check(&container);
    for address in OUTSIDE {
        assert!(container.ping(address.parse().unwrap()), "{address}");
    }
    net.del(&container).ok();
    assert_eq!(link("ens3").alias.as_deref(), Some(ALIAS));
}
