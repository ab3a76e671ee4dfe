//! Commands as netlink messages. The order of attributes is that of libnftnl, so that its bytes can be compared with.

use std::ops::Range;

use cni_netlink::raw::Writer;
use nix::libc::{NF_ACCEPT, NF_DROP, NF_IP_PRI_CONNTRACK};

use crate::batch::Command;
use crate::compile::{Compiled, compile};
use crate::element::{check_name, check_types, comment_data, encode, size, type_number, write, write_key};
use crate::expr::{ANONYMOUS, write_value};
use crate::interval::{AnonymousSet, Border, BorderKind};
use crate::select::ByteOrder;
use crate::uapi::*;
use crate::value::Unfit;
use crate::{Chain, Element, Hook, Place, Policy, Set, Statement, Table};

/// Length of `struct nfgenmsg`.
pub(crate) const NFGENMSG: usize = 4;

/// A list of elements is an attribute, whose length has 16 bits; a message takes another element while its list is shorter
/// than this. One element, with data and comment, has less than a kilobyte.
const MAX_LIST: usize = 60_000;

/// A message of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) bytes: Range<usize>,
    /// Those that it carries out, none for the frame of the batch.
    pub(crate) commands: Range<usize>,
    /// For each command its offset in the message, when there are several.
    pub(crate) offsets: Vec<usize>,
}

/// Writes a batch, command by command.
pub(crate) struct Encoder {
    writer: Writer,
    sequence: u32,
    messages: Vec<Sent>,
    /// Sets so far; they are numbered from 1 within a batch.
    sets: u32,
    /// How elements are removed.
    removal: Removal,
}

/// What carries out [`Command::RemoveElement`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    Expiry,
    Deletion,
}

/// The type of a message of nf_tables, which has the subsystem in its upper byte.
pub(crate) const fn message_type(kind: u16) -> u16 {
    NFNL_SUBSYS_NFTABLES << 8 | kind
}

/// `struct nfgenmsg`: family, version 0, and a number that only the frame uses.
pub(crate) fn header(family: u8, resource: u16) -> [u8; NFGENMSG] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

impl Encoder {
    /// Begins a batch whose messages are numbered from `sequence` on.
    pub(crate) fn new(sequence: u32, generation: Option<u32>, removal: Removal) -> Self {
        let mut encoder =
            Self { writer: Writer::default(), sequence, messages: Vec::new(), sets: 0, removal };
        encoder.frame(NFNL_MSG_BATCH_BEGIN, generation);
        encoder
    }

    /// Ends it. The last command is acknowledged, which tells the end of the answer: older kernels do not acknowledge the frame.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Vec<Sent>) {
        let last = self.messages.last().map(|sent| sent.bytes.start).unwrap_or_default();
        self.frame(NFNL_MSG_BATCH_END, None);
        let mut bytes = self.writer.into_bytes();
        let flags = u16::from_ne_bytes([bytes[last + 6], bytes[last + 7]]) | NLM_F_ACK;
        bytes[last + 6..last + 8].copy_from_slice(&flags.to_ne_bytes());
        (bytes, self.messages)
    }

    fn frame(&mut self, kind: u16, generation: Option<u32>) {
        self.message(kind, NLM_F_REQUEST, header(0, NFNL_SUBSYS_NFTABLES), 0..0, |writer| {
            if let Some(generation) = generation {
                writer.be32(NFNL_BATCH_GENID, generation);
            }
        });
    }

    /// A message of nf_tables for `commands`.
    fn send(
        &mut self,
        kind: u16,
        flags: u16,
        table: &Table,
        commands: Range<usize>,
        attributes: impl FnOnce(&mut Writer),
    ) {
        let header = header(table.family.number(), 0);
        self.message(message_type(kind), NLM_F_REQUEST | flags, header, commands, |writer| {
            // The first attribute of messages about anything else in a table too (NFTA_CHAIN_TABLE and so on).
            writer.string(NFTA_TABLE_NAME, &table.name);
            attributes(writer);
        });
    }

    fn message(
        &mut self,
        kind: u16,
        flags: u16,
        header: [u8; NFGENMSG],
        commands: Range<usize>,
        attributes: impl FnOnce(&mut Writer),
    ) {
        let sequence = self.sequence.wrapping_add(self.messages.len() as u32);
        let start = self.writer.position();
        self.writer.message(kind, flags, sequence, &header, attributes);
        let bytes = start..self.writer.position();
        self.messages.push(Sent { bytes, commands, offsets: Vec::new() });
    }

    /// Encodes the first of these commands, which has the number `at` in the batch; with elements of a set those that follow it
    /// for the same set too. How many were encoded, or which of them cannot be and why.
    pub(crate) fn command(&mut self, at: usize, commands: &[&Command]) -> Result<usize, (usize, Unfit)> {
        let only = at..at + 1;
        let done = match commands[0] {
            command @ (Command::AddTable(table) | Command::DeleteTable(table)) => {
                checked(&table.name)?;
                let is_new = matches!(command, Command::AddTable(_));
                let (kind, flags) =
                    if is_new { (NFT_MSG_NEWTABLE, NLM_F_CREATE) } else { (NFT_MSG_DELTABLE, 0) };
                self.send(kind, flags, table, only, |_| {});
                Ok(())
            }
            Command::AddChain { table, name, base } => {
                self.add_chain(table, &Chain { name, base: *base }, only)
            }
            Command::FlushChain { table, chain } => {
                checked(chain)?;
                self.send(NFT_MSG_DELRULE, 0, table, only, |writer| writer.string(NFTA_RULE_CHAIN, chain));
                Ok(())
            }
            Command::DeleteChain { table, chain } => {
                checked(chain)?;
                self.send(NFT_MSG_DELCHAIN, 0, table, only, |writer| writer.string(NFTA_CHAIN_NAME, chain));
                Ok(())
            }
            Command::AddRule { table, chain, rule } => self.add_rule(table, chain, rule, only),
            Command::AddRawRule { table, chain, place, rule } => {
                checked(chain)?;
                let append = if *place == Place::Last { NLM_F_APPEND } else { 0 };
                self.send(NFT_MSG_NEWRULE, NLM_F_CREATE | append, table, only, |writer| {
                    writer.string(NFTA_RULE_CHAIN, chain);
                    rule.write(writer);
                });
                rule.check()
            }
            Command::DeleteRule { table, chain, handle } => {
                checked(chain)?;
                self.send(NFT_MSG_DELRULE, 0, table, only, |writer| {
                    writer.string(NFTA_RULE_CHAIN, chain);
                    writer.be64(NFTA_RULE_HANDLE, *handle);
                });
                Ok(())
            }
            Command::AddSet(set) => self.add_set(set, only),
            Command::AddElement { set, .. }
            | Command::DeleteElement { set, .. }
            | Command::RemoveElement { set, .. } => {
                return self.elements(set, at, commands);
            }
        };
        done.map(|()| 1).map_err(|reason| (0, reason))
    }

    fn add_chain(&mut self, table: &Table, chain: &Chain<'_>, only: Range<usize>) -> Result<(), Unfit> {
        check_name(chain.name)?;
        if let Some((Hook::NatPrerouting | Hook::NatOutput | Hook::NatPostrouting, priority, _)) = chain.base
            // Address translation needs connections.
            && priority <= NF_IP_PRI_CONNTRACK
        {
            return Err(format!("a nat chain has a priority above {NF_IP_PRI_CONNTRACK}"));
        }
        self.send(NFT_MSG_NEWCHAIN, NLM_F_CREATE, table, only, |writer| {
            writer.string(NFTA_CHAIN_NAME, chain.name);
            if let Some((hook, priority, policy)) = chain.base {
                let (kind, number, _) = hook.parts();
                let verdict = if policy == Policy::Accept { NF_ACCEPT } else { NF_DROP };
                writer.string(NFTA_CHAIN_TYPE, kind);
                writer.be32(NFTA_CHAIN_POLICY, verdict.cast_unsigned());
                writer.nest(NFTA_CHAIN_HOOK, |writer| {
                    writer.be32(NFTA_HOOK_HOOKNUM, number);
                    writer.be32(NFTA_HOOK_PRIORITY, priority.cast_unsigned());
                });
            }
        });
        Ok(())
    }

    fn add_rule(
        &mut self,
        table: &Table,
        chain: &str,
        rule: &[Statement],
        only: Range<usize>,
    ) -> Result<(), Unfit> {
        check_name(chain)?;
        let Compiled { sets, exprs, comment } = compile(table.family, rule)?;
        let first_set = self.sets + 1;
        for set in &sets {
            self.anonymous_set(table, set, &only);
        }
        self.send(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, table, only, |writer| {
            writer.string(NFTA_RULE_CHAIN, chain);
            let write = |writer: &mut Writer| exprs.iter().for_each(|expr| expr.write(writer, first_set));
            writer.nest(NFTA_RULE_EXPRESSIONS, write);
            if let Some(comment) = comment {
                writer.attr(NFTA_RULE_USERDATA, &comment_data(&comment));
            }
        });
        Ok(())
    }

    fn anonymous_set(&mut self, table: &Table, set: &AnonymousSet, only: &Range<usize>) {
        self.sets += 1;
        let (number, data_type) = (self.sets, set.data_type);
        let interval = if set.interval { NFT_SET_INTERVAL } else { 0 };
        self.send(NFT_MSG_NEWSET, NLM_F_CREATE, table, only.clone(), |writer| {
            writer.string(NFTA_SET_NAME, ANONYMOUS);
            writer.be32(NFTA_SET_FLAGS, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | interval);
            writer.be32(NFTA_SET_KEY_TYPE, data_type.number());
            writer.be32(NFTA_SET_KEY_LEN, data_type.size() as u32);
            writer.be32(NFTA_SET_ID, number);
            writer.nest(NFTA_SET_DESC, |writer| writer.be32(NFTA_SET_DESC_SIZE, set.room() as u32));
            // In an interval set nft turns the numbers of the machine's order.
            let turned = set.interval && data_type.is_host_number();
            let order = if turned { ByteOrder::Big } else { data_type.byte_order() };
            writer.attr(NFTA_SET_USERDATA, &udata_u32(NFTNL_UDATA_SET_KEYBYTEORDER, order as u32));
        });
        let mut elements = set.elements.iter().peekable();
        while elements.peek().is_some() {
            self.send(NFT_MSG_NEWSETELEM, NLM_F_CREATE, table, only.clone(), |writer| {
                writer.string(NFTA_SET_ELEM_LIST_SET, ANONYMOUS);
                writer.be32(NFTA_SET_ELEM_LIST_SET_ID, number);
                writer.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |writer| {
                    let start = writer.position();
                    while writer.position() - start < MAX_LIST {
                        let Some(element) = elements.next() else { break };
                        writer.nest(NFTA_LIST_ELEM, |writer| write_border(writer, element));
                    }
                });
            });
        }
    }

    fn add_set(&mut self, set: &Set, only: Range<usize>) -> Result<(), Unfit> {
        check_name(&set.name)?;
        check_types(set.key).map_err(|reason| format!("its key: {reason}"))?;
        if !set.data.is_empty() {
            check_types(set.data).map_err(|reason| format!("its data: {reason}"))?;
        }
        self.sets += 1;
        let number = self.sets;
        self.send(NFT_MSG_NEWSET, NLM_F_CREATE, &set.table, only, |writer| {
            writer.string(NFTA_SET_NAME, &set.name);
            writer.be32(NFTA_SET_FLAGS, NFT_SET_TIMEOUT | if set.data.is_empty() { 0 } else { NFT_SET_MAP });
            writer.be32(NFTA_SET_KEY_TYPE, type_number(set.key));
            writer.be32(NFTA_SET_KEY_LEN, size(set.key) as u32);
            if !set.data.is_empty() {
                writer.be32(NFTA_SET_DATA_TYPE, type_number(set.data));
                writer.be32(NFTA_SET_DATA_LEN, size(set.data) as u32);
            }
            writer.be32(NFTA_SET_ID, number);
            let mut data = udata_u32(NFTNL_UDATA_SET_KEYBYTEORDER, byte_order(set.key) as u32).to_vec();
            if !set.data.is_empty() {
                data.extend(udata_u32(NFTNL_UDATA_SET_DATABYTEORDER, byte_order(set.data) as u32));
            }
            writer.attr(NFTA_SET_USERDATA, &data);
        });
        Ok(())
    }

    /// Elements to add or delete, as many in a row as concern this set and fit into a message.
    fn elements(&mut self, set: &Set, at: usize, commands: &[&Command]) -> Result<usize, (usize, Unfit)> {
        checked(&set.name)?;
        let removal = self.removal;
        let kind_of = |command: &Command| match (command, removal) {
            (Command::AddElement { .. }, _) => Some((NFT_MSG_NEWSETELEM, NLM_F_CREATE)),
            // Without NLM_F_EXCL one that is there is brought up to date.
            (Command::RemoveElement { .. }, Removal::Expiry) => Some((NFT_MSG_NEWSETELEM, NLM_F_CREATE)),
            (Command::RemoveElement { .. }, Removal::Deletion) => Some((NFT_MSG_DELSETELEM, 0)),
            (Command::DeleteElement { .. }, _) => Some((NFT_MSG_DELSETELEM, 0)),
            _ => None,
        };
        let own = kind_of(commands[0]);
        let (kind, flags) = own.unwrap_or_default();
        let start = self.writer.position();
        let mut offsets = Vec::new();
        let mut failed = None;
        self.send(kind, flags, &set.table, 0..0, |writer| {
            writer.string(NFTA_SET_ELEM_LIST_SET, &set.name);
            writer.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |writer| {
                for command in commands.iter().take_while(|command| kind_of(command) == own) {
                    let offset = writer.position() - start;
                    let written = match command {
                        Command::AddElement { set: of, element } if of == set => {
                            write(writer, set, element, false)
                        }
                        Command::RemoveElement { set: of, element }
                            if of == set && removal == Removal::Expiry =>
                        {
                            write(writer, set, element, true)
                        }
                        Command::RemoveElement { set: of, element: Element { key, .. } }
                        | Command::DeleteElement { set: of, key }
                            if of == set =>
                        {
                            encode(key, set.key).map(|key| write_key(writer, &key))
                        }
                        _ => break,
                    };
                    if let Err(reason) = written {
                        failed = Some((offsets.len(), reason));
                        break;
                    }
                    offsets.push(offset);
                    if offset > MAX_LIST {
                        break;
                    }
                }
            });
        });
        let done = offsets.len();
        if let Some(sent) = self.messages.last_mut() {
            sent.commands = at..at + done;
            sent.offsets = offsets;
        }
        failed.map_or(Ok(done), Err)
    }
}

fn checked(name: &str) -> Result<(), (usize, Unfit)> {
    check_name(name).map_err(|reason| (0, reason))
}

fn write_border(writer: &mut Writer, border: &Border) {
    if border.kind == BorderKind::End {
        writer.be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
    }
    write_value(writer, NFTA_SET_ELEM_KEY, &border.key);
    if border.kind == BorderKind::OpenStart {
        let flags = udata_u32(NFTNL_UDATA_SET_ELEM_FLAGS, NFTNL_SET_ELEM_F_INTERVAL_OPEN);
        writer.attr(NFTA_SET_ELEM_USERDATA, &flags);
    }
}

/// User data that is a number: type, length, and the number in the machine's byte order.
fn udata_u32(kind: u8, number: u32) -> [u8; 6] {
    let [a, b, c, d] = number.to_ne_bytes();
    [kind, 4, a, b, c, d]
}

/// What nft needs to know to print numbers the right way round. A concatenation has none of its own.
fn byte_order(types: &[crate::DataType]) -> ByteOrder {
    match types {
        [only] => only.byte_order(),
        _ => ByteOrder::None,
    }
}
