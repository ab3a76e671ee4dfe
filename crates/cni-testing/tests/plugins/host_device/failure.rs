//! An ADD of the host-device plugin that fails leaves the device as it was, with all that moving it takes away.

use std::os::unix::fs::PermissionsExt;

use cni_netlink::{AddrFlags, LinkChange, NextHop, RouteSpec, Socket};
use cni_testing::Container;
use serde_json::{Value, json};

use crate::bridge::net::{link, make_bridge};
use crate::host_device::net::{Net, add_device, change, records};

/// An IPAM plugin that answers ADD with `answer`.
fn fake_ipam(net: &mut Net, answer: &Value, exit: u8) {
    let dir = net.host.dir().join("bin");
    std::fs::create_dir_all(&dir).unwrap();
    let calls = net.host.dir().join("calls");
    let script = format!(
        "#!/bin/sh\necho \"$CNI_COMMAND\" >> {}\n[ \"$CNI_COMMAND\" = ADD ] || exit 0\ncat <<'END'\n{answer}\nEND\nexit {exit}\n",
        calls.display()
    );
    std::fs::write(dir.join("fake-ipam"), script).unwrap();
    std::fs::set_permissions(dir.join("fake-ipam"), std::fs::Permissions::from_mode(0o755)).unwrap();
    net.conf["ipam"] = json!({"type": "fake-ipam"});
}

/// Runs an ADD that has to fail with `part` in its message, and compares before and after. Returns what IPAM was asked.
#[track_caller]
fn fails_cleanly(net: &Net, container: &Container, part: &str) -> Vec<String> {
    let before = (net.host.snapshot(), container.snapshot());
    let path = net.host.dir().join("bin");
    let run =
        net.host.plugin("host-device").env("CNI_PATH", path.to_str().unwrap()).env("PATH", "/usr/bin:/bin");
    let outcome = run.add(container, "eth0", &net.conf);
    let (_, msg) = outcome.err();
    assert!(msg.contains(part), "{msg}");
    assert_eq!(outcome.stderr, "", "nothing went wrong with taking it back");
    let calls = net.host.dir().join("calls");
    let asked = std::fs::read_to_string(&calls).unwrap_or_default();
    let _ = std::fs::remove_file(calls);
    net.host.snapshot().assert_same(&before.0);
    container.snapshot().assert_same(&before.1);
    assert_eq!(records(), 0);
    asked.lines().map(str::to_owned).collect()
}

#[test]
fn a_name_that_is_taken_in_the_container_is_refused_before_ipam() {
    let mut net = Net::new(json!({}));
    fake_ipam(&mut net, &json!({}), 0);
    let container = net.host.container("one");
    container.ns().run(|| make_bridge("eth0")).unwrap();
    assert_eq!(fails_cleanly(&net, &container, "eth0"), [""; 0]);
}

#[test]
fn a_failing_ipam_plugin_leaves_the_device_where_it_is() {
    let mut net = Net::new(json!({}));
    let container = net.host.container("one");
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "code": 123, "msg": "no more addresses"}), 1);
    assert_eq!(fails_cleanly(&net, &container, "no more addresses"), ["ADD", "DEL"]);
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0"}), 0);
    assert_eq!(fails_cleanly(&net, &container, "no address"), ["ADD", "DEL"]);
}

/// Of a bridge, up, with addresses and a route: all that the kernel takes from a device that leaves.
#[test]
fn an_add_that_fails_after_the_move_makes_the_device_again_what_it_was() {
    let mut net = Net::new(json!({}));
    let container = net.host.container("one");
    let ips = json!([{"address": "10.88.0.5/24"}]);
    let routes = json!([{"dst": "192.0.2.0/24", "gw": "203.0.113.1"}]);
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "ips": ips, "routes": routes}), 0);
    assert_eq!(fails_cleanly(&net, &container, "192.0.2.0/24"), ["ADD", "DEL"]);

    let mut socket = Socket::open().unwrap();
    let index = link("uplink").index;
    for address in ["198.51.100.7/24", "2001:db8::7/64"] {
        socket.addr_add(index, address.parse().unwrap(), AddrFlags { nodad: true }).unwrap();
    }
    change("uplink", &LinkChange { up: Some(true), ..LinkChange::default() });
    for (dst, gateway) in [("0.0.0.0/0", "198.51.100.1"), ("::/0", "2001:db8::1")] {
        let route = RouteSpec {
            dst: dst.parse().unwrap(),
            next_hops: vec![NextHop { index, gateway: Some(gateway.parse().unwrap()) }],
            metric: Some(100),
            table: None,
            scope: None,
            mtu: None,
            advmss: None,
        };
        socket.route_add(&route).unwrap();
    }
    fails_cleanly(&net, &container, "192.0.2.0/24");

    let bridge = make_bridge("br0");
    add_device(&net.outside, "port", "wire2");
    change("port", &LinkChange { master: Some(Some(bridge.index)), up: Some(true), ..LinkChange::default() });
    net.conf["device"] = "port".into();
    fails_cleanly(&net, &container, "192.0.2.0/24");
}

/// The kernel moves no loopback device.
#[test]
fn a_device_that_cannot_be_moved_stays_as_it_is() {
    let mut net = Net::new(json!({"device": "lo"}));
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "ips": [{"address": "10.88.0.5/24"}]}), 0);
    assert_eq!(fails_cleanly(&net, &net.host.container("one"), "cannot move lo"), [""; 0]);
}
