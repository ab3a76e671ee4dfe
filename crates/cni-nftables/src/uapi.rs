//! Numbers of the kernel's interface, by header and in its order, under its names: those that libc lacks, and those that it has as
//! C's `int`, in the type of the field that they go into. The others are taken from libc where they are used. Last are numbers of
//! libnftnl, which the kernel keeps without looking at them.

use nix::libc;

/// Numbers of libc as another type.
macro_rules! of_libc {
    ($kind:ty: $($name:ident),+) => { $(pub(crate) const $name: $kind = libc::$name as $kind;)+ };
}

// linux/icmp.h
pub(crate) const ICMP_PORT_UNREACH: u8 = 3;

// linux/icmpv6.h
pub(crate) const ICMPV6_PORT_UNREACH: u8 = 4;

// linux/if_ether.h
of_libc!(u16: ETH_P_IP, ETH_P_IPV6);

// linux/in.h
of_libc!(u8: IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP);

// linux/in6.h
of_libc!(u8: IPPROTO_ICMPV6);

// linux/netfilter.h
of_libc!(u32: NF_INET_PRE_ROUTING, NF_INET_LOCAL_IN, NF_INET_FORWARD, NF_INET_LOCAL_OUT, NF_INET_POST_ROUTING);
of_libc!(u8: NFPROTO_INET, NFPROTO_IPV4, NFPROTO_BRIDGE, NFPROTO_IPV6);

// linux/netfilter/nf_conntrack_common.h
pub(crate) const IP_CT_ESTABLISHED: u32 = 0;
pub(crate) const IP_CT_RELATED: u32 = 1;
pub(crate) const IP_CT_NEW: u32 = 2;
pub(crate) const IP_CT_IS_REPLY: u32 = 3;
pub(crate) const NF_CT_STATE_INVALID_BIT: u32 = 1 << 0;
#[allow(non_snake_case, reason = "the kernel's macro")]
pub(crate) const fn NF_CT_STATE_BIT(ctinfo: u32) -> u32 {
    1 << (ctinfo % IP_CT_IS_REPLY + 1)
}
pub(crate) const NF_CT_STATE_UNTRACKED_BIT: u32 = 1 << 6;
pub(crate) const IPS_EXPECTED: u32 = 1 << 0;
pub(crate) const IPS_SEEN_REPLY: u32 = 1 << 1;
pub(crate) const IPS_ASSURED: u32 = 1 << 2;
pub(crate) const IPS_CONFIRMED: u32 = 1 << 3;
pub(crate) const IPS_SRC_NAT: u32 = 1 << 4;
pub(crate) const IPS_DST_NAT: u32 = 1 << 5;
pub(crate) const IPS_DYING: u32 = 1 << 9;

// linux/netfilter/nf_conntrack_tuple_common.h
pub(crate) const IP_CT_DIR_ORIGINAL: u8 = 0;

// linux/netfilter/nf_tables.h
pub(crate) const NFT_NAME_MAXLEN: usize = 256;
of_libc!(u32: NFT_REG_VERDICT);
/// The first register: sixteen bytes, or its first four.
pub const NFT_REG_1: u32 = libc::NFT_REG_1 as u32;
of_libc!(u32: NFT_REG32_00);
of_libc!(usize: NFT_REG32_SIZE);
of_libc!(u16: NFT_MSG_NEWTABLE, NFT_MSG_DELTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_GETCHAIN, NFT_MSG_DELCHAIN);
of_libc!(u16: NFT_MSG_NEWRULE, NFT_MSG_GETRULE, NFT_MSG_DELRULE, NFT_MSG_NEWSET, NFT_MSG_GETSET);
of_libc!(u16: NFT_MSG_NEWSETELEM, NFT_MSG_GETSETELEM, NFT_MSG_DELSETELEM, NFT_MSG_GETGEN);
pub(crate) const NFTA_LIST_ELEM: u16 = 1;
pub(crate) const NFTA_HOOK_HOOKNUM: u16 = 1;
pub(crate) const NFTA_HOOK_PRIORITY: u16 = 2;
pub(crate) const NFTA_TABLE_NAME: u16 = 1;
pub(crate) const NFTA_CHAIN_TABLE: u16 = 1;
pub(crate) const NFTA_CHAIN_NAME: u16 = 3;
pub(crate) const NFTA_CHAIN_HOOK: u16 = 4;
pub(crate) const NFTA_CHAIN_POLICY: u16 = 5;
pub(crate) const NFTA_CHAIN_TYPE: u16 = 7;
pub(crate) const NFTA_RULE_TABLE: u16 = 1;
pub(crate) const NFTA_RULE_CHAIN: u16 = 2;
pub(crate) const NFTA_RULE_HANDLE: u16 = 3;
pub(crate) const NFTA_RULE_EXPRESSIONS: u16 = 4;
pub(crate) const NFTA_RULE_COMPAT: u16 = 5;
pub(crate) const NFTA_RULE_USERDATA: u16 = 7;
pub(crate) const NFT_RULE_COMPAT_F_INV: u32 = 1 << 1;
pub(crate) const NFTA_RULE_COMPAT_PROTO: u16 = 1;
pub(crate) const NFTA_RULE_COMPAT_FLAGS: u16 = 2;
of_libc!(u32: NFT_SET_ANONYMOUS, NFT_SET_CONSTANT, NFT_SET_INTERVAL, NFT_SET_MAP, NFT_SET_TIMEOUT);
pub(crate) const NFTA_SET_DESC_SIZE: u16 = 1;
pub(crate) const NFTA_SET_TABLE: u16 = 1;
pub(crate) const NFTA_SET_NAME: u16 = 2;
pub(crate) const NFTA_SET_FLAGS: u16 = 3;
pub(crate) const NFTA_SET_KEY_TYPE: u16 = 4;
pub(crate) const NFTA_SET_KEY_LEN: u16 = 5;
pub(crate) const NFTA_SET_DATA_TYPE: u16 = 6;
pub(crate) const NFTA_SET_DATA_LEN: u16 = 7;
pub(crate) const NFTA_SET_DESC: u16 = 9;
pub(crate) const NFTA_SET_ID: u16 = 10;
pub(crate) const NFTA_SET_USERDATA: u16 = 13;
of_libc!(u32: NFT_SET_ELEM_INTERVAL_END);
pub(crate) const NFTA_SET_ELEM_KEY: u16 = 1;
pub(crate) const NFTA_SET_ELEM_DATA: u16 = 2;
pub(crate) const NFTA_SET_ELEM_FLAGS: u16 = 3;
pub(crate) const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
pub(crate) const NFTA_SET_ELEM_EXPIRATION: u16 = 5;
pub(crate) const NFTA_SET_ELEM_USERDATA: u16 = 6;
pub(crate) const NFTA_SET_ELEM_LIST_SET: u16 = 2;
pub(crate) const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
pub(crate) const NFTA_SET_ELEM_LIST_SET_ID: u16 = 4;
pub(crate) const NFTA_DATA_VALUE: u16 = 1;
pub(crate) const NFTA_DATA_VERDICT: u16 = 2;
of_libc!(usize: NFT_DATA_VALUE_MAXLEN);
pub(crate) const NFTA_VERDICT_CODE: u16 = 1;
pub(crate) const NFTA_VERDICT_CHAIN: u16 = 2;
pub(crate) const NFTA_EXPR_NAME: u16 = 1;
pub(crate) const NFTA_EXPR_DATA: u16 = 2;
pub(crate) const NFTA_IMMEDIATE_DREG: u16 = 1;
pub(crate) const NFTA_IMMEDIATE_DATA: u16 = 2;
pub(crate) const NFTA_BITWISE_SREG: u16 = 1;
pub(crate) const NFTA_BITWISE_DREG: u16 = 2;
pub(crate) const NFTA_BITWISE_LEN: u16 = 3;
pub(crate) const NFTA_BITWISE_MASK: u16 = 4;
pub(crate) const NFTA_BITWISE_XOR: u16 = 5;
of_libc!(u32: NFT_BYTEORDER_HTON);
pub(crate) const NFTA_BYTEORDER_SREG: u16 = 1;
pub(crate) const NFTA_BYTEORDER_DREG: u16 = 2;
pub(crate) const NFTA_BYTEORDER_OP: u16 = 3;
pub(crate) const NFTA_BYTEORDER_LEN: u16 = 4;
pub(crate) const NFTA_BYTEORDER_SIZE: u16 = 5;
of_libc!(u32: NFT_CMP_EQ, NFT_CMP_NEQ, NFT_CMP_LTE, NFT_CMP_GTE);
pub(crate) const NFTA_CMP_SREG: u16 = 1;
pub(crate) const NFTA_CMP_OP: u16 = 2;
pub(crate) const NFTA_CMP_DATA: u16 = 3;
of_libc!(u32: NFT_RANGE_NEQ);
pub(crate) const NFTA_RANGE_SREG: u16 = 1;
pub(crate) const NFTA_RANGE_OP: u16 = 2;
pub(crate) const NFTA_RANGE_FROM_DATA: u16 = 3;
pub(crate) const NFTA_RANGE_TO_DATA: u16 = 4;
of_libc!(u32: NFT_LOOKUP_F_INV);
pub(crate) const NFTA_LOOKUP_SET: u16 = 1;
pub(crate) const NFTA_LOOKUP_SREG: u16 = 2;
pub(crate) const NFTA_LOOKUP_DREG: u16 = 3;
pub(crate) const NFTA_LOOKUP_SET_ID: u16 = 4;
pub(crate) const NFTA_LOOKUP_FLAGS: u16 = 5;
of_libc!(u32: NFT_PAYLOAD_LL_HEADER);
/// The base of [`crate::Expr::Payload`]: the header of IPv4 or IPv6.
pub const NFT_PAYLOAD_NETWORK_HEADER: u32 = libc::NFT_PAYLOAD_NETWORK_HEADER as u32;
/// The base of [`crate::Expr::Payload`]: the header of TCP, UDP and others.
pub const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = libc::NFT_PAYLOAD_TRANSPORT_HEADER as u32;
pub(crate) const NFTA_PAYLOAD_DREG: u16 = 1;
pub(crate) const NFTA_PAYLOAD_BASE: u16 = 2;
pub(crate) const NFTA_PAYLOAD_OFFSET: u16 = 3;
pub(crate) const NFTA_PAYLOAD_LEN: u16 = 4;
of_libc!(u32: NFT_META_PROTOCOL);
/// The packet's mark.
pub const NFT_META_MARK: u32 = libc::NFT_META_MARK as u32;
/// The name of the interface that the packet came by, 16 bytes.
pub const NFT_META_IIFNAME: u32 = libc::NFT_META_IIFNAME as u32;
/// The name of the interface that it leaves by, 16 bytes.
pub const NFT_META_OIFNAME: u32 = libc::NFT_META_OIFNAME as u32;
of_libc!(u32: NFT_META_IIFTYPE, NFT_META_NFPROTO);
/// The number of the transport protocol, one byte.
pub const NFT_META_L4PROTO: u32 = libc::NFT_META_L4PROTO as u32;
pub(crate) const NFTA_META_DREG: u16 = 1;
pub(crate) const NFTA_META_KEY: u16 = 2;
pub(crate) const NFTA_META_SREG: u16 = 3;
of_libc!(u32: NFT_CT_STATE, NFT_CT_STATUS, NFT_CT_PROTO_DST);
pub(crate) const NFTA_CT_DREG: u16 = 1;
pub(crate) const NFTA_CT_KEY: u16 = 2;
pub(crate) const NFTA_CT_DIRECTION: u16 = 3;
of_libc!(u32: NFT_REJECT_ICMP_UNREACH, NFT_REJECT_ICMPX_UNREACH);
of_libc!(u8: NFT_REJECT_ICMPX_PORT_UNREACH);
pub(crate) const NFTA_REJECT_TYPE: u16 = 1;
pub(crate) const NFTA_REJECT_ICMP_CODE: u16 = 2;
of_libc!(u32: NFT_NAT_DNAT);
pub(crate) const NFTA_NAT_TYPE: u16 = 1;
pub(crate) const NFTA_NAT_FAMILY: u16 = 2;
pub(crate) const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
pub(crate) const NFTA_NAT_REG_PROTO_MIN: u16 = 5;
pub(crate) const NFTA_GEN_ID: u16 = 1;
pub(crate) const NFTA_FIB_DREG: u16 = 1;
pub(crate) const NFTA_FIB_RESULT: u16 = 2;
pub(crate) const NFTA_FIB_FLAGS: u16 = 3;
pub(crate) const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
pub(crate) const NFTA_FIB_F_DADDR: u32 = 1 << 1;

// linux/netfilter/nf_tables_compat.h, in which NFTA_TARGET_* are the same
pub(crate) const NFTA_MATCH_NAME: u16 = 1;
pub(crate) const NFTA_MATCH_REV: u16 = 2;
pub(crate) const NFTA_MATCH_INFO: u16 = 3;

// linux/netfilter/nfnetlink.h
of_libc!(u16: NFNL_SUBSYS_NFTABLES, NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_BATCH_GENID);

// linux/netlink.h
of_libc!(u16: NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_CREATE, NLM_F_APPEND);

// net/netfilter/nf_tables_api.c
pub(crate) const NFT_RULE_MAXEXPRS: usize = 128;

// libnftnl/udata.h, in which NFTNL_UDATA_RULE_COMMENT is NFTNL_UDATA_SET_ELEM_COMMENT
pub(crate) const NFTNL_UDATA_SET_KEYBYTEORDER: u8 = 0;
pub(crate) const NFTNL_UDATA_SET_DATABYTEORDER: u8 = 1;
pub(crate) const NFTNL_UDATA_SET_ELEM_COMMENT: u8 = 0;
pub(crate) const NFTNL_UDATA_SET_ELEM_FLAGS: u8 = 1;
pub(crate) const NFTNL_SET_ELEM_F_INTERVAL_OPEN: u32 = 0x1;
