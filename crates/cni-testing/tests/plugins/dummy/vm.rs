//! The dummy plugin: packets, and every end an attachment can come to. All of it wants dummy links, which Debian's kernel has.

use std::net::SocketAddr;

use cni_netlink::{LinkChange, MacAddr};
use cni_testing::Host;
use serde_json::{Value, json};

use crate::bridge::failure::{fails_cleanly, fake_ipam};
use crate::bridge::net::{Net, addresses, link_in, make_bridge, set};
use crate::uplink::{add_link, has};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A private host and a network of dummies with both families.
pub(crate) fn net() -> Net {
    let host = Host::new();
    let conf = json!({
        "cniVersion": "1.1.0",
        "name": "net",
        "type": "dummy",
        "ipam": {
            "type": "host-local",
            "dataDir": host.dir().join("leases"),
            "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]],
        },
    });
    Net { host, conf }
}

#[test]
#[ignore = "needs a kernel with dummy"]
fn its_addresses_answer_in_the_container_and_nothing_leaves_it() {
    let net = net();
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let own = addresses(&net.add_and_check(&one));
    let other = addresses(&net.add_and_check(&two));
    // What comes from the container's own address goes by lo.
    one.ns().run(set_lo_up).unwrap();
    for &address in &own {
        assert!(one.ping(address), "{address}");
        let at = SocketAddr::new(address, 7777);
        let _server = one.serve(at);
        for echo in [one.echo_tcp(at, "hello"), one.echo_udp(at, "hello")] {
            let echo = echo.unwrap();
            assert!(echo.contains(&address.to_string()) && echo.ends_with(" hello"), "{echo}");
        }
    }
    assert!(!one.ping(other[0]), "a neighbour that no packet can reach");
}

fn set_lo_up() {
    let mut socket = cni_netlink::Socket::open().unwrap();
    let lo = socket.link_by_name("lo").unwrap().index;
    socket.link_change(lo, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
}

#[test]
#[ignore = "needs a kernel with dummy"]
fn the_result_is_ipams_with_the_interface() {
    let mut net = net();
    net.conf["dns"] = json!({"nameservers": ["192.0.2.53"]});
    let resolv = net.host.dir().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 192.0.2.1\n").unwrap();
    net.conf["ipam"]["resolvConf"] = resolv.to_str().unwrap().into();
    net.conf["ipam"]["routes"] = json!([{"dst": "192.0.2.0/24"}]);
    // The same name on the host is no obstacle.
    make_bridge("eth0");
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    let eth0 = link_in(&container, "eth0");
    let expected = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{
            "name": "eth0", "mac": eth0.mac.unwrap().to_string(), "mtu": 1500, "sandbox": container.netns(),
        }],
        "ips": [
            {"interface": 0, "address": "10.88.0.2/24", "gateway": "10.88.0.1"},
            {"interface": 0, "address": "fd00:88::2/64", "gateway": "fd00:88::1"},
        ],
        "routes": [{"dst": "192.0.2.0/24"}],
        "dns": {"nameservers": ["192.0.2.1"]},
    });
    assert_eq!(result, expected);
    assert!(eth0.up);
    assert_eq!(eth0.alias.as_deref(), Some("cni:net:one:eth0"));
}

#[test]
#[ignore = "needs a kernel with dummy"]
fn every_version_lives_and_leaves_nothing() {
    for version in VERSIONS {
        let mut net = net();
        net.conf["cniVersion"] = version.into();
        net.conf["ipam"] = json!({"type": "static", "addresses": [
            {"address": "10.88.0.2/32"}, {"address": "fd00:88::2/128"},
        ]});
        let container = net.host.container("one");
        let before = (net.host.snapshot(), container.snapshot());
        let result = net.add(&container);
        assert_eq!(result["cniVersion"], version);
        if version < "0.3.0" {
            assert_eq!(result["ip4"]["ip"], "10.88.0.2/32");
            assert_eq!(result["ip6"]["ip"], "fd00:88::2/128");
        } else {
            assert_eq!(result["ips"][1]["address"], "fd00:88::2/128");
            assert_eq!(result["interfaces"][0]["name"], "eth0");
        }
        if version < "0.4.0" {
            assert_eq!(net.check(&container, &result).err().0, 1, "no CHECK in {version}");
        } else {
            net.check(&container, &result).ok();
        }
        for _ in 0..2 {
            net.host.plugin("dummy").del(&container, "eth0", &net.with_prev(&result)).ok();
            container.snapshot().assert_same(&before.1);
            net.host.snapshot().assert_same(&before.0);
        }
    }
}

#[test]
#[ignore = "needs a kernel with dummy"]
fn the_lease_goes_when_the_namespace_is_gone_or_not_named() {
    let net = net();
    let (mut gone, unnamed) = (net.host.container("gone"), net.host.container("unnamed"));
    net.add(&gone);
    net.add(&unnamed);
    assert_eq!(net.leases().len(), 4);
    gone.kill();
    for _ in 0..2 {
        net.del(&gone).ok();
        net.host.plugin("dummy").env("CNI_NETNS", "").del(&unnamed, "eth0", &net.conf).ok();
        assert_eq!(net.leases(), [""; 0]);
    }
}

#[test]
#[ignore = "needs a kernel with dummy"]
fn del_takes_only_what_is_its_own_also_when_it_was_renamed() {
    let net = net();
    let (one, other) = (net.host.container("one"), net.host.container("other"));
    add_link("eth0", Some(&other));
    net.del(&other).ok();
    assert_eq!(link_in(&other, "eth0").kind, "veth");

    let result = net.add(&one);
    let mut stranger = net.conf.clone();
    stranger["name"] = "stranger".into();
    net.host.plugin("dummy").del(&one, "eth0", &stranger).ok();
    net.check(&one, &result).ok();

    let mut inside = one.ns().socket().unwrap();
    let index = link_in(&one, "eth0").index;
    inside.link_change(index, &LinkChange { up: Some(false), ..LinkChange::default() }).unwrap();
    inside.link_change(index, &LinkChange { name: Some("lan"), ..LinkChange::default() }).unwrap();
    net.del(&one).ok();
    assert!(!has(&one, "lan"));
}

#[test]
#[ignore = "needs a kernel with dummy"]
fn gc_releases_the_leases_of_no_attachment() {
    let net = net();
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let kept = net.add(&one);
    net.add(&two);
    let before = net.host.snapshot();
    net.host.plugin("dummy").command("GC", &net.conf).ok();
    net.host.snapshot().assert_same(&before);
    let mut conf = net.conf.clone();
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "one", "ifname": "eth0"}]);
    net.host.plugin("dummy").command("GC", &conf).ok();
    net.check(&one, &kept).ok();
    assert_eq!(net.leases().len(), 2);
}

#[test]
#[ignore = "needs a kernel with dummy"]
fn a_failing_add_leaves_nothing() {
    let mut net = net();
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
    add_link("eth0", Some(&container));
    fails_cleanly(&net, &container, "already exists");
}

#[test]
#[ignore = "needs a kernel with dummy"]
fn check_finds_what_was_changed() {
    let net = net();
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    let eth0 = link_in(&container, "eth0");
    let mut inside = container.ns().socket().unwrap();
    let fault = |part: &str| {
        let (code, msg) = net.check(&container, &result).err();
        assert!(code == 999 && msg.contains(part), "{code}: {msg}");
    };
    let mut change = |change: LinkChange<'_>| inside.link_change(eth0.index, &change).unwrap();
    change(LinkChange { mac: Some(MacAddr::random()), ..LinkChange::default() });
    fault("MAC");
    change(LinkChange { mac: eth0.mac, mtu: Some(1300), ..LinkChange::default() });
    fault("1300, not 1500");
    change(LinkChange { mtu: Some(1500), ..LinkChange::default() });
    net.check(&container, &result).ok();
    inside.addr_del(eth0.index, "10.88.0.2/24".parse().unwrap()).unwrap();
    fault("eth0 has no address 10.88.0.2/24");
    inside.link_change(eth0.index, &LinkChange { up: Some(false), ..LinkChange::default() }).unwrap();
    fault("eth0 is down");
    inside.link_del(eth0.index).unwrap();
    fault("cannot find eth0");
    add_link("eth0", Some(&container));
    fault("eth0 is not of kind dummy: it is veth");
}

#[test]
#[ignore = "needs a kernel with dummy"]
fn the_conflist_of_the_documentation_works_when_pasted() {
    let page = include_str!("../../../../../docs/plugins/dummy.md");
    let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let list: Value = serde_json::from_str(block).unwrap();
    let mut net = net();
    // As a runtime makes the plugin's configuration.
    net.conf = list["plugins"][0].clone();
    set(&mut net.conf, &json!({"cniVersion": list["cniVersion"], "name": list["name"]}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    container.ns().run(set_lo_up).unwrap();
    for address in addresses(&result) {
        assert!(container.ping(address), "{address}");
    }
    net.del(&container).ok();
}
