//! What is there at all, asked in ways that cost the same however large the rulesets of others are.

use cni_netlink::raw::{Attrs, string};

use super::{Nft, request};
use crate::encode::NFGENMSG;
use crate::uapi::*;
use crate::{Result, Table};

impl Nft {
    /// Whether a chain is there, without reading others.
    pub fn has_chain(&mut self, table: &Table, chain: &str) -> Result<bool> {
        let op = || format!("get chain {table} {chain}");
        let mut request = request(NFT_MSG_GETCHAIN, 0, table, |writer| writer.string(NFTA_CHAIN_NAME, chain));
        let found = self.read(&mut request, &op, |payload| read_chain(payload, table))?;
        Ok(!found.is_empty())
    }

    /// Names of the chains of a table; none when the table is not there.
    pub fn chains(&mut self, table: &Table) -> Result<Vec<String>> {
        let op = || format!("list chains of table {table}");
        // The kernel lists those of all tables of the family.
        let mut request = request(NFT_MSG_GETCHAIN, NLM_F_DUMP, table, |_| {});
        self.read(&mut request, &op, |payload| read_chain(payload, table))
    }

    /// Names of the sets and maps of a table; none when the table is not there. Unlike [`Nft::chains`], which reads those of
    /// every table: of sets the kernel picks the table's out (net/netfilter/nf_tables_api.c, nf_tables_dump_sets).
    pub fn sets(&mut self, table: &Table) -> Result<Vec<String>> {
        let op = || format!("list sets of table {table}");
        let mut request = request(NFT_MSG_GETSET, NLM_F_DUMP, table, |_| {});
        self.read(&mut request, &op, |payload| read_set(payload, table))
    }

    /// Asks for the number of the ruleset's generation, to see whether there is nf_tables: [`crate::Error::is_unsupported`] when not.
    /// Which families and expressions the kernel has only shows when they are used.
    pub fn probe(&mut self) -> Result<()> {
        self.generation().map(drop)
    }
}

/// The name of a chain of this table.
pub(crate) fn read_chain(payload: &[u8], table: &Table) -> Option<String> {
    let find = |kind| Attrs::after(payload, NFGENMSG).find(kind).map(string);
    let here = find(NFTA_CHAIN_TABLE).is_some_and(|name| name == table.name);
    here.then(|| find(NFTA_CHAIN_NAME)).flatten()
}

/// The name of a set or map of this table.
pub(crate) fn read_set(payload: &[u8], table: &Table) -> Option<String> {
    let find = |kind| Attrs::after(payload, NFGENMSG).find(kind).map(string);
    let here = find(NFTA_SET_TABLE).is_some_and(|name| name == table.name);
    here.then(|| find(NFTA_SET_NAME)).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Family;

    const TABLE: Table = Table::new(Family::Inet, "t");

    #[test]
    fn a_set_is_read_with_its_table() {
        let table = |name| Table::new(Family::Inet, name);
        let sent = |name| request(NFT_MSG_GETSET, 0, &table(name), |w| w.string(2, "s"));
        assert_eq!(read_set(&sent("t")[16..], &TABLE).as_deref(), Some("s"));
        assert_eq!(read_set(&sent("u")[16..], &TABLE), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_a_reader(payload: Vec<u8>) {
            let _ = (read_set(&payload, &TABLE), read_chain(&payload, &TABLE));
        }
    }
}
