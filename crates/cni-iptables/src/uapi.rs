//! Numbers and names of the kernel's interface, by header and in its order, under its names: those that libc lacks, and those that
//! it has as C's `int`, in the type that they are used as. The others are taken from libc where they are used.

use nix::libc;

/// Numbers of libc as another type.
macro_rules! of_libc {
    ($kind:ty: $($name:ident),+) => { $(pub(crate) const $name: $kind = libc::$name as $kind;)+ };
}

// linux/in.h
of_libc!(u8: IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP);

// linux/netfilter.h
of_libc!(usize: NF_INET_NUMHOOKS);

// linux/netfilter/nf_conntrack_common.h
pub(crate) const IP_CT_ESTABLISHED: u16 = 0;
pub(crate) const IP_CT_RELATED: u16 = 1;
pub(crate) const IP_CT_NEW: u16 = 2;
pub(crate) const IP_CT_IS_REPLY: u16 = 3;
pub(crate) const IP_CT_NUMBER: u16 = 5;

// linux/netfilter/nf_nat.h
pub(crate) const NF_NAT_RANGE_MAP_IPS: u32 = 1 << 0;
pub(crate) const NF_NAT_RANGE_PROTO_SPECIFIED: u32 = 1 << 1;

// linux/netfilter/x_tables.h
pub(crate) const XT_EXTENSION_MAXNAMELEN: usize = 29;
pub(crate) const XT_TABLE_MAXNAMELEN: usize = 32;
pub(crate) const XT_RETURN: i32 = -libc::NF_REPEAT - 1;
pub(crate) const XT_STANDARD_TARGET: &[u8] = b"";
pub(crate) const XT_ERROR_TARGET: &[u8] = b"ERROR";

// linux/netfilter/xt_comment.h
pub(crate) const XT_MAX_COMMENT_LEN: usize = 256;

// linux/netfilter/xt_conntrack.h
#[allow(non_snake_case, reason = "the kernel's macro")]
pub(crate) const fn XT_CONNTRACK_STATE_BIT(ctinfo: u16) -> u16 {
    1 << (ctinfo % IP_CT_IS_REPLY + 1)
}
pub(crate) const XT_CONNTRACK_STATE_INVALID: u16 = 1 << 0;
pub(crate) const XT_CONNTRACK_STATE_SNAT: u16 = 1 << (IP_CT_NUMBER + 1);
pub(crate) const XT_CONNTRACK_STATE_DNAT: u16 = 1 << (IP_CT_NUMBER + 2);
pub(crate) const XT_CONNTRACK_STATE: u16 = 1 << 0;

// linux/netfilter/xt_multiport.h
pub(crate) const XT_MULTIPORT_DESTINATION: u8 = 1;
pub(crate) const XT_MULTI_PORTS: usize = 15;

// linux/netfilter/xt_sctp.h
pub(crate) const XT_SCTP_DEST_PORTS: u32 = 0x02;

// linux/netfilter_ipv4/ip_tables.h, whose IPT_INV_* and IPT_SO_* are the same as IP6T_INV_* and IP6T_SO_*
pub(crate) const IPT_F_GOTO: u8 = 0x02;
pub(crate) const IPT_INV_VIA_IN: u8 = 0x01;
pub(crate) const IPT_INV_VIA_OUT: u8 = 0x02;
pub(crate) const IPT_INV_SRCIP: u8 = 0x08;
pub(crate) const IPT_INV_DSTIP: u8 = 0x10;
pub(crate) const IPT_INV_PROTO: u8 = 0x40;
pub(crate) const IPT_SO_GET_INFO: libc::c_int = 64;
pub(crate) const IPT_SO_GET_ENTRIES: libc::c_int = 65;

// linux/netfilter_ipv6/ip6_tables.h
pub(crate) const IP6T_F_PROTO: u8 = 0x01;
pub(crate) const IP6T_F_GOTO: u8 = 0x04;
