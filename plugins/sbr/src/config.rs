//! The configuration: its form on the wire, and what ADD, CHECK and STATUS make of it.

use std::net::IpAddr;
use std::num::NonZeroU32;

use cni_plugin::{Error, Result};
use cni_types::parse_address;
use serde::Deserialize;

/// The plugin's keys of the network configuration, read but not yet validated.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wire {
    pub(crate) table: Option<i64>,
    gateways: Vec<String>,
    add_source_hints: bool,
}

/// How packets from the interface's addresses are routed.
#[derive(Debug, PartialEq, Eq)]
pub enum Config {
    /// By a table that somebody else fills: rules are all there is to do.
    Given(NonZeroU32),
    /// By a table of its own for each address, with the interface's routes.
    Own(Own),
}

/// What goes into tables of the interface's own, and what stays in the main one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// At most one of each family.
    gateways: Vec<IpAddr>,
    /// The main table keeps a route to each address's subnet, by which packets are sent from that address.
    pub(crate) source_hints: bool,
}

impl Config {
    pub(crate) fn new(wire: &Wire) -> Result<Self> {
        let gateways = gateways(&wire.gateways)?;
        let Some(table) = wire.table else {
            return Ok(Config::Own(Own { gateways, source_hints: wire.add_source_hints }));
        };
        let number = u32::try_from(table).ok().and_then(NonZeroU32::new);
        let number = number.ok_or_else(|| Error::config(format!("table: {table} is not a routing table")))?;
        Ok(Config::Given(number))
    }
}

impl Own {
    /// The configured gateway of an address's family, which goes before any other.
    pub(crate) fn gateway(&self, address: IpAddr) -> Option<IpAddr> {
        self.gateways.iter().copied().find(|gateway| gateway.is_ipv4() == address.is_ipv4())
    }
}

fn gateways(list: &[String]) -> Result<Vec<IpAddr>> {
    let mut gateways: Vec<IpAddr> = Vec::new();
    for text in list {
        let gateway = parse_address(text)
            .ok_or_else(|| Error::config(format!("gateways: {text:?} is not an IP address")))?;
        if let Some(other) = gateways.iter().find(|other| other.is_ipv4() == gateway.is_ipv4()) {
            let why = "there can be one of IPv4 and one of IPv6";
            return Err(Error::config(format!("gateways: both {other} and {gateway}: {why}")));
        }
        gateways.push(gateway);
    }
    Ok(gateways)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn config(keys: Value) -> Result<Config> {
        Config::new(&serde_json::from_value(keys).unwrap())
    }

    fn fault(keys: Value) -> String {
        config(keys).unwrap_err().to_string()
    }

    #[test]
    fn without_keys_there_are_tables_and_nothing_stays() {
        assert_eq!(config(json!({})).unwrap(), Config::Own(Own::default()));
    }

    #[test]
    fn gateways_are_of_the_family_that_they_are_written_in() {
        let Config::Own(own) =
            config(json!({"gateways": ["2001:db8::1", "::ffff:192.0.2.1"], "addSourceHints": true})).unwrap()
        else {
            panic!("tables of its own");
        };
        let gateway = |address: &str| own.gateway(address.parse().unwrap()).map(|found| found.to_string());
        assert_eq!(gateway("10.1.0.5").as_deref(), Some("192.0.2.1"));
        assert_eq!(gateway("fd00::5").as_deref(), Some("2001:db8::1"));
        assert!(own.source_hints);
        assert_eq!(Own::default().gateway("10.1.0.5".parse().unwrap()), None);
    }

    #[test]
    fn bad_values_are_refused_by_the_keys_name() {
        assert_eq!(fault(json!({"gateways": ["router"]})), "gateways: \"router\" is not an IP address");
        assert_eq!(
            fault(json!({"gateways": ["10.0.0.1", "fd00::1", "10.0.0.2"]})),
            "gateways: both 10.0.0.1 and 10.0.0.2: there can be one of IPv4 and one of IPv6"
        );
        for table in [0_i64, -1, 1 << 32] {
            assert_eq!(fault(json!({ "table": table })), format!("table: {table} is not a routing table"));
        }
    }

    #[test]
    fn a_given_table_is_any_number_that_the_kernel_knows() {
        for table in [1, 254, 5000, u32::MAX] {
            let given = Config::Given(NonZeroU32::new(table).unwrap());
            assert_eq!(config(json!({ "table": table, "addSourceHints": true })).unwrap(), given);
        }
    }
}
