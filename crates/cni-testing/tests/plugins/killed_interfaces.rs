//! Plugins that make interfaces, and IPAM plugins, killed anywhere.

use cni_testing::Host;
use serde_json::{Value, json};

use crate::host_device_net::add_device;
use crate::killed::Life;
use crate::uplink::{MASTER, OUTSIDE, connect};

/// Leases of both families.
fn leases(host: &Host) -> Value {
    json!({
        "type": "host-local",
        "dataDir": host.dir().join("leases"),
        "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd00:88::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
    })
}

/// One address of IPv4, without the second that the kernel takes to find IPv6 addresses that somebody else has, and without
/// another program.
fn fixed() -> Value {
    json!({
        "type": "static",
        "addresses": [{"address": "10.88.0.5/24", "gateway": "10.88.0.254"}],
        "routes": [{"dst": "0.0.0.0/0"}],
    })
}

fn bridge(host: &Host, backend: &str) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "isDefaultGateway": true,
        "ipMasq": true, "ipMasqBackend": backend, "macspoofchk": true, "ipam": leases(host),
    })
}

fn ptp(host: &Host, backend: &str) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "ptp", "ipMasq": true, "ipMasqBackend": backend,
        "ipam": leases(host),
    })
}

#[test]
fn bridge_killed_anywhere() {
    Life::new(|host| bridge(host, "nftables")).survives();
}

#[test]
#[ignore = "needs iptables"]
fn bridge_that_masquerades_by_iptables_killed_anywhere() {
    Life::new(|host| bridge(host, "iptables")).survives();
}

#[test]
fn ptp_killed_anywhere() {
    Life::new(|host| ptp(host, "nftables")).survives();
}

#[test]
fn bridge_and_ptp_killed_anywhere_on_a_host_without_anything() {
    Life::survives_at_first(|| Life::new(|host| bridge(host, "nftables")));
    Life::survives_at_first(|| Life::new(|host| ptp(host, "nftables")));
}

#[test]
#[ignore = "needs iptables"]
fn ptp_that_masquerades_by_iptables_killed_anywhere_on_a_host_without_anything() {
    Life::survives_at_first(|| Life::new(|host| ptp(host, "iptables")));
}

/// macvlan, ipvlan and vlan, on the host's interface to a machine outside.
fn on_master(plugin: &str, ipam: impl FnOnce(&Host) -> Value) -> Life {
    let mut life = Life::new(|host| {
        let mut conf = json!({
            "cniVersion": "1.1.0", "name": "net", "type": plugin, "master": MASTER, "ipam": ipam(host),
        });
        if plugin == "vlan" {
            conf["vlanId"] = 100.into();
        }
        conf
    });
    let outside = life.host.container("outside");
    connect(MASTER, None, &outside, &OUTSIDE);
    life.others.push(outside);
    life
}

#[test]
fn macvlan_killed_anywhere() {
    let ipam = |host: &Host| {
        let mut ipam = leases(host);
        ipam["ranges"] = json!([[{"subnet": "10.88.0.0/24"}]]);
        ipam["routes"] = json!([{"dst": "0.0.0.0/0"}]);
        ipam
    };
    on_master("macvlan", ipam).survives();
}

#[test]
#[ignore = "needs a kernel with ipvlan"]
fn ipvlan_killed_anywhere() {
    on_master("ipvlan", |_| fixed()).survives();
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn vlan_killed_anywhere() {
    on_master("vlan", |_| fixed()).survives();
}

#[test]
#[ignore = "needs a kernel with dummy"]
fn dummy_killed_anywhere() {
    let conf = |_: &Host| json!({"cniVersion": "1.1.0", "name": "net", "type": "dummy", "ipam": fixed()});
    Life::new(conf).survives();
}

#[test]
fn tap_killed_anywhere() {
    let conf =
        |host: &Host| json!({"cniVersion": "1.1.0", "name": "net", "type": "tap", "ipam": leases(host)});
    Life::new(conf).survives();
}

#[test]
fn host_device_killed_anywhere() {
    let mut life = Life::new(|host| {
        json!({
            "cniVersion": "1.1.0", "name": "net", "type": "host-device", "device": "uplink", "ipam": leases(host),
        })
    });
    // The buses of the machine.
    life.host.hide(&["/sys"]);
    let outside = life.host.container("outside");
    add_device(&outside, "uplink", "wire");
    life.others.push(outside);
    life.survives();
}

#[test]
fn loopback_killed_anywhere() {
    let mut life = Life::new(|_| json!({"cniVersion": "1.1.0", "name": "net", "type": "loopback"}));
    life.ifname = "lo";
    life.survives();
}

fn ipam(plugin: &str, ipam: impl FnOnce(&Host) -> Value) -> Life {
    Life::new(|host| json!({"cniVersion": "1.1.0", "name": "net", "type": plugin, "ipam": ipam(host)}))
}

#[test]
fn host_local_killed_anywhere() {
    ipam("host-local", leases).survives();
}

/// It changes nothing, and there is no moment to kill it at.
#[test]
fn static_killed_anywhere() {
    ipam("static", |_| fixed()).survives();
}
