//! Finding a key twice in `sysctl`. Who reads JSON into a map never learns of it, and which of two values counts would be
//! left to chance.

use std::collections::HashSet;
use std::fmt;

use cni_plugin::{Error, Result};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

/// The objects on the way to the two that are looked at.
const WAYS: [&str; 2] = ["args", "args.cni"];
const TARGETS: [&str; 2] = ["sysctl", "args.cni.sysctl"];

/// Refuses a configuration in which `sysctl` or `args.cni.sysctl` has a key twice, to the letter.
pub(crate) fn refuse(stdin: &[u8]) -> Result<()> {
    let mut json = serde_json::Deserializer::from_slice(stdin);
    Object(String::new()).deserialize(&mut json).map_err(|error| Error::config(error.to_string()))
}

/// The object at this path, its parts in lower case and joined by dots; empty for the whole.
struct Object(String);

impl Object {
    fn path_of(&self, key: &str) -> String {
        let key = key.to_ascii_lowercase();
        if self.0.is_empty() { key } else { format!("{}.{key}", self.0) }
    }
}

impl<'de> DeserializeSeed<'de> for Object {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object for {}", self.0)
    }

    /// `null` is the empty object.
    fn visit_unit<E>(self) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> std::result::Result<(), A::Error> {
        let is_target = TARGETS.contains(&self.0.as_str());
        let mut seen = HashSet::new();
        while let Some(key) = object.next_key::<String>()? {
            let path = self.path_of(&key);
            if !is_target && (WAYS.contains(&path.as_str()) || TARGETS.contains(&path.as_str())) {
                object.next_value_seed(Object(path))?;
                continue;
            }
            object.next_value::<IgnoredAny>()?;
            if is_target && !seen.insert(key.clone()) {
                return Err(A::Error::custom(format!("{} has the key {key:?} twice", self.0)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_there_twice_is_refused_by_name() {
        for (json, place) in [
            (r#"{"name": "n", "sysctl": {"net.a": "1", "net.b": "2", "net.a": "1"}}"#, "sysctl"),
            (r#"{"SysCtl": {"net.a": "1", "net.a": "2"}}"#, "sysctl"),
            (r#"{"args": {"x": 1, "cni": {"sysctl": {"net.a": null, "net.a": "2"}}}}"#, "args.cni.sysctl"),
        ] {
            let error = refuse(json.as_bytes()).unwrap_err();
            assert!(
                error.to_string().starts_with(&format!(r#"{place} has the key "net.a" twice"#)),
                "{error}"
            );
            assert_eq!(error.code().0, 7);
        }
    }

    #[test]
    fn elsewhere_and_in_other_spelling_keys_may_repeat() {
        for json in [
            r#"{"sysctl": {"net.a": "1", "net/a": "1"}, "args": {"cni": {"sysctl": {"net.a": "1"}}}}"#,
            r#"{"ipam": {"sysctl": {"net.a": "1", "net.a": "2"}}, "sysctl": {"sysctl": {"a": 1, "a": 2}}}"#,
            r#"{"sysctl": null, "args": {"cni": null}, "prevResult": {"a": 1, "a": 2}}"#,
            "{}",
        ] {
            refuse(json.as_bytes()).unwrap();
        }
    }
}
