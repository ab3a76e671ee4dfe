//! Addresses as Go's net package reads and prints them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

/// An address with its prefix length; host bits are kept. An IPv4 address written as IPv6 (`::ffff:10.0.0.1/120`)
/// is IPv4.
pub(super) fn network<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpNet, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_network(&text)
        .ok_or_else(|| de::Error::custom(format_args!("invalid address with prefix length {text:?}")))
}

fn parse_network(text: &str) -> Option<IpNet> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    if !prefix.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let prefix: u8 = prefix.parse().ok()?;
    match (address, address.to_canonical()) {
        (IpAddr::V6(_), canonical @ IpAddr::V4(_)) if prefix >= 96 => IpNet::new(canonical, prefix - 96).ok(),
        _ => IpNet::new(address, prefix).ok(),
    }
}

/// An address, or nothing for an empty text.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    match Option::<String>::deserialize(deserializer)?.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => match text.parse::<IpAddr>() {
            Ok(address) => Ok(Some(address.to_canonical())),
            Err(_) => Err(de::Error::custom(format_args!("invalid IP address {text:?}"))),
        },
    }
}
