//! An [`Entry`] out of its bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::libc::{IFNAMSIZ, NF_ACCEPT, NF_DROP};

use crate::Family;
use crate::entry::{Entry, Extension, Is, Masked, Target};
use crate::legacy::chains::Chains;
use crate::legacy::layout::{u16_at, u32_at};
use crate::legacy::raw::{Part, Raw, until_nul};
use crate::uapi::*;

/// Bits of `invflags`. Those that are not here are of fragments and the type of service, which is not understood.
const UNDERSTOOD: u8 = IPT_INV_VIA_IN | IPT_INV_VIA_OUT | IPT_INV_SRCIP | IPT_INV_DSTIP | IPT_INV_PROTO;

/// The verdicts of standard targets: those of netfilter.h negated and less one, as XT_RETURN (net/ipv4/netfilter/ip_tables.c,
/// ipt_do_table).
const DROP: i32 = -NF_DROP - 1;
const ACCEPT: i32 = -NF_ACCEPT - 1;

/// The match that does nothing but hold a text.
const COMMENT: &[u8] = b"comment";

/// What this rule says. What cannot be said in an [`Entry`] makes it unknown.
pub(super) fn entry(raw: &Raw<'_>, chains: &Chains) -> Entry {
    let mut entry = Entry::default();
    if head(raw, &mut entry).is_none() {
        entry.unknown = true;
    }
    for part in raw.matches() {
        match comment(&part).filter(|_| entry.comment.is_none()) {
            Some(comment) => entry.comment = Some(comment),
            None => match extension(&part) {
                Some(extension) => entry.matches.push(extension),
                None => entry.unknown = true,
            },
        }
    }
    match target(raw, chains) {
        Some(target) => entry.target = target,
        None => entry.unknown = true,
    }
    entry
}

/// Fills in the fields that all entries have. `None` when there is more in them than an [`Entry`] has.
fn head(raw: &Raw<'_>, entry: &mut Entry) -> Option<()> {
    let layout = raw.layout;
    let (flags, inverse) = (*raw.bytes.get(layout.flags)?, *raw.bytes.get(layout.inverse)?);
    let negated = |bit| inverse & bit != 0;
    entry.source = address(raw, layout.source, layout.source_mask, negated(IPT_INV_SRCIP))?;
    entry.destination = address(raw, layout.destination, layout.destination_mask, negated(IPT_INV_DSTIP))?;
    entry.in_interface =
        interface(raw, layout.in_interface, layout.in_interface_mask, negated(IPT_INV_VIA_IN))?;
    entry.out_interface =
        interface(raw, layout.out_interface, layout.out_interface_mask, negated(IPT_INV_VIA_OUT))?;
    entry.protocol = protocol(raw, flags, negated(IPT_INV_PROTO))?;
    // The families number these differently. The others are of fragments and the type of service here too.
    let understood = match layout.family {
        Family::Ipv4 => IPT_F_GOTO,
        Family::Ipv6 => IP6T_F_GOTO | IP6T_F_PROTO,
    };
    (flags & !understood == 0 && inverse & !UNDERSTOOD == 0).then_some(())
}

/// An address under a mask; one that every packet has is none.
fn address(raw: &Raw<'_>, at: usize, mask: usize, negated: bool) -> Option<Option<Is<Masked>>> {
    let read = |at| {
        let bytes = raw.bytes.get(at..)?;
        Some(match raw.layout.family {
            Family::Ipv4 => IpAddr::from(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
            Family::Ipv6 => IpAddr::from(Ipv6Addr::from(*bytes.first_chunk::<16>()?)),
        })
    };
    let value = Masked { address: read(at)?, mask: read(mask)? };
    let is_any = value.address.is_unspecified() && value.mask.is_unspecified() && !negated;
    Some((!is_any).then_some(Is { negated, value }))
}

/// An interface's name under a mask, which iptables makes to cover the name and its NUL, or as much of the name as stands before
/// a `+`. `None` when another program made it otherwise.
fn interface(raw: &Raw<'_>, at: usize, mask: usize, negated: bool) -> Option<Option<Is<String>>> {
    let name = raw.bytes.get(at..)?.first_chunk::<IFNAMSIZ>()?;
    let mask = raw.bytes.get(mask..)?.first_chunk::<IFNAMSIZ>()?;
    let covered = mask.iter().take_while(|byte| **byte == 0xff).count();
    if mask[covered..].iter().any(|byte| *byte != 0) {
        return None;
    }
    if covered == 0 && !negated {
        return Some(None);
    }
    let text = until_nul(&name[..covered]);
    let mut value = String::from_utf8(text.to_vec()).ok()?;
    match covered - text.len() {
        0 if covered < IFNAMSIZ => value.push('+'),
        // Text cannot tell it from the start of a longer name, or from any.
        1 if !value.ends_with('+') && !value.is_empty() => {}
        _ => return None,
    }
    Some(Some(Is { negated, value }))
}

/// The protocol, 0 of which is any.
fn protocol(raw: &Raw<'_>, flags: u8, negated: bool) -> Option<Option<Is<u8>>> {
    let number = u16_at(raw.bytes, raw.layout.protocol)?;
    if number == 0 {
        return (!negated).then_some(None);
    }
    // Then the kernel would not look at it, but matches would (net/ipv6/netfilter/ip6_tables.c, ip6_packet_match).
    if raw.layout.family == Family::Ipv6 && flags & IP6T_F_PROTO == 0 {
        return None;
    }
    let value = u8::try_from(number).ok()?;
    Some(Some(Is { negated, value }))
}

/// The text of a comment, if this is one as iptables writes it.
fn comment(part: &Part<'_>) -> Option<String> {
    let is_comment = part.name == COMMENT && part.revision == 0 && part.info.len() == XT_MAX_COMMENT_LEN;
    let text = until_nul(is_comment.then_some(part.info)?);
    (text.len() < XT_MAX_COMMENT_LEN).then(|| String::from_utf8(text.to_vec()).ok())?
}

fn extension(part: &Part<'_>) -> Option<Extension> {
    let name = String::from_utf8(part.name.to_vec()).ok()?;
    Some(Extension { name, revision: part.revision, info: part.info.to_vec() })
}

fn target(raw: &Raw<'_>, chains: &Chains) -> Option<Target> {
    let flags = *raw.bytes.get(raw.layout.flags)?;
    let goto = match raw.layout.family {
        Family::Ipv4 => flags & IPT_F_GOTO != 0,
        Family::Ipv6 => flags & IP6T_F_GOTO != 0,
    };
    let part = raw.target();
    let target = if part.name == XT_STANDARD_TARGET {
        // struct xt_standard_target: a verdict or a jump.
        let verdict = u32_at(part.info, 0)?.cast_signed();
        match verdict {
            DROP => Target::Drop,
            ACCEPT => Target::Accept,
            XT_RETURN => Target::Return,
            // A jump to the next entry is how a rule without a target goes on.
            at if usize::try_from(at).ok()? == raw.end() => Target::None,
            at => {
                let chain = chains.beginning_at(usize::try_from(at).ok()?)?.name.clone();
                return Some(if goto { Target::Goto(chain) } else { Target::Jump(chain) });
            }
        }
    } else {
        Target::Extension(extension(&part)?)
    };
    // Only jumps can be gotos, though the kernel does not mind.
    (!goto).then_some(target)
}
