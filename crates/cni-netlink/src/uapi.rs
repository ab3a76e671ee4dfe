//! Numbers of the kernel's interface, by header and in its order, under its names: those that libc lacks, and those that it has as
//! C's `int`, in the type of the field that they go into. The others are taken from libc where they are used.

use nix::libc;

/// Numbers of libc as another type.
macro_rules! of_libc {
    ($kind:ty: $($name:ident),+) => { $(pub(crate) const $name: $kind = libc::$name as $kind;)+ };
}

// linux/fib_rules.h
pub(crate) const FIB_RULE_INVERT: u32 = 0x2;
pub(crate) const FRA_SRC: u16 = 2;
pub(crate) const FRA_IIFNAME: u16 = 3;
pub(crate) const FRA_PRIORITY: u16 = 6;
pub(crate) const FRA_SUPPRESS_IFGROUP: u16 = 13;
pub(crate) const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
pub(crate) const FRA_TABLE: u16 = 15;
pub(crate) const FRA_OIFNAME: u16 = 17;
pub(crate) const FRA_PAD: u16 = 18;
pub(crate) const FRA_PROTOCOL: u16 = 21;
pub(crate) const FR_ACT_TO_TBL: u8 = 1;

// linux/if.h
pub(crate) const ALTIFNAMSIZ: usize = 128;
of_libc!(u32: IFF_UP, IFF_PROMISC, IFF_ALLMULTI);
of_libc!(u8: IF_OPER_NOTPRESENT, IF_OPER_DOWN, IF_OPER_LOWERLAYERDOWN);
of_libc!(u8: IF_OPER_TESTING, IF_OPER_DORMANT, IF_OPER_UP);

// linux/if_bridge.h
pub(crate) const BRIDGE_FLAGS_SELF: u16 = 2;
pub(crate) const IFLA_BRIDGE_FLAGS: u16 = 0;
pub(crate) const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
pub(crate) const BRIDGE_VLAN_INFO_PVID: u16 = 1 << 1;
pub(crate) const BRIDGE_VLAN_INFO_UNTAGGED: u16 = 1 << 2;
pub(crate) const BRIDGE_VLAN_INFO_RANGE_BEGIN: u16 = 1 << 3;
pub(crate) const BRIDGE_VLAN_INFO_RANGE_END: u16 = 1 << 4;

// linux/if_ether.h
of_libc!(u16: ETH_P_ALL);

// linux/if_link.h
pub(crate) const IFLA_BR_VLAN_FILTERING: u16 = 7;
pub(crate) const IFLA_BRPORT_MODE: u16 = 4;
pub(crate) const IFLA_BRPORT_ISOLATED: u16 = 33;
pub(crate) const IFLA_VLAN_ID: u16 = 1;
pub(crate) const IFLA_MACVLAN_MODE: u16 = 1;
pub(crate) const IFLA_MACVLAN_BC_QUEUE_LEN: u16 = 7;
pub(crate) const MACVLAN_MODE_PRIVATE: u32 = 1;
pub(crate) const MACVLAN_MODE_VEPA: u32 = 2;
pub(crate) const MACVLAN_MODE_BRIDGE: u32 = 4;
pub(crate) const MACVLAN_MODE_PASSTHRU: u32 = 8;
pub(crate) const IFLA_VRF_TABLE: u16 = 1;
pub(crate) const IFLA_IPVLAN_MODE: u16 = 1;
pub(crate) const IPVLAN_MODE_L2: u16 = 0;
pub(crate) const IPVLAN_MODE_L3: u16 = 1;
pub(crate) const IPVLAN_MODE_L3S: u16 = 2;
pub(crate) const IFLA_TUN_OWNER: u16 = 1;
pub(crate) const IFLA_TUN_GROUP: u16 = 2;
pub(crate) const IFLA_TUN_TYPE: u16 = 3;
pub(crate) const IFLA_TUN_PERSIST: u16 = 6;
pub(crate) const IFLA_TUN_MULTI_QUEUE: u16 = 7;

// linux/if_tun.h
of_libc!(u8: IFF_TAP);

// linux/in.h
of_libc!(u8: IPPROTO_UDP);

// linux/net_namespace.h
pub(crate) const NETNSA_NSID_NOT_ASSIGNED: i32 = -1;
pub(crate) const NETNSA_NSID: u16 = 1;

// linux/netfilter/nfnetlink.h
of_libc!(u16: NFNL_SUBSYS_CTNETLINK);

// linux/netfilter/nfnetlink_conntrack.h
pub(crate) const IPCTNL_MSG_CT_GET: u16 = 1;
pub(crate) const IPCTNL_MSG_CT_DELETE: u16 = 2;
pub(crate) const CTA_TUPLE_ORIG: u16 = 1;
pub(crate) const CTA_TUPLE_REPLY: u16 = 2;
pub(crate) const CTA_ID: u16 = 12;
pub(crate) const CTA_ZONE: u16 = 18;
pub(crate) const CTA_FILTER: u16 = 25;
pub(crate) const CTA_TUPLE_IP: u16 = 1;
pub(crate) const CTA_TUPLE_PROTO: u16 = 2;
pub(crate) const CTA_IP_V4_SRC: u16 = 1;
pub(crate) const CTA_IP_V4_DST: u16 = 2;
pub(crate) const CTA_IP_V6_SRC: u16 = 3;
pub(crate) const CTA_IP_V6_DST: u16 = 4;
pub(crate) const CTA_PROTO_NUM: u16 = 1;
pub(crate) const CTA_PROTO_SRC_PORT: u16 = 2;
pub(crate) const CTA_PROTO_DST_PORT: u16 = 3;
pub(crate) const CTA_FILTER_ORIG_FLAGS: u16 = 1;

// linux/netlink.h
pub(crate) const NLMSGERR_ATTR_MSG: u16 = 1;
pub(crate) const NLMSGERR_ATTR_OFFS: u16 = 2;
pub(crate) const NLMSGERR_ATTR_MISS_TYPE: u16 = 5;
of_libc!(u16: NLA_F_NESTED, NLA_TYPE_MASK);

// linux/pkt_cls.h
pub(crate) const TCA_ACT_KIND: u16 = 1;
pub(crate) const TCA_ACT_OPTIONS: u16 = 2;
pub(crate) const TC_ACT_STOLEN: u32 = 4;
pub(crate) const TCA_U32_CLASSID: u16 = 1;
pub(crate) const TCA_U32_SEL: u16 = 5;
pub(crate) const TCA_U32_ACT: u16 = 7;
pub(crate) const TC_U32_TERMINAL: u8 = 1;

// linux/pkt_sched.h
pub(crate) const TC_H_MAJ_MASK: u32 = 0xffff_0000;
pub(crate) const TC_H_ROOT: u32 = 0xffff_ffff;
pub(crate) const TC_H_INGRESS: u32 = 0xffff_fff1;
pub(crate) const TC_LINKLAYER_ETHERNET: u8 = 1;
pub(crate) const TCA_TBF_PARMS: u16 = 1;
pub(crate) const TCA_TBF_RATE64: u16 = 4;

// linux/rtnetlink.h
pub(crate) const RTM_DELLINKPROP: u16 = 109;
pub(crate) const RTPROT_RA: u8 = 9;
/// libc has it for glibc only.
pub(crate) const RTA_VIA: u16 = 18;
pub(crate) const RTA_NH_ID: u16 = 30;
pub(crate) const RTNH_F_ONLINK: u8 = 4;
pub(crate) const RTAX_MTU: u16 = 2;
pub(crate) const RTAX_ADVMSS: u16 = 8;
of_libc!(u32: RTMGRP_LINK, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE);
of_libc!(u32: RTEXT_FILTER_BRVLAN_COMPRESSED, RTEXT_FILTER_SKIP_STATS);

// sys/socket.h
of_libc!(u8: AF_INET, AF_BRIDGE, AF_INET6);

// linux/tc_act/tc_mirred.h
pub(crate) const TCA_EGRESS_REDIR: u32 = 1;
pub(crate) const TCA_MIRRED_PARMS: u16 = 2;

// linux/veth.h
pub(crate) const VETH_INFO_PEER: u16 = 1;

// net/netfilter/nf_internals.h, which is not installed with the others though CTA_FILTER_ORIG_FLAGS consists of them
pub(crate) const CTA_FILTER_F_CTA_IP_DST: u32 = 1 << 1;
pub(crate) const CTA_FILTER_F_CTA_PROTO_NUM: u32 = 1 << 3;
pub(crate) const CTA_FILTER_F_CTA_PROTO_DST_PORT: u32 = 1 << 5;
