//! Statements of a rule.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::Selector;

/// How a match compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    Eq,
    Ne,
}

/// What a selector is compared with, and what elements of sets hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `10.1.0.5`, `fd00::5`
    Addr(IpAddr),
    /// `10.1.0.0/16`
    Net(IpNet),
    /// `02:42:ac:11:00:02`
    Mac([u8; 6]),
    /// A protocol's number: 6 tcp, 17 udp, 132 sctp; for `NfProto` 2 ipv4, 10 ipv6 (NFPROTO_*).
    Proto(u8),
    /// A port.
    Port(u16),
    /// A packet mark, compared whole.
    Mark(u32),
    /// A packet mark compared under a mask: `meta mark & 0x2000 == 0x2000`.
    MaskedMark {
        /// Compared with.
        value: u32,
        /// Bits that count.
        mask: u32,
    },
    /// An interface name; a `*` at its end matches any rest.
    IfName(String),
    /// RTN_LOCAL (2) and so on, for `fib daddr type`.
    AddrType(u32),
    /// Bits of `ct state` (1 invalid, 2 established, 4 related, 8 new) or `ct status`.
    Bits(u32),
    /// From, to, both included: `1024-65535`.
    Range(Box<Value>, Box<Value>),
    /// `{ 80, 443 }`, an anonymous set.
    AnyOf(Vec<Value>),
    /// Where a verdict map leads; only as data of an element.
    Verdict(Verdict),
}

/// What becomes of the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
}

/// The family that a NAT statement writes in a table of family inet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NatFamily {
    Ip,
    Ip6,
}

/// One statement of a rule; a rule is a list of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// `ip daddr != 10.0.0.0/8`
    Match {
        /// What is looked at.
        selector: Selector,
        /// How it is compared.
        op: Op,
        /// With what.
        value: Value,
    },
    /// `ip saddr . ip daddr @hairpin`, or `!= @hairpin`: whether the concatenated key is in a named set.
    InSet {
        /// The parts of the key.
        key: Vec<Selector>,
        /// `Op::Ne` for not in it.
        op: Op,
        /// The set's name.
        set: String,
    },
    /// `ip saddr vmap @masq4`
    VerdictMap {
        /// The parts of the key.
        key: Vec<Selector>,
        /// The map's name.
        map: String,
    },
    /// `dnat ip to ip daddr . meta l4proto . th dport map @hostports4`: address and port from a map whose data is an address
    /// and a port. A key that is not in the map ends the rule.
    DnatMap {
        /// Family of the new address.
        family: NatFamily,
        /// The parts of the key.
        key: Vec<Selector>,
        /// The map's name.
        map: String,
    },
    /// `masquerade`
    Masquerade,
    /// `reject`
    Reject,
    /// `counter packets 0 bytes 0`
    Counter,
    /// `meta mark set meta mark | 0x2000`
    OrMark(u32),
    /// A verdict.
    Verdict(Verdict),
}

/// As nft prints it.
impl std::fmt::Display for Statement {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
