//! The bandwidth plugin beside the reference's: the same results and buckets, and each checks and deletes what the other made.

use cni_netlink::Socket;
use serde_json::{Value, json};

use crate::bandwidth::net::{Pod, Site, both, ifbs, limits_of};
use crate::bridge::net::{link, port, set};

/// Limits that both take, with the largest and with those that do not divide evenly.
fn configurations() -> Vec<Value> {
    let one = |direction: &str, rate: u64, burst: u64| json!({format!("{direction}Rate"): rate, format!("{direction}Burst"): burst});
    vec![
        json!({}),
        both(),
        json!({"runtimeConfig": {"bandwidth": both()}}),
        json!({"egressRate": null, "runtimeConfig": {"bandwidth": both()}}),
        json!({"EgressRate": 1_000_003, "EGRESSBURST": 777_777, "runtimeConfig": {"bandwidth": both()}}),
        one("ingress", 1_000_000, 9),
        one("ingress", 123_456_789, 987_654_321),
        one("egress", 15_700_000, 4_294_967_295),
        one("egress", 40_000_000_000, 8_000_000),
        one("ingress", 34_359_738_368, 8_000_000_007),
    ]
}

/// A burst that the reference's numbers are too small for, as containerd has it: another bucket, but each deletes the other's.
fn overflowing() -> Value {
    json!({"ingressRate": 10_000_000, "ingressBurst": 4_294_967_295_u64, "egressRate": 1_000_000, "egressBurst": 4_294_967_295_u64})
}

/// What there is, with the result; names and addresses of links aside.
fn seen(pod: &Pod, mut result: Value) -> Value {
    let mut socket = Socket::open().unwrap();
    let (bucket, redirects) = limits_of(&mut socket, &port(&pod.result));
    let names = ifbs();
    let ifb: Vec<_> = names.iter().map(|name| limits_of(&mut socket, &link(name)).0).collect();
    for interface in result["interfaces"].as_array_mut().unwrap() {
        interface.as_object_mut().unwrap().remove("mac");
    }
    // Empty, and which program prints it so is no matter.
    result.as_object_mut().unwrap().retain(|key, value| key != "dns" || *value != json!({}));
    json!([result, format!("{bucket:?} {ifb:?} {names:?} {}", redirects.len().min(1))])
}

#[test]
#[ignore = "needs the reference's bandwidth"]
fn results_and_buckets_are_the_same_and_each_checks_and_deletes_what_the_other_made() {
    for version in ["0.4.0", "1.0.0"] {
        for keys in configurations() {
            let mut site = Site::new(&keys);
            site.conf["cniVersion"] = version.into();
            site.net.conf["cniVersion"] = version.into();
            let pod = site.pod("one");
            let conf = site.conf(&pod);
            let life = |ours: bool| {
                let result = site.by(ours, "ADD", &pod, &conf).ok();
                let seen = seen(&pod, result);
                site.by(!ours, "CHECK", &pod, &conf).ok();
                site.by(ours, "CHECK", &pod, &conf).ok();
                site.by(!ours, "DEL", &pod, &conf).ok();
                assert_eq!(ifbs(), [""; 0], "{keys}");
                // The reference leaves these for whoever deletes the interface.
                let (mut socket, port) = (Socket::open().unwrap(), port(&pod.result).index);
                socket.tbf_del(port).unwrap();
                socket.ingress_del(port).unwrap();
                seen
            };
            assert_eq!(life(true), life(false), "{keys}");
        }
    }
}

#[test]
#[ignore = "needs the reference's bandwidth"]
fn what_the_reference_made_with_numbers_cut_off_passes_check_and_is_deleted() {
    let mut site = Site::new(&overflowing());
    site.conf["cniVersion"] = "1.0.0".into();
    let mut pod = site.pod("one");
    let conf = site.conf(&pod);
    site.by(false, "ADD", &pod, &conf).ok();
    site.by(true, "CHECK", &pod, &conf).ok();
    pod.container.kill();
    site.by(true, "DEL", &pod, &conf).ok();
    assert_eq!(ifbs(), [""; 0]);
}

/// Key by key: what one refuses the other does too.
#[test]
#[ignore = "needs the reference's bandwidth"]
fn the_reference_refuses_the_same_configurations() {
    let site = Site::new(&json!({"cniVersion": "1.0.0"}));
    let pod = site.pod("one");
    for (keys, refused) in [
        (json!({}), false),
        (json!({"ingressRate": 8000}), true),
        (json!({"ingressBurst": 8000}), true),
        (json!({"egressRate": 0, "egressBurst": 8000}), true),
        (json!({"egressRate": 8_000_000, "egressBurst": 34_359_738_360_u64}), true),
        (json!({"ingressRate": -1}), true),
        (json!({"ingressRate": "1M", "ingressBurst": 8000}), true),
        (json!({"ingressRate": 1.5, "ingressBurst": 8000}), true),
        (json!({"ingressRate": 8_000_000, "ingressBurst": 7}), true),
        (json!({"ingressRate": 10_000_000_000_u64, "ingressBurst": 8000}), true),
        (json!({"runtimeConfig": {"bandwidth": {"egressRate": 8000}}}), true),
        (json!({"ingressRate": 0, "runtimeConfig": {"bandwidth": {"egressRate": 8000}}}), false),
        (json!({"ingressRate": 0, "runtimeConfig": {"bandwidth": {"egressRate": "8000"}}}), true),
        (json!({"runtimeConfig": {"bandwidth": null}}), false),
    ] {
        let mut conf = site.conf(&pod);
        set(&mut conf, &keys);
        let outcomes = [true, false].map(|ours| {
            let outcome = site.by(ours, "ADD", &pod, &conf);
            site.by(true, "DEL", &pod, &conf);
            outcome.code != Some(0)
        });
        assert_eq!(outcomes, [refused; 2], "{keys}");
    }
}
