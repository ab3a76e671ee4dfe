//! Rules in the kernel's form.

use cni_netlink::raw::Writer;

use crate::Expr;
use crate::uapi::*;
use crate::value::Unfit;

/// A rule in the kernel's form, for tables whose rules another program reads too: iptables-nft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRule {
    /// What it consists of. No sets without a name.
    pub exprs: Vec<Expr>,
    /// The protocol that the matches of iptables in it are checked for, 0 for any; whether any other is meant.
    pub protocol: (u8, bool),
    /// What errors call it.
    pub text: String,
}

/// Where a rule goes among those of its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before the others.
    First,
    /// Behind the others.
    Last,
}

impl RawRule {
    /// Why it cannot be sent.
    pub(crate) fn check(&self) -> Result<(), Unfit> {
        match self.exprs.iter().find(|expr| matches!(expr, Expr::Other(_))) {
            Some(Expr::Other(name)) => Err(format!("the expression {name} is not known here")),
            _ => Ok(()),
        }
    }

    /// Writes NFTA_RULE_EXPRESSIONS, and NFTA_RULE_COMPAT as iptables-nft does.
    pub(crate) fn write(&self, writer: &mut Writer) {
        let write = |writer: &mut Writer| self.exprs.iter().for_each(|expr| expr.write(writer, 0));
        writer.nest(NFTA_RULE_EXPRESSIONS, write);
        let (protocol, inverted) = self.protocol;
        writer.nest(NFTA_RULE_COMPAT, |writer| {
            writer.be32(NFTA_RULE_COMPAT_PROTO, u32::from(protocol));
            writer.be32(NFTA_RULE_COMPAT_FLAGS, if inverted { NFT_RULE_COMPAT_F_INV } else { 0 });
        });
    }
}

/// A rule as found, whoever made it. The default is one that consists of nothing, for tests of what reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundRule {
    /// By which it can be deleted.
    pub handle: u64,
    /// nft's own comment; iptables' is a match.
    pub comment: Option<String>,
    /// What it consists of.
    pub exprs: Vec<Expr>,
}

impl FoundRule {
    /// What it compares with, in order and as the kernel's bytes: `tcp dport 80` is `[[6], [0, 80]]`.
    pub fn compared(&self) -> impl Iterator<Item = &[u8]> {
        self.exprs.iter().filter_map(|expr| match expr {
            Expr::Cmp(_, value) => Some(value.as_slice()),
            _ => None,
        })
    }

    /// The constants that it loads, in order and as the kernel's bytes: `dnat to 10.0.0.5:80` loads `[[10, 0, 0, 5], [0, 80]]`.
    pub fn loaded(&self) -> impl Iterator<Item = &[u8]> {
        self.exprs.iter().filter_map(|expr| match expr {
            Expr::Immediate { value, .. } => Some(value.as_slice()),
            _ => None,
        })
    }
}
