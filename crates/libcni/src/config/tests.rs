use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/libcni").join(path)
}

fn find(name: &str) -> Result<Network, ConfigError> {
    Network::find(&testdata("net.d"), &NetworkName::new(name).unwrap())
}

fn types(network: &Network) -> Vec<&str> {
    network.plugins.iter().map(|plugin| plugin.plugin_type.as_str()).collect()
}

#[test]
fn a_list_is_preferred_to_a_single_plugin_of_the_same_name() {
    let blue = find("blue").unwrap();
    assert_eq!(types(&blue), ["bridge", "portmap"]);
    assert_eq!(blue.bytes, fs::read(testdata("net.d/10-blue.conflist")).unwrap());
}

#[test]
fn the_newest_version_that_is_known_is_spoken() {
    assert_eq!(find("blue").unwrap().cni_version, SpecVersion::V1_0_0);
    assert_eq!(find("older").unwrap().cni_version, SpecVersion::V0_1_0);
}

#[test]
fn capabilities_are_those_that_a_plugin_sets_to_true() {
    let blue = find("blue").unwrap();
    assert_eq!(blue.capabilities(), BTreeSet::from(["ips", "portMappings"]));
    assert!(!blue.plugins[0].capabilities["mac"]);
}

#[test]
fn unknown_fields_of_a_plugin_survive() {
    let blue = find("blue").unwrap();
    assert_eq!(blue.plugins[0].conf["x-unknown"], serde_json::json!({ "kept": [1, null] }));
}

#[test]
fn plugins_in_the_folder_of_a_network_are_appended_in_the_order_of_their_names() {
    let split = find("split").unwrap();
    assert_eq!(types(&split), ["first", "second"]);
    assert_eq!(split.capabilities(), BTreeSet::from(["mac"]));
}

#[test]
fn load_only_inlined_plugins_leaves_the_folder_alone() {
    let closed = find("closed").unwrap();
    assert_eq!(types(&closed), ["inlined"]);
    assert!(closed.disable_check && !closed.disable_gc);
}

#[test]
fn a_single_plugin_becomes_a_list_of_one() {
    let old = find("old").unwrap();
    assert_eq!(types(&old), ["bridge"]);
    let bytes: Value = serde_json::from_slice(&old.bytes).unwrap();
    let plugin = serde_json::json!({
        "cniVersion": "0.2.0", "name": "old", "type": "bridge", "capabilities": { "portMappings": true },
    });
    assert_eq!(bytes, serde_json::json!({ "cniVersion": "0.2.0", "name": "old", "plugins": [plugin] }));
    assert_eq!(Network::from_slice(&old.bytes).unwrap(), old);
}

#[test]
fn bytes_of_a_single_plugin_load_too() {
    // Runtimes that add one plugin alone (multus, ocicni) leave such bytes in the cache.
    let bytes = fs::read(testdata("net.d/60-old.conf")).unwrap();
    assert_eq!(Network::from_slice(&bytes).unwrap(), find("old").unwrap());
}

#[test]
fn errors_name_file_key_and_reason() {
    let text = |name| find(name).unwrap_err().to_string();
    let dir = testdata("net.d").display().to_string();
    let faulty = text("faulty").replace(&dir, "net.d");
    assert!(
        faulty.starts_with(
            "cannot load net.d/20-faulty.conflist: plugins[1].type: invalid plugin type \"../evil\": "
        ),
        "{faulty}"
    );
    assert_eq!(
        text("empty").replace(&dir, "net.d"),
        "cannot load net.d/50-empty.conflist: no plugins in it, and none in net.d/empty/*.conf"
    );
    assert_eq!(
        text("misnamed").replace(&dir, "net.d"),
        "cannot load net.d/80-list.json: plugins: only a file that is called .conflist may hold a list of plugins"
    );
    assert_eq!(
        text("green").replace(&dir, "net.d"),
        "cannot find network \"green\": no file in net.d has that name"
    );
}

#[test]
fn a_file_that_is_no_json_is_not_passed_over() {
    let error = Network::find(&testdata("broken.d"), &NetworkName::new("blue").unwrap()).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("10-cut.conflist: not JSON: EOF while parsing a string at line 1"), "{error}");
}

#[test]
fn a_missing_folder_has_no_networks() {
    let error = Network::find(Path::new("/nonexistent"), &NetworkName::new("blue").unwrap()).unwrap_err();
    assert!(matches!(error, ConfigError::NoConfigs { .. }), "{error}");
}

#[test]
fn a_faulty_plugin_in_the_folder_is_reported_with_its_own_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("1.conflist"), r#"{"name":"blue"}"#).unwrap();
    fs::create_dir(dir.path().join("blue")).unwrap();
    fs::write(dir.path().join("blue/1.conf"), r#"{"type":"a","capabilities":{"mac":"yes"}}"#).unwrap();
    let error = Network::find(dir.path(), &NetworkName::new("blue").unwrap()).unwrap_err().to_string();
    assert!(error.contains("/blue/1.conf: capabilities.mac: "), "{error}");
}

#[test]
fn the_extension_is_what_follows_the_last_dot() {
    let of = |name| extension(Path::new(name)).and_then(OsStr::to_str);
    assert_eq!(of("/a.b/10-x.conflist"), Some("conflist"));
    assert_eq!(of("/a.b/.conf"), Some("conf"));
    assert_eq!(of("/a.b/conf"), None);
    assert_eq!(of("10-x.conflist.bak"), Some("bak"));
}

/// JSON values of the shapes that occur in configurations, right and wrong ones.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9./ ]{0,12}".prop_map(Value::from),
        Just(Value::from("1.0.0")),
    ];
    let key = prop_oneof![
        Just("name"),
        Just("cniVersion"),
        Just("cniVersions"),
        Just("plugins"),
        Just("type"),
        Just("Type"),
        Just("capabilities"),
        Just("disableCheck"),
        Just("loadOnlyInlinedPlugins"),
        Just("ipam"),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_string), inner, 0..6)
                .prop_map(|object| Value::Object(object.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_loading_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = Network::from_slice(&bytes);
    }

    #[test]
    fn no_json_makes_loading_panic(value in json_value()) {
        if let Ok(network) = Network::from_slice(value.to_string().as_bytes()) {
            prop_assert!(!network.plugins.is_empty());
        }
    }
}
