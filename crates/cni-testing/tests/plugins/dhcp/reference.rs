//! Addresses by the reference's dhcp: its plugin and its daemon, and each with this project's other half, since nodes get them at
//! different times.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::bridge::net::{addresses, link};
use crate::dhcp::net::{Network, Running, Server, wait_for};
use crate::host_device::net as host_device_net;
use crate::portmap::net::reference;
use crate::reference::is_1_10;
use crate::uplink::has;

/// Whose are the plugin and the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Halves {
    Theirs,
    OurPlugin,
    OurDaemon,
}

fn scene(plugin: &str, halves: Halves) -> (Network, Running) {
    let mut network = Network::new(plugin);
    if halves != Halves::OurPlugin {
        network.plugins = reference("dhcp").parent().unwrap().to_owned();
    }
    let daemon = if halves == Halves::OurDaemon { network.daemon(&[]) } else { network.reference_daemon() };
    (network, daemon)
}

fn gets_an_address(plugin: &str, halves: Halves) {
    let (network, _daemon) = scene(plugin, halves);
    let _server = network.serve(Server::Dnsmasq);
    let net = &network.net;
    let container = net.host.container("one");
    let start = Instant::now();
    let result = network.run("ADD", &container, &net.conf).ok();
    let took = start.elapsed();
    let [IpAddr::V4(address)] = addresses(&result)[..] else { panic!("one address: {result}") };
    assert!((50..=60).contains(&address.octets()[3]), "{address} is not of the server's");
    // A first packet that is lost is repeated after seconds.
    assert!(took < Duration::from_secs(3), "ADD of {plugin} took {took:?}");
    assert!(container.ping(network.server), "{plugin}");
    network.run("CHECK", &container, &net.with_prev(&result)).ok();
    network.run("DEL", &container, &net.with_prev(&result)).ok();
    // The server has been told, unless the daemon is one before 1.10.0, whose word goes to everybody, which servers do not hear.
    if halves == Halves::OurDaemon || is_1_10(&net.host) {
        wait_for("the end of the lease", || network.is_free(Server::Dnsmasq, address.into()));
    }
    // What the reference's daemon does not know is no fault.
    let mut conf = net.conf.clone();
    conf["cni.dev/valid-attachments"] = serde_json::json!([]);
    if halves == Halves::OurPlugin {
        network.run("GC", &container, &conf).ok();
        network.run("STATUS", &container, &conf).ok();
    }
    assert!(!has(&container, "eth0"));
    if plugin == "host-device" {
        assert_eq!(link("uplink").alias.as_deref(), Some(host_device_net::ALIAS));
    }
}

#[test]
#[ignore = "needs the reference's dhcp in $CNI_REFERENCE_DIR and dnsmasq and root: \
            `cargo test -p cni-testing --test plugins -- --ignored dhcp::reference`"]
fn issue_14_bridge_gets_an_address_by_dhcp() {
    gets_an_address("bridge", Halves::Theirs);
}

#[test]
#[ignore = "needs the reference's dhcp in $CNI_REFERENCE_DIR and dnsmasq and root: \
            `cargo test -p cni-testing --test plugins -- --ignored dhcp::reference`"]
fn issue_14_macvlan_gets_an_address_by_dhcp() {
    gets_an_address("macvlan", Halves::Theirs);
}

#[test]
#[ignore = "needs the reference's dhcp in $CNI_REFERENCE_DIR and dnsmasq and root: \
            `cargo test -p cni-testing --test plugins -- --ignored dhcp::reference`"]
fn issue_14_host_device_gets_an_address_by_dhcp() {
    gets_an_address("host-device", Halves::Theirs);
}

/// The server does not answer: nothing is left, and a device is at home again.
#[test]
#[ignore = "needs the reference's dhcp in $CNI_REFERENCE_DIR and dnsmasq and root: \
            `cargo test -p cni-testing --test plugins -- --ignored dhcp::reference`"]
fn issue_14_without_a_daemon_nothing_is_left() {
    for plugin in ["bridge", "macvlan", "host-device"] {
        let work = || {
            let (network, daemon) = scene(plugin, Halves::Theirs);
            let container = network.net.host.container("one");
            daemon.kill();
            let before = (network.net.host.snapshot(), container.snapshot());
            let (_, msg) = network.run("ADD", &container, &network.net.conf).err();
            assert!(msg.contains("dhcp"), "{msg}");
            network.net.host.snapshot().assert_same(&before.0);
            container.snapshot().assert_same(&before.1);
        };
        std::thread::scope(|scope| scope.spawn(work).join()).unwrap();
    }
}

#[test]
#[ignore = "needs the reference's dhcp in $CNI_REFERENCE_DIR and dnsmasq and root: \
            `cargo test -p cni-testing --test plugins -- --ignored dhcp::reference`"]
fn issue_16_the_plugin_works_with_the_references_daemon() {
    gets_an_address("bridge", Halves::OurPlugin);
}

#[test]
#[ignore = "needs the reference's dhcp in $CNI_REFERENCE_DIR and dnsmasq and root: \
            `cargo test -p cni-testing --test plugins -- --ignored dhcp::reference`"]
fn issue_16_the_daemon_works_with_the_references_plugin() {
    gets_an_address("macvlan", Halves::OurDaemon);
}
