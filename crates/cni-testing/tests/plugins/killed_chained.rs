//! Plugins that change what others made, killed anywhere.

use cni_netlink::Socket;
use serde_json::{Value, json};

use crate::bridge_net::{link_in, set};
use crate::killed::Life;
use crate::sbr_net::routing;

fn alone(plugin: &str, keys: &Value) -> Life {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": plugin});
    set(&mut conf, keys);
    Life::new(|_| conf)
}

/// A plugin behind bridge.
fn chained(plugin: &str, keys: &Value) -> Life {
    alone(plugin, keys).after(bridge())
}

fn bridge() -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "isGateway": true,
        "ipam": {"type": "static", "addresses": [
            {"address": "10.88.0.5/24", "gateway": "10.88.0.1"}, {"address": "fd00:88::5/64", "gateway": "fd00:88::1"},
        ]},
    })
}

fn portmap(backend: &str) -> Life {
    let mapping = |protocol| json!({"hostPort": 8080, "containerPort": 80, "protocol": protocol});
    chained(
        "portmap",
        &json!({
            "backend": backend, "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": [mapping("tcp"), mapping("udp")]},
        }),
    )
}

fn firewall(backend: &str) -> Life {
    chained("firewall", &json!({"backend": backend, "ingressPolicy": "same-bridge"}))
}

#[test]
fn portmap_killed_anywhere() {
    portmap("nftables").survives();
}

#[test]
#[ignore = "needs iptables"]
fn portmap_with_iptables_killed_anywhere() {
    portmap("iptables").survives();
}

#[test]
fn firewall_killed_anywhere() {
    firewall("nftables").survives();
}

#[test]
#[ignore = "needs iptables"]
fn firewall_with_iptables_killed_anywhere() {
    firewall("iptables").survives();
}

#[test]
fn portmap_and_firewall_killed_anywhere_on_a_host_without_anything() {
    Life::survives_at_first(|| portmap("nftables"));
    Life::survives_at_first(|| firewall("nftables"));
}

#[test]
#[ignore = "needs iptables"]
fn portmap_and_firewall_with_iptables_killed_anywhere_on_a_host_without_anything() {
    Life::survives_at_first(|| portmap("iptables"));
    Life::survives_at_first(|| firewall("iptables"));
}

#[test]
fn bandwidth_killed_anywhere() {
    let rates = json!({
        "ingressRate": 30_000_000, "ingressBurst": 4_000_000, "egressRate": 20_000_000, "egressBurst": 3_200_000,
    });
    let mut life = chained("bandwidth", &rates);
    life.more = |_| {
        let mut socket = Socket::open().unwrap();
        let links = socket.link_dump(None).unwrap();
        let limits = |index| (socket.tbf_get(index).unwrap(), socket.redirects(index).unwrap());
        links.iter().map(|link| link.index).map(limits).map(|limits| format!("{limits:?}")).collect()
    };
    life.survives();
}

#[test]
fn tuning_killed_anywhere() {
    let mut life = chained(
        "tuning",
        &json!({
            "mac": "02:00:00:00:00:77", "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 7,
            "sysctl": {"net.core.somaxconn": "501", "net.ipv4.conf.IFNAME.arp_filter": "1"},
        }),
    );
    life.conf["dataDir"] = life.host.dir().join("tuning").to_str().unwrap().into();
    if std::path::Path::new("/etc/cni").exists() {
        life.host.hide(&["/etc/cni"]);
    }
    life.more = |life| {
        let link = link_in(&life.container, "eth0");
        vec![format!("{:?} {} {} {}", link.mac, link.promisc, link.allmulti, link.txqlen)]
    };
    life.survives();
}

#[test]
fn sbr_killed_anywhere() {
    let mut life = alone("sbr", &json!({})).after_each(bridge());
    life.more = |life| routing(&life.container);
    life.survives();
}

#[test]
#[ignore = "needs a kernel with vrf"]
fn vrf_killed_anywhere() {
    let mut life = alone("vrf", &json!({"vrfname": "red"})).after_each(bridge());
    life.more = |life| routing(&life.container);
    life.survives();
}
