//! Hardware addresses of Ethernet.

use std::fmt;
use std::str::FromStr;

/// A hardware address of Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// A random address, locally administered and unicast. Given to the kernel it counts as set by the user, so that
    /// udev's MACAddressPolicy leaves it alone.
    pub fn random() -> Self {
        let mut octets = [0; 6];
        // getrandom(2) fails only with wrong arguments or where it does not exist (before Linux 3.17).
        getrandom::fill(&mut octets).expect("the kernel gives random bytes");
        octets[0] = (octets[0] & !MULTICAST) | LOCAL;
        Self(octets)
    }
}

/// IEEE 802: the bits of the first octet that mark a group address and one that no vendor assigned.
const MULTICAST: u8 = 0x01;
const LOCAL: u8 = 0x02;

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(&self.0))
    }
}

/// A hardware address of any length as text.
pub(crate) fn text(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
}

/// A text that is no hardware address of Ethernet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a MAC address such as 02:42:ac:11:00:02")]
#[non_exhaustive]
pub struct InvalidMac {
    /// The text.
    pub text: String,
}

/// `02:42:ac:11:00:02`, also with `-`, and `0242.ac11.0002`: the forms that Go's net.ParseMAC takes.
impl FromStr for MacAddr {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        if let [a, b, c] = text.split('.').collect::<Vec<_>>()[..] {
            let pairs = |group: &str| group.split_at_checked(2).map(|(high, low)| format!("{high}:{low}"));
            let colons: Option<Vec<String>> = [a, b, c].into_iter().map(pairs).collect();
            return colons.ok_or_else(|| invalid(text))?.join(":").parse().map_err(|_| invalid(text));
        }
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut octets = [0; 6];
        let mut parts = text.split(separator);
        for octet in &mut octets {
            *octet = parts.next().and_then(hex_octet).ok_or_else(|| invalid(text))?;
        }
        if parts.next().is_some() { Err(invalid(text)) } else { Ok(Self(octets)) }
    }
}

/// Two hexadecimal digits, without the sign that `from_str_radix` would take.
fn hex_octet(part: &str) -> Option<u8> {
    let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits { u8::from_str_radix(part, 16).ok() } else { None }
}

fn invalid(text: &str) -> InvalidMac {
    InvalidMac { text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_reads_back() {
        let mac: MacAddr = "02:42:AC:11:00:fe".parse().unwrap();
        assert_eq!(mac, MacAddr([2, 0x42, 0xac, 0x11, 0, 0xfe]));
        assert_eq!(mac.to_string(), "02:42:ac:11:00:fe");
        assert_eq!("02-42-ac-11-00-fe".parse(), Ok(mac));
        assert_eq!("0242.Ac11.00fe".parse(), Ok(mac));
    }

    #[test]
    fn other_forms_are_refused_by_name() {
        for text in [
            "",
            "02",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "02:42:ac:11:00:2",
            "02:42:ac:11:00:+2",
            "02:42:ac-11:00:02",
            "0242ac110002",
            "0242.ac11",
            "0242.ac11.0002.0003",
            "0242.ac11.002",
            "02:4.ac11.0002",
            "0242.ac11.\u{e9}02",
            "..",
            "02:42:ac:11:00:zz",
        ] {
            let error = text.parse::<MacAddr>().unwrap_err();
            assert_eq!(error.text, text);
            assert_eq!(error.to_string(), format!("{text:?} is not a MAC address such as 02:42:ac:11:00:02"));
        }
    }

    #[test]
    fn random_ones_are_local_unicast_and_differ() {
        let macs: std::collections::HashSet<_> = (0..64).map(|_| MacAddr::random()).collect();
        assert_eq!(macs.len(), 64);
        assert!(macs.iter().all(|mac| mac.0[0] & 3 == 2));
    }
}
