use cni_types::{CniArgs, PluginConf};
use serde_json::{Value, json};

use super::*;

fn config_with(keys: &Value, args: &str) -> Result<Config> {
    let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "tuning"});
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let stdin = conf.to_string().into_bytes();
    let conf = PluginConf::from_slice(&stdin)?;
    let call = Call { conf, args: CniArgs::parse(args), path: Vec::new(), stdin, delegators: Vec::new() };
    Config::new(&call.read()?, &call)
}

fn config(keys: Value) -> Result<Config> {
    config_with(&keys, "")
}

#[test]
fn no_key_asks_for_nothing() {
    for keys in [
        json!({}),
        json!({"sysctl": {}, "mac": "", "mtu": 0}),
        json!({"sysctl": null, "mac": null, "promisc": null, "mtu": null, "txQLen": null, "allmulti": null,
               "args": null, "runtimeConfig": null, "dataDir": null}),
        json!({"args": {"cni": null}}),
    ] {
        assert!(config(keys.clone()).unwrap().is_empty(), "{keys}");
    }
}

#[test]
fn keys_are_read_in_any_case() {
    let config = config(json!({"MTU": 1400, "txqlen": 0, "ALLMULTI": false, "Promisc": true})).unwrap();
    let expected = Attributes {
        mac: None,
        promisc: Some(true),
        mtu: Some(1400),
        allmulti: Some(false),
        txqlen: Some(0),
    };
    assert_eq!(config.attributes, expected);
}

#[test]
fn the_last_source_of_a_mac_address_wins() {
    let mac = |n: u8| format!("02:00:00:00:00:0{n}");
    let (mut keys, mut env) = (json!({"mac": mac(1)}), String::new());
    let found = |keys: &Value, env: &str| config_with(keys, env).unwrap().attributes.mac.unwrap().to_string();
    assert_eq!(found(&keys, &env), mac(1));
    env = format!("IgnoreUnknown=1;K8S_POD_NAME=web;MAC={}", mac(2));
    assert_eq!(found(&keys, &env), mac(2));
    keys["runtimeConfig"] = json!({"mac": mac(3)});
    assert_eq!(found(&keys, &env), mac(3));
    keys["args"] = json!({"cni": {"mac": mac(4)}});
    assert_eq!(found(&keys, &env), mac(4));
}

#[test]
fn args_replace_each_key() {
    let keys = json!({
        "promisc": true, "mtu": 1400, "txQLen": 10, "allmulti": true,
        "sysctl": {"net.ipv4.ip_forward": "0", "net.core.somaxconn": "100"},
        "args": {"cni": {"promisc": false, "mtu": 1300, "txQLen": 20, "allmulti": false,
                         "sysctl": {"net/ipv4/ip_forward": "1"}}},
    });
    let config = config(keys).unwrap();
    let expected = Attributes {
        mac: None,
        promisc: Some(false),
        mtu: Some(1300),
        allmulti: Some(false),
        txqlen: Some(20),
    };
    assert_eq!(config.attributes, expected);
    let sysctls = config.sysctls("eth0").unwrap();
    let keys: Vec<&str> = sysctls.iter().map(|sysctl| sysctl.key.as_str()).collect();
    assert_eq!(keys, ["net.core.somaxconn", "net/ipv4/ip_forward"]);
    assert!(super::tests::config(json!({"mtu": 1400, "args": {"cni": {"mtu": 0}}})).unwrap().is_empty());
}

#[test]
fn wrong_values_are_refused_by_their_keys() {
    for (keys, code, begin) in [
        (json!({"mtu": -1}), 7, "mtu: -1"),
        (json!({"mtu": 1_u64 << 32}), 7, "mtu: 4294967296"),
        (json!({"txQLen": -1}), 7, "txQLen: -1"),
        (json!({"mac": "02:00:00:00:00"}), 7, "mac: \"02:00:00:00:00\""),
        (json!({"mac": "01:00:5e:00:00:01"}), 7, "mac: 01:00:5e:00:00:01"),
        (json!({"runtimeConfig": {"mac": "00:00:00:00:00:00"}}), 7, "runtimeConfig.mac: 00:"),
        (json!({"args": {"cni": {"mac": "x"}}}), 7, "args.cni.mac: \"x\""),
        (json!({"sysctl": {"kernel.hostname": "x"}}), 7, "sysctl \"kernel.hostname\": "),
        (json!({"args": {"cni": {"sysctl": {"net/../kernel/x": "x"}}}}), 7, "sysctl \"net/../kernel/x\": "),
        (json!({"sysctl": {"net.ipv4.ip_forward": 1}}), 6, "sysctl.net.ipv4.ip_forward: "),
        (json!({"promisc": "yes"}), 6, "promisc: "),
        (json!({"args": {"cni": {"allmulti": 1}}}), 6, "args.cni.allmulti: "),
    ] {
        let error = config(keys.clone()).unwrap_err();
        assert!(error.to_string().starts_with(begin), "{keys}: {error}");
        assert_eq!(error.code().0, code, "{keys}: {error}");
    }
    assert_eq!(config_with(&json!({}), "FOO=1").unwrap_err().code().0, 4);
}

#[test]
fn backups_have_a_place_without_data_dir() {
    for (keys, expected) in [
        (json!({}), "/run/cni/tuning"),
        (json!({"dataDir": ""}), "/run/cni/tuning"),
        (json!({"datadir": "/var/lib/tuning"}), "/var/lib/tuning"),
    ] {
        let wire: Wire = cni_types::json::from_value(&keys).unwrap();
        assert_eq!(wire.data_dir(), PathBuf::from(expected));
    }
}
