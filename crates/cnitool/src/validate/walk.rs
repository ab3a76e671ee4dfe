//! Comparing JSON with the tables of keys.

use std::path::Path;

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
                Kind::Ip => cni_types::parse_address(text).is_some(),
                Kind::Cidr => cni_types::parse_network(text).is_some(),
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
mod tests;
