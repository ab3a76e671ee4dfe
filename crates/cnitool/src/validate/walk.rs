//! Comparing JSON with the tables of keys.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use serde_json::{Map, Number, Value};

use super::finding::{Finding, Severity};
use super::keys::{self, Key, Kind};

/// Goes through one file and collects what is wrong with it.
pub(super) struct Walker<'a> {
    file: &'a Path,
    pub(super) findings: Vec<Finding>,
}

/// How an object's keys are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// To the letter, and `null` is a wrong type: the list's own keys (libcni/conf.go).
    Exact,
    /// Without regard to case, and `null` is unset: everything that Go decodes into a struct.
    AsGo,
}

impl<'a> Walker<'a> {
    pub(super) fn new(file: &'a Path) -> Self {
        Walker { file, findings: Vec::new() }
    }

    pub(super) fn error(&mut self, path: &str, message: impl Into<String>) {
        self.add(Severity::Error, path, message.into());
    }

    fn warning(&mut self, path: &str, message: impl Into<String>) {
        self.add(Severity::Warning, path, message.into());
    }

    fn add(&mut self, severity: Severity, path: &str, message: String) {
        self.findings.push(Finding {
            severity,
            file: self.file.to_path_buf(),
            path: path.to_string(),
            message,
        });
    }

    /// A list's own keys. Its plugins are for [`plugin`](Walker::plugin).
    pub(super) fn list(&mut self, list: &Map<String, Value>) {
        self.object("", list, &[keys::LIST], true, Reading::Exact);
    }

    /// A plugin's configuration at `path`.
    pub(super) fn plugin(&mut self, path: &str, value: &Value) {
        let Value::Object(plugin) = value else {
            return self.error(path, format!("must be an object, not {}", name_of(value)));
        };
        let own = type_of(plugin).and_then(keys::of_plugin);
        self.object(path, plugin, &[keys::PLUGIN, own.unwrap_or_default()], own.is_some(), Reading::AsGo);
        for key in plugin.keys() {
            if key == "prevResult" || key == "runtimeConfig" || key.starts_with("cni.dev/") {
                self.warning(&join(path, key), "is for the runtime to set, not for a configuration");
            }
        }
    }

    /// The keys of an object against all of the tables. Unknown ones are reported only where all known ones are known.
    fn object(
        &mut self,
        path: &str,
        object: &Map<String, Value>,
        tables: &[&[Key]],
        complete: bool,
        reading: Reading,
    ) {
        for (name, value) in object {
            let place = join(path, name);
            let all = || tables.iter().flat_map(|table| table.iter());
            let known = all().find(|key| key.name == name).or_else(|| {
                all().find(|key| reading == Reading::AsGo && key.name.eq_ignore_ascii_case(name))
            });
            match known {
                Some(_) if value.is_null() && reading == Reading::AsGo => {}
                Some(key) => {
                    if key.name != name {
                        self.warning(
                            &place,
                            format!("is spelled {}; not every plugin takes it so", key.name),
                        );
                    }
                    self.value(&place, value, &key.kind);
                }
                None if name.starts_with("cni.dev/") || !complete => {}
                None => match similar(name, all().map(|key| key.name)) {
                    Some(similar) => self.error(&place, format!("unknown key; did you mean {similar}?")),
                    None => self.warning(&place, "unknown key, which nothing here reads"),
                },
            }
        }
    }

    fn value(&mut self, path: &str, value: &Value, kind: &Kind) {
        match (kind, value) {
            (Kind::Any, _)
            | (Kind::Bool | Kind::BoolOrText, Value::Bool(_))
            | (Kind::Text, Value::String(_)) => {}
            (Kind::BoolOrText, Value::String(text))
                if ["true", "false"].contains(&text.to_ascii_lowercase().as_str()) => {}
            (Kind::Int(min, max), Value::Number(number)) => self.int(path, number, *min, *max),
            (Kind::Ip | Kind::Cidr | Kind::Mac | Kind::OneOf(_), Value::String(text)) => {
                self.text(path, text, kind);
            }
            (Kind::List(item), Value::Array(items)) => {
                for (index, value) in items.iter().enumerate() {
                    self.value(&format!("{path}[{index}]"), value, item);
                }
            }
            (Kind::Map(item), Value::Object(object)) => {
                for (name, value) in object.iter().filter(|(_, value)| !value.is_null()) {
                    self.value(&join(path, name), value, item);
                }
            }
            (Kind::Object(table), Value::Object(object)) => {
                self.object(path, object, &[table], true, Reading::AsGo);
            }
            (Kind::Ipam, Value::Object(ipam)) => {
                let own = type_of(ipam).and_then(keys::of_ipam);
                self.object(path, ipam, &[keys::IPAM, own.unwrap_or_default()], own.is_some(), Reading::AsGo);
            }
            (_, other) => self.error(path, format!("must be {}, not {}", wanted(kind), name_of(other))),
        }
    }

    fn int(&mut self, path: &str, number: &Number, min: i128, max: i128) {
        let whole = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
        match whole {
            None => self.error(path, format!("must be a whole number, not {number}")),
            Some(whole) if whole < min || whole > max => {
                self.error(path, format!("must be from {min} to {max}, not {number}"));
            }
            Some(_) => {}
        }
    }

    fn text(&mut self, path: &str, text: &str, kind: &Kind) {
        let empty = text.is_empty() && !matches!(kind, Kind::Cidr);
        let right = empty
            || match kind {
                Kind::Ip => text.parse::<IpAddr>().is_ok(),
                Kind::Cidr => text.parse::<IpNet>().is_ok(),
                Kind::Mac => is_mac(text),
                Kind::OneOf(words) => words.contains(&text),
                _ => true,
            };
        if !right {
            self.error(path, format!("must be {}, not {text:?}", wanted(kind)));
        }
    }
}

/// The `type` of an object, when it has a usable one.
pub(super) fn type_of(object: &Map<String, Value>) -> Option<&str> {
    cni_types::json::get(object, "type").and_then(Value::as_str).filter(|name| !name.is_empty())
}

/// The path of a key of the object at `path`, as one would write it in jq.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (path, plain && !key.is_empty()) {
        (_, false) => format!("{path}[{}]", Value::from(key)),
        ("", true) => key.to_string(),
        (_, true) => format!("{path}.{key}"),
    }
}

fn wanted(kind: &Kind) -> String {
    match kind {
        Kind::Any => "anything".to_string(),
        Kind::Bool | Kind::BoolOrText => "true or false".to_string(),
        Kind::Text => "a string".to_string(),
        Kind::Int(..) => "a whole number".to_string(),
        Kind::Ip => "an IP address".to_string(),
        Kind::Cidr => "an IP address with a prefix length".to_string(),
        Kind::Mac => "a hardware address".to_string(),
        Kind::OneOf(words) => format!("one of {}", words.join(", ")),
        Kind::List(_) => "a list".to_string(),
        Kind::Map(_) | Kind::Object(_) | Kind::Ipam => "an object".to_string(),
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// 48, 64 or 160 bits with colons or dashes between bytes, or dots between pairs of them (Go's net.ParseMAC).
fn is_mac(text: &str) -> bool {
    let bytes = |separator, digits: usize| {
        let parts: Vec<&str> = text.split(separator).collect();
        let hex = |part: &&str| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if parts.iter().all(hex) { parts.len() * digits / 2 } else { 0 }
    };
    [bytes(':', 2), bytes('-', 2), bytes('.', 4)].iter().any(|count| [6, 8, 20].contains(count))
}

/// The known key that was probably meant.
fn similar<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let distance = |key: &str| strsim::osa_distance(&name.to_ascii_lowercase(), &key.to_ascii_lowercase());
    let (distance, key) = known.map(|key| (distance(key), key)).min_by_key(|(distance, _)| *distance)?;
    // Two slips at most, and not most of a short word.
    (distance <= 2 && 2 * distance < name.len().max(key.len())).then_some(key)
}

#[cfg(test)]
mod tests {
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
            fits(&signed, json!(i64::MIN))
                && fits(&signed, json!(i64::MAX))
                && !fits(&signed, json!(u64::MAX))
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
        for wrong in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:0",
            "02:42:ac:11:00:gg",
            "02:42-ac:11:00:02",
            "0242ac110002",
        ] {
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
}
