//! The kernel's expressions, of which it makes a rule, and their attributes. Everything that is
//! compared is loaded into register 1; further parts of a concatenated key follow it.

use cni_netlink::raw::{Attrs, Writer, be32, string};
use nix::libc::{NF_ACCEPT, NF_DROP, NFT_GOTO, NFT_JUMP, NFT_RETURN};

use crate::Verdict;
use crate::element::read_verdict;
use crate::uapi::*;

/// An expression. What it loads goes into register 1, and what it compares or changes is there, unless `register` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expr {
    /// Loads what the kernel knows of the packet: NFT_META_*.
    Meta {
        /// [`NFT_META_MARK`] and others.
        key: u32,
        /// NFT_REG_*
        register: u32,
    },
    /// Sets the packet's mark.
    SetMark,
    /// Loads bytes of the packet.
    Payload {
        /// [`NFT_PAYLOAD_NETWORK_HEADER`], [`NFT_PAYLOAD_TRANSPORT_HEADER`] or that of the link layer, 0.
        base: u32,
        /// Bytes behind the base.
        offset: u32,
        /// How many bytes.
        size: usize,
        /// NFT_REG_*
        register: u32,
    },
    /// Loads what connection tracking knows of the packet, with the direction when the key is of a tuple.
    Ct {
        /// NFT_CT_*
        key: u32,
        /// IP_CT_DIR_*
        direction: Option<u8>,
        /// NFT_REG_*
        register: u32,
    },
    /// Loads the type of the destination address.
    FibDaddrType {
        /// NFT_REG_*
        register: u32,
    },
    /// Goes on only where this comparison holds.
    Cmp(Cmp, Vec<u8>),
    /// Goes on outside of a range.
    NotInRange(Vec<u8>, Vec<u8>),
    /// And, then exclusive or.
    Bitwise {
        /// What is kept.
        mask: Vec<u8>,
        /// What is turned.
        xor: Vec<u8>,
    },
    /// Turns a number of four bytes into network byte order.
    HostToNetwork,
    /// Looks into a set.
    Lookup {
        /// Which one.
        set: SetRef,
        /// Goes on where the key is not in it.
        inverted: bool,
        /// Where a map's data goes.
        into: Option<u32>,
    },
    /// A verdict.
    Verdict(Verdict),
    /// Loads a constant.
    Immediate {
        /// NFT_REG_*
        register: u32,
        /// What is loaded.
        value: Vec<u8>,
    },
    /// Destination address translation.
    Dnat {
        /// NFPROTO_*
        family: u8,
        /// The register of the address.
        address: u32,
        /// The register of the port.
        port: u32,
    },
    /// Masquerading.
    Masquerade,
    /// Refusal with an answer.
    Reject {
        /// NFT_REJECT_*
        kind: u32,
        /// NFT_REJECT_ICMPX_*
        code: u8,
    },
    /// Counts packets and bytes; from nothing, when written.
    Counter,
    /// A match of iptables (net/netfilter/nft_compat.c).
    Match(Compat),
    /// A target of iptables.
    Target(Compat),
    /// One that is not known here, by its name. It cannot be written.
    Other(String),
}

/// A match or target of iptables inside nf_tables: NFTA_MATCH_* and NFTA_TARGET_*, which have the same numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compat {
    /// `conntrack`
    pub name: String,
    /// Which form of its structure.
    pub revision: u32,
    /// The structure, as long as XT_ALIGN makes it.
    pub info: Vec<u8>,
}

/// How two values are compared (NFT_CMP_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cmp {
    /// Equal.
    Eq = NFT_CMP_EQ as isize,
    /// Not equal.
    Ne = NFT_CMP_NEQ as isize,
    /// Lower or equal, byte by byte.
    Lte = NFT_CMP_LTE as isize,
    /// Greater or equal, byte by byte.
    Gte = NFT_CMP_GTE as isize,
}

/// A set that a rule looks into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetRef {
    /// One of the table's.
    Named(String),
    /// The anonymous set of this number among those of the rule.
    Anonymous(usize),
}

/// What the kernel calls every anonymous set until it has numbered it.
pub(crate) const ANONYMOUS: &str = "__set%d";

/// The number of the register that begins `fours` times four bytes behind register 1. Multiples of sixteen bytes have the
/// number of an old, sixteen bytes wide register, as nft writes and the kernel dumps them.
pub(crate) fn register(fours: usize) -> u32 {
    // A key has at most sixteen.
    let fours = fours as u32;
    if fours.is_multiple_of(4) { NFT_REG_1 + fours / 4 } else { NFT_REG32_00 + fours }
}

impl Expr {
    /// Writes the list element of NFTA_RULE_EXPRESSIONS. Anonymous sets have the numbers of their batch from `first_set` on.
    pub(crate) fn write(&self, writer: &mut Writer, first_set: u32) {
        writer.nest(NFTA_LIST_ELEM, |writer| {
            writer.string(NFTA_EXPR_NAME, self.name());
            writer.nest(NFTA_EXPR_DATA, |writer| self.write_data(writer, first_set));
        });
    }

    /// Reads the list element of NFTA_RULE_EXPRESSIONS: what iptables-nft writes, and the comparisons of nft.
    pub(crate) fn read(element: &[u8]) -> Self {
        let attributes = Attrs(element);
        let name = attributes.clone().find(NFTA_EXPR_NAME).map(string).unwrap_or_default();
        let data = attributes.find(NFTA_EXPR_DATA).unwrap_or_default();
        Expr::read_data(&name, data).unwrap_or(Expr::Other(name))
    }

    fn read_data(name: &str, data: &[u8]) -> Option<Self> {
        let find = |kind| Attrs(data).find(kind);
        let number = |kind| find(kind).and_then(be32);
        let value = |kind| Attrs(find(kind)?).find(NFTA_DATA_VALUE).map(<[u8]>::to_vec);
        let compat = || {
            let info = find(NFTA_MATCH_INFO)?.to_vec();
            Some(Compat { name: string(find(NFTA_MATCH_NAME)?), revision: number(NFTA_MATCH_REV)?, info })
        };
        // One that takes from another register than the first belongs to a longer computation.
        let from_first = |kind| number(kind).filter(|register| *register == NFT_REG_1);
        Some(match name {
            // What is set, and not loaded, has no destination.
            "meta" => Expr::Meta { key: number(NFTA_META_KEY)?, register: number(NFTA_META_DREG)? },
            "payload" => Expr::Payload {
                base: number(NFTA_PAYLOAD_BASE)?,
                offset: number(NFTA_PAYLOAD_OFFSET)?,
                size: usize::try_from(number(NFTA_PAYLOAD_LEN)?).ok()?,
                register: number(NFTA_PAYLOAD_DREG)?,
            },
            "bitwise" => {
                from_first(NFTA_BITWISE_SREG).and(from_first(NFTA_BITWISE_DREG))?;
                Expr::Bitwise { mask: value(NFTA_BITWISE_MASK)?, xor: value(NFTA_BITWISE_XOR)? }
            }
            "cmp" => {
                from_first(NFTA_CMP_SREG)?;
                let op = [Cmp::Eq, Cmp::Ne, Cmp::Lte, Cmp::Gte];
                let number = number(NFTA_CMP_OP)?;
                Expr::Cmp(op.into_iter().find(|op| *op as u32 == number)?, value(NFTA_CMP_DATA)?)
            }
            "immediate" if number(NFTA_IMMEDIATE_DREG)? == NFT_REG_VERDICT => {
                let data = Attrs(find(NFTA_IMMEDIATE_DATA)?);
                Expr::Verdict(read_verdict(data.find(NFTA_DATA_VERDICT)?)?)
            }
            "immediate" => {
                Expr::Immediate { register: number(NFTA_IMMEDIATE_DREG)?, value: value(NFTA_IMMEDIATE_DATA)? }
            }
            "counter" => Expr::Counter,
            "match" => Expr::Match(compat()?),
            "target" => Expr::Target(compat()?),
            _ => return None,
        })
    }

    fn name(&self) -> &str {
        match self {
            Expr::Meta { .. } | Expr::SetMark => "meta",
            Expr::Payload { .. } => "payload",
            Expr::Ct { .. } => "ct",
            Expr::FibDaddrType { .. } => "fib",
            Expr::Cmp(..) => "cmp",
            Expr::NotInRange(..) => "range",
            Expr::Bitwise { .. } => "bitwise",
            Expr::HostToNetwork => "byteorder",
            Expr::Lookup { .. } => "lookup",
            Expr::Verdict(_) | Expr::Immediate { .. } => "immediate",
            Expr::Dnat { .. } => "nat",
            Expr::Masquerade => "masq",
            Expr::Reject { .. } => "reject",
            Expr::Counter => "counter",
            Expr::Match(_) => "match",
            Expr::Target(_) => "target",
            Expr::Other(name) => name,
        }
    }

    /// The attributes of each kind of expression, in the order of libnftnl.
    fn write_data(&self, writer: &mut Writer, first_set: u32) {
        match self {
            Expr::Meta { key, register } => {
                writer.be32(NFTA_META_KEY, *key);
                writer.be32(NFTA_META_DREG, *register);
            }
            Expr::Ct { key, direction, register } => {
                writer.be32(NFTA_CT_KEY, *key);
                writer.be32(NFTA_CT_DREG, *register);
                if let Some(direction) = direction {
                    writer.attr(NFTA_CT_DIRECTION, &[*direction]);
                }
            }
            Expr::SetMark => {
                writer.be32(NFTA_META_KEY, NFT_META_MARK);
                writer.be32(NFTA_META_SREG, NFT_REG_1);
            }
            Expr::Payload { base, offset, size, register } => {
                writer.be32(NFTA_PAYLOAD_DREG, *register);
                writer.be32(NFTA_PAYLOAD_BASE, *base);
                writer.be32(NFTA_PAYLOAD_OFFSET, *offset);
                writer.be32(NFTA_PAYLOAD_LEN, *size as u32);
            }
            Expr::FibDaddrType { register } => {
                writer.be32(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
                writer.be32(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
                writer.be32(NFTA_FIB_DREG, *register);
            }
            Expr::Cmp(op, value) => {
                writer.be32(NFTA_CMP_SREG, NFT_REG_1);
                writer.be32(NFTA_CMP_OP, *op as u32);
                write_value(writer, NFTA_CMP_DATA, value);
            }
            Expr::NotInRange(first, last) => {
                writer.be32(NFTA_RANGE_SREG, NFT_REG_1);
                writer.be32(NFTA_RANGE_OP, NFT_RANGE_NEQ);
                write_value(writer, NFTA_RANGE_FROM_DATA, first);
                write_value(writer, NFTA_RANGE_TO_DATA, last);
            }
            Expr::Bitwise { mask, xor } => {
                writer.be32(NFTA_BITWISE_SREG, NFT_REG_1);
                writer.be32(NFTA_BITWISE_DREG, NFT_REG_1);
                writer.be32(NFTA_BITWISE_LEN, mask.len() as u32);
                write_value(writer, NFTA_BITWISE_MASK, mask);
                write_value(writer, NFTA_BITWISE_XOR, xor);
            }
            Expr::HostToNetwork => {
                writer.be32(NFTA_BYTEORDER_SREG, NFT_REG_1);
                writer.be32(NFTA_BYTEORDER_DREG, NFT_REG_1);
                writer.be32(NFTA_BYTEORDER_OP, NFT_BYTEORDER_HTON);
                // One number of four bytes.
                writer.be32(NFTA_BYTEORDER_LEN, 4);
                writer.be32(NFTA_BYTEORDER_SIZE, 4);
            }
            Expr::Lookup { set, inverted, into } => write_lookup(writer, first_set, set, *inverted, *into),
            Expr::Verdict(verdict) => {
                writer.be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
                writer.nest(NFTA_IMMEDIATE_DATA, |writer| write_verdict(writer, verdict));
            }
            Expr::Immediate { register, value } => {
                writer.be32(NFTA_IMMEDIATE_DREG, *register);
                write_value(writer, NFTA_IMMEDIATE_DATA, value);
            }
            Expr::Dnat { family, address, port } => {
                writer.be32(NFTA_NAT_TYPE, NFT_NAT_DNAT);
                writer.be32(NFTA_NAT_FAMILY, u32::from(*family));
                writer.be32(NFTA_NAT_REG_ADDR_MIN, *address);
                writer.be32(NFTA_NAT_REG_PROTO_MIN, *port);
            }
            Expr::Reject { kind, code } => {
                writer.be32(NFTA_REJECT_TYPE, *kind);
                writer.attr(NFTA_REJECT_ICMP_CODE, &[*code]);
            }
            Expr::Match(compat) | Expr::Target(compat) => {
                writer.string(NFTA_MATCH_NAME, &compat.name);
                writer.be32(NFTA_MATCH_REV, compat.revision);
                writer.attr(NFTA_MATCH_INFO, &compat.info);
            }
            Expr::Masquerade | Expr::Counter | Expr::Other(_) => {}
        }
    }
}

fn write_lookup(writer: &mut Writer, first_set: u32, set: &SetRef, inverted: bool, into: Option<u32>) {
    writer.be32(NFTA_LOOKUP_SREG, NFT_REG_1);
    if let Some(register) = into {
        writer.be32(NFTA_LOOKUP_DREG, register);
    }
    match set {
        SetRef::Named(name) => writer.string(NFTA_LOOKUP_SET, name),
        SetRef::Anonymous(number) => {
            writer.string(NFTA_LOOKUP_SET, ANONYMOUS);
            writer.be32(NFTA_LOOKUP_SET_ID, first_set + *number as u32);
        }
    }
    if inverted {
        writer.be32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
    }
}

/// Bytes as NFTA_DATA_VALUE inside the attribute `kind`.
pub(crate) fn write_value(writer: &mut Writer, kind: u16, value: &[u8]) {
    writer.nest(kind, |writer| writer.attr(NFTA_DATA_VALUE, value));
}

/// NFTA_DATA_VERDICT
pub(crate) fn write_verdict(writer: &mut Writer, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Drop => (NF_DROP, None),
        Verdict::Accept => (NF_ACCEPT, None),
        Verdict::Jump(chain) => (NFT_JUMP, Some(chain)),
        Verdict::Goto(chain) => (NFT_GOTO, Some(chain)),
        Verdict::Return => (NFT_RETURN, None),
    };
    writer.nest(NFTA_DATA_VERDICT, |writer| {
        writer.be32(NFTA_VERDICT_CODE, code.cast_unsigned());
        if let Some(chain) = chain {
            writer.string(NFTA_VERDICT_CHAIN, chain);
        }
    });
}
