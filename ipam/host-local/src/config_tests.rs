use cni_types::{CniArgs, PluginConf};
use serde_json::{Value, json};

use super::*;

fn call(conf: Value, args: &str) -> Call {
    let conf = PluginConf::from_slice(conf.to_string().as_bytes()).unwrap();
    Call { conf, args: CniArgs::parse(args), path: Vec::new(), stdin: Vec::new(), delegators: Vec::new() }
}

fn config(version: &str, ipam: Value, more: Value, args: &str) -> Config {
    let mut conf = json!({ "cniVersion": version, "name": "net", "type": "bridge", "ipam": ipam });
    for (key, value) in more.as_object().unwrap() {
        conf[key] = value.clone();
    }
    Config::new(&call(conf, args)).unwrap()
}

fn error(version: &str, ipam: Value, more: Value, args: &str) -> (u32, String) {
    let error = config(version, ipam, more, args).plan().unwrap_err();
    (error.code().0, error.to_string())
}

#[test]
fn ranges_come_from_the_runtime_then_from_the_old_form_then_from_the_list() {
    let ipam = json!({
        "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "gateway": "",
        "ranges": [[{ "subnet": "10.2.0.0/24" }, { "Subnet": "10.3.0.0/24", "RANGEEND": "10.3.0.7" }]],
    });
    let more = json!({ "runtimeConfig": { "ipRanges": [[{ "subnet": "2001:db8::/126" }]] } });
    let config = config("1.0.0", ipam, more, "");
    let sets: Vec<String> = config.plan().unwrap().sets.iter().map(RangeSet::to_string).collect();
    assert_eq!(
        sets,
        ["2001:db8::1-2001:db8::3", "10.1.0.9-10.1.0.254", "10.2.0.1-10.2.0.254,10.3.0.1-10.3.0.7"]
    );
}

#[test]
fn requested_addresses_are_collected_from_all_three_places() {
    let more = json!({
        "args": { "cni": { "ips": ["10.1.0.6/24", "2001:db8::1"] } },
        "runtimeConfig": { "ips": ["::ffff:10.1.0.7", "10.1.0.5"] },
    });
    let config = config(
        "1.0.0",
        json!({ "subnet": "10.1.0.0/24" }),
        more,
        "IP=10.1.0.5;IgnoreUnknown=1;K8S_POD_NAME=a",
    );
    let requested: Vec<String> = config.plan().unwrap().requested.iter().map(IpAddr::to_string).collect();
    assert_eq!(requested, ["10.1.0.5", "10.1.0.6", "2001:db8::1", "10.1.0.7"]);
}

#[test]
fn null_and_empty_values_are_unset() {
    let ipam = json!({
        "subnet": "10.1.0.0/24", "rangeStart": null, "rangeEnd": "", "ranges": null, "routes": null, "resolvConf": "",
        "dataDir": "",
    });
    let config = config("1.0.0", ipam, json!({ "args": null, "runtimeConfig": null }), "");
    assert_eq!(config.data_dir, PathBuf::from(DEFAULT_DATA_DIR));
    let plan = config.plan().unwrap();
    assert_eq!((plan.sets.len(), plan.routes.len(), &plan.resolv_conf), (1, 0, &None));
}

#[test]
fn a_broken_range_leaves_the_folder_known() {
    let config = config("1.0.0", json!({ "subnet": "x", "dataDir": "/srv/leases" }), json!({}), "");
    assert_eq!(config.data_dir, PathBuf::from("/srv/leases"));
    assert!(config.plan().is_err());
}

#[test]
fn ranges_may_be_left_to_the_runtime_where_it_says_that_it_brings_them() {
    let left = |more: Value| {
        config("1.1.0", json!({ "type": "host-local" }), more, "").plan().map(|plan| plan.sets.len()).ok()
    };
    assert_eq!(left(json!({ "capabilities": { "ipRanges": true } })), Some(0));
    assert_eq!(left(json!({ "capabilities": { "ipRanges": false } })), None);
    assert_eq!(left(json!({})), None);
}

#[test]
fn versions_before_0_3_0_take_one_range_set_of_a_family() {
    let sets = |subnets: &[&str]| json!({ "ranges": subnets.iter().map(|s| json!([{ "subnet": s }])).collect::<Vec<_>>() });
    for version in ["0.1.0", "0.2.0"] {
        assert!(config(version, sets(&["10.1.0.0/24", "2001:db8::/64"]), json!({}), "").plan().is_ok());
        for two in [["10.1.0.0/24", "10.2.0.0/24"], ["2001:db8::/64", "2001:db8:1::/64"]] {
            let text = format!("ipam: CNI version {version} does not support more than 1 address per family");
            assert_eq!(error(version, sets(&two), json!({}), ""), (7, text));
        }
    }
    assert!(config("0.3.0", sets(&["10.1.0.0/24", "10.2.0.0/24"]), json!({}), "").plan().is_ok());
}

#[test]
fn a_configuration_without_ipam_is_refused() {
    let call = call(json!({ "cniVersion": "1.0.0", "name": "net", "type": "bridge" }), "");
    assert_eq!(
        Config::new(&call).unwrap().plan().unwrap_err().to_string(),
        "ipam: missing; host-local has its ranges there"
    );
}
