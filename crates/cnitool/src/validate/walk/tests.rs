use proptest::prelude::*;
use serde_json::json;

use super::*;

fn findings(plugin: Value) -> Vec<String> {
    let mut walker = Walker::new(Path::new("f"));
    walker.plugin("plugins[0]", &plugin);
    walker.findings.iter().map(Finding::to_string).collect()
}

#[test]
fn a_right_configuration_has_no_findings() {
    assert_eq!(
        findings(json!({
            "type": "bridge", "bridge": "cni0", "isGateway": true, "mtu": 1400, "vlan": null,
            "vlanTrunk": [{ "minID": 1, "maxID": 4094 }], "capabilities": { "ips": true, "mac": null },
            "ipam": {
                "type": "host-local", "ranges": [[{ "subnet": "fd00::/64", "gateway": "" }]],
                "routes": [{ "dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1300 }],
            },
            "dns": { "nameservers": ["10.1.0.1"] },
            "args": { "cni": { "ips": ["10.1.0.5"] } },
        })),
        [] as [&str; 0]
    );
}

#[test]
fn an_unknown_key_is_an_error_when_it_looks_like_a_known_one() {
    assert_eq!(
        findings(
            json!({ "type": "bridge", "isGatway": true, "ipam": { "type": "host-local", "subnets": 1 } })
        ),
        [
            "error: f: plugins[0].ipam.subnets: unknown key; did you mean subnet?",
            "error: f: plugins[0].isGatway: unknown key; did you mean isGateway?",
        ]
    );
}

#[test]
fn an_unknown_key_is_a_warning_otherwise() {
    assert_eq!(
        findings(json!({ "type": "bridge", "x.com/owner": 1 })),
        [r#"warning: f: plugins[0]["x.com/owner"]: unknown key, which nothing here reads"#]
    );
}

#[test]
fn an_unknown_plugin_has_only_the_specifications_keys_checked() {
    assert_eq!(
        findings(
            json!({ "type": "calico", "isGatway": 1, "dns": { "domain": 5 }, "ipam": { "type": "x", "y": 1 } })
        ),
        ["error: f: plugins[0].dns.domain: must be a string, not a number"]
    );
}

#[test]
fn wrong_types_are_named_with_what_is_right() {
    assert_eq!(
        findings(json!({
            "type": "bridge", "isGateway": "true", "mtu": 1.5, "vlan": 4095, "ipMasqBackend": "nft",
            "capabilities": { "mac": "yes" },
            "ipam": { "type": "host-local", "gateway": "10.1.0.1/16", "ranges": [{ "subnet": "10.1.0.0" }] },
        })),
        [
            "error: f: plugins[0].capabilities.mac: must be true or false, not a string",
            "error: f: plugins[0].ipMasqBackend: must be one of iptables, nftables, not \"nft\"",
            "error: f: plugins[0].ipam.gateway: must be an IP address, not \"10.1.0.1/16\"",
            "error: f: plugins[0].ipam.ranges[0]: must be a list, not an object",
            "error: f: plugins[0].isGateway: must be true or false, not a string",
            "error: f: plugins[0].mtu: must be a whole number, not 1.5",
            "error: f: plugins[0].vlan: must be from 0 to 4094, not 4095",
        ]
    );
    assert_eq!(
        findings(json!({ "type": "tuning", "sysctl": { "net.core.somaxconn": 500 } })),
        [r#"error: f: plugins[0].sysctl["net.core.somaxconn"]: must be a string, not a number"#]
    );
    assert_eq!(findings(json!(5)), ["error: f: plugins[0]: must be an object, not a number"]);
}

#[test]
fn another_spelling_is_checked_and_warned_of() {
    assert_eq!(
        findings(json!({ "type": "bridge", "IsGateway": 1 })),
        [
            "warning: f: plugins[0].IsGateway: is spelled isGateway; not every plugin takes it so",
            "error: f: plugins[0].IsGateway: must be true or false, not a number",
        ]
    );
}

#[test]
fn keys_of_the_runtime_are_warned_of() {
    assert_eq!(
        findings(json!({ "type": "x", "runtimeConfig": {}, "cni.dev/attachments": [] })),
        [
            r#"warning: f: plugins[0]["cni.dev/attachments"]: is for the runtime to set, not for a configuration"#,
            "warning: f: plugins[0].runtimeConfig: is for the runtime to set, not for a configuration",
        ]
    );
}

#[test]
fn a_lists_keys_are_matched_to_the_letter() {
    let mut walker = Walker::new(Path::new("f"));
    let list = json!({ "Name": "blue", "disableCheck": "TRUE", "disableGC": null, "nerdctlID": "1" });
    walker.list(list.as_object().unwrap());
    let findings: Vec<String> = walker.findings.iter().map(Finding::to_string).collect();
    assert_eq!(
        findings,
        [
            "error: f: Name: unknown key; did you mean name?",
            "error: f: disableGC: must be true or false, not null",
            "warning: f: nerdctlID: unknown key, which nothing here reads",
        ]
    );
}

#[test]
fn integers_fit_their_bounds() {
    let fits = |kind: &Kind, value: Value| {
        let mut walker = Walker::new(Path::new("f"));
        walker.value("", &value, kind);
        walker.findings.is_empty()
    };
    let signed = Kind::Int(i64::MIN.into(), i64::MAX.into());
    assert!(
        fits(&signed, json!(i64::MIN)) && fits(&signed, json!(i64::MAX)) && !fits(&signed, json!(u64::MAX))
    );
    let unsigned = Kind::Int(0, u64::MAX.into());
    assert!(fits(&unsigned, json!(0)) && fits(&unsigned, json!(u64::MAX)) && !fits(&unsigned, json!(-1)));
    let bit = Kind::Int(0, 31);
    assert!(fits(&bit, json!(31)) && !fits(&bit, json!(32)) && !fits(&bit, json!(1e300)));
}

#[test]
fn hardware_addresses_are_those_of_go() {
    for right in ["02:42:ac:11:00:02", "02-42-AC-11-00-02", "0242.ac11.0002", "00:00:00:00:fe:80:00:00"] {
        assert!(is_mac(right), "{right}");
    }
    for wrong in
        ["", "02:42:ac:11:00", "02:42:ac:11:00:0", "02:42:ac:11:00:gg", "02:42-ac:11:00:02", "0242ac110002"]
    {
        assert!(!is_mac(wrong), "{wrong}");
    }
}

proptest! {
    #[test]
    fn what_is_proposed_is_another_key_that_is_close(name in "[a-zA-Z]{1,12}") {
        if let Some(key) = similar(&name, keys::PLUGIN.iter().map(|key| key.name)) {
            prop_assert!(keys::PLUGIN.iter().any(|known| known.name == key));
            prop_assert!(name.len().abs_diff(key.len()) <= 2);
        }
    }

    #[test]
    fn no_json_makes_the_walker_panic(
        plugin_type in prop::sample::select(vec!["bridge", "tuning", "portmap", "x", ""]),
        values in prop::collection::vec(json_value(), 4),
        names in prop::collection::vec("[a-zA-Z./]{0,8}|ipam|dns|capabilities|vlanTrunk|sysctl|mtu", 4),
    ) {
        let mut plugin: Map<String, Value> = names.into_iter().zip(values).collect();
        plugin.insert("type".to_string(), plugin_type.into());
        let mut walker = Walker::new(Path::new("f"));
        walker.list(&plugin);
        walker.plugin("", &Value::Object(plugin));
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9.:/]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("type|subnet|ranges|dst|minID|[a-z]{1,4}", inner, 0..4)
                .prop_map(|object| Value::Object(object.into_iter().collect())),
        ]
    })
}
