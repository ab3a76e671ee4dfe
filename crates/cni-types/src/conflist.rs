//! A network configuration list, as it lies in /etc/cni/net.d.
//!
//! The rules are those of the reference's libcni/conf.go. Unlike a plugin's configuration, the list's own keys are
//! matched to the letter and `null` is a wrong type, as there.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{ConfError, InvalidName, NetworkName, PluginType, SpecVersion, UnknownVersion, json};

/// A network: the plugins to run, in order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NetworkConfigList {
    /// The network's name.
    pub name: NetworkName,
    /// The version to speak: the newest of `cniVersion` and `cniVersions` that is known here.
    pub cni_version: SpecVersion,
    /// `disableCheck`: CHECK is not to be run.
    pub disable_check: bool,
    /// `disableGC`: GC is not to be run.
    pub disable_gc: bool,
    /// `loadOnlyInlinedPlugins`: no plugins are to be added from the folder `<network name>/` beside the list's file.
    pub load_only_inlined_plugins: bool,
    /// Each plugin's own object, unknown fields included; `type` is present and valid in each. Empty when the list has
    /// no `plugins` key: they lie in a folder then.
    pub plugins: Vec<Map<String, Value>>,
    /// The whole list as it came.
    pub raw: Map<String, Value>,
}

impl NetworkConfigList {
    /// Reads a list and checks each plugin's `type`.
    pub fn from_slice(json: &[u8]) -> Result<Self, ConfError> {
        let raw = json::object_from_slice(json)?;
        let load_only_inlined_plugins = flag(&raw, "loadOnlyInlinedPlugins")?;
        Ok(NetworkConfigList {
            name: NetworkName::new(text(&raw, "name")?.unwrap_or_default())?,
            cni_version: choose_version(&raw)?,
            disable_check: flag(&raw, "disableCheck")?,
            disable_gc: flag(&raw, "disableGC")?,
            load_only_inlined_plugins,
            plugins: plugins(&raw, load_only_inlined_plugins)?,
            raw,
        })
    }

    /// A list of one, from a single plugin's configuration (the .conf form of before 0.3.0). Such a network has no
    /// folder of further plugins, and `raw` is the list that the configuration stands for.
    pub fn from_single(json: &[u8]) -> Result<Self, ConfError> {
        let plugin = json::object_from_slice(json)?;
        let header: SingleHeader = json::from_object(&plugin)?;
        check_plugin(&plugin)?;
        let name = NetworkName::new(header.name)?;
        let cni_version: SpecVersion = header.cni_version.parse()?;
        let mut raw = Map::new();
        raw.insert("cniVersion".to_owned(), header.cni_version.into());
        raw.insert("name".to_owned(), name.as_str().into());
        raw.insert("plugins".to_owned(), vec![Value::Object(plugin.clone())].into());
        Ok(NetworkConfigList {
            name,
            cni_version,
            disable_check: false,
            disable_gc: false,
            load_only_inlined_plugins: true,
            plugins: vec![plugin],
            raw,
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SingleHeader {
    cni_version: String,
    name: String,
}

/// What libcni itself reads of a plugin's object.
#[derive(Deserialize)]
struct PluginHeader {
    #[serde(rename = "type", default)]
    plugin: String,
    #[serde(default, rename = "capabilities")]
    _capabilities: BTreeMap<String, bool>,
}

fn check_plugin(plugin: &Map<String, Value>) -> Result<(), ConfError> {
    let header: PluginHeader = json::from_object(plugin)?;
    PluginType::new(header.plugin).map_err(|InvalidName { value, reason, .. }| match value.as_str() {
        "" => ConfError::field("type", "missing"),
        _ => ConfError::field("type", format!("invalid plugin type {value:?}: {reason}")),
    })?;
    Ok(())
}

fn plugins(raw: &Map<String, Value>, only_inlined: bool) -> Result<Vec<Map<String, Value>>, ConfError> {
    let items = match raw.get("plugins") {
        None if only_inlined => {
            return Err(ConfError::field("plugins", "missing, though loadOnlyInlinedPlugins is true"));
        }
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.is_empty() => {
            return Err(ConfError::field("plugins", "no plugins in the list"));
        }
        Some(Value::Array(items)) => items,
        Some(_) => return Err(ConfError::field("plugins", "not a list")),
    };
    let read = |(index, item): (usize, &Value)| {
        let place = format!("plugins[{index}]");
        let plugin = item.as_object().ok_or_else(|| ConfError::field(&place, "not an object"))?;
        check_plugin(plugin).map_err(|e| e.under(&place))?;
        Ok(plugin.clone())
    };
    items.iter().enumerate().map(read).collect()
}

fn text<'v>(raw: &'v Map<String, Value>, key: &str) -> Result<Option<&'v str>, ConfError> {
    let value = raw.get(key).map(|value| value.as_str().ok_or_else(|| ConfError::field(key, "not a string")));
    value.transpose()
}

/// A boolean, or `"true"` and `"false"` in any case.
fn flag(raw: &Map<String, Value>, key: &str) -> Result<bool, ConfError> {
    match raw.get(key) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(ConfError::field(key, "neither true nor false")),
    }
}

/// The newest version known here of those that the list names; 0.1.0 when it names none.
fn choose_version(raw: &Map<String, Value>) -> Result<SpecVersion, ConfError> {
    let single = text(raw, "cniVersion")?.unwrap_or_default();
    let Some(several) = raw.get("cniVersions") else { return Ok(single.parse()?) };
    let several = several.as_array().ok_or_else(|| ConfError::field("cniVersions", "not a list"))?;

    let mut named = Vec::with_capacity(several.len() + 1);
    for (index, version) in several.iter().enumerate() {
        let place = format!("cniVersions[{index}]");
        let version = version.as_str().ok_or_else(|| ConfError::field(&place, "not a string"))?;
        if !is_version_number(version) {
            return Err(ConfError::field(place, format!("invalid version {version:?}")));
        }
        named.push(version);
    }
    if !single.is_empty() {
        if !is_version_number(single) {
            return Err(ConfError::field("cniVersion", format!("invalid version {single:?}")));
        }
        named.push(single);
    }
    let known = named.iter().filter_map(|version| version.parse().ok()).max();
    match (known, named.last()) {
        (Some(version), _) => Ok(version),
        (None, Some(unknown)) => Err(UnknownVersion((*unknown).to_owned()).into()),
        (None, None) => Ok(SpecVersion::V0_1_0),
    }
}

/// One to three numbers with dots between; an empty text stands for 0.1.0.
fn is_version_number(text: &str) -> bool {
    let is_number = |part: &str| part.parse::<u32>().is_ok() && !part.starts_with('+');
    text.is_empty() || (text.split('.').count() <= 3 && text.split('.').all(is_number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A list with these keys beside a name and a plugin; `null` takes one of those away.
    fn list(keys: Value) -> Result<NetworkConfigList, ConfError> {
        let mut conf = json!({ "name": "net", "plugins": [{ "type": "bridge" }] });
        for (key, value) in keys.as_object().unwrap() {
            conf[key] = value.clone();
            if value.is_null() {
                conf.as_object_mut().unwrap().remove(key);
            }
        }
        NetworkConfigList::from_slice(conf.to_string().as_bytes())
    }

    fn error(keys: Value) -> String {
        list(keys).unwrap_err().to_string()
    }

    fn chosen(keys: Value) -> &'static str {
        list(keys).unwrap().cni_version.as_str()
    }

    #[test]
    fn the_newest_known_version_is_chosen() {
        assert_eq!(chosen(json!({})), "0.1.0");
        assert_eq!(chosen(json!({ "cniVersion": "" })), "0.1.0");
        assert_eq!(chosen(json!({ "cniVersion": "0.4.0" })), "0.4.0");
        assert_eq!(chosen(json!({ "cniVersions": [] })), "0.1.0");
        assert_eq!(chosen(json!({ "cniVersions": ["1.0.0", "1.1.0", "0.4.0"] })), "1.1.0");
        assert_eq!(chosen(json!({ "cniVersion": "1.0.0", "cniVersions": ["0.4.0", "0.3.1"] })), "1.0.0");
        assert_eq!(chosen(json!({ "cniVersion": "0.4.0", "cniVersions": ["1.0.0"] })), "1.0.0");
        assert_eq!(
            chosen(json!({ "cniVersion": "9.0.0", "cniVersions": ["1.0.0", "2.0.0", "1.9"] })),
            "1.0.0"
        );
        // A number between two versions is none that a plugin could speak.
        assert_eq!(chosen(json!({ "cniVersions": ["0.4.0", "0.9.0"] })), "0.4.0");
    }

    #[test]
    fn a_list_without_a_known_version_is_refused() {
        assert_eq!(error(json!({ "cniVersion": "2.0.0" })), r#"unknown CNI version "2.0.0""#);
        assert_eq!(error(json!({ "cniVersions": ["2.0.0", "3.0.0"] })), r#"unknown CNI version "3.0.0""#);
        assert_eq!(
            error(json!({ "cniVersion": "4.0.0", "cniVersions": ["2.0.0"] })),
            r#"unknown CNI version "4.0.0""#
        );
    }

    #[test]
    fn what_is_no_version_is_refused() {
        assert_eq!(
            error(json!({ "cniVersions": ["1.0.0", "one"] })),
            r#"cniVersions[1]: invalid version "one""#
        );
        for bad in ["1.0.0.0", "1.", ".1", "1.x", "+1.0", "-1.0", " 1"] {
            assert_eq!(
                error(json!({ "cniVersions": [bad] })),
                format!("cniVersions[0]: invalid version {bad:?}")
            );
            assert_eq!(
                error(json!({ "cniVersion": bad, "cniVersions": [] })),
                format!("cniVersion: invalid version {bad:?}")
            );
        }
        assert_eq!(error(json!({ "cniVersions": [1] })), "cniVersions[0]: not a string");
        assert_eq!(error(json!({ "cniVersions": "1.0.0" })), "cniVersions: not a list");
        assert_eq!(error(json!({ "cniVersion": 1 })), "cniVersion: not a string");
    }

    #[test]
    fn flags_are_booleans_or_their_names() {
        for (key, read) in [
            ("disableCheck", (|list| list.disable_check) as fn(NetworkConfigList) -> bool),
            ("disableGC", |list| list.disable_gc),
            ("loadOnlyInlinedPlugins", |list| list.load_only_inlined_plugins),
        ] {
            assert!(!read(list(json!({})).unwrap()), "{key}");
            for (value, meaning) in
                [(json!(true), true), (json!("True"), true), (json!(false), false), (json!("FALSE"), false)]
            {
                assert_eq!(read(list(json!({ key: value })).unwrap()), meaning, "{key}");
            }
            for bad in [json!("yes"), json!(1), json!([]), json!("")] {
                assert_eq!(error(json!({ key: bad })), format!("{key}: neither true nor false"));
            }
        }
    }

    #[test]
    fn the_list_s_own_keys_are_matched_to_the_letter() {
        assert!(!list(json!({ "disablecheck": true })).unwrap().disable_check);
        assert_eq!(error(json!({ "name": null, "Name": "net" })), "missing network name");
        let null =
            NetworkConfigList::from_slice(br#"{"name":"n","disableGC":null,"plugins":[{"type":"t"}]}"#);
        assert_eq!(null.unwrap_err().to_string(), "disableGC: neither true nor false");
    }

    #[test]
    fn plugins_may_lie_in_a_folder_unless_that_is_forbidden() {
        assert_eq!(list(json!({ "plugins": null })).unwrap().plugins, []);
        assert_eq!(
            error(json!({ "plugins": null, "loadOnlyInlinedPlugins": "true" })),
            "plugins: missing, though loadOnlyInlinedPlugins is true"
        );
        assert_eq!(error(json!({ "plugins": [] })), "plugins: no plugins in the list");
        assert_eq!(error(json!({ "plugins": {} })), "plugins: not a list");
    }

    #[test]
    fn each_plugin_needs_a_type() {
        let second = |plugin: Value| error(json!({ "plugins": [{ "type": "bridge" }, plugin] }));
        assert_eq!(second(json!({})), "plugins[1].type: missing");
        assert_eq!(second(json!({ "type": "" })), "plugins[1].type: missing");
        assert_eq!(
            second(json!({ "type": 1 })),
            "plugins[1].type: invalid type: number 1, expected a string"
        );
        assert_eq!(
            second(json!({ "type": "../x" })),
            r#"plugins[1].type: invalid plugin type "../x": it must be a file's name, not a path"#
        );
        assert_eq!(second(json!("bridge")), "plugins[1]: not an object");
        assert_eq!(
            second(json!({ "type": "t", "capabilities": { "mac": "yes" } })),
            r#"plugins[1].capabilities.mac: invalid type: string "yes", expected true or false"#
        );
        assert_eq!(list(json!({ "plugins": [{ "Type": "bridge" }] })).unwrap().plugins.len(), 1);
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(error(json!({ "name": "" })), "missing network name");
        assert_eq!(error(json!({ "name": 1 })), "name: not a string");
        assert!(error(json!({ "name": "a/b" })).contains("invalid network name"));
    }

    #[test]
    fn a_single_configuration_is_a_list_of_one() {
        let conf = json!({ "CniVersion": "0.2.0", "name": "net", "type": "bridge", "keyA": [1], "disableCheck": true });
        let list = NetworkConfigList::from_single(conf.to_string().as_bytes()).unwrap();
        assert_eq!((list.name.as_str(), list.cni_version), ("net", SpecVersion::V0_2_0));
        assert!(!list.disable_check && list.load_only_inlined_plugins);
        assert_eq!(list.plugins, [conf.as_object().unwrap().clone()]);
        assert_eq!(
            Value::Object(list.raw.clone()),
            json!({ "cniVersion": "0.2.0", "name": "net", "plugins": [conf] })
        );
        // What it stands for is a list indeed.
        let again = NetworkConfigList::from_slice(Value::Object(list.raw).to_string().as_bytes()).unwrap();
        assert_eq!((again.plugins, again.cni_version), (list.plugins, list.cni_version));
    }

    #[test]
    fn a_single_configuration_is_checked_as_well() {
        let error = |conf: Value| {
            NetworkConfigList::from_single(conf.to_string().as_bytes()).unwrap_err().to_string()
        };
        assert_eq!(error(json!({ "name": "net" })), "type: missing");
        assert_eq!(error(json!({ "name": "net", "plugins": [{ "type": "t" }] })), "type: missing");
        assert_eq!(error(json!({ "type": "t" })), "missing network name");
        assert_eq!(
            error(json!({ "type": "t", "name": "n", "cniVersion": "7.0.0" })),
            r#"unknown CNI version "7.0.0""#
        );
    }
}
