//! Tables, chains, sets and elements.

use std::borrow::Cow;
use std::fmt;

use crate::uapi::*;
use crate::value::Separated;
use crate::{DataType, Value};

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// IPv4 and IPv6.
    Inet,
    /// Frames that bridges forward.
    Bridge,
}

impl Family {
    /// NFPROTO_*
    pub(crate) fn number(self) -> u8 {
        match self {
            Family::Inet => NFPROTO_INET,
            Family::Ip => NFPROTO_IPV4,
            Family::Bridge => NFPROTO_BRIDGE,
            Family::Ip6 => NFPROTO_IPV6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
            Family::Inet => "inet",
            Family::Bridge => "bridge",
        })
    }
}

/// A table's name in its family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Two tables of different families may have the same name.
    pub family: Family,
    /// Its name, at most 255 bytes.
    pub name: Cow<'static, str>,
}

impl Table {
    /// From a name that is known when the program is compiled.
    pub const fn new(family: Family, name: &'static str) -> Self {
        Table { family, name: Cow::Borrowed(name) }
    }
}

/// `inet cni`
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// Where in a packet's way a base chain sits, and its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hook {
    /// `type nat hook prerouting`: a connection's first packet, as it arrives.
    NatPrerouting,
    /// `type nat hook output`: the first packet of a connection that the host itself opens.
    NatOutput,
    /// `type nat hook postrouting`: a connection's first packet, as it leaves.
    NatPostrouting,
    /// `type filter hook prerouting`: whatever arrives.
    FilterPrerouting,
    /// `type filter hook input`: what is for the host itself.
    FilterInput,
    /// `type filter hook forward`: what goes through the host, or through a bridge.
    FilterForward,
    /// `type filter hook output`: what the host itself sends.
    FilterOutput,
}

impl Hook {
    /// The chain's type, the hook's number (enum nf_inet_hooks, the same in enum nf_br_hooks) and its name.
    pub(crate) fn parts(self) -> (&'static str, u32, &'static str) {
        match self {
            Hook::NatPrerouting => ("nat", NF_INET_PRE_ROUTING, "prerouting"),
            Hook::NatOutput => ("nat", NF_INET_LOCAL_OUT, "output"),
            Hook::NatPostrouting => ("nat", NF_INET_POST_ROUTING, "postrouting"),
            Hook::FilterPrerouting => ("filter", NF_INET_PRE_ROUTING, "prerouting"),
            Hook::FilterInput => ("filter", NF_INET_LOCAL_IN, "input"),
            Hook::FilterForward => ("filter", NF_INET_FORWARD, "forward"),
            Hook::FilterOutput => ("filter", NF_INET_LOCAL_OUT, "output"),
        }
    }
}

/// A base chain's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A packet that no rule decides about goes on.
    Accept,
    /// It is dropped.
    Drop,
}

/// A chain; a base chain has a hook, a priority and a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain<'a> {
    /// Its name, at most 255 bytes.
    pub name: &'a str,
    /// Hook, priority (lower comes first) and policy of a base chain; `None` for one that is only jumped to.
    pub base: Option<(Hook, i32, Policy)>,
}

/// `prerouting { type nat hook prerouting priority -110; policy accept; }`
impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        let Some((hook, priority, policy)) = self.base else { return Ok(()) };
        let (kind, _, hook) = hook.parts();
        let policy = if policy == Policy::Accept { "accept" } else { "drop" };
        write!(f, " {{ type {kind} hook {hook} priority {priority}; policy {policy}; }}")
    }
}

/// A named hash set, or a map when `data` is not empty: to values of these types, concatenated when several, or to verdicts
/// with `[DataType::Verdict]`. Several key types are a concatenation. The key has at most 64 bytes, and so has the data,
/// each part counted in fours. Its elements stay until they are removed, but may be made to expire
/// ([`crate::Batch::remove_element`]): nft lists `flags timeout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The table that it is in.
    pub table: Table,
    /// Its name, at most 255 bytes.
    pub name: Cow<'static, str>,
    /// The types of its keys' parts.
    pub key: &'static [DataType],
    /// The types of the parts of what a map leads to; empty for a set.
    pub data: &'static [DataType],
}

impl Set {
    /// A set, by a name that is known when the program is compiled.
    pub const fn new(table: Table, name: &'static str, key: &'static [DataType]) -> Self {
        Set::map(table, name, key, &[])
    }

    /// A map, by a name that is known when the program is compiled.
    pub const fn map(
        table: Table,
        name: &'static str,
        key: &'static [DataType],
        data: &'static [DataType],
    ) -> Self {
        Set { table, name: Cow::Borrowed(name), key, data }
    }

    /// `set` or `map`, as nft calls it.
    pub(crate) fn kind(&self) -> &'static str {
        if self.data.is_empty() { "set" } else { "map" }
    }
}

/// `inet cni hostports { type ipv4_addr . inet_service : ipv4_addr . inet_service; flags timeout; }`
impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {{ type {}", self.table, self.name, Separated(" . ", self.key.iter()))?;
        if !self.data.is_empty() {
            write!(f, " : {}", Separated(" . ", self.data.iter()))?;
        }
        f.write_str("; flags timeout; }")
    }
}

/// An element of a set or map. `comment` tells its owner; nft prints it. It has at most 250 bytes (nft takes no more than 128
/// when it reads back what it printed), and no quotes or control characters. One that was found and is about to expire has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// A value for each of the set's key types.
    pub key: Vec<Value>,
    /// What a map leads to: a value for each of its data types; empty in a set.
    pub data: Vec<Value>,
    /// Whose it is.
    pub comment: Option<String>,
}

impl Element {
    /// As nft prints it among the elements of `set`: `10.0.0.1 . 80 comment "mine" : 10.1.0.2 . 8080`.
    pub(crate) fn text(&self, set: &Set) -> String {
        let mut text = key_text(&self.key, set.key);
        if let Some(comment) = &self.comment {
            text += &format!(" comment \"{comment}\"");
        }
        if !self.data.is_empty() {
            text += &format!(" : {}", key_text(&self.data, set.data));
        }
        text
    }
}

/// Values with ` . ` between them.
pub(crate) fn key_text(values: &[Value], types: &[DataType]) -> String {
    // A value too many, which encoding refuses, is still shown.
    let types = types.iter().chain(std::iter::repeat(&DataType::Mark));
    Separated(" . ", values.iter().zip(types).map(|(value, data_type)| value.text(*data_type))).to_string()
}
