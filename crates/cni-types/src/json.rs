//! JSON as the reference's plugins read it (Go's encoding/json), so that a configuration which works there works
//! here: keys are matched without regard to case when no key has the exact spelling, and `null` means unset.
//!
//! Errors name the place: `ipam.ranges[0][1].rangeStart: invalid IP address syntax`.

mod de;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::ConfError;

/// Reads `T` from a JSON value. `T` must not use `#[serde(flatten)]`; its optional fields need `#[serde(default)]`.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, ConfError> {
    T::deserialize(de::ValueReader(value)).map_err(de::Error::into_conf_error)
}

/// Parses JSON text and reads `T` from it.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, ConfError> {
    let value: Value = serde_json::from_slice(text).map_err(ConfError::Syntax)?;
    from_value(&value)
}

/// Finds a key of an object as Go would.
pub fn get<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    entry(object, key).map(|(_, value)| value)
}

/// The key as the object spells it, and its value; `null` counts as absent.
fn entry<'v>(object: &'v Map<String, Value>, key: &str) -> Option<(&'v str, &'v Value)> {
    let exact = object.get_key_value(key).filter(|(_, value)| !value.is_null());
    let found =
        exact.or_else(|| object.iter().find(|(k, value)| k.eq_ignore_ascii_case(key) && !value.is_null()));
    found.map(|(k, value)| (k.as_str(), value))
}
