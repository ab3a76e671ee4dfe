//! The kernel's expressions, of which it makes a rule, and their attributes (linux/netfilter/nf_tables.h). Everything that is
//! compared is loaded into register 1; further parts of a concatenated key follow it.

use cni_netlink::raw::{Attrs, Writer, be32, string};

use crate::Verdict;
use crate::element::read_verdict;

/// An expression. What it loads goes into register 1, and what it compares or changes is there, unless `register` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expr {
    /// Loads what the kernel knows of the packet: NFT_META_*.
    Meta {
        /// [`META_MARK`] and others.
        key: u32,
        /// NFT_REG_*
        register: u32,
    },
    /// Sets the packet's mark.
    SetMark,
    /// Loads bytes of the packet.
    Payload {
        /// [`NETWORK_HEADER`], [`TRANSPORT_HEADER`] or that of the link layer, 0.
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

/// NFT_CMP_*
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Cmp {
    Eq = 0,
    Ne = 1,
    Lte = 3,
    Gte = 5,
}

/// A set that a rule looks into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetRef {
    /// One of the table's.
    Named(String),
    /// The anonymous set of this number among those of the rule.
    Anonymous(usize),
}

/// NFT_META_*
pub(crate) const META_PROTOCOL: u32 = 1;
/// The packet's mark.
pub const META_MARK: u32 = 3;
/// The name of the interface that the packet came by, 16 bytes.
pub const META_IIFNAME: u32 = 6;
/// The name of the interface that it leaves by, 16 bytes.
pub const META_OIFNAME: u32 = 7;
pub(crate) const META_IIFTYPE: u32 = 8;
pub(crate) const META_NFPROTO: u32 = 15;
/// The number of the transport protocol, one byte.
pub const META_L4PROTO: u32 = 16;

/// NFT_PAYLOAD_NETWORK_HEADER
pub const NETWORK_HEADER: u32 = 1;
/// NFT_PAYLOAD_TRANSPORT_HEADER
pub const TRANSPORT_HEADER: u32 = 2;

/// NFT_REG_VERDICT
pub(crate) const REG_VERDICT: u32 = 0;
/// NFT_REG_1
pub const REG_1: u32 = 1;

/// What the kernel calls every anonymous set until it has numbered it.
pub(crate) const ANONYMOUS: &str = "__set%d";

/// The number of the register that begins `fours` times four bytes behind register 1. Multiples of sixteen bytes have the
/// number of an old, sixteen bytes wide register, as nft writes and the kernel dumps them.
pub(crate) fn register(fours: usize) -> u32 {
    // A key has at most sixteen.
    let fours = fours as u32;
    if fours.is_multiple_of(4) { REG_1 + fours / 4 } else { 8 + fours }
}

impl Expr {
    /// Writes the list element of NFTA_RULE_EXPRESSIONS. Anonymous sets have the numbers of their batch from `first_set` on.
    pub(crate) fn write(&self, writer: &mut Writer, first_set: u32) {
        writer.nest(1, |writer| {
            writer.string(1, self.name());
            writer.nest(2, |writer| self.write_data(writer, first_set));
        });
    }

    /// Reads the list element of NFTA_RULE_EXPRESSIONS: what iptables-nft writes, and the comparisons of nft.
    pub(crate) fn read(element: &[u8]) -> Self {
        let attributes = Attrs(element);
        let name = attributes.clone().find(1).map(string).unwrap_or_default();
        let data = attributes.find(2).unwrap_or_default();
        Expr::read_data(&name, data).unwrap_or(Expr::Other(name))
    }

    fn read_data(name: &str, data: &[u8]) -> Option<Self> {
        let find = |kind| Attrs(data).find(kind);
        let number = |kind| find(kind).and_then(be32);
        let value = |kind| Attrs(find(kind)?).find(1).map(<[u8]>::to_vec);
        let compat =
            || Some(Compat { name: string(find(1)?), revision: number(2)?, info: find(3)?.to_vec() });
        // One that takes from another register than the first belongs to a longer computation.
        let from_first = |kind| number(kind).filter(|register| *register == REG_1);
        Some(match name {
            // What is set, and not loaded, has no destination.
            "meta" => Expr::Meta { key: number(2)?, register: number(1)? },
            "payload" => Expr::Payload {
                base: number(2)?,
                offset: number(3)?,
                size: usize::try_from(number(4)?).ok()?,
                register: number(1)?,
            },
            "bitwise" => {
                from_first(1).and(from_first(2))?;
                Expr::Bitwise { mask: value(4)?, xor: value(5)? }
            }
            "cmp" => {
                from_first(1)?;
                let op = [Cmp::Eq, Cmp::Ne, Cmp::Lte, Cmp::Gte];
                let number = number(2)?;
                Expr::Cmp(op.into_iter().find(|op| *op as u32 == number)?, value(3)?)
            }
            "immediate" if number(1)? == REG_VERDICT => {
                Expr::Verdict(read_verdict(Attrs(find(2)?).find(2)?)?)
            }
            "immediate" => Expr::Immediate { register: number(1)?, value: value(2)? },
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
                writer.be32(2, *key);
                writer.be32(1, *register);
            }
            Expr::Ct { key, direction, register } => {
                writer.be32(2, *key);
                writer.be32(1, *register);
                if let Some(direction) = direction {
                    writer.attr(3, &[*direction]);
                }
            }
            Expr::SetMark => {
                writer.be32(2, META_MARK);
                writer.be32(3, REG_1);
            }
            Expr::Payload { base, offset, size, register } => {
                writer.be32(1, *register);
                writer.be32(2, *base);
                writer.be32(3, *offset);
                writer.be32(4, *size as u32);
            }
            Expr::FibDaddrType { register } => {
                // NFTA_FIB_F_DADDR and NFT_FIB_RESULT_ADDRTYPE
                writer.be32(3, 2);
                writer.be32(2, 3);
                writer.be32(1, *register);
            }
            Expr::Cmp(op, value) => {
                writer.be32(1, REG_1);
                writer.be32(2, *op as u32);
                write_value(writer, 3, value);
            }
            Expr::NotInRange(first, last) => {
                writer.be32(1, REG_1);
                writer.be32(2, 1);
                write_value(writer, 3, first);
                write_value(writer, 4, last);
            }
            Expr::Bitwise { mask, xor } => {
                writer.be32(1, REG_1);
                writer.be32(2, REG_1);
                writer.be32(3, mask.len() as u32);
                write_value(writer, 4, mask);
                write_value(writer, 5, xor);
            }
            Expr::HostToNetwork => {
                // NFT_BYTEORDER_HTON of one number of four bytes.
                for (kind, value) in [(1, REG_1), (2, REG_1), (3, 1), (4, 4), (5, 4)] {
                    writer.be32(kind, value);
                }
            }
            Expr::Lookup { set, inverted, into } => write_lookup(writer, first_set, set, *inverted, *into),
            Expr::Verdict(verdict) => {
                writer.be32(1, REG_VERDICT);
                writer.nest(2, |writer| write_verdict(writer, verdict));
            }
            Expr::Immediate { register, value } => {
                writer.be32(1, *register);
                write_value(writer, 2, value);
            }
            Expr::Dnat { family, address, port } => {
                // NFT_NAT_DNAT
                writer.be32(1, 1);
                writer.be32(2, u32::from(*family));
                writer.be32(3, *address);
                writer.be32(5, *port);
            }
            Expr::Reject { kind, code } => {
                writer.be32(1, *kind);
                writer.attr(2, &[*code]);
            }
            Expr::Match(compat) | Expr::Target(compat) => {
                writer.string(1, &compat.name);
                writer.be32(2, compat.revision);
                writer.attr(3, &compat.info);
            }
            Expr::Masquerade | Expr::Counter | Expr::Other(_) => {}
        }
    }
}

fn write_lookup(writer: &mut Writer, first_set: u32, set: &SetRef, inverted: bool, into: Option<u32>) {
    writer.be32(2, REG_1);
    if let Some(register) = into {
        writer.be32(3, register);
    }
    match set {
        SetRef::Named(name) => writer.string(1, name),
        SetRef::Anonymous(number) => {
            writer.string(1, ANONYMOUS);
            writer.be32(4, first_set + *number as u32);
        }
    }
    if inverted {
        // NFT_LOOKUP_F_INV
        writer.be32(5, 1);
    }
}

/// Bytes as NFTA_DATA_VALUE inside the attribute `kind`.
pub(crate) fn write_value(writer: &mut Writer, kind: u16, value: &[u8]) {
    writer.nest(kind, |writer| writer.attr(1, value));
}

/// NFTA_DATA_VERDICT
pub(crate) fn write_verdict(writer: &mut Writer, verdict: &Verdict) {
    // NF_DROP and NF_ACCEPT, then enum nft_verdicts.
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5_i32, None),
    };
    writer.nest(2, |writer| {
        writer.be32(1, code.cast_unsigned());
        if let Some(chain) = chain {
            writer.string(2, chain);
        }
    });
}
