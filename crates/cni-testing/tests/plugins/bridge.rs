//! The bridge plugin: what its keys do, seen in the kernel and by packets.

pub(crate) mod failure;
pub(crate) mod life;
mod mac;
pub(crate) mod net;
mod reference;
mod vlan;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use cni_netlink::{LinkChange, Socket};
use cni_testing::Container;
use serde_json::{Value, json};

use crate::bridge::net::{Net, addresses, link, link_in, make_bridge, port, set};

#[test]
fn two_containers_the_gateway_and_the_host_reach_each_other_over_both_families() {
    let net = Net::new(json!({}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let first = net.add_and_check(&one);
    let second = net.add_and_check(&two);
    // Nothing has to be waited for, not even over IPv6.
    for (index, address) in addresses(&second).into_iter().enumerate() {
        let to = SocketAddr::new(address, 7000);
        let _server = two.serve(to);
        let from = addresses(&first)[index];
        assert!(one.ping(address), "ping {address}");
        assert_eq!(one.echo_udp(to, "hello").unwrap().split(' ').next_back(), Some("hello"));
        let seen = one.echo_tcp(to, "hello").unwrap();
        let peer: SocketAddr = seen.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(peer.ip(), from, "the address arrives as it is");
        assert!(net.host.ping(address), "the host reaches {address}");
    }
    for gateway in ["10.88.0.1", "fd00:88::1"] {
        assert!(one.ping(gateway.parse().unwrap()), "gateway {gateway}");
    }
    for container in [&one, &two] {
        net.del(container).ok();
    }
    assert_eq!(net.leases(), [""; 0]);
}

/// https://github.com/containernetworking/cni/issues/84: a neighbour that was not told of the address's new owner goes on
/// sending to the old one, for seconds.
#[test]
fn cni_84_a_reused_address_is_known_by_neighbours_at_once() {
    let ranges = json!([
        [{"subnet": "10.88.0.0/24", "rangeStart": "10.88.0.2", "rangeEnd": "10.88.0.3"}],
        [{"subnet": "fd00:88::/64", "rangeStart": "fd00:88::2", "rangeEnd": "fd00:88::3"}],
    ]);
    let mut net = Net::new(json!({}));
    net.conf["ipam"]["ranges"] = ranges;
    let socket = |container: &Container, address: IpAddr| {
        let bound = container.ns().run(|| UdpSocket::bind((address, 5000))).unwrap().unwrap();
        bound.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        bound
    };
    let neighbour = net.host.container("neighbour");
    let neighbour_addresses = addresses(&net.add(&neighbour));
    let clients: Vec<_> = neighbour_addresses.iter().map(|from| socket(&neighbour, *from)).collect();
    for round in 0..5 {
        let container = net.host.container(&format!("c{round}"));
        let reused = addresses(&net.add(&container));
        assert_eq!(reused, ["10.88.0.3", "fd00:88::3"].map(|address| address.parse::<IpAddr>().unwrap()));
        for (client, address) in clients.iter().zip(reused) {
            // Once only: what is lost is not sent again.
            let server = socket(&container, address);
            client.send_to(b"hello", (address, 5000)).unwrap();
            server.recv_from(&mut [0; 16]).unwrap_or_else(|error| panic!("{round} {address}: {error}"));
        }
        net.del(&container).ok();
    }
}

#[test]
fn the_result_tells_bridge_port_and_container_in_this_order() {
    let net = Net::new(json!({}));
    let container = net.host.container("one");
    let result = net.add(&container);
    let interfaces = result["interfaces"].as_array().unwrap();
    assert_eq!(interfaces.len(), 3);
    let (bridge, port, eth0) = (link("br0"), port(&result), link_in(&container, "eth0"));
    for (interface, link) in interfaces.iter().zip([&bridge, &port, &eth0]) {
        assert_eq!(interface["name"], link.name.as_str());
        assert_eq!(interface["mac"], link.mac.unwrap().to_string());
        assert_eq!(interface["mtu"], link.mtu);
    }
    assert_eq!(interfaces[0].get("sandbox"), None);
    assert_eq!(interfaces[2]["sandbox"], container.netns());
    assert_eq!(port.master, Some(bridge.index));
    for (ip, gateway) in result["ips"].as_array().unwrap().iter().zip(["10.88.0.1", "fd00:88::1"]) {
        assert_eq!(ip["interface"], 2);
        assert_eq!(ip["gateway"], gateway);
    }
    let routes = json!([{"dst": "0.0.0.0/0", "gw": "10.88.0.1"}, {"dst": "::/0", "gw": "fd00:88::1"}]);
    assert_eq!(result["routes"], routes);
}

#[test]
fn the_bridges_mac_never_follows_its_ports() {
    // https://github.com/containernetworking/plugins/issues/620
    let net = Net::layer2(json!({}));
    let containers: Vec<_> = (0..4).map(|i| net.host.container(&format!("c{i}"))).collect();
    let first = net.add(&containers[0])["interfaces"][0]["mac"].clone();
    for container in &containers[1..] {
        assert_eq!(net.add(container)["interfaces"][0]["mac"], first);
    }
    net.del(&containers[0]).ok();
    assert_eq!(link("br0").mac.unwrap().to_string(), first);
}

#[test]
fn the_mac_of_a_bridge_that_somebody_else_made_stays_once_it_is_the_gateway() {
    let net = Net::new(json!({}));
    let before = make_bridge("br0").mac;
    for id in ["one", "two", "three"] {
        net.add_and_check(&net.host.container(id));
        assert_eq!(link("br0").mac, before);
    }
}

#[test]
fn without_ipam_the_interface_is_up_and_that_is_all() {
    let net = Net::layer2(json!({}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let result = net.add_and_check(&one);
    assert_eq!(result.get("ips"), None);
    assert!(link_in(&one, "eth0").up);
    // It carries packets: addresses set by hand reach each other.
    net.add(&two);
    for (container, address) in [(&one, "10.9.0.1/24"), (&two, "10.9.0.2/24")] {
        let index = link_in(container, "eth0").index;
        let mut socket = container.ns().socket().unwrap();
        socket.addr_add(index, address.parse().unwrap(), cni_netlink::AddrFlags::default()).unwrap();
    }
    assert!(one.ping("10.9.0.2".parse().unwrap()));
    for container in [&one, &two] {
        net.del(container).ok();
    }
}

#[test]
fn disable_container_interface_leaves_it_down() {
    let net = Net::layer2(json!({"disableContainerInterface": true}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    assert!(!link_in(&container, "eth0").up);
    assert_eq!(port(&result).master, Some(link("br0").index));
    net.del(&container).ok();
}

#[test]
fn the_last_source_of_a_mac_wins() {
    let args = "IgnoreUnknown=1;K8S_POD_NAME=a;MAC=02:00:00:00:00:01";
    let cni = json!({"cni": {"mac": "02:00:00:00:00:02"}});
    let runtime = json!({"mac": "02:00:00:00:00:03"});
    for (keys, mac) in [
        (json!({}), "02:00:00:00:00:01"),
        (json!({"args": cni}), "02:00:00:00:00:02"),
        (json!({"args": cni, "runtimeConfig": runtime}), "02:00:00:00:00:03"),
    ] {
        let net = Net::layer2(keys);
        let container = net.host.container("one");
        let result = net.host.plugin("bridge").env("CNI_ARGS", args).add(&container, "eth0", &net.conf).ok();
        assert_eq!(result["interfaces"][2]["mac"], mac);
        assert_eq!(link_in(&container, "eth0").mac.unwrap().to_string(), mac);
    }
}

#[test]
fn mtu_is_that_of_both_ends_and_of_a_bridge_that_is_made() {
    let net = Net::new(json!({"mtu": 1400}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    for mtu in [link("br0").mtu, port(&result).mtu, link_in(&container, "eth0").mtu] {
        assert_eq!(mtu, 1400);
    }
    assert_eq!(result["interfaces"][2]["mtu"], 1400);
}

#[test]
fn hairpin_mode_lets_a_container_hear_what_it_sends() {
    let net = Net::new(json!({"hairpinMode": true}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    assert!(port(&result).port.unwrap().hairpin);
    let plain = Net::new(json!({}));
    let container = plain.host.container("one");
    assert!(!port(&plain.add_and_check(&container)).port.unwrap().hairpin);
}

#[test]
fn isolated_containers_reach_the_gateway_but_not_each_other() {
    let net = Net::new(json!({"portIsolation": true}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    net.add_and_check(&one);
    for address in addresses(&net.add_and_check(&two)) {
        assert!(!one.ping(address), "{address}");
        assert!(net.host.ping(address), "{address}");
    }
    assert!(one.ping("10.88.0.1".parse().unwrap()));
}

#[test]
fn promisc_mode_makes_the_bridge_promiscuous_and_check_sees_it() {
    let net = Net::new(json!({"promiscMode": true}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    net.add_and_check(&net.host.container("two"));
    let bridge = link("br0");
    assert_ne!(bridge.promiscuity, 0);
    let off = LinkChange { promisc: Some(false), ..LinkChange::default() };
    Socket::open().unwrap().link_change(bridge.index, &off).unwrap();
    let (_, msg) = net.check(&container, &result).err();
    assert!(msg.contains("promisc"), "{msg}");
}

#[test]
fn force_address_replaces_the_gateways_address() {
    let mut net = Net::new(json!({}));
    let one = net.host.container("one");
    net.add(&one);
    net.conf["ipam"]["ranges"] = json!([[{"subnet": "10.99.0.0/24"}], [{"subnet": "fd00:88::/48"}]]);
    net.conf["name"] = "other".into();
    let two = net.host.container("two");
    let before = net.host.snapshot().without("leases/other").without("leases/.other");
    let (code, msg) = net.try_add(&two).err();
    assert_eq!(code, 999);
    assert!(msg.contains("br0") && msg.contains("10.88.0.1/24") && msg.contains("forceAddress"), "{msg}");
    net.host.snapshot().without("leases/other").without("leases/.other").assert_same(&before);

    net.conf["forceAddress"] = true.into();
    net.add_and_check(&two);
    assert!(two.ping("10.99.0.1".parse().unwrap()));
    let mut socket = Socket::open().unwrap();
    let addresses = socket.addr_dump(link("br0").index).unwrap();
    let addresses: Vec<String> = addresses.iter().map(|addr| addr.address.to_string()).collect();
    assert!(!addresses.contains(&"10.88.0.1/24".to_owned()), "{addresses:?}");
    assert!(!addresses.contains(&"fd00:88::1/64".to_owned()), "{addresses:?}");
}

#[test]
fn two_subnets_of_one_family_have_both_gateways() {
    let mut net = Net::new(json!({}));
    net.conf["ipam"]["ranges"] = json!([[{"subnet": "10.88.0.0/24"}], [{"subnet": "10.99.0.0/24"}]]);
    for id in ["one", "two"] {
        let container = net.host.container(id);
        net.add_and_check(&container);
        for gateway in ["10.88.0.1", "10.99.0.1"] {
            assert!(container.ping(gateway.parse().unwrap()), "{gateway}");
        }
    }
}

#[test]
fn a_default_route_of_ipam_and_one_of_the_bridge_become_one() {
    let mut net = Net::new(json!({}));
    net.conf["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "10.77.0.0/16", "gw": "10.88.0.9"}]);
    let container = net.host.container("one");
    net.add_and_check(&container);
    let mut socket = container.ns().socket().unwrap();
    let routes = socket.route_dump(link_in(&container, "eth0").index, None).unwrap();
    let default: Vec<_> = routes.iter().filter(|route| route.dst.to_string() == "0.0.0.0/0").collect();
    assert_eq!(default.len(), 1);
    assert_eq!(default[0].next_hops.len(), 1);
}

#[test]
fn dns_of_the_configuration_replaces_that_of_ipam_whole() {
    let mut net = Net::new(json!({}));
    let resolv = net.host.dir().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 192.0.2.53\nsearch ipam.example\n").unwrap();
    net.conf["ipam"]["resolvConf"] = resolv.to_str().unwrap().into();
    let result = net.add(&net.host.container("one"));
    assert_eq!(result["dns"], json!({"nameservers": ["192.0.2.53"], "search": ["ipam.example"]}));
    net.conf["dns"] = json!({"nameservers": ["192.0.2.1"]});
    assert_eq!(net.add(&net.host.container("two"))["dns"], json!({"nameservers": ["192.0.2.1"]}));
}

#[test]
fn with_enabledad_an_address_that_somebody_has_is_refused() {
    let mut net = Net::new(json!({"enabledad": true}));
    net.conf["ipam"] = json!({"type": "static", "addresses": [{"address": "fd00:88::5/64"}]});
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    net.add_and_check(&one);
    let (_, msg) = net.try_add(&two).err();
    assert!(msg.contains("fd00:88::5"), "{msg}");
    assert!(two.ns().socket().unwrap().link_by_name("eth0").is_err());
    assert!(one.ping("fd00:88::1".parse().unwrap()));
}

#[test]
fn a_bridge_that_was_there_stays_after_the_last_container() {
    let net = Net::layer2(json!({}));
    make_bridge("br0");
    let container = net.host.container("one");
    net.add_and_check(&container);
    net.del(&container).ok();
    assert_eq!(link("br0").kind, "bridge");
}

#[test]
fn router_advertisements_are_refused_on_the_host_side() {
    // CVE-2020-10749
    let net = Net::new(json!({}));
    let container = net.host.container("one");
    let result = net.add(&container);
    for name in ["br0", result["interfaces"][1]["name"].as_str().unwrap()] {
        let setting = cni_host::sysctl_read(&format!("net/ipv6/conf/{name}/accept_ra")).unwrap();
        assert_eq!(setting, "0", "{name}");
    }
}

#[test]
fn ipv6_works_where_new_interfaces_have_it_off() {
    let net = Net::new(json!({}));
    cni_host::sysctl_write("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    let container = net.host.container("one");
    container
        .ns()
        .run(|| cni_host::sysctl_write("net/ipv6/conf/default/disable_ipv6", "1"))
        .unwrap()
        .unwrap();
    net.add_and_check(&container);
    assert!(container.ping("fd00:88::1".parse().unwrap()));
}

#[test]
fn the_conflist_of_the_documentation_works_when_pasted() {
    let page = include_str!("../../../../docs/plugins/bridge.md");
    let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let list: Value = serde_json::from_str(block).unwrap();
    // As a runtime makes the plugin's configuration, but for leases in the host's own folder.
    let mut net = Net::new(json!({}));
    net.conf = list["plugins"][0].clone();
    set(&mut net.conf, &json!({"cniVersion": list["cniVersion"], "name": list["name"]}));
    net.conf["ipam"]["dataDir"] = net.host.dir().join("leases").to_str().unwrap().into();
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    net.add_and_check(&one);
    for address in addresses(&net.add_and_check(&two)) {
        assert!(one.ping(address), "{address}");
    }
}

#[test]
fn a_gateway_enables_forwarding_for_its_families_only() {
    let mut net = Net::new(json!({}));
    net.conf["ipam"]["ranges"] = json!([[{"subnet": "10.88.0.0/24"}]]);
    let forwards = |key: &str| cni_host::sysctl_read(key).unwrap();
    for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        cni_host::sysctl_write(key, "0").unwrap();
    }
    net.add(&net.host.container("one"));
    assert_eq!(forwards("net/ipv4/ip_forward"), "1");
    assert_eq!(forwards("net/ipv6/conf/all/forwarding"), "0");
}
