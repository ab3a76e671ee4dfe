//! Tables, chains, sets and elements.

use crate::{DataType, Value};

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Family {
    Ip,
    Ip6,
    Inet,
    Bridge,
}

/// A table's name in its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Table {
    pub family: Family,
    pub name: &'static str,
}

/// Where in a packet's way a base chain sits, and its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Hook {
    NatPrerouting,
    NatOutput,
    NatPostrouting,
    FilterPrerouting,
    FilterInput,
    FilterForward,
    FilterOutput,
}

/// A base chain's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Policy {
    Accept,
    Drop,
}

/// A chain; a base chain has a hook, a priority and a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Chain<'a> {
    pub name: &'a str,
    pub base: Option<(Hook, i32, Policy)>,
}

/// A named hash set, or a map when `data` is not empty: to values of these types, concatenated when several, or to verdicts
/// with `[DataType::Verdict]`. Several key types are a concatenation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Set {
    pub table: Table,
    pub name: &'static str,
    pub key: &'static [DataType],
    pub data: &'static [DataType],
}

/// An element of a set or map. `comment` tells its owner; nft prints it. At most 250 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Element {
    pub key: Vec<Value>,
    pub data: Vec<Value>,
    pub comment: Option<String>,
}
