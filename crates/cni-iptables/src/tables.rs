//! What `iptables-save` prints.

use crate::Rule;

/// The family of a set of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Family {
    Ipv4,
    Ipv6,
}

/// One table as it is: its chains and their rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {}

impl Saved {
    /// Whether the chain is there.
    pub fn has_chain(&self, chain: &str) -> bool {
        let _ = chain;
        todo!()
    }
    /// The chains' names.
    pub fn chains(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
    /// A chain's rules, in order, parsed so that quoting and spelling do not matter for comparison.
    pub fn rules(&self, chain: &str) -> &[Rule] {
        let _ = chain;
        todo!()
    }
}
