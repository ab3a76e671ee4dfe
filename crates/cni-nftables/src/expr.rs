//! The kernel's expressions, of which it makes a rule, and their attributes (linux/netfilter/nf_tables.h). Everything that is
//! compared is loaded into register 1; further parts of a concatenated key follow it.

use cni_netlink::raw::Writer;

use crate::Verdict;

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    Meta {
        key: u32,
        register: u32,
    },
    SetMark,
    Payload {
        base: u32,
        offset: u32,
        size: usize,
        register: u32,
    },
    /// With the direction when the key is of a tuple.
    Ct {
        key: u32,
        direction: Option<u8>,
        register: u32,
    },
    FibDaddrType {
        register: u32,
    },
    Cmp(Cmp, Vec<u8>),
    NotInRange(Vec<u8>, Vec<u8>),
    Bitwise {
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    HostToNetwork,
    Lookup {
        set: SetRef,
        inverted: bool,
        into: Option<u32>,
    },
    Verdict(Verdict),
    Dnat {
        family: u8,
        address: u32,
        port: u32,
    },
    Masquerade,
    Reject {
        kind: u32,
        code: u8,
    },
    Counter,
}

/// NFT_CMP_*
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cmp {
    Eq = 0,
    Ne = 1,
    Lte = 3,
    Gte = 5,
}

/// A set that a rule looks into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SetRef {
    Named(String),
    /// The anonymous set of this number among those of the rule.
    Anonymous(usize),
}

/// NFT_META_*
pub(crate) const META_PROTOCOL: u32 = 1;
pub(crate) const META_MARK: u32 = 3;
pub(crate) const META_IIFTYPE: u32 = 8;
pub(crate) const META_NFPROTO: u32 = 15;
pub(crate) const META_L4PROTO: u32 = 16;

/// NFT_REG_VERDICT and NFT_REG_1
pub(crate) const REG_VERDICT: u32 = 0;
pub(crate) const REG_1: u32 = 1;

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

    fn name(&self) -> &'static str {
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
            Expr::Verdict(_) => "immediate",
            Expr::Dnat { .. } => "nat",
            Expr::Masquerade => "masq",
            Expr::Reject { .. } => "reject",
            Expr::Counter => "counter",
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
            Expr::Masquerade | Expr::Counter => {}
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
