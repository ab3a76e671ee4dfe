use cni_types::{CniArgs, PluginConf};
use serde_json::{Value, json};

use super::*;

fn settings(version: &str, ipam: Value, more: Value, args: &str) -> Result<Vec<String>, (u32, String)> {
    let mut conf = json!({ "cniVersion": version, "name": "net", "type": "bridge", "ipam": ipam });
    for (key, value) in more.as_object().unwrap() {
        conf[key] = value.clone();
    }
    let conf = PluginConf::from_slice(conf.to_string().as_bytes()).unwrap();
    let call = Call {
        conf,
        args: CniArgs::parse(args),
        path: Vec::new(),
        stdin: Vec::new(),
        delegators: Vec::new(),
    };
    let settings = Settings::new(&call).map_err(|error| (error.code().0, error.to_string()))?;
    let show = |(address, gateway): &(IpNet, Option<IpAddr>)| match gateway {
        Some(gateway) => format!("{address} via {gateway}"),
        None => address.to_string(),
    };
    Ok(settings.addresses.iter().map(show).collect())
}

fn configured() -> Value {
    json!({ "addresses": [{ "address": "10.1.0.5/16", "gateway": "10.1.0.1" }] })
}

#[test]
fn configured_addresses_are_taken_as_they_are() {
    let ipam = json!({ "addresses": [
        { "address": "10.1.0.5/16", "gateway": "192.0.2.1" },
        { "Address": "::ffff:10.2.0.5/120", "gateway": "" },
        { "address": "2001:DB8:0::5/64", "gateway": null },
    ]});
    assert_eq!(
        settings("1.0.0", ipam, json!({}), "").unwrap(),
        ["10.1.0.5/16 via 192.0.2.1", "10.2.0.5/24", "2001:db8::5/64"]
    );
    assert!(settings("1.0.0", json!({ "addresses": null }), json!({}), "").unwrap().is_empty());
}

#[test]
fn cni_args_add_addresses_with_the_gateways_of_their_networks() {
    let args = "IgnoreUnknown=1;K8S_POD_NAME=a;IP=10.2.0.5/24, 2001:db8::5/64;GATEWAY=10.2.0.1, 2001:db8::1,10.1.0.2,10.2.0.9";
    assert_eq!(
        settings("1.0.0", configured(), json!({}), args).unwrap(),
        ["10.1.0.5/16 via 10.1.0.1", "10.2.0.5/24 via 10.2.0.9", "2001:db8::5/64 via 2001:db8::1"]
    );
}

#[test]
fn args_replace_and_the_runtime_replaces_them() {
    let args = json!({ "cni": { "ips": ["10.3.0.5/24"] } });
    let runtime = json!({ "ips": ["10.4.0.5/24", "2001:db8::5/64"] });
    let env = "IP=10.2.0.5/24;GATEWAY=10.2.0.1";
    assert_eq!(settings("1.0.0", configured(), json!({ "args": args }), env).unwrap(), ["10.3.0.5/24"]);
    assert_eq!(
        settings("1.0.0", configured(), json!({ "args": args, "runtimeConfig": runtime }), env).unwrap(),
        ["10.4.0.5/24", "2001:db8::5/64"]
    );
}

#[test]
fn versions_before_0_3_0_take_one_address_of_a_family() {
    let two = |a: &str, b: &str| json!({ "addresses": [{ "address": a }, { "address": b }] });
    for version in ["0.1.0", "0.2.0"] {
        assert!(settings(version, two("10.1.0.5/16", "2001:db8::5/64"), json!({}), "").is_ok());
        let text = format!("CNI version {version} does not support more than 1 address per family");
        assert_eq!(settings(version, two("10.1.0.5/16", "10.2.0.5/16"), json!({}), ""), Err((7, text)));
    }
    assert!(settings("0.3.0", two("10.1.0.5/16", "10.2.0.5/16"), json!({}), "").is_ok());
}
