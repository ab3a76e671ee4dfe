//! nf_tables over netlink: tables, chains, rules, sets and maps in atomic batches. No `nft` program is needed.
//!
//! A [`Batch`] is a list of commands that the kernel carries out together or not at all. [`Nft`] is the socket that commits it
//! and reads back. A rule is a list of [`Statement`]s, which have two forms: the expressions that the kernel takes, as nft
//! would send them, and the text that `nft list ruleset` prints for them. Names follow nft(8).
//!
//! # A table with a map
//!
//! What a program adds and removes often belongs in the elements of a set or map, not in rules: an element costs a packet nothing
//! and a change a few microseconds, however many there are, while a base chain makes the kernel wait for milliseconds. So: tables,
//! chains and rules once, then only elements. [`Nft::commit_with_setup`] makes them when they are missing, and only then.
//!
//! ```
//! use cni_nftables::{Batch, Chain, DataType, Element, Family, Hook, NatFamily, Policy};
//! use cni_nftables::{Selector, Set, Statement, Table, Value, parse_matches};
//!
//! const TABLE: Table = Table::new(Family::Inet, "ports");
//!
//! /// From the address, protocol and port that are asked for, to the address and port that answer.
//! static PORTS: Set = Set::map(
//!     TABLE,
//!     "ports4",
//!     &[DataType::Ipv4Addr, DataType::InetProto, DataType::InetService],
//!     &[DataType::Ipv4Addr, DataType::InetService],
//! );
//!
//! // Only what is addressed to this host is looked up.
//! let mut rule = parse_matches("fib daddr type local meta l4proto { tcp, udp }")?;
//! rule.push(Statement::DnatMap {
//!     family: NatFamily::Ip,
//!     key: vec![Selector::IpDaddr, Selector::L4Proto, Selector::ThDport],
//!     map: PORTS.name.to_string(),
//! });
//!
//! let mut setup = Batch::default();
//! let chain = Chain { name: "prerouting", base: Some((Hook::NatPrerouting, -110, Policy::Accept)) };
//! // Flushed before the rule is added, so that doing it twice is harmless.
//! setup.add_table(&TABLE).add_set(&PORTS).add_chain(&TABLE, &chain).flush_chain(&TABLE, chain.name);
//! setup.add_rule(&TABLE, chain.name, rule);
//!
//! let key = vec![Value::Addr([192, 0, 2, 1].into()), Value::Proto(6), Value::Port(80)];
//! let data = vec![Value::Addr([10, 1, 0, 5].into()), Value::Port(8080)];
//! let mut add = Batch::default();
//! add.add_element(&PORTS, Element { key, data, comment: Some("blue/4ac1/eth0".into()) });
//!
//! assert_eq!(
//!     format!("{setup}{add}"),
//!     "add table inet ports
//! add map inet ports ports4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; flags timeout; }
//! add chain inet ports prerouting { type nat hook prerouting priority -110; policy accept; }
//! flush chain inet ports prerouting
//! add rule inet ports prerouting fib daddr type local meta l4proto { tcp, udp } \
//! dnat ip to ip daddr . meta l4proto . th dport map @ports4
//! add element inet ports ports4 { 192.0.2.1 . tcp . 80 comment \"blue/4ac1/eth0\" : 10.1.0.5 . 8080 }
//! "
//! );
//! # Ok::<(), cni_nftables::ParseError>(())
//! ```
//!
//! With CAP_NET_ADMIN in the namespace:
//!
//! ```no_run
//! # use cni_nftables::{Batch, Nft};
//! # let (setup, add) = (Batch::default(), Batch::default());
//! let mut nft = Nft::new();
//! nft.commit_with_setup(&setup, &add)?;
//! # Ok::<(), cni_nftables::Error>(())
//! ```
//!
//! # Deleting what is still one's own
//!
//! An element's comment tells its owner. Between reading it and deleting the element another process may have put its own in
//! place, so [`Nft::update`] has the kernel refuse the batch unless the ruleset is still the one that was read, and plans again.
//!
//! ```no_run
//! # use cni_nftables::{Batch, DataType, Family, Nft, Set, Table, Value};
//! # const TABLE: Table = Table::new(Family::Inet, "ports");
//! # static PORTS: Set = Set::new(TABLE, "ports4", &[DataType::InetService]);
//! let key = vec![Value::Port(80)];
//! Nft::new().update("remove port 80", None, |nft| {
//!     let mut batch = Batch::default();
//!     let found = nft.element(&PORTS, &key)?;
//!     if let Some(own) = found.filter(|found| found.comment.as_deref() == Some("blue/4ac1/eth0")) {
//!         batch.remove_element(&PORTS, own);
//!     }
//!     Ok(batch)
//! })?;
//! # Ok::<(), cni_nftables::Error>(())
//! ```
//!
//! # Errors
//!
//! The kernel names the command that it refuses, and among elements of one message the element; [`Error::Kernel`] shows it in
//! nft's syntax: `cannot delete element inet ports ports4 { 192.0.2.1 . tcp . 80 }: No such file or directory (os error 2)`. What
//! could not have been meant, a port in a set of addresses, say, is [`Error::Invalid`] before anything is sent.
//!
//! # Limits
//!
//! Named sets hold single values; ranges, prefixes and wildcards are for the anonymous sets of rules. Of nft's expressions
//! there are those of [`Selector`] and [`Statement`]; the crate neither lists rules it did not make (but their handles and
//! comments) nor follows changes. NAT in tables of family inet needs Linux 5.2.

mod batch;
mod compile;
mod disjoint;
mod element;
mod encode;
mod error;
mod expr;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
mod grace_period;
mod interval;
mod lex;
mod nft;
mod object;
mod parse;
mod pause;
mod raw_rule;
mod request;
mod rule;
mod select;
mod uapi;
mod value;

pub use batch::Batch;
pub use error::{Error, Result};
pub use expr::{Cmp, Compat, Expr, SetRef};
pub use nft::Nft;
pub use object::{Chain, Element, Family, Hook, Policy, Set, Table};
pub use parse::{ParseError, parse_matches};
pub use raw_rule::{FoundRule, Place, RawRule};
pub use rule::{NatFamily, Op, Statement, Verdict};
pub use select::{DataType, Selector};
pub use uapi::{NFT_META_IIFNAME, NFT_META_L4PROTO, NFT_META_MARK, NFT_META_OIFNAME, NFT_REG_1};
pub use uapi::{NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER};
pub use value::Value;

/// The example of this crate's README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
