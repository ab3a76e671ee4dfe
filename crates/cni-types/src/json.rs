//! JSON as the reference's plugins read it (Go's encoding/json), so that a configuration which works there works
//! here: keys are matched without regard to case when no key has the exact spelling, and `null` means unset.
//!
//! Errors name the place: `ipam.ranges[0][1].rangeStart: invalid IP address syntax`.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ConfError;

/// Reads `T` from a JSON value. `T` must not use `#[serde(flatten)]`; its optional fields need `#[serde(default)]`.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, ConfError> {
    let _ = value;
    todo!()
}

/// Finds a key of an object as Go would.
pub fn get<'v>(object: &'v serde_json::Map<String, Value>, key: &str) -> Option<&'v Value> {
    let _ = (object, key);
    todo!()
}
