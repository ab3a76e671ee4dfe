//! A list of commands that the kernel carries out together or not at all.

use std::fmt;

use crate::encode::Removal;
use crate::object::key_text;
use crate::value::Separated;
use crate::{Chain, Element, Hook, Place, Policy, RawRule, Set, Statement, Table, Value};

/// Commands in order. "Add" makes what is not there and leaves what is; deleting what is not there fails the batch. Prints as
/// an nft script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub(crate) commands: Vec<Command>,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    AddTable(Table),
    DeleteTable(Table),
    AddChain { table: Table, name: String, base: Option<(Hook, i32, Policy)> },
    FlushChain { table: Table, chain: String },
    DeleteChain { table: Table, chain: String },
    AddRule { table: Table, chain: String, rule: Vec<Statement> },
    AddRawRule { table: Table, chain: String, place: Place, rule: RawRule },
    DeleteRule { table: Table, chain: String, handle: u64 },
    AddSet(Set),
    AddElement { set: Set, element: Element },
    DeleteElement { set: Set, key: Vec<Value> },
    RemoveElement { set: Set, element: Element },
}

impl Batch {
    /// `add table`
    pub fn add_table(&mut self, table: &Table) -> &mut Self {
        self.push(Command::AddTable(table.clone()))
    }
    /// `delete table`, with all that is in it.
    pub fn delete_table(&mut self, table: &Table) -> &mut Self {
        self.push(Command::DeleteTable(table.clone()))
    }
    /// `add chain`. A base chain that is there keeps its hook and priority, and the batch fails (EEXIST) when they differ; its policy
    /// becomes this one.
    pub fn add_chain(&mut self, table: &Table, chain: &Chain<'_>) -> &mut Self {
        self.push(Command::AddChain { table: table.clone(), name: chain.name.to_string(), base: chain.base })
    }
    /// `flush chain`: deletes its rules.
    pub fn flush_chain(&mut self, table: &Table, chain: &str) -> &mut Self {
        self.push(Command::FlushChain { table: table.clone(), chain: chain.to_string() })
    }
    /// `delete chain`; it must be empty and not referred to.
    pub fn delete_chain(&mut self, table: &Table, chain: &str) -> &mut Self {
        self.push(Command::DeleteChain { table: table.clone(), chain: chain.to_string() })
    }
    /// `add rule`: appends, always.
    pub fn add_rule(&mut self, table: &Table, chain: &str, rule: Vec<Statement>) -> &mut Self {
        self.push(Command::AddRule { table: table.clone(), chain: chain.to_string(), rule })
    }
    /// `insert rule` or `add rule`, with expressions that are sent as they are.
    pub fn add_raw_rule(&mut self, table: &Table, chain: &str, place: Place, rule: RawRule) -> &mut Self {
        self.push(Command::AddRawRule { table: table.clone(), chain: chain.to_string(), place, rule })
    }
    /// `delete rule ... handle`
    pub fn delete_rule(&mut self, table: &Table, chain: &str, handle: u64) -> &mut Self {
        self.push(Command::DeleteRule { table: table.clone(), chain: chain.to_string(), handle })
    }
    /// `add set` or `add map`. One that is there with other types fails the batch (EEXIST).
    pub fn add_set(&mut self, set: &Set) -> &mut Self {
        self.push(Command::AddSet(set.clone()))
    }
    /// `add element`. One that is there with other data fails the batch (EEXIST, EBUSY in older kernels), and one that is there with
    /// the same data keeps its comment: to change either, delete it first in the same batch.
    pub fn add_element(&mut self, set: &Set, element: Element) -> &mut Self {
        self.push(Command::AddElement { set: set.clone(), element })
    }
    /// `delete element`, by its key.
    pub fn delete_element(&mut self, set: &Set, key: Vec<Value>) -> &mut Self {
        self.push(Command::DeleteElement { set: set.clone(), key })
    }
    /// Makes an element that was found expire with the kernel's next tick, within 10 ms, where the kernel can (since Linux 6.12);
    /// elsewhere deletes it. Expiring is by far the quicker: after a deletion, closing the socket waits until no packet can still
    /// see what was deleted (net/netfilter/nf_tables_api.c, nft_rcv_nl_event), which takes the kernel 7 to 25 ms.
    ///
    /// An element that is to be added again in the same batch is to be deleted.
    pub fn remove_element(&mut self, set: &Set, found: Element) -> &mut Self {
        self.push(Command::RemoveElement { set: set.clone(), element: found })
    }
    /// Those elements that it removes.
    pub(crate) fn removed(&self) -> impl Iterator<Item = (&Set, &Element)> {
        self.commands.iter().filter_map(|command| match command {
            Command::RemoveElement { set, element } => Some((set, element)),
            _ => None,
        })
    }
    /// Whether it deletes what packets may be looking at.
    pub(crate) fn deletes(&self, removal: Removal) -> bool {
        self.commands.iter().any(|command| match command {
            Command::DeleteTable(_)
            | Command::FlushChain { .. }
            | Command::DeleteChain { .. }
            | Command::DeleteRule { .. }
            | Command::DeleteElement { .. } => true,
            Command::RemoveElement { .. } => removal == Removal::Deletion,
            _ => false,
        })
    }
    /// Whether it deletes elements by their keys.
    pub(crate) fn deletes_elements(&self) -> bool {
        self.commands.iter().any(|command| matches!(command, Command::DeleteElement { .. }))
    }
    /// All commands of another batch after these.
    pub fn append(&mut self, other: Batch) -> &mut Self {
        self.commands.extend(other.commands);
        self
    }
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    fn push(&mut self, command: Command) -> &mut Self {
        self.commands.push(command);
        self
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.commands.iter().try_for_each(|command| writeln!(f, "{command}"))
    }
}

/// In nft's syntax.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::AddTable(table) => write!(f, "add table {table}"),
            Command::DeleteTable(table) => write!(f, "delete table {table}"),
            Command::AddChain { table, name, base } => {
                write!(f, "add chain {table} {}", Chain { name, base: *base })
            }
            Command::FlushChain { table, chain } => write!(f, "flush chain {table} {chain}"),
            Command::DeleteChain { table, chain } => write!(f, "delete chain {table} {chain}"),
            Command::AddRule { table, chain, rule } => {
                write!(f, "add rule {table} {chain} {}", Separated(" ", rule.iter()))
            }
            Command::AddRawRule { table, chain, place, rule } => {
                let verb = if *place == Place::First { "insert" } else { "add" };
                write!(f, "{verb} rule {table} {chain} {}", rule.text)
            }
            Command::DeleteRule { table, chain, handle } => {
                write!(f, "delete rule {table} {chain} handle {handle}")
            }
            Command::AddSet(set) => write!(f, "add {} {set}", set.kind()),
            Command::AddElement { set, element } => {
                write!(f, "add element {} {} {{ {} }}", set.table, set.name, element.text(set))
            }
            Command::DeleteElement { set, key }
            | Command::RemoveElement { set, element: Element { key, .. } } => {
                write!(f, "delete element {} {} {{ {} }}", set.table, set.name, key_text(key, set.key))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataType, Family, Verdict};

    const TABLE: Table = Table::new(Family::Inet, "cni");
    static MASQ: Set = Set::map(TABLE, "masq", &[DataType::Ipv4Addr], &[DataType::Verdict]);

    #[test]
    fn prints_as_a_script_of_nft() {
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        let nat = Chain { name: "nat", base: Some((Hook::NatPostrouting, 100, Policy::Accept)) };
        let key = vec![Value::Addr([10, 1, 0, 5].into())];
        let data = vec![Value::Verdict(Verdict::Jump("pods".into()))];
        batch.add_table(&TABLE).add_chain(&TABLE, &nat).add_set(&MASQ);
        batch.add_element(&MASQ, Element { key: key.clone(), data, comment: Some("net/id/eth0".into()) });
        let mut more = Batch::default();
        more.add_rule(&TABLE, "nat", vec![Statement::Counter, Statement::Masquerade])
            .flush_chain(&TABLE, "nat");
        more.delete_rule(&TABLE, "nat", 7)
            .delete_element(&MASQ, key)
            .delete_chain(&TABLE, "nat")
            .delete_table(&TABLE);
        batch.append(more);
        assert!(!batch.is_empty());
        assert_eq!(
            batch.to_string(),
            "add table inet cni\n\
             add chain inet cni nat { type nat hook postrouting priority 100; policy accept; }\n\
             add map inet cni masq { type ipv4_addr : verdict; flags timeout; }\n\
             add element inet cni masq { 10.1.0.5 comment \"net/id/eth0\" : jump pods }\n\
             add rule inet cni nat counter packets 0 bytes 0 masquerade\n\
             flush chain inet cni nat\n\
             delete rule inet cni nat handle 7\n\
             delete element inet cni masq { 10.1.0.5 }\n\
             delete chain inet cni nat\n\
             delete table inet cni\n"
        );
    }
}
