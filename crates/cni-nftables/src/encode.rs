//! Commands as netlink messages. The order of attributes is that of libnftnl, so that its bytes can be compared with.

use std::ops::Range;

use cni_netlink::raw::Writer;

use crate::batch::Command;
use crate::compile::{Compiled, compile};
use crate::element::{check_name, check_types, comment_data, encode, size, type_number, write, write_key};
use crate::expr::{ANONYMOUS, write_value};
use crate::interval::{AnonymousSet, BorderKind};
use crate::select::ByteOrder;
use crate::value::Unfit;
use crate::{Chain, Element, Hook, Place, Policy, Set, Statement, Table};

/// NFNL_SUBSYS_NFTABLES, the upper byte of message types.
pub(crate) const SUBSYSTEM: u16 = 10;

/// NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END and NFNL_BATCH_GENID (linux/netfilter/nfnetlink.h)
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const BATCH_GENID: u16 = 1;

/// enum nf_tables_msg_types
const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const DELCHAIN: u16 = 5;
const NEWRULE: u16 = 6;
const DELRULE: u16 = 8;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;

/// NF_IP_PRI_CONNTRACK: address translation needs connections.
const NAT_FLOOR: i32 = -200;

/// NLM_F_*
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// NFT_SET_*
const SET_ANONYMOUS: u32 = 0x1;
const SET_CONSTANT: u32 = 0x2;
const SET_INTERVAL: u32 = 0x4;
const SET_MAP: u32 = 0x8;
const SET_TIMEOUT: u32 = 0x10;

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

/// `struct nfgenmsg`: family, version 0, and a number that only the frame uses.
pub(crate) fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

impl Encoder {
    /// Begins a batch whose messages are numbered from `sequence` on.
    pub(crate) fn new(sequence: u32, generation: Option<u32>, removal: Removal) -> Self {
        let mut encoder =
            Self { writer: Writer::default(), sequence, messages: Vec::new(), sets: 0, removal };
        encoder.frame(BATCH_BEGIN, generation);
        encoder
    }

    /// Ends it. The last command is acknowledged, which tells the end of the answer: older kernels do not acknowledge the frame.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Vec<Sent>) {
        let last = self.messages.last().map(|sent| sent.bytes.start).unwrap_or_default();
        self.frame(BATCH_END, None);
        let mut bytes = self.writer.into_bytes();
        let flags = u16::from_ne_bytes([bytes[last + 6], bytes[last + 7]]) | ACK;
        bytes[last + 6..last + 8].copy_from_slice(&flags.to_ne_bytes());
        (bytes, self.messages)
    }

    fn frame(&mut self, kind: u16, generation: Option<u32>) {
        self.message(kind, REQUEST, header(0, SUBSYSTEM), 0..0, |writer| {
            if let Some(generation) = generation {
                writer.be32(BATCH_GENID, generation);
            }
        });
    }

    /// A message of nf_tables for `commands`.
    fn send(
        &mut self,
        kind: u16,
        flags: u16,
        table: Table,
        commands: Range<usize>,
        attributes: impl FnOnce(&mut Writer),
    ) {
        let header = header(table.family.number(), 0);
        self.message(SUBSYSTEM << 8 | kind, REQUEST | flags, header, commands, |writer| {
            writer.string(1, table.name);
            attributes(writer);
        });
    }

    fn message(
        &mut self,
        kind: u16,
        flags: u16,
        header: [u8; 4],
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
                checked(table.name)?;
                let is_new = matches!(command, Command::AddTable(_));
                let (kind, flags) = if is_new { (NEWTABLE, CREATE) } else { (DELTABLE, 0) };
                self.send(kind, flags, *table, only, |_| {});
                Ok(())
            }
            Command::AddChain { table, name, base } => {
                self.add_chain(*table, &Chain { name, base: *base }, only)
            }
            Command::FlushChain { table, chain } => {
                checked(chain)?;
                self.send(DELRULE, 0, *table, only, |writer| writer.string(2, chain));
                Ok(())
            }
            Command::DeleteChain { table, chain } => {
                checked(chain)?;
                self.send(DELCHAIN, 0, *table, only, |writer| writer.string(3, chain));
                Ok(())
            }
            Command::AddRule { table, chain, rule } => self.add_rule(*table, chain, rule, only),
            Command::AddRawRule { table, chain, place, rule } => {
                checked(chain)?;
                let append = if *place == Place::Last { APPEND } else { 0 };
                self.send(NEWRULE, CREATE | append, *table, only, |writer| {
                    writer.string(2, chain);
                    rule.write(writer);
                });
                rule.check()
            }
            Command::DeleteRule { table, chain, handle } => {
                checked(chain)?;
                self.send(DELRULE, 0, *table, only, |writer| {
                    writer.string(2, chain);
                    writer.be64(3, *handle);
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

    fn add_chain(&mut self, table: Table, chain: &Chain<'_>, only: Range<usize>) -> Result<(), Unfit> {
        check_name(chain.name)?;
        if let Some((Hook::NatPrerouting | Hook::NatOutput | Hook::NatPostrouting, priority, _)) = chain.base
            && priority <= NAT_FLOOR
        {
            return Err(format!("a nat chain has a priority above {NAT_FLOOR}"));
        }
        self.send(NEWCHAIN, CREATE, table, only, |writer| {
            writer.string(3, chain.name);
            if let Some((hook, priority, policy)) = chain.base {
                let (kind, number, _) = hook.parts();
                writer.string(7, kind);
                // NF_DROP and NF_ACCEPT
                writer.be32(5, u32::from(policy == Policy::Accept));
                writer.nest(4, |writer| {
                    writer.be32(1, number);
                    writer.be32(2, priority.cast_unsigned());
                });
            }
        });
        Ok(())
    }

    fn add_rule(
        &mut self,
        table: Table,
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
        self.send(NEWRULE, CREATE | APPEND, table, only, |writer| {
            writer.string(2, chain);
            writer.nest(4, |writer| exprs.iter().for_each(|expr| expr.write(writer, first_set)));
            if let Some(comment) = comment {
                writer.attr(7, &comment_data(&comment));
            }
        });
        Ok(())
    }

    fn anonymous_set(&mut self, table: Table, set: &AnonymousSet, only: &Range<usize>) {
        self.sets += 1;
        let (number, data_type) = (self.sets, set.data_type);
        let flags = SET_ANONYMOUS | SET_CONSTANT | if set.interval { SET_INTERVAL } else { 0 };
        self.send(NEWSET, CREATE, table, only.clone(), |writer| {
            writer.string(2, ANONYMOUS);
            writer.be32(3, flags);
            writer.be32(4, data_type.number());
            writer.be32(5, data_type.size() as u32);
            writer.be32(10, number);
            writer.nest(9, |writer| writer.be32(1, set.room() as u32));
            // In an interval set nft turns the numbers of the machine's order.
            let turned = set.interval && data_type.is_host_number();
            let order = if turned { ByteOrder::Big } else { data_type.byte_order() };
            writer.attr(13, &byte_order_data(KEY_BYTE_ORDER, order));
        });
        let mut elements = set.elements.iter().peekable();
        while elements.peek().is_some() {
            self.send(NEWSETELEM, CREATE, table, only.clone(), |writer| {
                writer.string(2, ANONYMOUS);
                writer.be32(4, number);
                writer.nest(3, |writer| {
                    let start = writer.position();
                    while writer.position() - start < MAX_LIST {
                        let Some(element) = elements.next() else { break };
                        writer.nest(1, |writer| {
                            if element.kind == BorderKind::End {
                                // NFT_SET_ELEM_INTERVAL_END
                                writer.be32(3, 1);
                            }
                            write_value(writer, 1, &element.key);
                            if element.kind == BorderKind::OpenStart {
                                writer.attr(6, &OPEN_INTERVAL_DATA);
                            }
                        });
                    }
                });
            });
        }
    }

    fn add_set(&mut self, set: &Set, only: Range<usize>) -> Result<(), Unfit> {
        check_name(set.name)?;
        check_types(set.key).map_err(|reason| format!("its key: {reason}"))?;
        if !set.data.is_empty() {
            check_types(set.data).map_err(|reason| format!("its data: {reason}"))?;
        }
        self.sets += 1;
        let number = self.sets;
        self.send(NEWSET, CREATE, set.table, only, |writer| {
            writer.string(2, set.name);
            writer.be32(3, SET_TIMEOUT | if set.data.is_empty() { 0 } else { SET_MAP });
            writer.be32(4, type_number(set.key));
            writer.be32(5, size(set.key) as u32);
            if !set.data.is_empty() {
                writer.be32(6, type_number(set.data));
                writer.be32(7, size(set.data) as u32);
            }
            writer.be32(10, number);
            let mut data = byte_order_data(KEY_BYTE_ORDER, byte_order(set.key)).to_vec();
            if !set.data.is_empty() {
                data.extend(byte_order_data(DATA_BYTE_ORDER, byte_order(set.data)));
            }
            writer.attr(13, &data);
        });
        Ok(())
    }

    /// Elements to add or delete, as many in a row as concern this set and fit into a message.
    fn elements(&mut self, set: &Set, at: usize, commands: &[&Command]) -> Result<usize, (usize, Unfit)> {
        checked(set.name)?;
        let removal = self.removal;
        let kind_of = |command: &Command| match (command, removal) {
            (Command::AddElement { .. }, _) => Some((NEWSETELEM, CREATE)),
            // Without NLM_F_EXCL one that is there is brought up to date.
            (Command::RemoveElement { .. }, Removal::Expiry) => Some((NEWSETELEM, CREATE)),
            (Command::RemoveElement { .. }, Removal::Deletion) => Some((DELSETELEM, 0)),
            (Command::DeleteElement { .. }, _) => Some((DELSETELEM, 0)),
            _ => None,
        };
        let own = kind_of(commands[0]);
        let (kind, flags) = own.unwrap_or_default();
        let start = self.writer.position();
        let mut offsets = Vec::new();
        let mut failed = None;
        self.send(kind, flags, set.table, 0..0, |writer| {
            writer.string(2, set.name);
            writer.nest(3, |writer| {
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

/// NFTNL_UDATA_SET_KEYBYTEORDER and NFTNL_UDATA_SET_DATABYTEORDER: without them nft prints numbers the wrong way round.
const KEY_BYTE_ORDER: u8 = 0;
const DATA_BYTE_ORDER: u8 = 1;

/// NFTNL_UDATA_SET_ELEM_FLAGS with SET_ELEM_F_INTERVAL_OPEN (nftables, src/segtree.c).
const OPEN_INTERVAL_DATA: [u8; 6] = {
    let [a, b, c, d] = 1_u32.to_ne_bytes();
    [1, 4, a, b, c, d]
};

fn byte_order_data(kind: u8, order: ByteOrder) -> [u8; 6] {
    let [a, b, c, d] = (order as u32).to_ne_bytes();
    [kind, 4, a, b, c, d]
}

/// A concatenation has none of its own.
fn byte_order(types: &[crate::DataType]) -> ByteOrder {
    match types {
        [only] => only.byte_order(),
        _ => ByteOrder::None,
    }
}
