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

/// Reads an address with its prefix length as Go's net.ParseCIDR does, and the reference's plugins by it: host bits are kept, an
/// IPv4 address written as IPv6 (`::ffff:10.0.0.1/120`) is IPv4, the length may have leading zeros (`/024`) and parts of an
/// address may not (`010.0.0.1/8`).
pub fn parse_network(text: &str) -> Option<IpNet> {
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

/// The same without a prefix length, as net.ParseIP does.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// An address, or nothing for an empty text.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    match Option::<String>::deserialize(deserializer)?.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => match parse_address(text) {
            Some(address) => Ok(Some(address)),
            None => Err(de::Error::custom(format_args!("invalid IP address {text:?}"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Option<String> {
        parse_network(text).map(|network| network.to_string())
    }

    #[test]
    fn host_bits_are_kept() {
        assert_eq!(network("10.1.2.3/8").as_deref(), Some("10.1.2.3/8"));
        assert_eq!(network("FD00:0::5/64").as_deref(), Some("fd00::5/64"));
        assert_eq!(network("0.0.0.0/0").as_deref(), Some("0.0.0.0/0"));
        assert_eq!(network("10.1.2.3/024").as_deref(), Some("10.1.2.3/24"));
        assert_eq!(network("fd00:0000::0005/0064").as_deref(), Some("fd00::5/64"));
    }

    #[test]
    fn an_ipv4_address_in_ipv6_form_is_ipv4() {
        assert_eq!(network("::ffff:10.0.0.1/120").as_deref(), Some("10.0.0.1/24"));
        assert_eq!(network("::ffff:10.0.0.1/96").as_deref(), Some("10.0.0.1/0"));
        // Shorter prefixes reach beyond what IPv4 can say.
        assert_eq!(network("::ffff:10.0.0.1/64").as_deref(), Some("::ffff:10.0.0.1/64"));
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for bad in [
            "",
            "10.0.0.1",
            "10.0.0.1/",
            "10.0.0.1/33",
            "fd00::/129",
            "10.0.0/8",
            "010.0.0.1/8",
            "10.0.0.1/+8",
            "10.0.0.1/ 8",
            "10.0.0.1/-1",
            "fe80::1%eth0/64",
            "10.0.0.1/8/8",
            "10.0.0.1/255.0.0.0",
        ] {
            assert_eq!(network(bad), None, "{bad}");
        }
    }
}
