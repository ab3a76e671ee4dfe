//! The bandwidth plugin by what passes, and by what is on the interfaces.

mod life;
pub(crate) mod net;
mod reference;

use std::net::IpAddr;

use cni_netlink::{LinkChange, Socket, Tbf};
use cni_testing::Container;
use serde_json::{Value, json};

use crate::bandwidth::net::{
    At, Pod, Site, assert_free, assert_limited, assert_unlimited, both, ifbs, limits_of,
};
use crate::bridge::net::{addresses, link, link_in, port, set};
use crate::uplink::{OUTSIDE, Uplink, ip};

/// The host's address on the bridge, and the container's.
fn ends(pod: &Pod, v6: bool) -> (IpAddr, IpAddr) {
    let of = addresses(&pod.result).into_iter().find(|address| address.is_ipv6() == v6).unwrap();
    (ip(if v6 { "fd00:88::1" } else { "10.88.0.1" }), of)
}

fn is_limited(v6: bool) {
    let limits = both();
    let site = Site::new(&limits);
    let pod = site.pod("one");
    let (host, container) = ends(&pod, v6);
    let inside = At::In(&pod.container);
    assert_free(At::Host, inside, container);
    assert_free(inside, At::Host, host);
    site.limit(&pod);
    assert_limited(At::Host, inside, container, &limits, "ingress");
    assert_limited(inside, At::Host, host, &limits, "egress");
    site.del(&pod).ok();
    assert_free(At::Host, inside, container);
    assert_free(inside, At::Host, host);
}

#[test]
fn both_directions_are_limited_over_ipv4_and_free_without() {
    is_limited(false);
}

#[test]
fn both_directions_are_limited_over_ipv6_and_free_without() {
    is_limited(true);
}

/// https://github.com/containernetworking/plugins/issues/656
#[test]
fn an_interface_without_an_end_on_the_host_is_limited_in_the_container() {
    let Uplink { net, outside } = Uplink::v4("macvlan", &json!({}));
    let container = net.host.container("one");
    let result = net.add(&container);
    let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "bandwidth"});
    set(&mut conf, &both());
    conf["prevResult"] = result.clone();
    let before = (net.host.snapshot(), container.snapshot());

    let limited = net.host.plugin("bandwidth").add(&container, "eth0", &conf).ok();
    let ifb = &limited["interfaces"][1];
    assert_eq!(ifb["sandbox"], container.netns());
    assert_eq!(link_in(&container, ifb["name"].as_str().unwrap()).kind, "ifb");
    net.host.plugin("bandwidth").check(&container, "eth0", &conf).ok();
    net.host.snapshot().assert_same(&before.0);
    let (inside, away) = (At::In(&container), At::In(&outside));
    assert_limited(inside, away, ip(OUTSIDE[0]), &both(), "egress");
    assert_limited(away, inside, addresses(&result)[0], &both(), "ingress");

    for _ in 0..2 {
        net.host.plugin("bandwidth").del(&container, "eth0", &conf).ok();
        container.snapshot().assert_same(&before.1);
    }
    let mut socket = container.ns().socket().unwrap();
    let eth0 = link_in(&container, "eth0");
    assert_eq!(limits_of(&mut socket, &eth0), (None, vec![]));
    assert!(!socket.ingress_del(eth0.index).unwrap());
}

#[test]
fn each_direction_alone_leaves_the_other_alone() {
    for (direction, sends) in [("ingress", true), ("egress", false)] {
        let keys = json!({format!("{direction}Rate"): 8_000_000, format!("{direction}Burst"): 800_000});
        let site = Site::new(&json!({"runtimeConfig": {"bandwidth": keys}}));
        let pod = site.pod("one");
        let result = site.limit(&pod);
        let mut socket = Socket::open().unwrap();
        let (bucket, redirects) = limits_of(&mut socket, &port(&pod.result));
        let wanted = Tbf { rate: 1_000_000, buffer: 1_562_500, limit: 125_000 };
        assert_eq!(bucket, sends.then_some(wanted));
        if sends {
            assert_eq!((redirects, ifbs(), result), (vec![], vec![], pod.result.clone()));
        } else {
            let ifb = link(&ifbs()[0]);
            assert_eq!((redirects, ifb.up, ifb.mtu), (vec![ifb.index], true, port(&pod.result).mtu));
            assert_eq!(socket.tbf_get(ifb.index).unwrap(), Some(wanted));
            assert_eq!(ifb.alias.as_deref(), Some("cni:net:one:eth0"));
            let mut expected = pod.result.clone();
            let interfaces = expected["interfaces"].as_array_mut().unwrap();
            interfaces.push(json!({"name": ifb.name, "mac": ifb.address_text()}));
            assert_eq!(result, expected);
        }
        site.del(&pod).ok();
        assert_unlimited(&pod);
    }
}

#[test]
fn without_a_limit_the_result_is_passed_on_and_nothing_is_made() {
    for keys in [
        json!({}),
        json!({"runtimeConfig": {}}),
        json!({"runtimeConfig": {"bandwidth": {"ingressRate": 0}}}),
        // One key of the configuration, and the runtime is not heard.
        json!({"egressRate": 0, "runtimeConfig": {"bandwidth": both()}}),
    ] {
        let site = Site::new(&keys);
        let pod = site.pod("one");
        assert_eq!(site.limit(&pod), pod.result, "{keys}");
        assert_unlimited(&pod);
        site.del(&pod).ok();
    }
}

#[test]
fn a_burst_that_no_packet_fits_into_is_warned_of() {
    let warnings = |burst: u32| {
        let site = Site::new(&json!({"ingressRate": 8_000_000, "ingressBurst": burst * 8}));
        let outcome = site.add(&site.pod("one"));
        outcome.ok();
        outcome.stderr
    };
    let warning = warnings(1513);
    let text = "ingressRate: its burst of 1513 bytes is less than a packet of 1514 bytes";
    assert!(warning.contains(text), "{warning}");
    assert_eq!(warnings(1514), "");
}

#[test]
fn check_finds_what_was_changed() {
    let site = Site::new(&both());
    let pod = site.pod("one");
    site.limit(&pod);
    let mut socket = Socket::open().unwrap();
    let (port, ifb) = (port(&pod.result), link(&ifbs()[0]));
    let fault = |part: &str| {
        let (code, msg) = site.check(&pod).err();
        assert!(code == 999 && msg.contains(part), "{code}: {msg}");
    };
    for (link, key) in [(&port, "ingressRate"), (&ifb, "egressRate")] {
        let right = socket.tbf_get(link.index).unwrap().unwrap();
        for wrong in [
            Tbf { rate: right.rate + 1, ..right },
            Tbf { buffer: right.buffer + 1, ..right },
            Tbf { limit: right.limit + 1, ..right },
        ] {
            assert!(socket.tbf_del(link.index).unwrap());
            fault(&format!("{key}: {} has no token bucket", link.name));
            socket.tbf_add(link.index, &wrong).unwrap();
            fault(&format!("{key}: {} has {} bytes/s, buffer", link.name, wrong.rate));
            socket.tbf_del(link.index).unwrap();
            socket.tbf_add(link.index, &right).unwrap();
            site.check(&pod).ok();
        }
    }
    let up = |up| LinkChange { up: Some(up), ..LinkChange::default() };
    socket.link_change(ifb.index, &up(false)).unwrap();
    fault(&format!("{} is down", ifb.name));
    socket.link_change(ifb.index, &up(true)).unwrap();
    socket.ingress_del(port.index).unwrap();
    fault(&format!("egressRate: what {} receives does not go to {}", port.name, ifb.name));
    socket.link_del(ifb.index).unwrap();
    fault("egressRate: the ifb of");
    assert_eq!(removed_prev(&site, &pod), 7);
}

fn removed_prev(site: &Site, pod: &Pod) -> u64 {
    let container: &Container = &pod.container;
    site.host().plugin("bandwidth").check(container, "eth0", &site.conf).err().0
}

/// By the names of the specification's capability, through a list, as a runtime does.
#[test]
fn a_runtime_limits_by_the_capability() {
    use cni_types::{ContainerId, IfName};
    use libcni::{Attachment, Network, Runtime};
    let site = Site::new(&json!({}));
    let runtime = Runtime::new(vec![site.host().bin_dir()], site.host().dir().join("cache"));
    let entry = |mut conf: Value, more: Value| {
        set(&mut conf, &json!({"cniVersion": null, "name": null}));
        set(&mut conf, &more);
        conf
    };
    let plugins = [
        entry(site.net.conf.clone(), json!({})),
        entry(site.conf.clone(), json!({"capabilities": {"bandwidth": true}})),
    ];
    let list = json!({"cniVersion": "1.1.0", "name": "net", "plugins": plugins});
    let file = site.host().dir().join("net.conflist");
    std::fs::write(&file, list.to_string()).unwrap();
    let network = Network::from_file(&file).unwrap();
    let mut container = site.host().container("one");
    let id = ContainerId::new(container.id()).unwrap();
    let mut attachment = Attachment::new(id, IfName::new("eth0").unwrap());
    attachment.netns = Some(container.netns().to_owned());
    attachment.capability_args.insert("bandwidth".to_owned(), both());
    let added = runtime.add(&network, &attachment).unwrap().result;
    assert_eq!(added.interfaces.len(), 4);
    runtime.check(&network, &attachment).unwrap();
    assert_eq!(ifbs().len(), 1);
    container.kill();
    runtime.del(&network, &attachment).unwrap();
    assert_eq!(ifbs(), [""; 0]);
}
