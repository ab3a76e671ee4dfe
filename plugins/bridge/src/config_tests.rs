use cni_host::MasqueradeBackend;
use cni_types::{CniArgs, ErrorCode, PluginConf};
use serde_json::{Value, json};

use super::*;

fn call(args: &str, keys: Value) -> Call {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge"});
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let stdin = conf.to_string().into_bytes();
    let conf = PluginConf::from_slice(&stdin).unwrap();
    Call { conf, args: CniArgs::parse(args), path: Vec::new(), stdin, delegators: Vec::new() }
}

fn parse_with(args: &str, keys: Value) -> Result<Config> {
    let call = call(args, keys);
    Config::new(&Wire::read(&call)?, &call)
}

fn parse(keys: Value) -> Result<Config> {
    parse_with("", keys)
}

fn refusal(keys: Value) -> String {
    let error = parse(keys).unwrap_err();
    assert_eq!(error.code(), ErrorCode::INVALID_NETWORK_CONFIG, "{error}");
    error.to_string()
}

#[test]
fn defaults_are_the_references() {
    let config = parse(json!({})).unwrap();
    assert_eq!(config.bridge.as_str(), "cni0");
    assert_eq!((config.layer, config.mtu, config.mac), (Layer::Two, None, None));
    assert_eq!((config.vlans, config.dns), (None, None));
    assert_eq!(config.port, BridgePort::default());
    assert!(
        !config.gateway && !config.default_route && !config.promisc && !config.dad && !config.force_address
    );
}

#[test]
fn keys_match_without_case_and_null_is_unset() {
    let config = parse(
        json!({"BRIDGE": "br1", "isgateway": true, "mtu": null, "vlanTrunk": null, "args": {"cni": null}}),
    );
    let config = config.unwrap();
    assert_eq!(config.bridge.as_str(), "br1");
    assert!(config.gateway);
    assert_eq!(config.vlans, None);
}

#[test]
fn a_default_gateway_is_a_gateway() {
    let config = parse(json!({"isDefaultGateway": true})).unwrap();
    assert!(config.gateway && config.default_route);
}

#[test]
fn keys_that_exclude_each_other_are_refused() {
    assert!(refusal(json!({"hairpinMode": true, "promiscMode": true})).contains("exclude each other"));
    let both = json!({"ipam": {"type": "host-local"}, "disableContainerInterface": true});
    assert!(refusal(both).contains("exclude each other"));
    // An ipam object without a type is no IPAM.
    let none = parse(json!({"ipam": {}, "disableContainerInterface": true})).unwrap();
    assert_eq!(none.layer, Layer::Untouched);
}

#[test]
fn wrong_values_are_refused_with_their_key() {
    for (keys, key) in [
        (json!({"bridge": ""}), "bridge"),
        (json!({"bridge": "../cni0"}), "bridge"),
        (json!({"bridge": "a-name-too-long-for-linux"}), "bridge"),
        (json!({"mtu": -1}), "mtu"),
        (json!({"mtu": 4294967296_i64}), "mtu"),
        (json!({"vlan": -1}), "vlan"),
        (json!({"vlan": 4095}), "vlan"),
        (json!({"vlanTrunk": [{"id": 0}]}), "vlanTrunk[0].id"),
        (json!({"vlanTrunk": [{"id": 1}, {"minID": 0, "maxID": 5}]}), "vlanTrunk[1].minID"),
        (json!({"vlanTrunk": [{"minID": 1, "maxID": 4095}]}), "vlanTrunk[0].maxID"),
        (json!({"vlanTrunk": [{"minID": 6, "maxID": 5}]}), "vlanTrunk[0]"),
        (json!({"vlanTrunk": [{"minID": 6}]}), "vlanTrunk[0]"),
        (json!({"vlanTrunk": [{"maxID": 6}]}), "vlanTrunk[0]"),
        (json!({"bridge": "fourteen-chars", "vlan": 100, "isGateway": true}), "bridge"),
        (json!({"args": {"cni": {"mac": "02:00:00:00:00"}}}), "args.cni.mac"),
        (json!({"runtimeConfig": {"mac": "01:00:00:00:00:01"}}), "runtimeConfig.mac"),
        (json!({"runtimeConfig": {"mac": "00:00:00:00:00:00"}}), "runtimeConfig.mac"),
    ] {
        let msg = refusal(keys.clone());
        assert!(msg.starts_with(&format!("{key}: ")), "{keys}: {msg}");
    }
}

#[test]
fn a_wrong_type_is_refused_with_its_key() {
    let call = call("", json!({"isGateway": "yes"}));
    assert!(Wire::read(&call).unwrap_err().to_string().contains("isGateway"));
}

#[test]
fn the_last_source_of_a_mac_wins() {
    let mac = |args: &str, keys| parse_with(args, keys).unwrap().mac.map(|mac| mac.to_string());
    let cni = json!({"args": {"cni": {"mac": "02:00:00:00:00:02"}}});
    let both =
        json!({"args": {"cni": {"mac": "02:00:00:00:00:02"}}, "runtimeConfig": {"mac": "02:00:00:00:00:03"}});
    let empty = json!({"args": {"cni": {"mac": ""}}, "runtimeConfig": {"mac": ""}});
    assert_eq!(mac("MAC=02:00:00:00:00:01", json!({})).unwrap(), "02:00:00:00:00:01");
    assert_eq!(mac("MAC=02:00:00:00:00:01", cni).unwrap(), "02:00:00:00:00:02");
    assert_eq!(mac("MAC=02:00:00:00:00:01", both).unwrap(), "02:00:00:00:00:03");
    assert_eq!(mac("MAC=02:00:00:00:00:01", empty).unwrap(), "02:00:00:00:00:01");
    assert_eq!(mac("", json!({})), None);
}

#[test]
fn unknown_arguments_are_refused_unless_they_may_be_ignored() {
    assert!(parse_with("K8S_POD_NAME=a", json!({})).is_err());
    assert!(parse_with("mac=02:00:00:00:00:01", json!({})).is_err());
    let config = parse_with("IgnoreUnknown=1;K8S_POD_NAME=a;MAC=02:00:00:00:00:01", json!({})).unwrap();
    assert!(config.mac.is_some());
}

#[test]
fn dns_counts_as_set_the_way_the_reference_counts() {
    let dns = |dns: Value| parse(json!({ "dns": dns })).unwrap().dns;
    assert_eq!(dns(json!({})), None);
    assert_eq!(dns(json!({"domain": ""})), None);
    assert_eq!(dns(json!({"nameservers": null})), None);
    assert_eq!(dns(json!({"nameservers": []})), Some(Dns::default()));
    assert_eq!(dns(json!({"domain": "a.example"})).unwrap().domain.as_deref(), Some("a.example"));
}

#[test]
fn masquerading_needs_addresses_and_a_backend_that_is_known() {
    let ipam = json!({"type": "host-local"});
    let of = |keys: Value| parse(keys).unwrap().masquerade.map(|masquerade| masquerade.backend);
    assert_eq!(of(json!({"ipMasq": true, "ipam": ipam})), Some(None));
    for (name, backend) in
        [("iptables", MasqueradeBackend::Iptables), ("nftables", MasqueradeBackend::Nftables)]
    {
        let keys = json!({"ipMasq": true, "ipMasqBackend": name, "ipam": ipam});
        assert_eq!(of(keys), Some(Some(backend)));
    }
    assert_eq!(of(json!({"ipMasq": true})), None);
    assert_eq!(of(json!({"ipMasq": false, "ipMasqBackend": "none", "ipam": ipam})), None);
    for name in ["", "ipvs"] {
        let msg = refusal(json!({"ipMasq": true, "ipMasqBackend": name, "ipam": ipam}));
        assert!(msg.starts_with("ipMasqBackend: "), "{msg}");
    }
}

#[test]
fn a_trunk_is_the_union_of_its_items() {
    let vlans = parse(
        json!({"vlanTrunk": [{"minID": 10, "maxID": 12}, {"id": 5}, {"id": 11}, {"minID": 20, "maxID": 20, "id": 7}]}),
    );
    let vlans = vlans.unwrap().vlans.unwrap();
    assert_eq!(vlans.trunk.into_iter().collect::<Vec<_>>(), [5, 7, 10, 11, 12, 20]);
    assert_eq!((vlans.vlan, vlans.preserve_default), (None, false));
}
