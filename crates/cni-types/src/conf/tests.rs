//! What is read of a configuration, and what is refused.

use serde_json::{Value, json};

use super::*;

fn read(conf: Value) -> Result<PluginConf, ConfError> {
    PluginConf::from_slice(conf.to_string().as_bytes())
}

fn error(conf: Value) -> String {
    read(conf).unwrap_err().to_string()
}

#[test]
fn only_a_name_is_needed() {
    let conf = read(json!({ "name": "net" })).unwrap();
    assert_eq!(conf.cni_version, SpecVersion::V0_1_0);
    assert_eq!((conf.plugin.as_ref(), conf.ipam.as_ref()), (None, None));
    assert_eq!(conf.valid_attachments, ValidAttachments::Unknown);
    assert!(conf.dns.is_empty() && conf.prev_result().unwrap().is_none());
}

#[test]
fn keys_may_be_spelled_in_any_case_and_null_is_unset() {
    let conf = read(json!({
        "CNIVersion": "1.0.0", "Name": "net", "TYPE": "bridge", "ipam": { "Type": "host-local" }, "dns": null,
        "prevResult": null,
    }))
    .unwrap();
    assert_eq!((conf.cni_version, conf.name.as_str()), (SpecVersion::V1_0_0, "net"));
    assert_eq!(conf.plugin.unwrap().as_str(), "bridge");
    assert_eq!(conf.ipam.unwrap().plugin.unwrap().as_str(), "host-local");
}

#[test]
fn an_ipam_object_without_a_type_is_told_apart_from_none() {
    for ipam in [json!({}), json!({ "type": "" }), json!({ "type": null, "subnet": "10.0.0.0/8" })] {
        assert_eq!(read(json!({ "name": "n", "ipam": ipam })).unwrap().ipam, Some(IpamConf { plugin: None }));
    }
}

#[test]
fn unknown_fields_survive() {
    let given = json!({ "name": "n", "sysctl": { "a": 18446744073709551615_u64 }, "keyA": [1.5, null] });
    assert_eq!(read(given.clone()).unwrap().raw.read::<Value>().unwrap(), given);
}

#[test]
fn a_missing_or_impossible_name_is_refused() {
    for conf in [json!({}), json!({ "name": "" }), json!({ "name": null })] {
        assert_eq!(error(conf), "missing network name");
    }
    assert!(matches!(read(json!({ "name": "../etc" })), Err(ConfError::Name(_))));
}

#[test]
fn an_unknown_version_is_an_error_of_its_own_even_without_a_name() {
    let outcome = read(json!({ "cniVersion": "1.2.0" }));
    assert!(matches!(&outcome, Err(ConfError::Version(version)) if version.0 == "1.2.0"), "{outcome:?}");
}

#[test]
fn types_that_would_be_paths_are_refused() {
    assert!(error(json!({ "name": "n", "type": "../sh" })).contains("invalid plugin type"));
    assert!(error(json!({ "name": "n", "ipam": { "type": "/bin/sh" } })).contains("invalid plugin type"));
}

#[test]
fn wrong_types_are_named() {
    assert_eq!(error(json!({ "name": 5 })), "name: invalid type: number 5, expected a string");
    assert_eq!(
        error(json!({ "name": "n", "ipam": { "type": [] } })),
        "ipam.type: invalid type: list, expected a string"
    );
    assert_eq!(
        error(json!({ "name": "n", "dns": { "search": [1] } })),
        "dns.search[0]: invalid type: number 1, expected a string"
    );
    assert_eq!(error(json!(["name"])), "not an object");
    assert!(matches!(PluginConf::from_slice(b"{"), Err(ConfError::Syntax(_))));
}

#[test]
fn a_prev_result_without_a_version_has_the_configuration_s() {
    let with = |version: &str, prev_result: Value| {
        let conf = read(json!({ "cniVersion": version, "name": "n", "prevResult": prev_result })).unwrap();
        conf.prev_result().unwrap().cloned().unwrap().ips.len()
    };
    let new = json!({ "ips": [{ "address": "10.0.0.5/24" }] });
    let old = json!({ "ip4": { "ip": "10.0.0.5/24" } });
    assert_eq!(with("1.0.0", new.clone()), 1);
    assert_eq!(with("0.2.0", old.clone()), 1);
    assert_eq!(with("0.2.0", new), 0);
    // Its own counts when it has one.
    let mut own = old;
    own["cniVersion"] = "0.2.0".into();
    assert_eq!(with("1.0.0", own), 1);
}

#[test]
fn a_prev_result_that_cannot_be_read_hurts_only_who_asks_for_it() {
    let reason = |prev_result: Value| {
        let conf = read(json!({ "cniVersion": "1.0.0", "name": "n", "prevResult": prev_result })).unwrap();
        assert!(conf.raw.has_any(&["prevResult"]));
        conf.prev_result().unwrap_err().to_string()
    };
    assert_eq!(
        reason(json!({ "ips": [{ "address": "10.0.0.5" }] })),
        r#"prevResult.ips[0].address: invalid address with prefix length "10.0.0.5""#
    );
    assert_eq!(
        reason(json!({ "cniVersion": "5.0.0" })),
        r#"prevResult.cniVersion: unknown CNI version "5.0.0""#
    );
    assert_eq!(
        reason(json!({ "interfaces": "eth0" })),
        r#"prevResult.interfaces: invalid type: string "eth0", expected a list"#
    );
}

#[test]
fn attachments_are_read_from_the_configuration() {
    let conf =
        read(json!({ "name": "n", "cni.dev/valid-attachments": [{ "containerID": "a", "ifname": "b" }] }))
            .unwrap();
    assert!(matches!(conf.valid_attachments, ValidAttachments::Known(known) if known.len() == 1));
}

/// Issue 14, part 3: a wrong type anywhere kept DEL from removing anything.
#[test]
fn a_removal_needs_the_name_alone() {
    let wrong = json!({
        "name": "n", "cniVersion": 5, "type": [], "ipam": 5, "dns": {"search": 5}, "prevResult": 5,
        "cni.dev/valid-attachments": 5,
    });
    let wrong = wrong.to_string();
    let conf = PluginConf::for_del(wrong.as_bytes()).unwrap();
    assert_eq!(
        (conf.cni_version, conf.plugin.as_ref(), conf.ipam.as_ref()),
        (SpecVersion::V1_1_0, None, None)
    );
    assert!(conf.prev_result().is_err());
    let faults = conf.faults();
    let starts = ["cniVersion: ", "type: ", "ipam: ", "dns.search: "];
    assert!(faults.iter().zip(starts).all(|(fault, start)| fault.starts_with(start)), "{faults:?}");
    assert_eq!(faults.len(), starts.len());

    // What is in use a GC has to know.
    let error = PluginConf::for_gc(wrong.as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("cni.dev/valid-attachments: "), "{error}");
    for needed in
        [r#"{"name": 5}"#, r#"{"name": "../etc"}"#, "{}", "[]", r#"{"name": "n", "cniVersion": "9.9.9"}"#]
    {
        assert!(PluginConf::for_del(needed.as_bytes()).is_err(), "{needed}");
    }
}
