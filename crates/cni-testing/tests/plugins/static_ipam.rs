//! The static plugin.

use cni_testing::{Container, Host, Outcome};
use serde_json::{Value, json};

use crate::ipam::{VERSIONS, assert_refusals, read};

fn conf(host: &Host, version: &str) -> Value {
    let mut conf = read(host, "static/conf.json");
    conf["cniVersion"] = json!(version);
    conf
}

fn add(host: &Host, container: &Container, conf: &Value, args: &str) -> Outcome {
    host.plugin("static").env("CNI_ARGS", args).add(container, "eth0", conf)
}

/// Address and gateway of each address of a result.
fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().unwrap().iter();
    ips.map(|ip| format!("{} {}", ip["address"].as_str().unwrap(), ip["gateway"].as_str().unwrap_or("-")))
        .collect()
}

#[test]
fn a_life_in_every_version_leaves_nothing_on_the_host() {
    let host = Host::new();
    let before = host.snapshot();
    for version in VERSIONS {
        let mut container = host.container("c1");
        let mut conf = conf(&host, version);
        let result = add(&host, &container, &conf, "").ok();
        assert_eq!(result, read(&host, &format!("static/results/{version}.json")), "{version}");

        conf["prevResult"] = result;
        let check = host.plugin("static").check(&container, "eth0", &conf);
        if version < "0.4.0" {
            assert_eq!(check.err(), (1, "config version does not allow CHECK".to_owned()), "{version}");
        } else {
            assert_eq!(check.ok(), Value::Null, "{version}");
        }
        assert_eq!(host.plugin("static").del(&container, "eth0", &conf).ok(), Value::Null);
        container.kill();
        assert_eq!(host.plugin("static").del(&container, "eth0", &conf).ok(), Value::Null);
        host.snapshot().assert_same(&before);
    }
}

#[test]
fn refusals_say_where_and_why() {
    let host = Host::new();
    assert_refusals("static", &host, &host.container("c1"), |_| {});
}

#[test]
fn cni_args_add_args_replace_and_the_runtime_replaces_both() {
    let host = Host::new();
    let container = host.container("c1");
    let mut conf = conf(&host, "1.0.0");
    let env = "IgnoreUnknown=1;IP=10.3.0.5/24,fd00::5/64;GATEWAY=10.3.0.1,192.0.2.1";
    assert_eq!(
        addresses(&add(&host, &container, &conf, env).ok()),
        ["10.1.2.3/24 10.1.2.1", "2001:db8:1::5/64 -", "10.3.0.5/24 10.3.0.1", "fd00::5/64 -"]
    );
    conf["args"] = json!({ "cni": { "ips": ["10.4.0.5/24"] } });
    assert_eq!(addresses(&add(&host, &container, &conf, env).ok()), ["10.4.0.5/24 -"]);
    conf["runtimeConfig"] = json!({ "ips": ["10.5.0.5/24", "fd00::6/64"] });
    assert_eq!(addresses(&add(&host, &container, &conf, env).ok()), ["10.5.0.5/24 -", "fd00::6/64 -"]);
}

#[test]
fn check_compares_gateways_with_prev_result() {
    let host = Host::new();
    let container = host.container("c1");
    let mut conf = conf(&host, "1.0.0");
    let check = |conf: &Value| host.plugin("static").check(&container, "eth0", conf);
    assert_eq!(check(&conf).err(), (7, "required prevResult is missing".to_owned()));

    let with = |gateway: Value| json!({ "cniVersion": "1.0.0", "ips": [{ "address": "10.1.2.3/24", "gateway": gateway }] });
    for (gateway, found) in [(json!("10.1.2.9"), "10.1.2.9"), (Value::Null, "none")] {
        conf["prevResult"] = with(gateway);
        let text = format!(
            "gateway of address 10.1.2.3 on interface eth0 is {found} in prevResult, 10.1.2.1 in the configuration"
        );
        assert_eq!(check(&conf).err(), (999, text));
    }
    conf["prevResult"] = with(json!("10.1.2.1"));
    check(&conf).ok();
    // Another plugin's result in place of ours: not for this one to judge.
    conf["prevResult"] = json!({ "cniVersion": "1.0.0", "ips": [{ "address": "192.0.2.3/24" }] });
    check(&conf).ok();
}

#[test]
fn gc_finds_nothing_to_do_and_status_looks_at_the_configuration() {
    let host = Host::new();
    let before = host.snapshot();
    let mut conf = conf(&host, "1.1.0");
    conf["cni.dev/valid-attachments"] = json!([]);
    host.plugin("static").command("GC", &conf).ok();
    host.plugin("static").command("STATUS", &conf).ok();
    conf["ipam"]["addresses"] = json!([{}]);
    let error = host.plugin("static").command("STATUS", &conf).err();
    assert_eq!(error, (7, "ipam.addresses[0]: address is missing".to_owned()));
    host.snapshot().assert_same(&before);
}

#[test]
fn del_does_not_mind_a_broken_configuration() {
    let host = Host::new();
    let mut conf = conf(&host, "1.0.0");
    conf["ipam"]["addresses"] = json!([{}]);
    host.plugin("static").del(&host.container("c1"), "eth0", &conf).ok();
}
