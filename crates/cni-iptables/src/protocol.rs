//! Transport protocols by name and number, as iptables-save prints them (iptables, libxtables/xtables.c, xtables_chain_protos).

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const SCTP: u8 = 132;

const PROTOCOLS: [(u8, &str); 8] = [
    (1, "icmp"),
    (TCP, "tcp"),
    (UDP, "udp"),
    (33, "dccp"),
    (58, "ipv6-icmp"),
    (SCTP, "sctp"),
    (136, "udplite"),
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
