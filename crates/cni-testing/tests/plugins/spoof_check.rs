//! `macspoofchk` of the bridge plugin, by frames with another source address than the container's own.

use std::net::{IpAddr, SocketAddr};

use cni_netlink::{LinkChange, MacAddr};
use cni_testing::Container;
use serde_json::{Value, json};

use crate::bridge::net::{Net, addresses, link_in, port, set};
use crate::portmap::net::run;

/// Gives the container's interface another address, as whoever is root in it can.
fn forge(container: &Container, mac: MacAddr) {
    let mut socket = container.ns().socket().unwrap();
    let index = socket.link_by_name("eth0").unwrap().index;
    socket.link_change(index, &LinkChange { mac: Some(mac), ..LinkChange::default() }).unwrap();
}

fn forged() -> MacAddr {
    MacAddr([0x02, 0, 0, 0, 0, 0x99])
}

fn rules() -> String {
    run("nft", &["--stateless", "list", "ruleset"])
}

fn both_families(result: &Value) -> Vec<IpAddr> {
    addresses(result)
}

#[test]
fn frames_with_another_address_are_dropped_and_others_pass() {
    let net = Net::new(json!({"macspoofchk": true}));
    let (one, two) = (net.host.container("one"), net.host.container("two"));
    let first = net.add_and_check(&one);
    let second = net.add_and_check(&two);
    let own = link_in(&one, "eth0").mac.unwrap();
    let gateways: Vec<IpAddr> = ["10.88.0.1", "fd00:88::1"].map(|gateway| gateway.parse().unwrap()).into();
    let reached = || both_families(&second).into_iter().chain(gateways.clone()).map(|to| one.ping(to));
    assert!(reached().all(|answered| answered));
    forge(&one, forged());
    assert!(reached().all(|answered| !answered));
    // Nobody learned the forged address from it.
    assert!(two.ping(gateways[0]), "the other container is not affected");
    forge(&one, own);
    assert!(reached().all(|answered| answered));
    // Another container's own address does not pass either.
    forge(&one, link_in(&two, "eth0").mac.unwrap());
    assert!(!one.ping(gateways[0]));
    forge(&one, own);
    // And what comes to the container was never in question.
    let _server = one.serve(SocketAddr::new(addresses(&first)[0], 7000));
    two.echo_udp(SocketAddr::new(addresses(&first)[0], 7000), "hello").unwrap();
}

#[test]
fn without_macspoofchk_any_address_passes_and_nothing_is_made() {
    let net = Net::new(json!({}));
    let one = net.host.container("one");
    net.add_and_check(&one);
    forge(&one, forged());
    assert!(one.ping("10.88.0.1".parse().unwrap()));
    assert_eq!(rules(), "");
}

#[test]
fn a_configured_address_is_the_one_that_passes() {
    let net = Net::layer2(json!({"macspoofchk": true, "args": {"cni": {"mac": "02:00:00:00:00:05"}}}));
    let one = net.host.container("one");
    let result = net.add_and_check(&one);
    let pair = format!("\"{}\" . 02:00:00:00:00:05 comment \"cni:net:one:eth0\"", port(&result).name);
    assert!(rules().contains(&pair), "{}", rules());
}

#[test]
fn del_leaves_nothing_of_the_attachment_whether_its_namespace_is_there_or_not() {
    for (gone, known) in [(false, true), (true, true), (true, false)] {
        let mut net = Net::new(json!({"macspoofchk": true}));
        net.add(&net.host.container("other"));
        let before = rules();
        let mut one = net.host.container("one");
        let result = net.add_and_check(&one);
        assert_ne!(rules(), before);
        if gone {
            one.kill();
        }
        let mut conf = if known { net.with_prev(&result) } else { net.conf.clone() };
        for key in [json!(true), json!(null)] {
            set(&mut conf, &json!({"macspoofchk": key}));
            net.host.plugin("bridge").del(&one, "eth0", &conf).ok();
            assert_eq!(rules(), before);
        }
        net.conf = conf;
    }
}

#[test]
fn check_finds_what_somebody_flushed() {
    let net = Net::new(json!({"macspoofchk": true}));
    let one = net.host.container("one");
    let result = net.add_and_check(&one);
    run("nft", &["flush", "ruleset"]);
    let (code, msg) = net.check(&one, &result).err();
    assert_eq!(code, 999);
    assert!(msg.ends_with("it is not in set ports of table bridge cni_spoofcheck"), "{msg}");
}

#[test]
fn gc_collects_what_no_valid_attachment_has_and_nothing_of_others() {
    let mut net = Net::new(json!({"macspoofchk": true}));
    let (valid, mut stale) = (net.host.container("valid"), net.host.container("stale"));
    let result = net.add_and_check(&valid);
    let before = rules();
    net.add(&stale);
    stale.kill();
    net.conf["cni.dev/valid-attachments"] = json!([{"containerID": "valid", "ifname": "eth0"}]);
    net.host.plugin("bridge").command("GC", &net.conf).ok();
    assert_eq!(rules(), before);
    net.check(&valid, &result).ok();
}

#[test]
fn an_add_that_fails_afterwards_takes_the_check_back() {
    let mut net = Net::new(json!({"macspoofchk": true}));
    let mut failing = net.conf.clone();
    // Masquerading comes last, and what is installed is no iptables.
    set(&mut failing, &json!({"ipMasq": true, "ipMasqBackend": "iptables"}));
    net.add(&net.host.container("other"));
    let before = rules();
    net.conf = failing;
    let one = net.host.container("one");
    let folder = net.host.dir().join("programs");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink("/bin/false", folder.join("iptables")).unwrap();
    net.host.hide(&["/run"]);
    let run = net.host.plugin("bridge").env("PATH", folder.to_str().unwrap());
    let (code, msg) = run.add(&one, "eth0", &net.conf).err();
    assert_eq!(code, 999);
    assert!(msg.contains("cannot tell which iptables "), "{msg}");
    assert_eq!(rules(), before);
    assert_eq!(net.leases().len(), 2, "both addresses of the other one");
}
