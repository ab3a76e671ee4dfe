//! What is there at all, asked in ways that cost the same however large the rulesets of others are.

use cni_netlink::raw::{Attrs, string};

use super::{DUMP, Nft, request};
use crate::{Result, Table};

/// enum nf_tables_msg_types
const GETCHAIN: u16 = 4;
const GETSET: u16 = 10;

impl Nft {
    /// Whether a chain is there, without reading others.
    pub fn has_chain(&mut self, table: Table, chain: &str) -> Result<bool> {
        let op = || format!("get chain {table} {chain}");
        let mut request = request(GETCHAIN, 0, table, |writer| writer.string(3, chain));
        let found = self.read(&mut request, &op, |payload| read_chain(payload, table))?;
        Ok(!found.is_empty())
    }

    /// Names of the chains of a table; none when the table is not there.
    pub fn chains(&mut self, table: Table) -> Result<Vec<String>> {
        let op = || format!("list chains of table {table}");
        // The kernel lists those of all tables of the family.
        self.read(&mut request(GETCHAIN, DUMP, table, |_| {}), &op, |payload| read_chain(payload, table))
    }

    /// Names of the sets and maps of a table; none when the table is not there. Unlike [`Nft::chains`], which reads those of
    /// every table: of sets the kernel picks the table's out (net/netfilter/nf_tables_api.c, nf_tables_dump_sets).
    pub fn sets(&mut self, table: Table) -> Result<Vec<String>> {
        let op = || format!("list sets of table {table}");
        self.read(&mut request(GETSET, DUMP, table, |_| {}), &op, |payload| read_set(payload, table))
    }

    /// Asks for the number of the ruleset's generation, to see whether there is nf_tables: [`crate::Error::is_unsupported`] when not.
    /// Which families and expressions the kernel has only shows when they are used.
    pub fn probe(&mut self) -> Result<()> {
        self.generation().map(drop)
    }
}

/// The name of a chain of this table.
pub(crate) fn read_chain(payload: &[u8], table: Table) -> Option<String> {
    let attributes = || Attrs::after(payload, 4);
    let here = attributes().find(1).is_some_and(|name| string(name) == table.name);
    here.then(|| attributes().find(3).map(string)).flatten()
}

/// The name of a set or map of this table.
pub(crate) fn read_set(payload: &[u8], table: Table) -> Option<String> {
    let attributes = || Attrs::after(payload, 4);
    let here = attributes().find(1).is_some_and(|name| string(name) == table.name);
    here.then(|| attributes().find(2).map(string)).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Family;

    const TABLE: Table = Table { family: Family::Inet, name: "t" };

    #[test]
    fn a_set_is_read_with_its_table() {
        let sent = |name: &'static str| request(GETSET, 0, Table { name, ..TABLE }, |w| w.string(2, "s"));
        assert_eq!(read_set(&sent("t")[16..], TABLE).as_deref(), Some("s"));
        assert_eq!(read_set(&sent("u")[16..], TABLE), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_a_reader(payload: Vec<u8>) {
            let _ = (read_set(&payload, TABLE), read_chain(&payload, TABLE));
        }
    }
}
