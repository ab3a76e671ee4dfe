//! JSON as the reference's plugins read it (Go's encoding/json), so that a configuration which works there works
//! here. Every plugin reads its own keys through this, and everything else of this crate is read through it.
//!
//! - The keys of a struct are matched to the letter, and where none is, without regard to (ASCII) case: `"MTU"` is
//!   read as `mtu`. When several keys differ from a field in case only, which of them counts is not defined.
//! - `null` means unset, also beside a key of the right name in another case. For a struct, a list or a map as a whole
//!   it is the empty one.
//! - Keys that no field is called are skipped. They cost the time that it takes to see where they end, and no memory, whatever
//!   their values are.
//! - The keys of maps, and of enums that serde must look into to tell their variants apart (`untagged`, `tag = ...`), are
//!   taken as they are.
//! - `1e3` and `1500.0` are integers. For Go itself they are none, but its libcni turns numbers into floating point and prints
//!   them anew, and a plugin does the same to `prevResult`, so that such a conflist works.
//!
//! Errors name the place, in the document's spelling, and call types as JSON does:
//! `ipam.ranges[0][1].rangeStart: invalid type: number 5, expected a string`.

mod de;
mod error;
mod raw;
mod variant;
mod walk;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

pub use raw::{RawObject, Unread};

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
/// assert_eq!(error.to_string(), r#"mtu: invalid type: string "big", expected a number"#);
/// # Ok::<(), cni_types::ConfError>(())
/// ```
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, ConfError> {
    read(&value.to_string())
}

/// The same from an object that is at hand without a [`Value`] around it.
pub fn from_object<T: DeserializeOwned>(object: &Map<String, Value>) -> Result<T, ConfError> {
    read(&serde_json::to_string(object).map_err(ConfError::Syntax)?)
}

/// The same from text. A [`Value`] in it that is nested deeper than 128 levels is refused.
pub fn from_slice<'t, T: Deserialize<'t>>(text: &'t [u8]) -> Result<T, ConfError> {
    read(checked(text)?)
}

/// The text of one value, without the white space around it.
fn checked(text: &[u8]) -> Result<&str, ConfError> {
    serde_json::from_slice::<&RawValue>(text).map(RawValue::get).map_err(ConfError::Syntax)
}

/// The newtype that [`Unread`] asks for.
const UNREAD: &str = "cni_types::json::Unread";

/// Reads what [`checked`] has seen.
fn read<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, ConfError> {
    T::deserialize(de::TextReader(text)).map_err(error::Error::into_conf_error)
}

/// Parses JSON text that must be an object.
pub(crate) fn object_from_slice(text: &[u8]) -> Result<Map<String, Value>, ConfError> {
    match serde_json::from_slice(text).map_err(ConfError::Syntax)? {
        Value::Object(object) => Ok(object),
        _ => Err(ConfError::field("", "not an object")),
    }
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
mod tests;
