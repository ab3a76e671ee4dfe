//! What the tests of macvlan, ipvlan and vlan share: a host with an interface to a machine outside, and the lives and failures
//! that are the same for these plugins.

pub(crate) mod reference;

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use cni_netlink::{
    AddrFlags, Link, LinkChange, LinkKind, LinkMonitor, MacAddr, NewLink, NewVeth, NextHop, OperState,
    Parent, RouteSpec, Socket,
};
use cni_testing::{Container, Host};
use serde_json::{Value, json};

use crate::bridge::net::{Net, link, link_in, set};

/// The machine outside, IPv4 and IPv6.
pub(crate) const OUTSIDE: [&str; 2] = ["10.88.0.254", "fd00:88::fe"];

/// The host's interface. The same name as the containers', since before Linux 6.15 that was an obstacle
/// (net/core/rtnetlink.c, rtnl_newlink).
pub(crate) const MASTER: &str = "eth0";

/// The VLAN of that network, for the plugin that makes one.
pub(crate) const VLAN: u16 = 100;

/// A network of host-local on the host's interface.
pub(crate) struct Uplink {
    pub(crate) net: Net,
    pub(crate) outside: Container,
}

impl Uplink {
    /// Both families, with routes, and `keys` above that.
    pub(crate) fn new(plugin: &str, keys: &Value) -> Self {
        let host = Host::new();
        let outside = host.container("outside");
        connect(MASTER, None, &outside, &OUTSIDE);
        let mut conf = json!({
            "cniVersion": "1.1.0",
            "name": "net",
            "type": plugin,
            "master": MASTER,
            "ipam": {
                "type": "host-local",
                "dataDir": host.dir().join("leases"),
                "ranges": [
                    [{"subnet": "10.88.0.0/24", "gateway": "10.88.0.254"}],
                    [{"subnet": "fd00:88::/64", "gateway": "fd00:88::fe"}],
                ],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        });
        if plugin == "vlan" {
            conf["vlanId"] = VLAN.into();
            tag(&outside, VLAN, &OUTSIDE);
        }
        set(&mut conf, keys);
        Uplink { net: Net { host, conf }, outside }
    }

    /// IPv4 alone: no duplicate address detection, which takes its second.
    pub(crate) fn v4(plugin: &str, keys: &Value) -> Self {
        let mut uplink = Uplink::new(plugin, keys);
        let ipam = &mut uplink.net.conf["ipam"];
        ipam["ranges"] = json!([[{"subnet": "10.88.0.0/24", "gateway": "10.88.0.254"}]]);
        ipam["routes"] = json!([{"dst": "0.0.0.0/0"}]);
        uplink
    }
}

/// An interface of the host, or of a container, to the machine outside, which has the addresses; up at both ends.
pub(crate) fn connect(name: &str, of: Option<&Container>, outside: &Container, addresses: &[&str]) {
    let mut socket = of.map_or_else(|| Socket::open().unwrap(), |of| of.ns().socket().unwrap());
    let veth = NewVeth {
        name,
        mac: MacAddr::random(),
        master: None,
        peer_name: name,
        peer_mac: MacAddr::random(),
        peer_netns: Some(outside.ns().as_fd()),
        mtu: Some(1450),
    };
    socket.link_add_veth(&veth).unwrap();
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    let near = socket.link_by_name(name).unwrap();
    let mut there = outside.ns().socket().unwrap();
    there.link_change(near.peer.unwrap(), &up).unwrap();
    socket.link_change(near.index, &up).unwrap();
    wait_for_carrier(&mut socket, of, near.index, true);
    for address in addresses {
        let prefix = if address.contains(':') { 64 } else { 24 };
        let address = format!("{address}/{prefix}").parse().unwrap();
        there.addr_add(near.peer.unwrap(), address, AddrFlags { nodad: true }).unwrap();
    }
}

/// The kernel tells of a carrier some time after it came or went (net/core/link_watch.c).
fn wait_for_carrier(socket: &mut Socket, of: Option<&Container>, index: u32, carrier: bool) {
    let monitor = of.map_or_else(|| Ok(LinkMonitor::open()), |of| of.ns().run(LinkMonitor::open));
    let reached = |link: &Link| (link.operstate == OperState::Up) == carrier;
    monitor.unwrap().unwrap().wait_link(socket, index, Duration::from_secs(20), reached).unwrap();
}

/// An interface of the host, or of a container, that leads nowhere, up.
pub(crate) fn add_link(name: &str, of: Option<&Container>) {
    let mut socket = of.map_or_else(|| Socket::open().unwrap(), |of| of.ns().socket().unwrap());
    let peer_name = &format!("{name}-peer");
    let (mac, peer_mac) = (MacAddr::random(), MacAddr::random());
    let veth = NewVeth { name, mac, master: None, peer_name, peer_mac, peer_netns: None, mtu: None };
    socket.link_add_veth(&veth).unwrap();
    for name in [name, peer_name] {
        let index = socket.link_by_name(name).unwrap().index;
        socket.link_change(index, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
    }
}

/// Moves the addresses of the machine outside to a VLAN of its interface.
pub(crate) fn tag(outside: &Container, id: u16, addresses: &[&str]) {
    let mut there = outside.ns().socket().unwrap();
    let (untagged, name) = (link_in(outside, MASTER).index, format!("v{id}"));
    let parent = Some(Parent { index: untagged, netnsid: None });
    let new = NewLink { name: &name, kind: LinkKind::Vlan { id }, parent, mac: None, mtu: None };
    there.link_add(&new).unwrap();
    let tagged = link_in(outside, &name).index;
    there.link_change(tagged, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
    for address in addresses {
        let prefix = if address.contains(':') { 64 } else { 24 };
        let address = format!("{address}/{prefix}").parse().unwrap();
        there.addr_del(untagged, address).unwrap();
        there.addr_add(tagged, address, AddrFlags { nodad: true }).unwrap();
    }
}

/// A default route of the host by one of its interfaces.
pub(crate) fn default_route(dst: &str, by: &str, metric: u32) {
    let mut socket = Socket::open().unwrap();
    let index = socket.link_by_name(by).unwrap().index;
    let route = RouteSpec {
        dst: dst.parse().unwrap(),
        next_hops: vec![NextHop { index, gateway: None }],
        metric: Some(metric),
        table: None,
        scope: None,
        mtu: None,
        advmss: None,
    };
    socket.route_add(&route).unwrap();
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Addresses of the host's own on its interface. It could reach the containers by them, if the kernel let it; and at layer 3
/// its routes are the containers'.
pub(crate) fn add_host_addresses() {
    let (mut socket, index) = (Socket::open().unwrap(), link(MASTER).index);
    for address in ["10.88.0.253/24", "fd00:88::fd/64"] {
        socket.addr_add(index, address.parse().unwrap(), AddrFlags { nodad: true }).unwrap();
    }
}

/// Whether the container has an interface of this name.
pub(crate) fn has(container: &Container, name: &str) -> bool {
    container.ns().socket().unwrap().link_by_name(name).is_ok()
}

/// A key of the plugin's own, a value that it refuses, and what it says then.
fn refused(plugin: &str) -> (&'static str, Value, &'static str) {
    match plugin {
        "vlan" => ("vlanId", json!(4095), "vlanId: 4095"),
        _ => ("mode", json!("none"), "mode: \"none\""),
    }
}

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

pub(crate) fn every_version_lives_and_leaves_nothing(plugin: &str) {
    let Uplink { mut net, outside } = Uplink::v4(plugin, &json!({}));
    // One of IPv6 too, in the form of each version; static does not keep what would have to be compared.
    net.conf["ipam"] = json!({"type": "static", "addresses": [
        {"address": "10.88.0.2/24", "gateway": OUTSIDE[0]}, {"address": "fd00:88::2/64", "gateway": OUTSIDE[1]},
    ]});
    for version in VERSIONS {
        net.conf["cniVersion"] = version.into();
        let container = net.host.container("one");
        let before = (net.host.snapshot(), container.snapshot());
        let result = net.add(&container);
        assert_eq!(result["cniVersion"], version);
        if version < "0.3.0" {
            assert_eq!(result["ip4"]["ip"], "10.88.0.2/24");
            assert_eq!(result["ip6"]["gateway"], OUTSIDE[1]);
        } else {
            assert_eq!(result["ips"][0]["address"], "10.88.0.2/24");
            assert_eq!(result["ips"][0]["interface"], 0);
            assert_eq!(result["interfaces"].as_array().unwrap().len(), 1);
        }
        assert!(outside.ping(ip("10.88.0.2")), "{version}");
        if version < "0.4.0" {
            assert_eq!(net.check(&container, &result).err().0, 1, "no CHECK in {version}");
        } else {
            net.check(&container, &result).ok();
        }
        for _ in 0..2 {
            net.host.plugin(net.plugin()).del(&container, "eth0", &net.with_prev(&result)).ok();
            container.snapshot().assert_same(&before.1);
            net.host.snapshot().assert_same(&before.0);
        }
    }
}

pub(crate) fn the_lease_goes_when_the_namespace_is_gone_or_not_named(plugin: &str) {
    let Uplink { net, outside: _outside } = Uplink::v4(plugin, &json!({}));
    let (mut gone, unnamed) = (net.host.container("gone"), net.host.container("unnamed"));
    net.add(&gone);
    net.add(&unnamed);
    assert_eq!(net.leases().len(), 2);
    gone.kill();
    for _ in 0..2 {
        net.del(&gone).ok();
        net.host.plugin(net.plugin()).env("CNI_NETNS", "").del(&unnamed, "eth0", &net.conf).ok();
        assert_eq!(net.leases(), [""; 0]);
    }
}

/// The host's interface has the container's name: this must never be what goes.
pub(crate) fn del_takes_only_what_is_its_own(plugin: &str) {
    let Uplink { net, outside: _outside } = Uplink::v4(plugin, &json!({}));
    let before = net.host.snapshot();
    net.del(&net.host.container("never-added")).ok();

    // A link of another kind under the interface's name.
    let other = net.host.container("other");
    add_link("eth0", Some(&other));
    net.del(&other).ok();
    assert_eq!(link_in(&other, "eth0").kind, "veth");

    // Another network's, whatever the name.
    let one = net.host.container("one");
    let result = net.add(&one);
    let mut stranger = net.conf.clone();
    stranger["name"] = "stranger".into();
    net.host.plugin(net.plugin()).del(&one, "eth0", &stranger).ok();
    net.check(&one, &result).ok();
    net.del(&one).ok();
    net.host.snapshot().without("leases").assert_same(&before);
}

/// https://github.com/containernetworking/plugins/issues/773
pub(crate) fn del_finds_an_interface_that_was_renamed(plugin: &str) {
    let Uplink { net, outside: _outside } = Uplink::v4(plugin, &json!({}));
    let container = net.host.container("one");
    let before = container.snapshot();
    let result = net.add(&container);
    let mut inside = container.ns().socket().unwrap();
    let index = link_in(&container, "eth0").index;
    inside.link_change(index, &LinkChange { up: Some(false), ..LinkChange::default() }).unwrap();
    inside.link_change(index, &LinkChange { name: Some("lan"), ..LinkChange::default() }).unwrap();
    assert!(net.check(&container, &result).err().1.contains("cannot find eth0"));
    net.del(&container).ok();
    container.snapshot().assert_same(&before);
}

pub(crate) fn a_failing_add_leaves_nothing(plugin: &str) {
    use crate::bridge::failure::{fails_cleanly, fake_ipam};
    let Uplink { mut net, outside: _outside } = Uplink::v4(plugin, &json!({}));
    let container = net.host.container("one");
    let ips = json!([{"address": "10.88.0.5/24"}]);
    for (answer, exit, part) in [
        (json!({"cniVersion": "1.1.0", "code": 123, "msg": "no more addresses"}), 1, "no more addresses"),
        (json!({"cniVersion": "1.1.0"}), 0, "no address"),
        (json!("no result"), 0, "fake-ipam"),
        // Refused by the kernel, when the link is there already.
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
    // The link itself is refused.
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "ips": ips}), 0);
    net.conf["master"] = "lo".into();
    fails_cleanly(&net, &container, &format!("cannot add {plugin} eth0"));
    // Before IPAM is asked.
    for (key, value, part) in [
        ("master", json!("nope"), "master: cannot find link nope"),
        refused(plugin),
        ("mtu", json!(-1), "mtu: -1"),
    ] {
        let was = std::mem::replace(&mut net.conf[key], value);
        fails_cleanly(&net, &container, part);
        net.conf[key] = was;
    }
    net.conf["master"] = MASTER.into();
    add_link("eth0", Some(&container));
    fails_cleanly(&net, &container, "already exists");
    for netns in ["/nonexistent/netns", "/dev/null"] {
        let before = net.host.snapshot();
        let run = net.host.plugin(net.plugin()).env("CNI_NETNS", netns);
        assert!(run.add(&container, "eth0", &net.conf).err().1.contains(netns));
        net.host.snapshot().assert_same(&before);
    }
}

pub(crate) fn an_add_killed_at_any_moment_is_cleaned_up_by_del(plugin: &str) {
    let Uplink { net, outside: _outside } = Uplink::v4(plugin, &json!({}));
    for (round, microseconds) in [300, 1000, 2000, 3000, 4000, 6000, 8000, 12000].into_iter().enumerate() {
        let container = net.host.container(&format!("c{round}"));
        let before = container.snapshot();
        let mut child = crate::bridge::life::spawn_add(&net, &container);
        std::thread::sleep(Duration::from_micros(microseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        net.del(&container).ok();
        container.snapshot().assert_same(&before);
        net.add_and_check(&container);
        net.del(&container).ok();
    }
    assert_eq!(net.leases(), [""; 0]);
}

pub(crate) fn gc_releases_the_leases_of_no_attachment(plugin: &str) {
    let Uplink { net, outside: _outside } = Uplink::v4(plugin, &json!({}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let kept = net.add(&one);
    net.add(&two);
    let before = net.host.snapshot();
    net.host.plugin(net.plugin()).command("GC", &net.conf).ok();
    net.host.snapshot().assert_same(&before);
    let mut conf = net.conf.clone();
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "one", "ifname": "eth0"}]);
    // What an ADD would refuse does not matter.
    conf["mode"] = "none".into();
    net.host.plugin(net.plugin()).command("GC", &conf).ok();
    net.check(&one, &kept).ok();
    assert_eq!(net.leases().len(), 1);
}

pub(crate) fn del_works_with_keys_that_add_refuses(plugin: &str) {
    let Uplink { mut net, outside: _outside } = Uplink::v4(plugin, &json!({}));
    let container = net.host.container("one");
    net.add(&container);
    set(&mut net.conf, &json!({"master": "nope", "mode": "none", "mtu": -1, "mac": "none"}));
    net.del(&container).ok();
    assert_eq!(net.leases(), [""; 0]);
    assert!(!has(&container, "eth0"));
}

pub(crate) fn status_says_what_an_add_would_find(plugin: &str) {
    let Uplink { net, outside: _outside } = Uplink::v4(plugin, &json!({}));
    let status = |keys: Value| {
        let mut conf = net.conf.clone();
        set(&mut conf, &keys);
        net.host.plugin(net.plugin()).command("STATUS", &conf)
    };
    status(json!({})).ok();
    status(json!({"master": "nope", "linkInContainer": true})).ok();
    let (code, msg) = status(json!({"master": "nope"})).err();
    assert!(code == 50 && msg.contains("master: cannot find link nope"), "{code}: {msg}");
    let (key, value, _) = refused(plugin);
    assert_eq!(status(json!({ key: value })).err().0, 7);
    assert_eq!(status(json!({"ipam": {"type": "not-installed"}})).err().0, 50);
}

/// The address of the machine outside is taken: it is asked, and says so.
pub(crate) fn an_ipv6_address_that_somebody_has_is_refused(plugin: &str) {
    let Uplink { mut net, outside: _outside } = Uplink::v4(plugin, &json!({}));
    net.conf["ipam"] = json!({"type": "static", "addresses": [{"address": "fd00:88::fe/64"}]});
    let container = net.host.container("one");
    let before = container.snapshot();
    let (_, msg) = net.try_add(&container).err();
    assert!(msg.contains("fd00:88::fe") && msg.contains("another host on the link has it"), "{msg}");
    container.snapshot().assert_same(&before);
}

/// A cable that is not plugged in keeps no container from starting.
pub(crate) fn a_master_without_a_carrier_is_not_waited_for(plugin: &str) {
    let Uplink { net, outside } = Uplink::new(plugin, &json!({}));
    let mut there = outside.ns().socket().unwrap();
    let index = link_in(&outside, MASTER).index;
    there.link_change(index, &LinkChange { up: Some(false), ..LinkChange::default() }).unwrap();
    wait_for_carrier(&mut Socket::open().unwrap(), None, link(MASTER).index, false);
    let container = net.host.container("one");
    let since = std::time::Instant::now();
    let result = net.add(&container);
    // The wait would last for ten seconds. An emulated processor makes all the rest slow.
    assert!(since.elapsed().as_secs() < 10, "{:?}", since.elapsed());
    net.check(&container, &result).ok();
    there.link_change(index, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
    // An emulated processor takes its time for that too.
    wait_for_carrier(&mut Socket::open().unwrap(), None, link(MASTER).index, true);
    assert!(container.ping(ip(OUTSIDE[0])) || container.ping(ip(OUTSIDE[0])));
}

/// What CHECK says when the container's interface is other than it was; `mode` is the one of `keys`.
pub(crate) fn check_finds_what_was_changed(plugin: &str, mode: &str, other_mode: &str) {
    let Uplink { mut net, outside: _outside } = Uplink::v4(plugin, &json!({ "mode": mode }));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    let eth0 = link_in(&container, "eth0");
    let mut inside = container.ns().socket().unwrap();
    let fault = |net: &Net, part: &str| {
        let (code, msg) = net.check(&container, &result).err();
        assert_eq!(code, 999, "{msg}");
        assert!(msg.contains(part), "{msg}");
    };

    let mut faults = |wrong: &LinkChange<'_>, right: &LinkChange<'_>, part: &str| {
        inside.link_change(eth0.index, wrong).unwrap();
        fault(&net, part);
        inside.link_change(eth0.index, right).unwrap();
    };
    let mtu = |mtu| LinkChange { mtu: Some(mtu), ..LinkChange::default() };
    faults(&mtu(1300), &mtu(eth0.mtu), "1300");
    let up = |up| LinkChange { up: Some(up), ..LinkChange::default() };
    faults(&up(false), &up(true), "eth0 is down");
    // The default route went with the link.
    fault(&net, "no route to 0.0.0.0/0");
    let gateway = Some(ip(OUTSIDE[0]));
    let route = RouteSpec {
        dst: "0.0.0.0/0".parse().unwrap(),
        next_hops: vec![NextHop { index: eth0.index, gateway }],
        metric: None,
        table: None,
        scope: None,
        mtu: None,
        advmss: None,
    };
    inside.route_add(&route).unwrap();
    net.check(&container, &result).ok();

    net.conf["mode"] = other_mode.into();
    fault(&net, &format!("mode of eth0 is {mode}, not {other_mode}"));
    net.conf["mode"] = mode.into();
    add_link("other0", None);
    net.conf["master"] = "other0".into();
    fault(&net, "eth0 is not on master other0");
    net.conf["master"] = "nope".into();
    fault(&net, "master: cannot find link nope");
    net.conf["master"] = MASTER.into();
    net.check(&container, &result).ok();

    inside.addr_del(eth0.index, "10.88.0.1/24".parse().unwrap()).unwrap();
    fault(&net, "eth0 has no address 10.88.0.1/24");
    inside.link_del(eth0.index).unwrap();
    fault(&net, "cannot find eth0");
    add_link("eth0", Some(&container));
    fault(&net, &format!("eth0 is not of kind {plugin}: it is veth"));
}
