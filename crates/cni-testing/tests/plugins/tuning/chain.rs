//! tuning in whole chains, through `libcni`: after bridge, ptp and macvlan, before and after the plugins that stand beside it.

use cni_testing::{Container, Snapshot};
use cni_types::{ContainerId, IfName};
use libcni::{Attachment, Network, Runtime};
use serde_json::{Value, json};

use crate::bridge::net::{link_in, set};
use crate::tuning::net as tuning_net;
use crate::uplink::Uplink;

const MAC: &str = "02:00:00:00:00:77";

fn attachment(container: &Container) -> Attachment {
    let id = ContainerId::new(container.id()).unwrap();
    let mut attachment = Attachment::new(id, IfName::new("eth0").unwrap());
    attachment.netns = Some(container.netns().to_owned());
    let mapping = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
    attachment.capability_args.insert("portMappings".to_owned(), mapping);
    attachment
}

/// What is meant to stay: bridges, tables, folders and the files that belong to no container.
fn left(uplink: &Uplink) -> Snapshot {
    let staying = [
        "link cni0",
        "address cni0",
        "dev cni0",
        "last_reserved_ip",
        "folder ",
        ".conflist",
        "/lock",
        ".index/",
        "nft ",
    ];
    staying.iter().fold(uplink.net.host.snapshot(), |snapshot, part| snapshot.without(part))
}

/// A chain of this plugin and these after it lives, holds its CHECK, and goes; with the namespace or without.
fn chain_lives(plugin: &str, keys: &Value, others: &[Value]) {
    chain_lives_in(&["0.4.0", "1.0.0", "1.1.0"], plugin, keys, others);
}

fn chain_lives_in(versions: &[&str], plugin: &str, keys: &Value, others: &[Value]) {
    for version in versions {
        for gone in [false, true] {
            let uplink = Uplink::v4(plugin, keys);
            let dir = uplink.net.host.dir();
            let mut list = vec![uplink.net.conf.clone()];
            list.extend(others.iter().cloned());
            for conf in &mut list {
                if conf["type"] == "tuning" {
                    conf["dataDir"] = json!(dir.join("tuning"));
                }
                set(conf, &json!({"cniVersion": null, "name": null}));
            }
            let file = dir.join("net.conflist");
            std::fs::write(&file, json!({"cniVersion": version, "name": "net", "plugins": list}).to_string())
                .unwrap();
            let network = Network::from_file(&file).unwrap();
            let runtime = Runtime::new(vec![uplink.net.host.bin_dir()], dir.join("cache"));

            let before = left(&uplink);
            let mut container = uplink.net.host.container("one");
            let inside = container.snapshot();
            let attachment = attachment(&container);
            let added = runtime
                .add(&network, &attachment)
                .unwrap_or_else(|error| panic!("{plugin} {others:?}: {error}"));
            let link = link_in(&container, "eth0");
            assert_eq!((link.mac, link.mtu, link.txqlen), (Some(MAC.parse().unwrap()), 1400, 7));
            let told =
                added.result.interfaces.iter().find(|told| told.name == "eth0" && told.sandbox.is_some());
            assert_eq!(told.unwrap().mac.as_deref(), Some(MAC));
            runtime
                .check(&network, &attachment)
                .unwrap_or_else(|error| panic!("{plugin} {version}: {error}"));
            // Not the other way round: with sbr, packets without a source address have no route.
            let address = added.result.ips[0].address.addr();
            if plugin == "macvlan" {
                assert!(uplink.outside.ping(address));
            } else {
                assert!(uplink.net.host.ping(address));
            }
            assert!(dir.join("tuning/one_eth0.json").is_file());

            if gone {
                container.kill();
            }
            runtime.del(&network, &attachment).unwrap();
            runtime.del(&network, &attachment).unwrap();
            assert!(!dir.join("tuning/one_eth0.json").exists());
            left(&uplink).assert_same(&before);
            if !gone {
                container.snapshot().without(" lo").assert_same(&inside.without(" lo"));
            }
        }
    }
}

fn tuning() -> Value {
    json!({"type": "tuning", "mac": MAC, "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 7,
           "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1", "net.core.somaxconn": "500"}})
}

/// As podman has it at the end of every list.
fn without_keys() -> Value {
    json!({"type": "tuning"})
}

#[test]
fn after_bridge_on_either_side_of_portmap() {
    let portmap = json!({"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}});
    let keys = json!({"type": "bridge", "isDefaultGateway": true, "master": null});
    for others in [
        vec![tuning()],
        vec![tuning(), portmap.clone(), without_keys()],
        vec![without_keys(), portmap, tuning()],
    ] {
        chain_lives("bridge", &keys, &others);
    }
}

#[test]
fn after_ptp() {
    chain_lives("ptp", &json!({"master": null}), &[tuning()]);
    chain_lives("ptp", &json!({"master": null}), &[without_keys(), tuning()]);
}

#[test]
fn after_macvlan() {
    chain_lives("macvlan", &json!({}), &[tuning()]);
    chain_lives("macvlan", &json!({}), &[without_keys(), tuning()]);
}

/// Everything that can be chained, as a node's owner may have it.
fn all_others() -> Vec<Value> {
    let rate = 100_000_000;
    vec![
        json!({"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}}),
        json!({"type": "firewall", "backend": "nftables"}),
        json!({"type": "bandwidth", "ingressRate": rate, "ingressBurst": rate, "egressRate": rate, "egressBurst": rate}),
        tuning(),
        json!({"type": "sbr"}),
    ]
}

const CHAINS: [(&str, &str); 3] = [
    ("bridge", r#"{"type": "bridge", "isDefaultGateway": true, "master": null}"#),
    ("ptp", r#"{"master": null}"#),
    ("macvlan", "{}"),
];

#[test]
fn all_that_can_be_chained_lives_together() {
    for (plugin, keys) in CHAINS {
        chain_lives(plugin, &serde_json::from_str(keys).unwrap(), &all_others());
    }
}

#[test]
#[ignore = "needs a kernel with vrf"]
fn all_that_can_be_chained_lives_together_in_a_vrf() {
    let mut others = all_others();
    others.pop();
    others.push(json!({"type": "vrf", "vrfname": "blue"}));
    for (plugin, keys) in CHAINS {
        chain_lives_in(&["1.1.0"], plugin, &serde_json::from_str(keys).unwrap(), &others);
    }
}

#[test]
fn a_container_can_be_added_again_after_its_namespace_outlived_a_del() {
    let net = tuning_net::Net::new(json!({"mtu": 1400, "mac": MAC}));
    let pod = net.pod("one", 5);
    for _ in 0..2 {
        net.add_and_check(&pod);
        net.del(&pod).ok();
    }
    assert_eq!(pod.link().mtu, 1500);
}
