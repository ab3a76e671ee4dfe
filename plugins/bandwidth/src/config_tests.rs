use cni_types::{ErrorCode, PluginConf};
use serde_json::{Value, json};

use super::*;

fn wire(keys: &Value) -> Result<Wire> {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "bandwidth"});
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let stdin = conf.to_string().into_bytes();
    let conf = PluginConf::from_slice(&stdin).unwrap();
    Wire::read(&Call { conf, args: Default::default(), path: Vec::new(), stdin, delegators: Vec::new() })
}

fn limits(keys: &Value) -> Limits {
    Limits::new(&wire(keys).unwrap()).unwrap()
}

fn refusal(keys: &Value) -> String {
    let error = Limits::new(&wire(keys).unwrap()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::INVALID_NETWORK_CONFIG, "{error}");
    error.to_string()
}

fn ingress(rate: u64, burst: u64) -> Limit {
    limits(&json!({"ingressRate": rate, "ingressBurst": burst})).ingress.unwrap()
}

/// As the reference set it: `rate 8Mbit burst 100000b lat 25ms`.
#[test]
fn bits_become_the_references_bucket() {
    let limit = ingress(8_000_000, 800_000);
    assert_eq!(limit.tbf, Tbf { rate: 1_000_000, buffer: 1_562_500, limit: 125_000 });
    assert_eq!((limit.burst, limit.key), (100_000, "ingressRate"));
    assert!(limit.is(&limit.tbf));
    assert!(!limit.is(&Tbf { buffer: 1_562_501, ..limit.tbf }));
}

#[test]
fn each_direction_has_a_limit_of_its_own_and_nothing_is_none() {
    let both =
        limits(&json!({"ingressRate": 8000, "ingressBurst": 8000, "egressRate": 16000, "egressBurst": 8000}));
    assert_eq!(both.ingress.map(|limit| limit.tbf.rate), Some(1000));
    assert_eq!(both.egress.map(|limit| limit.tbf.rate), Some(2000));
    let zero = json!({"ingressRate": 0, "ingressBurst": 0, "egressRate": null});
    for keys in
        [json!({}), zero, json!({"runtimeConfig": {"bandwidth": null}}), json!({"runtimeConfig": null})]
    {
        assert!(limits(&keys).is_none() && !wire(&keys).unwrap().has_limits(), "{keys}");
    }
}

#[test]
fn the_runtime_is_heard_only_where_the_configuration_says_nothing() {
    let runtime = json!({"bandwidth": {"egressRate": 8000, "egressBurst": 80_000}});
    let of_runtime = limits(&json!({ "runtimeConfig": runtime }));
    assert_eq!(of_runtime.egress.map(|limit| limit.tbf.rate), Some(1000));
    for keys in [
        json!({"ingressRate": 0, "runtimeConfig": runtime}),
        json!({"INGRESSBURST": null, "runtimeConfig": runtime}),
    ] {
        assert!(limits(&keys).is_none(), "{keys}");
    }
}

/// What containerd asks for where Kubernetes names a rate alone: 2^32 - 1 bits.
#[test]
fn a_burst_that_takes_longer_than_the_kernel_can_count_is_cut_to_what_it_can() {
    let limit = ingress(10_000_000, u64::from(u32::MAX));
    assert_eq!(limit.tbf.buffer, u32::MAX);
    assert_eq!(limit.tbf.limit, 536_870_911 + 31_250);
    // The reference's has lost the bits above, and is taken for the same limit.
    assert_eq!(limit.wrapped.buffer, 2_415_919_079);
    assert!(limit.is(&limit.wrapped));
    // Where nothing is lost they are the same.
    assert_eq!(
        ingress(100_000_000, u64::from(u32::MAX)).tbf,
        ingress(100_000_000, u64::from(u32::MAX)).wrapped
    );
}

#[test]
fn rates_of_more_than_32_bits_of_bytes_are_kept() {
    assert_eq!(ingress(40_000_000_000, 8_000_000).tbf.rate, 5_000_000_000);
    let bits = 8 * (u64::from(u32::MAX) - 1);
    assert_eq!(ingress(8_000_000_000_000, bits).tbf.limit, u32::MAX);
}

#[test]
fn limits_that_cannot_be_are_named() {
    let largest = (u64::from(u32::MAX) - 1) * 8;
    ingress(largest, largest);
    for (keys, reason) in [
        (json!({"ingressRate": 8000}), "ingressRate: is set without ingressBurst"),
        (json!({"egressBurst": 8000}), "egressBurst: is set without egressRate"),
        (json!({"egressRate": 7, "egressBurst": 8000}), "egressRate: 7 bits per second are less than a byte"),
        (json!({"egressRate": 8000, "egressBurst": 7}), "egressBurst: 7 bits are less than a byte"),
        (
            json!({"ingressRate": 8000, "ingressBurst": largest + 8}),
            "ingressBurst: 34359738360 bits are more than 4 GB",
        ),
        (
            json!({"ingressRate": 10_000_000_000_u64, "ingressBurst": 8000}),
            "ingressBurst: 8000 bits are less than what passes in a microsecond at 10000000000 bits per second \
             (ingressRate)",
        ),
    ] {
        assert_eq!(refusal(&keys), reason);
        let runtime = json!({"runtimeConfig": {"bandwidth": keys}});
        assert_eq!(refusal(&runtime), format!("runtimeConfig.bandwidth.{reason}"));
    }
}

#[test]
fn values_of_another_type_are_refused_with_the_key() {
    for (keys, part) in [
        (json!({"ingressRate": -1}), "ingressRate"),
        (json!({"egressBurst": "1M"}), "egressBurst"),
        (json!({"runtimeConfig": {"bandwidth": {"egressRate": 1.5}}}), "runtimeConfig.bandwidth.egressRate"),
    ] {
        let error = wire(&keys).unwrap_err();
        assert_eq!(error.code(), ErrorCode::DECODING_FAILURE);
        assert!(error.to_string().starts_with(part), "{error}");
    }
}
