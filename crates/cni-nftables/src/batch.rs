//! A list of commands that the kernel carries out together or not at all.

use crate::{Chain, Element, Set, Statement, Table};

/// Commands in order. "Add" makes what is not there and leaves what is; deleting what is not there fails the batch. Prints as
/// an nft script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {}

impl Batch {
    /// `add table`
    pub fn add_table(&mut self, table: Table) -> &mut Self {
        let _ = table;
        todo!()
    }
    /// `delete table`
    pub fn delete_table(&mut self, table: Table) -> &mut Self {
        let _ = table;
        todo!()
    }
    /// `add chain`
    pub fn add_chain(&mut self, table: Table, chain: &Chain<'_>) -> &mut Self {
        let _ = (table, chain);
        todo!()
    }
    /// `flush chain`: deletes its rules.
    pub fn flush_chain(&mut self, table: Table, chain: &str) -> &mut Self {
        let _ = (table, chain);
        todo!()
    }
    /// `delete chain`; it must be empty and not referred to.
    pub fn delete_chain(&mut self, table: Table, chain: &str) -> &mut Self {
        let _ = (table, chain);
        todo!()
    }
    /// `add rule`: appends, always.
    pub fn add_rule(&mut self, table: Table, chain: &str, rule: Vec<Statement>) -> &mut Self {
        let _ = (table, chain, rule);
        todo!()
    }
    /// `delete rule ... handle`
    pub fn delete_rule(&mut self, table: Table, chain: &str, handle: u64) -> &mut Self {
        let _ = (table, chain, handle);
        todo!()
    }
    /// `add set` or `add map`
    pub fn add_set(&mut self, set: &Set) -> &mut Self {
        let _ = set;
        todo!()
    }
    /// `add element`; one that is there with other data fails the batch: delete it first in the same batch.
    pub fn add_element(&mut self, set: &Set, element: Element) -> &mut Self {
        let _ = (set, element);
        todo!()
    }
    /// `delete element`, by its key.
    pub fn delete_element(&mut self, set: &Set, key: Vec<crate::Value>) -> &mut Self {
        let _ = (set, key);
        todo!()
    }
    /// All commands of another batch after these.
    pub fn append(&mut self, other: Batch) -> &mut Self {
        let _ = other;
        todo!()
    }
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        todo!()
    }
}

impl std::fmt::Display for Batch {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
