//! Where what stands in the kernel's structures, by their definitions in C, so that it is right for this processor's word and
//! alignment. Numbers are in its byte order, addresses in the network's.

use std::mem::offset_of;

use nix::libc::IFNAMSIZ;

use crate::Family;
use crate::uapi::*;

/// include/uapi/linux/netfilter_ipv4/ip_tables.h, struct ipt_ip.
#[repr(C)]
struct IptIp {
    src: [u32; 1],
    dst: [u32; 1],
    smsk: [u32; 1],
    dmsk: [u32; 1],
    iniface: [u8; IFNAMSIZ],
    outiface: [u8; IFNAMSIZ],
    iniface_mask: [u8; IFNAMSIZ],
    outiface_mask: [u8; IFNAMSIZ],
    proto: u16,
    flags: u8,
    invflags: u8,
}

/// include/uapi/linux/netfilter_ipv6/ip6_tables.h, struct ip6t_ip6.
#[repr(C)]
struct Ip6tIp6 {
    src: [u32; 4],
    dst: [u32; 4],
    smsk: [u32; 4],
    dmsk: [u32; 4],
    iniface: [u8; IFNAMSIZ],
    outiface: [u8; IFNAMSIZ],
    iniface_mask: [u8; IFNAMSIZ],
    outiface_mask: [u8; IFNAMSIZ],
    proto: u16,
    tos: u8,
    flags: u8,
    invflags: u8,
}

/// struct ipt_entry and struct ip6t_entry (same files), which differ in what they begin with.
#[repr(C)]
struct RawEntry<Ip> {
    ip: Ip,
    nfcache: u32,
    target_offset: u16,
    next_offset: u16,
    comefrom: u32,
    counters: XtCounters,
}

/// include/uapi/linux/netfilter/x_tables.h, struct xt_counters.
#[repr(C)]
struct XtCounters {
    pcnt: u64,
    bcnt: u64,
}

/// x_tables.h, struct xt_entry_match and struct xt_entry_target as user space sees them. Either's own structure follows.
#[repr(C)]
struct XtEntryPart {
    size: u16,
    name: [u8; XT_EXTENSION_MAXNAMELEN],
    revision: u8,
}

/// ip_tables.h, struct ipt_getinfo; ip6_tables.h has the same.
#[repr(C)]
struct IptGetinfo {
    name: [u8; XT_TABLE_MAXNAMELEN],
    valid_hooks: u32,
    hook_entry: [u32; NF_INET_NUMHOOKS],
    underflow: [u32; NF_INET_NUMHOOKS],
    num_entries: u32,
    size: u32,
}

/// ip_tables.h, struct ipt_get_entries; ip6_tables.h has the same, and its entries want the same alignment.
#[repr(C)]
struct IptGetEntries {
    name: [u8; XT_TABLE_MAXNAMELEN],
    size: u32,
    entrytable: [RawEntry<IptIp>; 0],
}

/// The offsets in one family's entries, in bytes from where an entry begins.
pub(super) struct Layout {
    pub(super) family: Family,
    pub(super) source: usize,
    pub(super) destination: usize,
    pub(super) source_mask: usize,
    pub(super) destination_mask: usize,
    pub(super) in_interface: usize,
    pub(super) out_interface: usize,
    pub(super) in_interface_mask: usize,
    pub(super) out_interface_mask: usize,
    pub(super) protocol: usize,
    pub(super) flags: usize,
    pub(super) inverse: usize,
    pub(super) target_offset: usize,
    pub(super) next_offset: usize,
    /// Where the matches begin.
    pub(super) size: usize,
}

macro_rules! layout {
    ($family:expr, $ip:ty) => {
        Layout {
            family: $family,
            source: offset_of!(RawEntry<$ip>, ip.src),
            destination: offset_of!(RawEntry<$ip>, ip.dst),
            source_mask: offset_of!(RawEntry<$ip>, ip.smsk),
            destination_mask: offset_of!(RawEntry<$ip>, ip.dmsk),
            in_interface: offset_of!(RawEntry<$ip>, ip.iniface),
            out_interface: offset_of!(RawEntry<$ip>, ip.outiface),
            in_interface_mask: offset_of!(RawEntry<$ip>, ip.iniface_mask),
            out_interface_mask: offset_of!(RawEntry<$ip>, ip.outiface_mask),
            protocol: offset_of!(RawEntry<$ip>, ip.proto),
            flags: offset_of!(RawEntry<$ip>, ip.flags),
            inverse: offset_of!(RawEntry<$ip>, ip.invflags),
            target_offset: offset_of!(RawEntry<$ip>, target_offset),
            next_offset: offset_of!(RawEntry<$ip>, next_offset),
            size: size_of::<RawEntry<$ip>>(),
        }
    };
}

static IPV4: Layout = layout!(Family::Ipv4, IptIp);
static IPV6: Layout = layout!(Family::Ipv6, Ip6tIp6);

impl Layout {
    pub(super) fn of(family: Family) -> &'static Layout {
        match family {
            Family::Ipv4 => &IPV4,
            Family::Ipv6 => &IPV6,
        }
    }
}

/// The offsets in a match and in a target.
pub(super) mod part {
    use super::{XtEntryPart, offset_of};

    pub(in crate::legacy) const NAME: usize = offset_of!(XtEntryPart, name);
    pub(in crate::legacy) const REVISION: usize = offset_of!(XtEntryPart, revision);
    /// Where its own structure begins.
    pub(in crate::legacy) const SIZE: usize = size_of::<XtEntryPart>();
}

/// The offsets in what tells about a table.
pub(super) mod info {
    use super::{IptGetinfo, offset_of};

    pub(in crate::legacy) const VALID_HOOKS: usize = offset_of!(IptGetinfo, valid_hooks);
    pub(in crate::legacy) const HOOK_ENTRY: usize = offset_of!(IptGetinfo, hook_entry);
    pub(in crate::legacy) const UNDERFLOW: usize = offset_of!(IptGetinfo, underflow);
    pub(in crate::legacy) const ENTRIES: usize = offset_of!(IptGetinfo, num_entries);
    pub(in crate::legacy) const BYTES: usize = offset_of!(IptGetinfo, size);
    pub(in crate::legacy) const SIZE: usize = size_of::<IptGetinfo>();
}

/// The offsets in what holds a table's entries.
pub(super) mod entries {
    use super::{IptGetEntries, offset_of};

    pub(in crate::legacy) const BYTES: usize = offset_of!(IptGetEntries, size);
    pub(in crate::legacy) const TABLE: usize = offset_of!(IptGetEntries, entrytable);
    /// What the kernel calls its size, which the entries' are added to.
    pub(in crate::legacy) const SIZE: usize = size_of::<IptGetEntries>();
}

/// The number of two bytes at an offset, if they are there.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|number| u16::from_ne_bytes(*number))
}

/// The same of four.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|number| u32::from_ne_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As gcc has them, of these headers on a processor of 64 bits.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn offsets_are_those_of_c() {
        assert_eq!((IPV4.protocol, IPV4.flags, IPV4.inverse), (80, 82, 83));
        assert_eq!((IPV4.target_offset, IPV4.next_offset, IPV4.size), (88, 90, 112));
        assert_eq!((IPV6.protocol, IPV6.flags, IPV6.inverse), (128, 131, 132));
        assert_eq!((IPV6.target_offset, IPV6.next_offset, IPV6.size), (140, 142, 168));
        assert_eq!((part::NAME, part::REVISION, part::SIZE), (2, 31, 32));
        assert_eq!((info::HOOK_ENTRY, info::UNDERFLOW, info::BYTES, info::SIZE), (36, 56, 80, 84));
        assert_eq!((entries::BYTES, entries::TABLE, entries::SIZE), (32, 40, 40));
    }
}
