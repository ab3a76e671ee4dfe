//! Rules as iptables-nft keeps them: nf_tables expressions, those of ip_tables' matches and targets among them
//! (net/netfilter/nft_compat.c; iptables, iptables/nft.c).
//!
//! Read is what any release of iptables-nft writes, ports and marks compared natively too, as it does since 1.8.8. Written are the
//! matches `tcp`, `udp`, `sctp`, `mark` and `comment` themselves, which every release of it reads.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni_nftables::{Cmp, Compat, Expr, FoundRule, RawRule, Verdict};
use cni_nftables::{NFT_META_IIFNAME, NFT_META_L4PROTO, NFT_META_MARK, NFT_META_OIFNAME, NFT_REG_1};
use cni_nftables::{NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER};
use nix::libc::IFNAMSIZ;

use crate::entry::{Entry, Extension, Is, Masked, Target};
use crate::uapi::XT_MAX_COMMENT_LEN;
use crate::{Family, extension};

/// Where a header has its addresses, and how long they are.
struct Addresses {
    source: u32,
    destination: u32,
    size: usize,
}

const fn addresses(family: Family) -> Addresses {
    match family {
        Family::Ipv4 => Addresses { source: 12, destination: 16, size: 4 },
        Family::Ipv6 => Addresses { source: 8, destination: 24, size: 16 },
    }
}

/// The table of nf_tables that iptables-nft keeps this one in.
pub(crate) fn table(name: &str, family: Family) -> cni_nftables::Table {
    let family = match family {
        Family::Ipv4 => cni_nftables::Family::Ip,
        Family::Ipv6 => cni_nftables::Family::Ip6,
    };
    cni_nftables::Table { family, name: Cow::Owned(name.to_owned()) }
}

/// What a comparison is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loaded {
    Meta(u32),
    Payload { base: u32, offset: u32 },
}

/// The rule that these expressions are. iptables-nft before 1.8.8 keeps comments as nft does.
pub(crate) fn read(rule: &FoundRule, family: Family) -> Entry {
    let mut entry = Entry { comment: rule.comment.clone(), ..Entry::default() };
    let mut loaded = None;
    let mut mask: Option<&[u8]> = None;
    for expr in &rule.exprs {
        let understood = match expr {
            Expr::Meta { key, register } if *register == NFT_REG_1 => {
                (loaded, mask) = (Some(Loaded::Meta(*key)), None);
                true
            }
            Expr::Payload { base, offset, register, .. } if *register == NFT_REG_1 => {
                (loaded, mask) = (Some(Loaded::Payload { base: *base, offset: *offset }), None);
                true
            }
            Expr::Bitwise { mask: by, xor } => {
                mask = Some(by);
                xor.iter().all(|byte| *byte == 0)
            }
            Expr::Cmp(op, value) => {
                let negated = *op == Cmp::Ne;
                let is_equality = negated || *op == Cmp::Eq;
                // What was loaded is compared once; a second comparison would be of a range.
                let what = loaded.take().filter(|_| is_equality);
                what.is_some_and(|what| entry.compare(what, mask.take(), value, negated, family).is_some())
            }
            Expr::Counter => true,
            Expr::Match(compat) => entry.read_match(compat),
            Expr::Verdict(verdict) => entry.end(match verdict {
                Verdict::Accept => Target::Accept,
                Verdict::Drop => Target::Drop,
                Verdict::Return => Target::Return,
                Verdict::Jump(chain) => Target::Jump(chain.clone()),
                Verdict::Goto(chain) => Target::Goto(chain.clone()),
            }),
            Expr::Target(compat) => entry.end(Target::Extension(extension_of(compat))),
            _ => false,
        };
        entry.unknown |= !understood;
    }
    entry
}

fn extension_of(compat: &Compat) -> Extension {
    // No module has as many revisions.
    Extension { name: compat.name.clone(), revision: compat.revision as u8, info: compat.info.clone() }
}

impl Entry {
    fn end(&mut self, target: Target) -> bool {
        std::mem::replace(&mut self.target, target) == Target::None
    }

    fn read_match(&mut self, compat: &Compat) -> bool {
        if compat.name == "comment" {
            let text = compat.info.split(|byte| *byte == 0).next().unwrap_or_default();
            return self.comment.replace(String::from_utf8_lossy(text).into_owned()).is_none();
        }
        self.matches.push(extension_of(compat));
        true
    }

    fn compare(
        &mut self,
        what: Loaded,
        mask: Option<&[u8]>,
        value: &[u8],
        negated: bool,
        family: Family,
    ) -> Option<()> {
        fn once<T>(field: &mut Option<Is<T>>, negated: bool, value: T) -> Option<()> {
            field.replace(Is { negated, value }).is_none().then_some(())
        }
        let places = addresses(family);
        match what {
            Loaded::Meta(NFT_META_IIFNAME) if mask.is_none() => {
                once(&mut self.in_interface, negated, interface(value)?)
            }
            Loaded::Meta(NFT_META_OIFNAME) if mask.is_none() => {
                once(&mut self.out_interface, negated, interface(value)?)
            }
            Loaded::Meta(NFT_META_L4PROTO) if mask.is_none() => {
                once(&mut self.protocol, negated, *value.first()?)
            }
            Loaded::Meta(NFT_META_MARK) => {
                let number = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.try_into().ok()?));
                let mask = mask.map_or(Some(u32::MAX), number)?;
                let text = format!("{:#x}/{mask:#x}", number(value)?);
                self.matches.push(extension::mark(&text, negated)?);
                Some(())
            }
            Loaded::Payload { base: NFT_PAYLOAD_NETWORK_HEADER, offset } if offset == places.source => {
                once(&mut self.source, negated, masked(value, mask, &places)?)
            }
            Loaded::Payload { base: NFT_PAYLOAD_NETWORK_HEADER, offset } if offset == places.destination => {
                once(&mut self.destination, negated, masked(value, mask, &places)?)
            }
            // The destination's port, of a protocol that was compared before.
            Loaded::Payload { base: NFT_PAYLOAD_TRANSPORT_HEADER, offset: 2 }
                if mask.is_none() && !negated =>
            {
                let port = u16::from_be_bytes(value.try_into().ok()?);
                let number = self.protocol.as_ref().filter(|is| !is.negated)?.value;
                self.matches.push(extension::dport(number, &port.to_string())?);
                Some(())
            }
            _ => None,
        }
    }
}

/// A whole name ends with a NUL; of any other only the beginning is compared.
fn interface(value: &[u8]) -> Option<String> {
    let name = value.split(|byte| *byte == 0).next()?;
    let text = std::str::from_utf8(name).ok()?;
    Some(if name.len() < value.len() { text.to_owned() } else { format!("{text}+") })
}

/// Of a prefix that ends between bytes all are loaded and masked, of any other as many as it has.
fn masked(value: &[u8], mask: Option<&[u8]>, places: &Addresses) -> Option<Masked> {
    if value.len() > places.size || mask.is_some_and(|mask| mask.len() != value.len()) {
        return None;
    }
    let mut mask = mask.map_or_else(|| vec![0xff; value.len()], <[u8]>::to_vec);
    let mut value = value.to_vec();
    mask.resize(places.size, 0);
    value.resize(places.size, 0);
    Some(Masked { address: address(&value)?, mask: address(&mask)? })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
    }
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The expressions of a rule, in the order of iptables-nft. `text` is what errors call it.
pub(crate) fn write(entry: &Entry, family: Family, text: String) -> RawRule {
    let mut exprs = Vec::new();
    for (key, is) in [(NFT_META_IIFNAME, &entry.in_interface), (NFT_META_OIFNAME, &entry.out_interface)] {
        let Some(is) = is else { continue };
        exprs.extend([
            Expr::Meta { key, register: NFT_REG_1 },
            compare(is.negated, interface_bytes(&is.value)),
        ]);
    }
    if let Some(is) = &entry.protocol {
        let load = Expr::Meta { key: NFT_META_L4PROTO, register: NFT_REG_1 };
        exprs.extend([load, compare(is.negated, vec![is.value])]);
    }
    let places = addresses(family);
    for (offset, is) in [(places.source, &entry.source), (places.destination, &entry.destination)] {
        if let Some(is) = is {
            exprs.extend(address_exprs(offset, is));
        }
    }
    if let Some(comment) = &entry.comment {
        let mut info = comment.clone().into_bytes();
        info.resize(XT_MAX_COMMENT_LEN, 0);
        exprs.push(Expr::Match(Compat { name: "comment".into(), revision: 0, info }));
    }
    exprs.extend(entry.matches.iter().map(|of| Expr::Match(compat(of))));
    exprs.push(Expr::Counter);
    exprs.extend(match &entry.target {
        Target::None => None,
        Target::Accept => Some(Expr::Verdict(Verdict::Accept)),
        Target::Drop => Some(Expr::Verdict(Verdict::Drop)),
        Target::Return => Some(Expr::Verdict(Verdict::Return)),
        Target::Jump(chain) => Some(Expr::Verdict(Verdict::Jump(chain.clone()))),
        Target::Goto(chain) => Some(Expr::Verdict(Verdict::Goto(chain.clone()))),
        Target::Extension(of) => Some(Expr::Target(compat(of))),
    });
    let protocol = entry.protocol.as_ref().map_or((0, false), |is| (is.value, is.negated));
    RawRule { exprs, protocol, text }
}

fn compat(of: &Extension) -> Compat {
    Compat { name: of.name.clone(), revision: of.revision.into(), info: of.info.clone() }
}

fn compare(negated: bool, value: Vec<u8>) -> Expr {
    Expr::Cmp(if negated { Cmp::Ne } else { Cmp::Eq }, value)
}

fn interface_bytes(name: &str) -> Vec<u8> {
    match name.strip_suffix('+') {
        Some(beginning) => beginning.as_bytes().to_vec(),
        None => {
            let mut bytes = name.as_bytes().to_vec();
            bytes.resize(name.len() + 1, 0);
            bytes.truncate(IFNAMSIZ);
            bytes
        }
    }
}

fn address_exprs(offset: u32, is: &Is<Masked>) -> Vec<Expr> {
    let (mut value, mut mask) = (bytes(is.value.address), bytes(is.value.mask));
    let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let is_prefix = mask.iter().map(|byte| byte.leading_ones()).sum::<u32>() == ones;
    let whole = is_prefix && ones.is_multiple_of(8);
    if whole {
        value.truncate(ones as usize / 8);
        mask.truncate(value.len());
    }
    let load =
        Expr::Payload { base: NFT_PAYLOAD_NETWORK_HEADER, offset, size: value.len(), register: NFT_REG_1 };
    let mask = (!whole).then(|| Expr::Bitwise { xor: vec![0; mask.len()], mask });
    [load].into_iter().chain(mask).chain([compare(is.negated, value)]).collect()
}
