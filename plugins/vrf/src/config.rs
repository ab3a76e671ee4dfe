//! The configuration: its form on the wire, and what ADD, CHECK and STATUS make of it.

use std::num::NonZeroU32;

use cni_plugin::{Error, Result};
use cni_types::IfName;
use serde::Deserialize;

/// The plugin's keys of the network configuration, read but not yet validated.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wire {
    pub(crate) vrfname: String,
    table: i64,
}

/// The routing domain.
#[derive(Debug)]
pub struct Config {
    pub(crate) name: IfName,
    /// `None` for that of a VRF that is there, or for a free one.
    pub(crate) table: Option<NonZeroU32>,
}

impl Config {
    pub(crate) fn new(wire: &Wire) -> Result<Self> {
        if wire.vrfname.is_empty() {
            return Err(Error::config("vrfname is missing"));
        }
        let name = IfName::new(&wire.vrfname).map_err(|error| Error::config(format!("vrfname: {error}")))?;
        let table = u32::try_from(wire.table)
            .map_err(|_| Error::config(format!("table: {} is not a routing table", wire.table)))?;
        Ok(Config { name, table: NonZeroU32::new(table) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn config(keys: Value) -> Result<Config> {
        Config::new(&serde_json::from_value(keys).unwrap())
    }

    #[test]
    fn a_table_of_zero_is_none() {
        for (keys, table) in [
            (json!({"vrfname": "red"}), None),
            (json!({"vrfname": "red", "table": 0}), None),
            (json!({"vrfname": "red", "table": 5000}), NonZeroU32::new(5000)),
        ] {
            let config = config(keys).unwrap();
            assert_eq!((config.name.as_str(), config.table), ("red", table));
        }
    }

    #[test]
    fn bad_values_are_refused_by_the_keys_name() {
        for (keys, part) in [
            (json!({}), "vrfname is missing"),
            (json!({"vrfname": "a name that is too long"}), "vrfname: "),
            (json!({"vrfname": "a/b"}), "vrfname: "),
            (json!({"vrfname": "red", "table": -1}), "table: -1 is not a routing table"),
            (
                json!({"vrfname": "red", "table": 4_294_967_296_i64}),
                "table: 4294967296 is not a routing table",
            ),
        ] {
            let error = config(keys).unwrap_err().to_string();
            assert!(error.starts_with(part), "{error}");
        }
    }
}
