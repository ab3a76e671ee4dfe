//! Details of the forms. The whole of them is compared with the specification's examples and the reference's output in
//! tests/it.

use serde_json::{Value, json};

use super::*;

fn error(value: Value, version: SpecVersion) -> String {
    CniResult::from_json(&value, version).unwrap_err().to_string()
}

#[test]
fn the_result_s_own_version_counts_before_the_default() {
    let old = json!({ "cniVersion": "0.2.0", "ip4": { "ip": "10.0.0.5/24" } });
    assert_eq!(CniResult::from_json(&old, SpecVersion::V1_1_0).unwrap().ips.len(), 1);
    let empty = json!({ "cniVersion": "", "ips": [{ "address": "10.0.0.5/24" }] });
    assert_eq!(CniResult::from_json(&empty, SpecVersion::V1_0_0).unwrap().ips.len(), 1);
}

#[test]
fn a_result_of_an_unknown_version_is_refused() {
    let outcome = CniResult::from_json(&json!({ "cniVersion": "2.0.0" }), SpecVersion::V1_0_0);
    assert!(matches!(outcome, Err(ConfError::Version(version)) if version.0 == "2.0.0"));
}

#[test]
fn what_is_wrong_is_named() {
    let v1 = SpecVersion::V1_0_0;
    assert_eq!(error(json!({ "ips": [{}] }), v1), "ips[0]: missing field `address`");
    assert_eq!(error(json!({ "ips": [null] }), v1), "ips[0]: missing field `address`");
    assert_eq!(
        error(json!({ "ips": [{ "address": "10.0.0.5/33" }] }), v1),
        r#"ips[0].address: invalid address with prefix length "10.0.0.5/33""#
    );
    assert_eq!(
        error(json!({ "ips": [{ "address": "10.0.0.5/24", "gateway": "gw" }] }), v1),
        r#"ips[0].gateway: invalid IP address "gw""#
    );
    assert_eq!(
        error(json!({ "ips": [{ "address": "10.0.0.5/24", "interface": -1 }] }), v1),
        "ips[0].interface: invalid value: number -1, expected a number from 0 to 18446744073709551615"
    );
    assert_eq!(error(json!({ "routes": [{ "gw": "10.0.0.1" }] }), v1), "routes[0]: missing field `dst`");
    assert_eq!(
        error(json!({ "ip6": { "ip": "fd00::5/64", "routes": [{ "dst": "" }] } }), SpecVersion::V0_2_0),
        r#"ip6.routes[0].dst: invalid address with prefix length """#
    );
    assert_eq!(
        error(json!({ "interfaces": [{ "name": "eth0", "mtu": "1500" }] }), v1),
        r#"interfaces[0].mtu: invalid type: string "1500", expected a number"#
    );
    assert!(error(json!([]), v1).starts_with("invalid type: list"));
}

#[test]
fn later_interface_fields_are_not_read_from_earlier_versions() {
    let interface = json!({ "name": "eth0", "mtu": "not even a number", "pciID": 5 });
    let result = CniResult::from_json(&json!({ "interfaces": [interface] }), SpecVersion::V0_4_0).unwrap();
    assert_eq!(result.interfaces, [Interface { name: "eth0".to_owned(), ..Interface::default() }]);
}

#[test]
fn the_family_is_the_address_s_whatever_version_says() {
    let odd = json!({ "ips": [{ "version": "6", "address": "10.0.0.5/24" }] });
    let result = CniResult::from_json(&odd, SpecVersion::V0_3_1).unwrap();
    assert_eq!(result.to_json(SpecVersion::V0_4_0).unwrap()["ips"][0]["version"], "4");
    assert_eq!(result.to_json(SpecVersion::V0_2_0).unwrap()["ip4"]["ip"], "10.0.0.5/24");
}

#[test]
fn interfaces_are_counted_as_they_were_given() {
    // The indices of `ips` would shift if the null were left out.
    let given = json!({ "interfaces": [null, { "name": "eth0" }] });
    let result = CniResult::from_json(&given, SpecVersion::V1_0_0).unwrap();
    assert_eq!(result.interfaces.len(), 2);
}

#[test]
fn early_versions_hold_one_address_of_a_family() {
    let ips = ["10.0.0.5/24", "10.0.1.5/24", "fd00::5/64", "fd01::5/64"];
    let given = json!({ "ips": ips.map(|address| json!({ "address": address })) });
    let result = CniResult::from_json(&given, SpecVersion::V1_0_0).unwrap();
    assert_eq!(
        result.to_json(SpecVersion::V0_1_0).unwrap(),
        json!({ "cniVersion": "0.1.0", "ip4": { "ip": "10.0.0.5/24" }, "ip6": { "ip": "fd00::5/64" }, "dns": {} })
    );
}

#[test]
fn early_versions_cannot_do_without_an_address() {
    let error = CniResult::default().to_json(SpecVersion::V0_2_0).unwrap_err();
    assert_eq!(error.to_string(), "cannot convert a result to CNI 0.2.0: it has no IP address");
}

#[test]
fn zero_is_written_only_where_it_says_something() {
    let mut route = Route::new("10.0.0.0/8".parse().unwrap(), None);
    (route.mtu, route.advmss, route.priority) = (Some(0), Some(0), Some(0));
    (route.table, route.scope) = (Some(0), Some(0));
    assert_eq!(serde_json::to_value(&route).unwrap(), json!({ "dst": "10.0.0.0/8", "table": 0, "scope": 0 }));
    let read: Route = json::from_value(&json!({ "dst": "10.0.0.0/8", "mtu": 0, "table": 0 })).unwrap();
    assert_eq!((read.mtu, read.table), (None, Some(0)));
}

#[test]
fn a_route_is_read_in_a_plugin_s_own_configuration() {
    let routes: Vec<Route> = json::from_value(&json!([{ "Dst": "10.1.2.3/8", "gw": "" }])).unwrap();
    assert_eq!(routes, [Route::new("10.1.2.3/8".parse().unwrap(), None)]);
    let error = json::from_value::<Vec<Route>>(&json!([{ "dst": "10.0.0.0/8", "scope": 300 }])).unwrap_err();
    assert_eq!(error.to_string(), "[0].scope: invalid value: number 300, expected a number from 0 to 255");
}
