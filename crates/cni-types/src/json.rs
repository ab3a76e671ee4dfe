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
//! - A number with a point or an exponent is no integer, even when its fraction is zero.
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
