use cni_types::{CniArgs, ErrorCode, PluginConf};
use serde_json::{Value, json};

use super::*;

fn call(args: &str, keys: Value) -> Call {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "macvlan"});
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let stdin = conf.to_string().into_bytes();
    let conf = PluginConf::from_slice(&stdin).unwrap();
    Call { conf, args: CniArgs::parse(args), path: Vec::new(), stdin, delegators: Vec::new() }
}

fn parse_with(args: &str, keys: Value) -> Result<Config> {
    let call = call(args, keys);
    Config::new(&call.read()?, &call)
}

fn parse(keys: Value) -> Result<Config> {
    parse_with("", keys)
}

#[test]
fn defaults_are_the_references() {
    for keys in [
        json!({}),
        json!({"master": "", "mode": "", "mtu": 0, "mac": "", "bcqueuelen": 0}),
        json!({"master": null, "mode": null, "mtu": null, "mac": null, "bcqueuelen": null, "runtimeConfig": null}),
    ] {
        let config = parse(keys).unwrap();
        assert_eq!(config.master, Master::new(None, false));
        assert_eq!((config.mode, config.mtu, config.mac), (MacvlanMode::Bridge, None, None));
        assert_eq!(config.bc_queue_len, None);
    }
}

#[test]
fn every_key_is_read_whatever_its_case() {
    let keys = json!({
        "Master": "eth1", "MODE": "vepa", "Mtu": 1400, "mac": "02:00:00:00:00:01", "linkincontainer": true,
        "bcQueueLen": 2000,
    });
    let config = parse(keys).unwrap();
    assert_eq!(config.master, Master::new(Some("eth1"), true));
    assert_eq!((config.mode, config.mtu), (MacvlanMode::Vepa, Some(1400)));
    assert_eq!(config.mac, Some(MacAddr([2, 0, 0, 0, 0, 1])));
    assert_eq!(config.bc_queue_len, Some(2000));
}

#[test]
fn every_mode_has_the_name_it_is_asked_by() {
    for (name, _) in MODES {
        assert_eq!(mode_name(parse(json!({ "mode": name })).unwrap().mode), name);
    }
}

#[test]
fn wrong_values_are_refused_with_their_key() {
    for (keys, key) in [
        (json!({"mode": "Bridge"}), "mode"),
        (json!({"mode": "source"}), "mode"),
        (json!({"mtu": -1}), "mtu"),
        (json!({"mtu": 4294967296_i64}), "mtu"),
        (json!({"mac": "02:00:00:00:00"}), "mac"),
        (json!({"mac": "01:00:00:00:00:01"}), "mac"),
        (json!({"runtimeConfig": {"mac": "00:00:00:00:00:00"}}), "runtimeConfig.mac"),
    ] {
        let error = parse(keys.clone()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::INVALID_NETWORK_CONFIG, "{error}");
        assert!(error.to_string().starts_with(&format!("{key}: ")), "{keys}: {error}");
    }
}

#[test]
fn wrong_types_are_refused_with_their_key() {
    for (keys, key) in [
        (json!({"bcqueuelen": -1}), "bcqueuelen"),
        (json!({"bcqueuelen": 4294967296_i64}), "bcqueuelen"),
        (json!({"linkInContainer": 1}), "linkInContainer"),
        (json!({"master": 5}), "master"),
        (json!({"runtimeConfig": {"mac": 5}}), "runtimeConfig.mac"),
    ] {
        let error = parse(keys.clone()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::DECODING_FAILURE, "{error}");
        assert!(error.to_string().contains(key), "{keys}: {error}");
    }
}

#[test]
fn the_last_source_of_a_mac_wins() {
    let mac = |args: &str, keys| parse_with(args, keys).unwrap().mac.map(|mac| mac.0[5]);
    let top = json!({"mac": "02:00:00:00:00:01"});
    let both = json!({"mac": "02:00:00:00:00:01", "runtimeConfig": {"mac": "02:00:00:00:00:03"}});
    let args = "IgnoreUnknown=1;K8S_POD_NAME=a;MAC=02:00:00:00:00:02";
    assert_eq!(mac("", top.clone()), Some(1));
    assert_eq!(mac(args, top.clone()), Some(2));
    assert_eq!(mac("MAC=", top), Some(1));
    assert_eq!(mac(args, both.clone()), Some(3));
    assert_eq!(mac("", both), Some(3));
}

#[test]
fn unknown_arguments_are_refused_unless_they_may_be_ignored() {
    assert_eq!(parse_with("K8S_POD_NAME=a", json!({})).unwrap_err().code(), ErrorCode::INVALID_ENVIRONMENT);
    assert!(parse_with("mac=02:00:00:00:00:01", json!({})).is_err());
    assert!(parse_with("IgnoreUnknown=true;K8S_POD_NAME=a", json!({})).is_ok());
}
