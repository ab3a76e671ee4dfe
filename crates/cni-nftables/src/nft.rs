//! The connection to the kernel's nf_tables.

use crate::{Batch, Element, Result, Set, Table, Value};

/// A netlink socket for nf_tables of the calling thread's network namespace.
pub struct Nft {}

/// A rule as found: enough to delete it by its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct FoundRule {
    pub handle: u64,
    pub comment: Option<String>,
}

impl Nft {
    /// Opens the socket.
    pub fn open() -> Result<Self> {
        todo!()
    }
    /// Commits a batch; an empty one is nothing.
    pub fn commit(&mut self, batch: &Batch) -> Result<()> {
        let _ = batch;
        todo!()
    }
    /// Commits `batch`; when the kernel says that a table, chain or set of it is not there, commits `setup` and `batch`
    /// together instead. `setup` must be harmless when done twice: add, flush chain, add rule.
    pub fn commit_with_setup(&mut self, setup: &Batch, batch: &Batch) -> Result<()> {
        let _ = (setup, batch);
        todo!()
    }
    /// Reads and changes without a race: `plan` reads through the socket it is given and returns what to do, which is
    /// committed only if the ruleset is still that of before `plan` (NFNL_BATCH_GENID); else `plan` runs again, a bounded
    /// number of times with growing pauses. An empty batch ends it. With `setup`, as in [`Nft::commit_with_setup`].
    pub fn update(&mut self, op: &str, setup: Option<&Batch>, plan: impl FnMut(&mut Nft) -> Result<Batch>) -> Result<()> {
        let _ = (op, setup, plan);
        todo!()
    }
    /// One element by its key, without reading the set; `None` also when the set or table is not there.
    pub fn element(&mut self, set: &Set, key: &[Value]) -> Result<Option<Element>> {
        let _ = (set, key);
        todo!()
    }
    /// All elements; none when the set or table is not there.
    pub fn elements(&mut self, set: &Set) -> Result<Vec<Element>> {
        let _ = set;
        todo!()
    }
    /// The rules of one chain, in order; none when the chain or table is not there. Also of tables that are not ours.
    pub fn rules(&mut self, table: Table, chain: &str) -> Result<Vec<FoundRule>> {
        let _ = (table, chain);
        todo!()
    }
    /// Names of the chains of a table; none when the table is not there.
    pub fn chains(&mut self, table: Table) -> Result<Vec<String>> {
        let _ = table;
        todo!()
    }
}
