//! Transport protocols by name and number, as iptables-save prints them (iptables, libxtables/xtables.c, xtables_chain_protos).

use nix::libc;

const PROTOCOLS: [(u8, &str); 8] = [
    (libc::IPPROTO_ICMP as u8, "icmp"),
    (libc::IPPROTO_TCP as u8, "tcp"),
    (libc::IPPROTO_UDP as u8, "udp"),
    (libc::IPPROTO_DCCP as u8, "dccp"),
    (libc::IPPROTO_ICMPV6 as u8, "ipv6-icmp"),
    (libc::IPPROTO_SCTP as u8, "sctp"),
    (libc::IPPROTO_UDPLITE as u8, "udplite"),
    (0, "all"),
];

/// The number of a name that iptables-save prints; a number is its own.
pub(crate) fn number(name: &str) -> Option<u8> {
    let known = PROTOCOLS.iter().find(|(_, known)| *known == name).map(|(number, _)| *number);
    known.or_else(|| name.parse().ok())
}

/// The name, or the number where there is none.
pub(crate) fn name(number: u8) -> String {
    let known = PROTOCOLS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}
