//! The macvlan plugin: what its keys do, seen in the kernel and by packets. A child cannot talk to its master, so packets go from
//! child to child and to a machine outside.

mod life;
mod reference;

use std::net::SocketAddr;

use cni_netlink::{LinkKind, MacvlanMode, Socket};
use cni_testing::Container;
use serde_json::{Value, json};

use crate::bridge::failure::{fails_cleanly, fake_ipam};
use crate::bridge::net::{addresses, link, link_in, set};
use crate::uplink::{MASTER, OUTSIDE, Uplink, add_host_addresses, add_link, connect, default_route, has, ip};

fn uplink(keys: Value) -> Uplink {
    Uplink::new("macvlan", &keys)
}

fn uplink_v4(keys: Value) -> Uplink {
    Uplink::v4("macvlan", &keys)
}

fn settings(container: &Container) -> (MacvlanMode, Option<u32>) {
    match link_in(container, "eth0").settings {
        Some(LinkKind::Macvlan { mode, bc_queue_len }) => (mode, bc_queue_len),
        other => panic!("{other:?}"),
    }
}

#[test]
fn containers_reach_each_other_and_the_outside_over_both_families_but_not_their_host() {
    let Uplink { net, outside } = uplink(json!({}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let first = net.add_and_check(&one);
    let second = net.add_and_check(&two);
    for (index, address) in addresses(&second).into_iter().enumerate() {
        let to = SocketAddr::new(address, 7000);
        let _server = two.serve(to);
        let from = addresses(&first)[index];
        for other in [&one, &outside] {
            assert!(other.ping(address), "ping {address}");
            assert_eq!(other.echo_udp(to, "hello").unwrap().split(' ').next_back(), Some("hello"));
        }
        let seen: SocketAddr = one.echo_tcp(to, "hello").unwrap().split(' ').next().unwrap().parse().unwrap();
        assert_eq!(seen.ip(), from, "the address arrives as it is");
        assert!(outside.echo_tcp(to, "hello").is_ok());
        assert!(one.ping(ip(OUTSIDE[index])));
    }
    assert_eq!(settings(&one).0, MacvlanMode::Bridge);
    add_host_addresses();
    assert!(!net.host.ping(addresses(&first)[0]));
    assert!(net.host.ping(ip(OUTSIDE[0])));
    for container in [&one, &two] {
        net.del(container).ok();
    }
    assert_eq!(net.leases(), [""; 0]);
}

#[test]
fn private_and_vepa_containers_reach_the_outside_but_not_each_other() {
    for (name, mode) in [("private", MacvlanMode::Private), ("vepa", MacvlanMode::Vepa)] {
        let Uplink { net, outside: _outside } = uplink_v4(json!({ "mode": name }));
        let (one, two) = (net.host.container("one"), net.host.container("two"));
        net.add_and_check(&one);
        let second = net.add_and_check(&two);
        assert_eq!(settings(&one).0, mode);
        assert!(one.ping(ip(OUTSIDE[0])), "{name}");
        assert!(two.ping(ip(OUTSIDE[0])), "{name}");
        assert!(!one.ping(addresses(&second)[0]), "{name}");
    }
}

#[test]
fn passthru_gives_the_masters_address_to_one_container_alone() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({"mode": "passthru"}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let result = net.add_and_check(&one);
    assert_eq!(result["interfaces"][0]["mac"], link(MASTER).mac.unwrap().to_string());
    assert!(one.ping(ip(OUTSIDE[0])));
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "ips": [{"address": "10.88.0.5/24"}]}), 0);
    fails_cleanly(&net, &two, "cannot add macvlan eth0");
}

#[test]
fn the_result_tells_the_interface_its_addresses_and_the_configurations_dns() {
    let Uplink { mut net, outside: _outside } = uplink(json!({"dns": {"nameservers": ["192.0.2.53"]}}));
    let resolv = net.host.dir().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 192.0.2.1\n").unwrap();
    net.conf["ipam"]["resolvConf"] = resolv.to_str().unwrap().into();
    let container = net.host.container("one");
    let result = net.add(&container);
    let eth0 = link_in(&container, "eth0");
    let expected = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{
            "name": "eth0", "mac": eth0.mac.unwrap().to_string(), "mtu": 1450, "sandbox": container.netns(),
        }],
        "ips": [
            {"interface": 0, "address": "10.88.0.1/24", "gateway": OUTSIDE[0]},
            {"interface": 0, "address": "fd00:88::1/64", "gateway": OUTSIDE[1]},
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        "dns": {"nameservers": ["192.0.2.53"]},
    });
    assert_eq!(result, expected);
    assert_eq!(eth0.alias.as_deref(), Some("cni:net:one:eth0"));
}

#[test]
fn without_ipam_the_interface_is_up_and_that_is_all() {
    let Uplink { net, outside: _outside } = uplink(json!({"ipam": null}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    assert_eq!(result.get("ips"), None);
    let eth0 = link_in(&container, "eth0");
    assert!(eth0.up);
    let mut inside = container.ns().socket().unwrap();
    inside.addr_add(eth0.index, "10.88.0.9/24".parse().unwrap(), Default::default()).unwrap();
    assert!(container.ping(ip(OUTSIDE[0])));
    net.del(&container).ok();
    assert!(!has(&container, "eth0"));
}

#[test]
fn the_mtu_is_the_masters_or_a_smaller_one() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({}));
    for (mtu, is) in [(json!(0), 1450), (Value::Null, 1450), (json!(1450), 1450), (json!(1400), 1400)] {
        net.conf["mtu"] = mtu;
        let container = net.host.container("one");
        let result = net.add_and_check(&container);
        assert_eq!((link_in(&container, "eth0").mtu, &result["interfaces"][0]["mtu"]), (is, &json!(is)));
        net.del(&container).ok();
    }
    net.conf["mtu"] = 1451.into();
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0"}), 0);
    let code = fails_cleanly(
        &net,
        &net.host.container("two"),
        "mtu: 1451 is greater than 1450, that of master eth0",
    );
    assert_eq!(code, 7);
}

#[test]
fn the_last_source_of_a_mac_wins() {
    let args = "IgnoreUnknown=1;K8S_POD_NAME=a;MAC=02:00:00:00:00:02";
    let top = json!({"mac": "02:00:00:00:00:01"});
    let both = json!({"mac": "02:00:00:00:00:01", "runtimeConfig": {"mac": "02:00:00:00:00:03"}});
    let Uplink { net, outside: _outside } = uplink(json!({"ipam": null}));
    for (args, keys, mac) in [("", &top, 1), (args, &top, 2), (args, &both, 3), ("", &both, 3)] {
        let mut conf = net.conf.clone();
        set(&mut conf, keys);
        let container = net.host.container("one");
        let result = net.host.plugin("macvlan").env("CNI_ARGS", args).add(&container, "eth0", &conf).ok();
        let expected = format!("02:00:00:00:00:0{mac}");
        assert_eq!(result["interfaces"][0]["mac"], expected);
        assert_eq!(link_in(&container, "eth0").mac.unwrap().to_string(), expected);
        conf["prevResult"] = result;
        net.host.plugin("macvlan").env("CNI_ARGS", args).check(&container, "eth0", &conf).ok();
        net.del(&container).ok();
    }
}

#[test]
fn a_mac_that_another_container_of_the_master_has_is_refused_and_leaves_nothing() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({"mac": "02:00:00:00:00:01"}));
    let holder = net.host.container("holder");
    net.add_and_check(&holder);
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "ips": [{"address": "10.88.0.5/24"}]}), 0);
    fails_cleanly(&net, &net.host.container("two"), "cannot set up eth0 in ");
}

#[test]
fn the_queue_of_broadcasts_is_as_long_as_was_asked() {
    let Uplink { mut net, outside: _outside } = uplink(json!({"ipam": null, "bcqueuelen": 2345}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    assert_eq!(settings(&container).1, Some(2345));
    net.conf["bcqueuelen"] = 5432.into();
    let (_, msg) = net.check(&container, &result).err();
    assert!(msg.contains("bcqueuelen of eth0 is 2345, not 5432"), "{msg}");
}

#[test]
fn the_master_is_the_interface_of_the_default_route_ipv4_before_ipv6() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({"master": null}));
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0"}), 0);
    let container = net.host.container("none");
    assert_eq!(fails_cleanly(&net, &container, "master: there is no default route"), 7);
    let status = |conf| net.host.plugin("macvlan").command("STATUS", conf);
    let mut conf = net.conf.clone();
    conf["ipam"] = json!({});
    assert_eq!(status(&conf).err().0, 50);
    for name in ["six", "four", "worse"] {
        add_link(name, None);
    }
    let master_of_next = |id: &str| {
        let container = net.host.container(id);
        let result = net.host.plugin("macvlan").add(&container, "eth0", &conf).ok();
        let mut with_prev = conf.clone();
        with_prev["prevResult"] = result;
        net.host.plugin("macvlan").check(&container, "eth0", &with_prev).ok();
        link_in(&container, "eth0").peer
    };
    default_route("::/0", "six", 1);
    status(&conf).ok();
    assert_eq!(master_of_next("a"), Some(link("six").index));
    default_route("0.0.0.0/0", "worse", 500);
    default_route("0.0.0.0/0", "four", 100);
    assert_eq!(master_of_next("b"), Some(link("four").index));
}

#[test]
fn check_does_not_mind_where_the_default_route_leads_since() {
    let Uplink { net, outside: _outside } = uplink_v4(json!({"master": null}));
    default_route("0.0.0.0/0", MASTER, 500);
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    add_link("new0", None);
    default_route("0.0.0.0/0", "new0", 100);
    net.check(&container, &result).ok();
}

#[test]
fn with_link_in_container_the_master_is_looked_for_there() {
    let Uplink { mut net, outside } = uplink_v4(json!({"linkInContainer": true, "master": "net0"}));
    let container = net.host.container("one");
    connect("net0", Some(&container), &outside, &[]);
    let before = container.snapshot();
    let mut there = outside.ns().socket().unwrap();
    let net0 = link_in(&outside, "net0").index;
    there.addr_del(link_in(&outside, MASTER).index, "10.88.0.254/24".parse().unwrap()).unwrap();
    there.addr_add(net0, "10.88.0.254/24".parse().unwrap(), Default::default()).unwrap();
    net.add_and_check(&container);
    let eth0 = link_in(&container, "eth0");
    assert_eq!((eth0.peer, eth0.peer_netnsid), (Some(link_in(&container, "net0").index), None));
    assert!(container.ping(ip(OUTSIDE[0])));
    net.del(&container).ok();
    container.snapshot().assert_same(&before);

    // The host's is not there.
    net.conf["master"] = MASTER.into();
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0"}), 0);
    fails_cleanly(&net, &container, "master: cannot find link eth0");
}

/// The kernel puts it beside its master then, on what that one stands on.
#[test]
fn a_master_that_is_a_macvlan_itself_passes_check() {
    let Uplink { mut net, outside: _outside } = uplink_v4(json!({}));
    let container = net.host.container("one");
    net.conf["ipam"] = Value::Null;
    let first = net.host.plugin("macvlan").add(&container, "net0", &net.conf).ok();
    assert_eq!(first["interfaces"][0]["name"], "net0");
    set(&mut net.conf, &json!({"master": "net0", "linkInContainer": true}));
    net.add_and_check(&container);
    assert_eq!(link_in(&container, "eth0").peer, Some(link(MASTER).index));
    net.del(&container).ok();
    assert!(has(&container, "net0") && !has(&container, "eth0"));
}

#[test]
fn a_namespace_of_the_hosts_is_taken_where_it_is_asked_for() {
    let Uplink { net, outside: _outside } = uplink(json!({"ipam": null}));
    let container = net.host.container("one");
    let run = |command: &str, conf: &Value| {
        let env = [("CNI_NETNS", "/proc/self/ns/net"), ("CNI_NETNS_OVERRIDE", "1"), ("CNI_COMMAND", command)];
        env.iter()
            .fold(net.host.plugin("macvlan"), |run, (key, value)| run.env(key, value))
            .add(&container, "mv0", conf)
    };
    let mut conf = net.conf.clone();
    conf["prevResult"] = run("ADD", &net.conf).ok();
    assert_eq!(link("mv0").peer, Some(link(MASTER).index));
    run("CHECK", &conf).ok();
    run("DEL", &conf).ok();
    assert!(Socket::open().unwrap().link_by_name("mv0").is_err());
}

#[test]
fn unknown_arguments_are_refused_by_name() {
    let Uplink { net, outside: _outside } = uplink(json!({"ipam": null}));
    let run = net.host.plugin("macvlan").env("CNI_ARGS", "K8S_POD_NAME=a");
    let (code, msg) = run.add(&net.host.container("one"), "eth0", &net.conf).err();
    assert!(code == 4 && msg.contains("K8S_POD_NAME"), "{code}: {msg}");
}

#[test]
fn the_conflist_of_the_documentation_works_when_pasted() {
    let page = include_str!("../../../../docs/plugins/macvlan.md");
    let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let list: Value = serde_json::from_str(block).unwrap();
    // As a runtime makes the plugin's configuration, but for leases in the host's own folder.
    let Uplink { mut net, outside: _outside } = uplink(json!({}));
    net.conf = list["plugins"][0].clone();
    set(&mut net.conf, &json!({"cniVersion": list["cniVersion"], "name": list["name"]}));
    net.conf["ipam"]["dataDir"] = net.host.dir().join("leases").to_str().unwrap().into();
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    net.add_and_check(&one);
    for address in addresses(&net.add_and_check(&two)) {
        assert!(one.ping(address), "{address}");
    }
}
