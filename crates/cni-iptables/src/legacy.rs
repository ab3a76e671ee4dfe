//! The rules that iptables-legacy keeps in the kernel's ip_tables and ip6_tables, read without running a program.
//!
//! The kernel hands out a table as one piece: its rules one after another, of which jumps know their chains by where these begin.
//! [`Table`] finds the chains in it once, and makes an [`Entry`] only of the rules that are asked for.

#[cfg(test)]
mod captured;
mod chains;
mod kernel;
mod known;
mod layout;
#[cfg(test)]
mod live;
mod raw;
mod rule;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;

use nix::errno::Errno;

use crate::entry::Entry;
use crate::legacy::chains::{Chain, Chains};
use crate::legacy::kernel::{GET_ENTRIES, Info, Kernel};
use crate::legacy::layout::Layout;
use crate::legacy::raw::Raw;
use crate::{Error, Family, Result};

/// What the names of all chains begin with that CNI plugins make.
const PLUGINS: &str = "CNI-";

/// How often a table is read again because another program changed it between the calls that reading takes.
const TRIES: u32 = 10;

/// One table as it was when it was read.
pub(crate) struct Table {
    family: Family,
    info: Info,
    /// What the kernel answered.
    answer: Vec<u8>,
    /// Where in the answer its entries begin.
    start: usize,
    chains: Chains,
}

impl Table {
    /// Reads a table. `None` when it is not in use in this network namespace: it is not asked for then, since the kernel would
    /// make it, with its hooks that every packet goes through.
    pub(crate) fn read(family: Family, table: &str) -> Result<Option<Table>> {
        if !is_in_use(family, table)? {
            return Ok(None);
        }
        let kernel = Kernel::open(family, table)?;
        for _ in 0..TRIES {
            if let Some((info, answer)) = kernel.read()? {
                return Table::new(family, info, answer, kernel::start_of_entries()).map(Some);
            }
        }
        Err(Error::Read { table: table.to_owned(), call: GET_ENTRIES, source: Errno::EAGAIN.into() })
    }

    /// The same for a caller that only looks for chains of plugins. `None` also when there are none, which is remembered until the
    /// table changes: the kernel takes milliseconds to hand out one that other programs have filled.
    pub(crate) fn read_of_plugins(family: Family, table: &str) -> Result<Option<Table>> {
        if !is_in_use(family, table)? {
            return Ok(None);
        }
        let info = Kernel::open(family, table)?.info()?;
        if known::is_without_plugins(family, &info) {
            return Ok(None);
        }
        let Some(read) = Table::read(family, table)? else { return Ok(None) };
        if !read.chains().any(|chain| chain.starts_with(PLUGINS)) {
            // As it was read, which need not be as it was asked about.
            known::remember(family, &read.info);
            return Ok(None);
        }
        Ok(Some(read))
    }

    fn new(family: Family, info: Info, answer: Vec<u8>, start: usize) -> Result<Table> {
        let blob = answer.get(start..).unwrap_or_default();
        match Chains::find(Layout::of(family), &info, blob) {
            Ok(chains) => Ok(Table { family, info, answer, start, chains }),
            Err(malformed) => Err(Error::Read {
                table: info.table,
                call: GET_ENTRIES,
                source: io::Error::new(io::ErrorKind::InvalidData, malformed.to_string()),
            }),
        }
    }

    /// Whether the chain is there.
    pub(crate) fn has_chain(&self, chain: &str) -> bool {
        self.chains.named(chain).is_some()
    }

    /// The chains' names: the kernel's own, then those that users made.
    pub(crate) fn chains(&self) -> impl Iterator<Item = &str> {
        self.chains.all().map(|chain| &*chain.name)
    }

    /// A chain's rules, in order. `None` when it is not there.
    pub(crate) fn entries(&self, chain: &str) -> Option<Vec<Entry>> {
        self.chains.named(chain).map(|chain| self.entries_of(chain))
    }

    fn entries_of(&self, chain: &Chain) -> Vec<Entry> {
        let blob = self.answer.get(self.start..).unwrap_or_default();
        let mut entries = Vec::new();
        let mut at = chain.rules.start;
        while at < chain.rules.end {
            // All of it has been looked at when the chains were found.
            let Ok(raw) = Raw::read(Layout::of(self.family), blob, at) else { break };
            entries.push(rule::entry(&raw, &self.chains));
            at = raw.end();
        }
        entries
    }
}

/// All of a table: each chain's name and its rules.
#[cfg(test)]
pub(crate) fn parse(family: Family, info: &Info, blob: &[u8]) -> Result<Vec<(String, Vec<Entry>)>> {
    let table = Table::new(family, info.clone(), blob.to_vec(), 0)?;
    let chains = table.chains.all().map(|chain| (chain.name.clone(), table.entries_of(chain)));
    Ok(chains.collect())
}

/// Reads all rules of a table of these bytes: struct ipt_getinfo, then its entries.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_all(family: Family, data: &[u8]) {
    let Some((head, blob)) = data.split_at_checked(layout::info::SIZE) else { return };
    let Some(info) = Info::parse("nat", head) else { return };
    let Ok(table) = Table::new(family, info, blob.to_vec(), 0) else { return };
    for chain in table.chains() {
        for entry in table.entries(chain).unwrap_or_default() {
            let _ = entry.words(family);
        }
    }
}

/// Whether the table has been made in this network namespace.
pub(crate) fn is_in_use(family: Family, table: &str) -> Result<bool> {
    let (path, call) = match family {
        Family::Ipv4 => ("/proc/thread-self/net/ip_tables_names", "ip_tables_names"),
        Family::Ipv6 => ("/proc/thread-self/net/ip6_tables_names", "ip6_tables_names"),
    };
    match fs::read_to_string(path) {
        Ok(names) => Ok(names.lines().any(|name| name == table)),
        // Without ip_tables in the kernel.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::Read { table: table.to_owned(), call, source }),
    }
}
