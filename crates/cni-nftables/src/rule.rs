//! Statements of a rule, and their text.

use std::fmt;

use crate::value::Separated;
use crate::{Selector, Value};

/// How a match compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `==`
    Eq,
    /// `!=`
    Ne,
}

/// What becomes of the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The chains of this hook with a higher priority still see it.
    Accept,
    /// It is gone.
    Drop,
    /// It goes on behind the jump that led here; in a base chain the policy decides.
    Return,
    /// It goes through the chain of this name, and comes back.
    Jump(String),
    /// It goes through the chain of this name, and comes back to where this chain was called from.
    Goto(String),
}

/// The family that a NAT statement writes in a table of family inet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatFamily {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

/// One statement of a rule; a rule is a list of them.
///
/// What a header field needs is matched before it, as nft does: `tcp dport 80` looks at `meta l4proto` first, and
/// `ip saddr` in a table of family inet or bridge at the network protocol, once per rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// `ip saddr vmap @masq4`. A key that is not in the map goes on to the next statement.
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
    /// `reject`: with port unreachable, of ICMP or ICMPv6 as the packet is.
    Reject,
    /// `counter packets 0 bytes 0`
    Counter,
    /// `meta mark set meta mark | 0x00002000`
    OrMark(u32),
    /// A verdict.
    Verdict(Verdict),
    /// `comment "..."`, at the end of a rule and once. At most 250 bytes, without quotes and control characters; nft itself
    /// takes no more than 128.
    Comment(String),
}

/// As nft prints it.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = |key: &[Selector]| Separated(" . ", key.iter()).to_string();
        match self {
            Statement::Match { selector, op, value: Value::MaskedMark { value, mask } } => {
                let op = if *op == Op::Eq { "==" } else { "!=" };
                write!(f, "{selector} & {mask:#010x} {op} {value:#010x}")
            }
            Statement::Match { selector, op, value } => {
                write!(f, "{selector} {}{}", negation(*op), value.text(selector.data_type()))
            }
            Statement::InSet { key: parts, op, set } => {
                write!(f, "{} {}@{set}", key(parts), negation(*op))
            }
            Statement::VerdictMap { key: parts, map } => write!(f, "{} vmap @{map}", key(parts)),
            Statement::DnatMap { family, key: parts, map } => {
                let family = if *family == NatFamily::Ip { "ip" } else { "ip6" };
                write!(f, "dnat {family} to {} map @{map}", key(parts))
            }
            Statement::Masquerade => f.write_str("masquerade"),
            Statement::Reject => f.write_str("reject"),
            Statement::Counter => f.write_str("counter packets 0 bytes 0"),
            Statement::OrMark(bits) => write!(f, "meta mark set meta mark | {bits:#010x}"),
            Statement::Verdict(verdict) => verdict.fmt(f),
            Statement::Comment(text) => write!(f, "comment \"{text}\""),
        }
    }
}

/// As nft prints it.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Accept => f.write_str("accept"),
            Verdict::Drop => f.write_str("drop"),
            Verdict::Return => f.write_str("return"),
            Verdict::Jump(chain) => write!(f, "jump {chain}"),
            Verdict::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

fn negation(op: Op) -> &'static str {
    match op {
        Op::Eq => "",
        Op::Ne => "!= ",
    }
}
