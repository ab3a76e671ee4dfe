//! VLANs of the bridge plugin, on kernels that can filter them: marked as ignored, since not all can.

use cni_netlink::{BridgeVlan, LinkChange, NewBridge, Socket};
use cni_testing::Host;
use serde_json::{Value, json};

use crate::bridge::failure::{fails_cleanly, fake_ipam};
use crate::bridge::net::{Net, addresses, link, make_bridge, port};

/// Whether this kernel has CONFIG_BRIDGE_VLAN_FILTERING: without it the setting is refused, or taken and not kept.
pub(crate) fn kernel_filters() -> bool {
    std::thread::spawn(|| {
        let _host = Host::new();
        let mut socket = Socket::open().unwrap();
        let bridge = NewBridge { name: "probe", mac: None, mtu: None, vlan_filtering: true };
        socket.link_add_bridge(&bridge).is_ok()
            && socket.link_by_name("probe").unwrap().vlan_filtering == Some(true)
    })
    .join()
    .unwrap()
}

fn vlans_of(result: &Value) -> Vec<(u16, u16, bool, bool)> {
    let vlans = Socket::open().unwrap().bridge_vlan_dump(port(result).index).unwrap();
    let mut vlans: Vec<_> = vlans
        .into_iter()
        .map(|BridgeVlan { first, last, pvid, untagged }| (first, last, pvid, untagged))
        .collect();
    vlans.sort_unstable();
    vlans
}

#[test]
#[ignore = "needs a kernel with bridge VLAN filtering: there, add -- --ignored bridge::vlan"]
fn containers_of_one_vlan_reach_each_other_and_no_others() {
    let mut net = Net::new(json!({"vlan": 100}));
    let (one, two, other) =
        (net.host.container("one"), net.host.container("two"), net.host.container("other"));
    let first = net.add_and_check(&one);
    let second = net.add_and_check(&two);
    assert_eq!(vlans_of(&first), [(100, 100, true, true)]);
    for address in addresses(&second) {
        assert!(one.ping(address), "{address}");
    }
    for gateway in ["10.88.0.1", "fd00:88::1"] {
        assert!(one.ping(gateway.parse().unwrap()), "{gateway}");
    }
    // The gateway is on an interface of its own, made once.
    assert_eq!(second["interfaces"][3]["name"], "br0.100");
    assert_eq!(second["interfaces"][3]["mac"], link("br0.100").mac.unwrap().to_string());
    assert!(
        Socket::open()
            .unwrap()
            .addr_dump(link("br0").index)
            .unwrap()
            .iter()
            .all(|a| a.address.addr().is_ipv6())
    );

    net.conf["vlan"] = 200.into();
    net.conf["isDefaultGateway"] = false.into();
    net.add_and_check(&other);
    for address in addresses(&first) {
        assert!(!other.ping(address), "{address} is in another VLAN");
    }
    for container in [&one, &two, &other] {
        net.del(container).ok();
    }
    assert_eq!(net.leases(), [""; 0]);
}

#[test]
#[ignore = "needs a kernel with bridge VLAN filtering: there, add -- --ignored bridge::vlan"]
fn a_trunk_passes_its_vlans_with_vlan_1_as_the_native_one() {
    for (keys, vlans) in [
        (
            json!({"vlanTrunk": [{"minID": 10, "maxID": 12}, {"id": 20}]}),
            vec![(1, 1, true, true), (10, 12, false, false), (20, 20, false, false)],
        ),
        (
            json!({"vlan": 11, "vlanTrunk": [{"minID": 10, "maxID": 12}]}),
            vec![(10, 10, false, false), (11, 11, true, true), (12, 12, false, false)],
        ),
        (
            json!({"vlan": 100, "preserveDefaultVlan": true}),
            vec![(1, 1, false, true), (100, 100, true, true)],
        ),
        (json!({"vlanTrunk": []}), vec![(1, 1, true, true)]),
    ] {
        let net = Net::layer2(keys);
        // Kept until the port has been looked at, which goes with the container's namespace.
        let container = net.host.container("one");
        let result = net.add_and_check(&container);
        assert_eq!(vlans_of(&result), vlans, "{}", net.conf);
        assert_eq!(link("br0").vlan_filtering, Some(true));
    }
}

#[test]
#[ignore = "needs a kernel with bridge VLAN filtering: there, add -- --ignored bridge::vlan"]
fn check_finds_a_port_that_left_its_vlan() {
    let net = Net::layer2(json!({"vlan": 100}));
    let container = net.host.container("one");
    let result = net.add_and_check(&container);
    let vlan = BridgeVlan { first: 100, last: 100, pvid: true, untagged: true };
    Socket::open().unwrap().bridge_vlan_del(port(&result).index, &[vlan], false).unwrap();
    let (_, msg) = net.check(&container, &result).err();
    assert!(msg.contains("VLAN 100"), "{msg}");
}

#[test]
#[ignore = "needs a kernel with bridge VLAN filtering: there, add -- --ignored bridge::vlan"]
fn a_gateway_interface_that_was_left_half_done_is_completed() {
    let net = Net::new(json!({"vlan": 100}));
    net.add(&net.host.container("one"));
    let mut socket = Socket::open().unwrap();
    let gateway = link("br0.100");
    let vlan = BridgeVlan { first: 100, last: 100, pvid: true, untagged: true };
    socket.link_change(gateway.index, &LinkChange { up: Some(false), ..LinkChange::default() }).unwrap();
    socket.bridge_vlan_del(gateway.peer.unwrap(), &[vlan], false).unwrap();
    let two = net.host.container("two");
    net.add_and_check(&two);
    assert!(two.ping("10.88.0.1".parse().unwrap()));
}

#[test]
#[ignore = "needs a kernel with bridge VLAN filtering: there, add -- --ignored bridge::vlan"]
fn a_failing_add_takes_its_gateway_interface_along() {
    let mut net = Net::new(json!({"vlan": 100, "isDefaultGateway": false, "isGateway": true}));
    make_bridge("br0");
    let up = LinkChange { up: Some(true), vlan_filtering: Some(true), ..LinkChange::default() };
    Socket::open().unwrap().link_change(link("br0").index, &up).unwrap();
    // A multicast address is refused by the kernel, after the interface and the IPv4 address were made.
    let ips = json!([{"address": "10.88.0.5/24"}, {"address": "fd00:88::5/64", "gateway": "ff02::1"}]);
    fake_ipam(&mut net, &json!({"cniVersion": "1.1.0", "ips": ips}), 0);
    fails_cleanly(&net, &net.host.container("one"), "ff02::1");
}

fn has(name: &str) -> bool {
    Socket::open().unwrap().link_by_name(name).is_ok()
}

#[test]
#[ignore = "needs a kernel with bridge VLAN filtering: there, add -- --ignored bridge::vlan"]
fn the_gateways_interface_goes_with_the_last_port_of_its_vlan() {
    let mut net = Net::new(json!({"vlan": 100}));
    let mut two = net.host.container("two");
    let (one, other) = (net.host.container("one"), net.host.container("other"));
    net.add(&one);
    net.add(&two);
    assert_eq!(link("br0.100").alias.as_deref(), Some("cni-gateway"));
    let conf = net.conf.clone();
    net.conf["vlan"] = 200.into();
    net.conf["isDefaultGateway"] = false.into();
    net.add(&other);
    net.conf = conf;

    net.del(&one).ok();
    assert!(has("br0.100") && two.ping("10.88.0.1".parse().unwrap()), "another container is in the VLAN");
    // Its namespace and port may be gone before DEL comes.
    two.kill();
    for _ in 0..2 {
        net.del(&two).ok();
        assert!(!has("br0.100"), "a container of another VLAN has no use for it");
    }
    assert!(has("br0"));

    // And is made again for the next.
    let again = net.host.container("again");
    net.add_and_check(&again);
    assert!(again.ping("10.88.0.1".parse().unwrap()));
    net.conf["cni.dev/valid-attachments"] = json!([{"containerID": "other", "ifname": "eth0"}]);
    net.host.plugin("bridge").command("GC", &net.conf).ok();
    assert!(!has("br0.100"));
}

#[test]
#[ignore = "needs a kernel with bridge VLAN filtering: there, add -- --ignored bridge::vlan"]
fn a_gateway_interface_stays_for_trunks_and_when_somebody_else_made_it() {
    let net = Net::new(json!({"vlan": 100}));
    let (one, trunk) = (net.host.container("one"), net.host.container("trunk"));
    net.add(&one);
    let mut conf = net.conf.clone();
    crate::bridge::net::set(
        &mut conf,
        &json!({"vlan": null, "vlanTrunk": [{"minID": 90, "maxID": 110}], "isDefaultGateway": false, "ipam": null}),
    );
    net.host.plugin("bridge").add(&trunk, "eth0", &conf).ok();
    net.del(&one).ok();
    assert!(has("br0.100"), "a trunk passes the VLAN");
    net.host.plugin("bridge").del(&trunk, "eth0", &conf).ok();
    // Nobody's DEL was about this VLAN; the next one's is.
    net.del(&one).ok();
    assert!(!has("br0.100"));

    net.add(&one);
    let foreign = LinkChange { alias: Some(""), ..LinkChange::default() };
    Socket::open().unwrap().link_change(link("br0.100").index, &foreign).unwrap();
    net.del(&one).ok();
    assert!(has("br0.100"));
}

#[test]
#[ignore = "needs a kernel with bridge VLAN filtering: there, add -- --ignored bridge::vlan"]
fn containers_that_come_while_others_go_have_their_gateway() {
    let net = Net::new(json!({"vlan": 100}));
    let containers: Vec<_> = (0..6).map(|i| net.host.container(&format!("c{i}"))).collect();
    std::thread::scope(|scope| {
        for container in &containers {
            scope.spawn(|| {
                for _ in 0..8 {
                    net.add_and_check(container);
                    assert!(container.ping("10.88.0.1".parse().unwrap()), "{}", container.id());
                    net.del(container).ok();
                }
            });
        }
    });
    assert!(!has("br0.100"));
    assert_eq!(net.leases(), [""; 0]);
}
