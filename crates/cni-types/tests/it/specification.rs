//! Every JSON example of every version of the specification.

use cni_types::{CniError, CniResult, ConfError, NetworkConfigList, PluginConf, SpecVersion, VersionInfo};
use serde_json::{Value, json};

use crate::{list, testdata};

/// Calls `check` with each example of a kind, the version whose text has it, and where it is. Fails when there are not
/// as many as were counted in the texts, so that a mistake in the data does not turn into a test of nothing.
fn for_each(kind: &str, count: usize, check: impl Fn(&Value, SpecVersion, &str)) {
    let mut seen = 0;
    for version in SpecVersion::ALL {
        for entry in list(&testdata(&format!("spec/{version}.json"))) {
            if entry["kind"] == kind {
                seen += 1;
                check(&entry["example"], *version, &format!("SPEC.md of {version}, line {}", entry["line"]));
            }
        }
    }
    assert_eq!(seen, count, "examples of {kind}");
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn version_of(example: &Value) -> SpecVersion {
    example["cniVersion"].as_str().expect("a cniVersion").parse().expect("a known version")
}

/// The same for configurations. Two of the texts write 0.1 for a version, which no version is; the reference's plugins answer
/// those with code 1.
fn for_each_config(check: impl Fn(&PluginConf, &Value, SpecVersion, &str)) {
    for_each("config", 47, |example, version, place| match PluginConf::from_slice(&bytes(example)) {
        Err(ConfError::Version(error)) => {
            assert_eq!((error.0.as_str(), &example["cniVersion"]), ("0.1", &json!("0.1")), "{place}");
        }
        Err(error) => panic!("{place}: {error}"),
        Ok(conf) => check(&conf, example, version, place),
    });
}

#[test]
fn every_configuration_is_read_and_survives_untouched() {
    for_each_config(|conf, example, _, place| {
        assert_eq!(conf.cni_version, version_of(example), "{place}");
        assert_eq!(conf.name.as_str(), example["name"], "{place}");
        assert_eq!(conf.plugin.as_ref().map(|plugin| plugin.as_str()), example["type"].as_str(), "{place}");
        let ipam = conf.ipam.as_ref().and_then(|ipam| ipam.plugin.as_ref());
        assert_eq!(ipam.map(|plugin| plugin.as_str()), example["ipam"]["type"].as_str(), "{place}");
        let nameservers = example["dns"]["nameservers"].as_array().map_or(0, Vec::len);
        assert_eq!(conf.dns.nameservers.len(), nameservers, "{place}");
        assert_eq!(conf.raw.read::<Value>().unwrap(), *example, "{place}");
    });
}

#[test]
fn every_prev_result_is_read_as_its_version_has_it() {
    for_each_config(|conf, example, version, place| {
        let prev_result = conf.prev_result().unwrap_or_else(|error| panic!("{place}: {error}"));
        let Some(result) = prev_result else {
            assert!(example.get("prevResult").is_none(), "{place}");
            return;
        };
        let mut given = example["prevResult"].clone();
        given["cniVersion"] = conf.cni_version.as_str().into();
        if version == SpecVersion::V0_3_1 {
            // The text of 0.3.1 has a prevResult of 0.2.0 by mistake; neither the reference nor this looks at ip4 then.
            given.as_object_mut().expect("an object").remove("ip4");
        }
        assert_eq!(result.to_json(conf.cni_version).expect("it has a form"), given, "{place}");
    });
}

#[test]
fn every_list_is_read_and_survives_untouched() {
    for_each("conflist", 5, |example, _, place| {
        let list =
            NetworkConfigList::from_slice(&bytes(example)).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(list.cni_version, version_of(example), "{place}");
        assert_eq!(list.name.as_str(), "dbnet", "{place}");
        let plugins: Vec<Value> = list.plugins.into_iter().map(Value::Object).collect();
        assert_eq!(Value::from(plugins), example["plugins"], "{place}");
        assert_eq!(Value::Object(list.raw), *example, "{place}");
    });
}

#[test]
fn every_plugin_of_a_list_is_read_in_a_list() {
    for_each("plugin", 4, |example, version, place| {
        let conflist = json!({ "cniVersion": version.as_str(), "name": "net", "plugins": [example] });
        let list = NetworkConfigList::from_slice(&bytes(&conflist))
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(Value::Object(list.plugins[0].clone()), *example, "{place}");
    });
}

#[test]
fn every_result_is_read_and_written_the_same() {
    for_each("result", 16, |example, version, place| {
        let result =
            CniResult::from_json(example, version).unwrap_or_else(|error| panic!("{place}: {error}"));
        let mut given = example.clone();
        given["cniVersion"] = version.as_str().into();
        assert_eq!(result.to_json(version).expect("it has a form"), given, "{place}");
    });
}

#[test]
fn every_error_is_read_and_written_the_same() {
    for_each("error", 7, |example, _, place| {
        let error = CniError::from_json(example).unwrap_or_else(|| panic!("{place}: no error object"));
        assert_eq!(error.to_json(version_of(example).as_str()), *example, "{place}");
    });
}

#[test]
fn every_answer_to_version_is_read_and_written_the_same() {
    for_each("version", 7, |example, _, place| {
        let info = VersionInfo::from_json(example).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(info.to_json(), *example, "{place}");
    });
}
