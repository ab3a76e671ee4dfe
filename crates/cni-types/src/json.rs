//! JSON as the reference's plugins read it (Go's encoding/json), so that a configuration which works there works
//! here. Every plugin reads its own keys through this, and everything else of this crate is read through it.
//!
//! - The keys of a struct are matched to the letter, and where none is, without regard to (ASCII) case: `"MTU"` is
//!   read as `mtu`. When several keys differ from a field in case only, which of them counts is not defined.
//! - `null` means unset, also beside a key of the right name in another case. For a struct, a list or a map as a whole
//!   it is the empty one.
//! - Keys that no field is called are ignored.
//! - The keys of maps, and of enums that serde must look into to tell their variants apart (`untagged`, `tag = ...`), are
//!   taken as they are.
//! - `1e3` and `1500.0` are integers. For Go itself they are none, but its libcni turns numbers into floating point and prints
//!   them anew, and a plugin does the same to `prevResult`, so that such a conflist works.
//!
//! Errors name the place, in the document's spelling: `ipam.ranges[0][1].rangeStart: invalid IP address syntax`.

mod de;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::ConfError;

/// Reads `T` from a JSON value.
///
/// `T` must not use `#[serde(flatten)]`, which would see the keys as they are. Its optional fields need
/// `#[serde(default)]`, on each or on the struct.
///
/// ```
/// use serde::Deserialize;
///
/// #[derive(Debug, Default, Deserialize, PartialEq)]
/// #[serde(default, rename_all = "camelCase")]
/// struct Config {
///     mtu: u32,
///     is_gateway: bool,
///     master: Option<String>,
/// }
///
/// let text = r#"{ "type": "example", "MTU": 1400, "isgateway": true, "master": null }"#;
/// let config: Config = cni_types::json::from_slice(text.as_bytes())?;
/// assert_eq!(config, Config { mtu: 1400, is_gateway: true, master: None });
///
/// let error = cni_types::json::from_slice::<Config>(br#"{ "mtu": "big" }"#).unwrap_err();
/// assert_eq!(error.to_string(), r#"mtu: invalid type: string "big", expected u32"#);
/// # Ok::<(), cni_types::ConfError>(())
/// ```
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, ConfError> {
    T::deserialize(de::ValueReader(value)).map_err(de::Error::into_conf_error)
}

/// The same from an object, such as [`PluginConf::raw`](crate::PluginConf::raw).
pub fn from_object<T: DeserializeOwned>(object: &Map<String, Value>) -> Result<T, ConfError> {
    T::deserialize(de::ObjectReader(object)).map_err(de::Error::into_conf_error)
}

/// The same from text. Nesting deeper than 128 levels is refused.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, ConfError> {
    let value: Value = serde_json::from_slice(text).map_err(ConfError::Syntax)?;
    from_value(&value)
}

/// Parses JSON text that must be an object.
pub(crate) fn object_from_slice(text: &[u8]) -> Result<Map<String, Value>, ConfError> {
    match serde_json::from_slice(text).map_err(ConfError::Syntax)? {
        Value::Object(object) => Ok(object),
        _ => Err(ConfError::field("", "not an object")),
    }
}

/// Reads the value of one key; `None` when it is unset. Errors are placed under the key.
pub(crate) fn optional<T: DeserializeOwned>(
    object: &Map<String, Value>,
    key: &str,
) -> Result<Option<T>, ConfError> {
    get(object, key).map(|value| from_value(value).map_err(|error| error.under(key))).transpose()
}

/// Finds the value of a key as Go would find a field's; `None` also for `null`.
pub fn get<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    entry(object, key).map(|(_, value)| value)
}

/// The key as the object spells it, and its value.
fn entry<'v>(object: &'v Map<String, Value>, key: &str) -> Option<(&'v str, &'v Value)> {
    let exact = object.get_key_value(key).filter(|(_, value)| !value.is_null());
    let found =
        exact.or_else(|| object.iter().find(|(k, value)| k.eq_ignore_ascii_case(key) && !value.is_null()));
    found.map(|(k, value)| (k.as_str(), value))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, rename_all = "camelCase")]
    struct Config {
        mtu: u32,
        is_gateway: bool,
        name: Option<String>,
        ranges: Vec<Vec<Range>>,
        sysctl: BTreeMap<String, String>,
        mode: Option<Mode>,
        nested: Option<Box<Config>>,
        pair: Option<(u8, String)>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "camelCase")]
    struct Range {
        range_start: std::net::IpAddr,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Plain,
        Number(u8),
        Limits { min: u8 },
    }

    fn read(value: Value) -> Config {
        from_value(&value).unwrap()
    }

    fn error(value: Value) -> String {
        from_value::<Config>(&value).unwrap_err().to_string()
    }

    #[test]
    fn a_key_is_matched_without_regard_to_case() {
        assert_eq!(
            read(json!({ "MTU": 1, "IsGateway": true })),
            Config { mtu: 1, is_gateway: true, ..read(json!({})) }
        );
    }

    #[test]
    fn the_exact_key_wins() {
        assert_eq!(read(json!({ "MTU": 1, "mtu": 2, "Mtu": 3 })).mtu, 2);
    }

    #[test]
    fn null_is_unset_even_under_the_exact_key() {
        assert_eq!(
            read(json!({ "mtu": null, "isGateway": null, "name": null, "ranges": null, "nested": null })),
            read(json!({}))
        );
        assert_eq!(read(json!({ "mtu": null, "MTU": 5 })).mtu, 5);
    }

    #[test]
    fn a_key_that_another_field_is_called_is_that_field_s_alone() {
        #[derive(Deserialize)]
        #[serde(default)]
        #[derive(Default)]
        struct Pair {
            mac: u8,
            #[serde(rename = "MAC")]
            upper: u8,
        }
        let pair: Pair = from_value(&json!({ "mac": 1 })).unwrap();
        assert_eq!((pair.mac, pair.upper), (1, 0));
    }

    #[test]
    fn unknown_keys_are_ignored() {
        assert_eq!(read(json!({ "mtu": 1, "bogus": { "mtu": "x" } })).mtu, 1);
    }

    #[test]
    fn keys_of_a_map_are_taken_as_they_are() {
        let sysctl = read(json!({ "sysctl": { "A": "1", "a": "2" } })).sysctl;
        assert_eq!(
            sysctl,
            BTreeMap::from([("A".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())])
        );
    }

    #[test]
    fn null_for_the_whole_is_empty() {
        assert_eq!(read(Value::Null), Config::default());
        assert_eq!(from_value::<Vec<u8>>(&Value::Null).unwrap(), Vec::<u8>::new());
        assert_eq!(from_value::<BTreeMap<String, u8>>(&Value::Null).unwrap(), BTreeMap::new());
    }

    #[test]
    fn an_object_without_a_value_around_it_reads_the_same() {
        let object = json!({ "Mtu": 7, "nested": { "MTU": 8 } });
        assert_eq!(from_object::<Config>(object.as_object().unwrap()).unwrap(), read(object));
        let map = Map::from_iter([("a".to_owned(), json!(1))]);
        assert_eq!(from_object::<BTreeMap<String, u8>>(&map).unwrap()["a"], 1);
    }

    #[test]
    fn enums_are_strings_or_objects_of_one_key() {
        assert_eq!(read(json!({ "mode": "plain" })).mode, Some(Mode::Plain));
        assert_eq!(read(json!({ "mode": { "number": 3 } })).mode, Some(Mode::Number(3)));
        assert_eq!(read(json!({ "mode": { "limits": { "MIN": 3 } } })).mode, Some(Mode::Limits { min: 3 }));
    }

    #[test]
    fn the_place_of_a_wrong_type_is_named() {
        assert_eq!(error(json!({ "MTU": "1500" })), r#"MTU: invalid type: string "1500", expected u32"#);
        assert_eq!(error(json!({ "mtu": -1 })), "mtu: invalid value: integer `-1`, expected u32");
        assert_eq!(
            error(json!({ "mtu": 4294967296_u64 })),
            "mtu: invalid value: integer `4294967296`, expected u32"
        );
        assert_eq!(error(json!({ "name": 1 })), "name: invalid type: integer `1`, expected a string");
        assert_eq!(
            error(json!({ "isGateway": "true" })),
            r#"isGateway: invalid type: string "true", expected a boolean"#
        );
        assert_eq!(
            error(json!({ "sysctl": { "net.a": 1 } })),
            "sysctl.net.a: invalid type: integer `1`, expected a string"
        );
        assert_eq!(error(json!({ "sysctl": [] })), "sysctl: invalid type: list, expected a map");
        assert_eq!(error(json!({ "ranges": {} })), "ranges: invalid type: object, expected a sequence");
        assert_eq!(error(json!([])), "invalid type: list, expected struct Config");
    }

    #[test]
    fn the_place_is_named_however_deep_it_is() {
        let good = json!({ "rangeStart": "10.0.0.1" });
        let bad = json!({ "nested": { "ranges": [[good], [good, { "RangeStart": "10.0.0" }]] } });
        assert_eq!(error(bad), "nested.ranges[1][1].RangeStart: invalid IP address syntax");
        assert_eq!(error(json!({ "ranges": [[{}]] })), "ranges[0][0]: missing field `rangeStart`");
        assert_eq!(
            error(json!({ "mode": { "number": 300 } })),
            "mode.number: invalid value: integer `300`, expected u8"
        );
        assert_eq!(
            error(json!({ "mode": { "limits": { "min": [] } } })),
            "mode.limits.min: invalid type: sequence, expected u8"
        );
        assert_eq!(
            error(json!({ "mode": "odd" })),
            "mode: unknown variant `odd`, expected one of `plain`, `number`, `limits`"
        );
        assert_eq!(error(json!({ "mode": "number" })), "mode: number needs a value");
        assert_eq!(error(json!({ "mode": { "plain": 1 } })), "mode: plain takes no value");
        assert_eq!(error(json!({ "mode": 5 })), "mode: invalid type: number, expected enum Mode");
    }

    #[test]
    fn a_number_without_a_fraction_is_an_integer_however_it_is_written() {
        assert_eq!(read(json!({ "mtu": 1500.0 })).mtu, 1500);
        assert_eq!(from_slice::<Config>(br#"{ "mtu": 15e2 }"#).unwrap().mtu, 1500);
        assert_eq!(from_value::<[i64; 2]>(&json!([-2.0, -0.0])).unwrap(), [-2, 0]);
        assert_eq!(from_value::<u64>(&json!(1e19)).unwrap(), 10_000_000_000_000_000_000);
        assert_eq!(error(json!({ "mtu": 1.5 })), "mtu: invalid type: floating point `1.5`, expected u32");
        assert_eq!(error(json!({ "mtu": 1e10 })), "mtu: invalid value: integer `10000000000`, expected u32");
        for beyond in [18_446_744_073_709_551_616.0, 1e20, -1e19, f64::MAX] {
            assert!(from_value::<u64>(&json!(beyond)).is_err() && from_value::<i64>(&json!(beyond)).is_err());
        }
        assert_eq!(from_value::<f64>(&json!(3)).unwrap(), 3.0);
    }

    #[test]
    fn a_list_that_is_longer_than_a_tuple_is_refused() {
        assert_eq!(read(json!({ "pair": [1, "a"] })).pair, Some((1, "a".to_owned())));
        assert_eq!(error(json!({ "pair": [1, "a", 2] })), "pair: invalid length 3, expected fewer items");
        assert_eq!(error(json!({ "pair": [1] })), "pair: invalid length 1, expected a tuple of size 2");
    }

    #[test]
    fn text_that_is_no_json_is_refused() {
        for text in ["", "{", "{}{}", "{'a': 1}", "nul", "\u{feff}{}"] {
            assert!(matches!(from_slice::<Value>(text.as_bytes()), Err(ConfError::Syntax(_))), "{text:?}");
        }
    }

    #[test]
    fn a_value_is_read_as_it_is() {
        let value = json!({ "A": [1, -1, 1.5, null, true, "x"], "a": {} });
        assert_eq!(from_value::<Value>(&value).unwrap(), value);
    }

    #[test]
    fn get_finds_what_a_field_would_get() {
        let object = json!({ "Type": "a", "name": null, "NAME": "b", "dns": null });
        let object = object.as_object().unwrap();
        assert_eq!(get(object, "type"), Some(&json!("a")));
        assert_eq!(get(object, "name"), Some(&json!("b")));
        assert_eq!(get(object, "dns"), None);
        assert_eq!(get(object, "ipam"), None);
    }
}
