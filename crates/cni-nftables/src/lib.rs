//! nf_tables over netlink: tables, chains, rules, sets and maps in atomic batches. No `nft` program is needed.
//!
//! A rule is a list of [`Statement`]s, which has two forms: the expressions that the kernel takes, and the text that
//! `nft list ruleset` prints. A [`Batch`] is applied whole or not at all. Names follow nft(8).

mod batch;
mod compile;
mod element;
mod encode;
mod error;
mod expr;
#[cfg(test)]
mod golden;
mod interval;
mod lex;
mod nft;
mod object;
mod parse;
mod request;
mod rule;
mod select;
mod value;

pub use batch::Batch;
pub use error::{Error, Result};
pub use nft::{FoundRule, Nft};
pub use object::{Chain, Element, Family, Hook, Policy, Set, Table};
pub use parse::{ParseError, parse_matches};
pub use rule::{NatFamily, Op, Statement, Verdict};
pub use select::{DataType, Selector};
pub use value::Value;
