//! Reading and changing.

use std::path::PathBuf;

use crate::{Family, Result, Rule, Saved};

/// The programs of one family, found.
#[derive(Clone, Debug)]
pub struct Iptables {
    #[allow(dead_code)]
    family: Family,
    #[allow(dead_code)]
    folder: PathBuf,
}

impl Iptables {
    /// Finds `iptables-save` and `iptables-restore` (`ip6tables-...`) in the usual folders and those of `path` (`PATH`).
    pub fn find(family: Family, path: &str) -> Result<Self> {
        let _ = (family, path);
        todo!()
    }
    /// One table as it is; empty when the kernel does not have it loaded.
    pub fn save(&self, table: &str) -> Result<Saved> {
        let _ = table;
        todo!()
    }
    /// Carries out all changes of a table in one `iptables-restore --noflush -w`, all or nothing. Nothing to do runs nothing.
    pub fn restore(&self, table: &str, change: &Change) -> Result<()> {
        let _ = (table, change);
        todo!()
    }
}

/// Changes of one table, made against what was read.
#[derive(Clone, Debug, Default)]
pub struct Change {}

impl Change {
    /// Makes a chain that is not there.
    pub fn ensure_chain(&mut self, saved: &Saved, chain: &str) {
        let _ = (saved, chain);
        todo!()
    }
    /// Appends a rule that is not there.
    pub fn append_unique(&mut self, saved: &Saved, chain: &str, rule: Rule) {
        let _ = (saved, chain, rule);
        todo!()
    }
    /// Puts a rule that is not there before the others.
    pub fn insert_unique(&mut self, saved: &Saved, chain: &str, rule: Rule) {
        let _ = (saved, chain, rule);
        todo!()
    }
    /// Deletes a rule if it is there, as often as it is.
    pub fn delete(&mut self, saved: &Saved, chain: &str, rule: &Rule) {
        let _ = (saved, chain, rule);
        todo!()
    }
    /// Flushes and deletes a chain if it is there; delete the rules that lead to it before.
    pub fn delete_chain(&mut self, saved: &Saved, chain: &str) {
        let _ = (saved, chain);
        todo!()
    }
    /// Makes a chain, or empties one that is there, and gives it these rules.
    pub fn replace_chain(&mut self, chain: &str, rules: Vec<Rule>) {
        let _ = (chain, rules);
        todo!()
    }
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        todo!()
    }
}
