//! What of a packet is looked at, and the types of what is found there. Names and numbers are nft's (nftables,
//! include/datatype.h), by which `nft list` prints what is in the kernel.

use std::fmt;

use nix::libc::NFT_DATA_VERDICT;

use crate::uapi::*;

/// Types of keys and data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataType {
    /// Four bytes.
    Ipv4Addr,
    /// Sixteen bytes.
    Ipv6Addr,
    /// Six bytes.
    EtherAddr,
    /// IPPROTO_*, one byte.
    InetProto,
    /// A port of TCP, UDP or SCTP, two bytes.
    InetService,
    /// A number of four bytes in the machine's order: a packet's mark, or any other.
    Mark,
    /// Up to fifteen bytes and zeros up to sixteen.
    IfName,
    /// Only as data of a map.
    Verdict,
    /// NFPROTO_*, one byte.
    NfProto,
    /// RTN_*: whose a routing table says that an address is.
    FibAddrType,
    /// Bits of the state of a connection.
    CtState,
    /// IPS_*: bits of what has been done to a connection.
    CtStatus,
}

/// In what order a type's bytes are, for the user data by which nft knows (enum byteorder).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    None = 0,
    Host = 1,
    Big = 2,
}

impl DataType {
    /// nft's number; the kernel only keeps it. A verdict's is the kernel's own.
    pub(crate) fn number(self) -> u32 {
        match self {
            DataType::NfProto => 2,
            DataType::Ipv4Addr => 7,
            DataType::Ipv6Addr => 8,
            DataType::EtherAddr => 9,
            DataType::InetProto => 12,
            DataType::InetService => 13,
            DataType::Mark => 19,
            DataType::CtState => 26,
            DataType::CtStatus => 28,
            DataType::FibAddrType => 38,
            DataType::IfName => 41,
            DataType::Verdict => NFT_DATA_VERDICT,
        }
    }

    /// Length in bytes, without the padding that it has in a concatenation.
    pub(crate) fn size(self) -> usize {
        match self {
            DataType::Verdict => 0,
            DataType::InetProto | DataType::NfProto => 1,
            DataType::InetService => 2,
            DataType::Ipv4Addr | DataType::Mark => 4,
            DataType::FibAddrType | DataType::CtState | DataType::CtStatus => 4,
            DataType::EtherAddr => 6,
            DataType::Ipv6Addr | DataType::IfName => 16,
        }
    }

    /// Length in registers of four bytes.
    pub(crate) fn registers(self) -> usize {
        self.size().div_ceil(4)
    }

    pub(crate) fn byte_order(self) -> ByteOrder {
        match self {
            DataType::Verdict | DataType::InetProto | DataType::NfProto => ByteOrder::None,
            DataType::Ipv4Addr | DataType::Ipv6Addr | DataType::EtherAddr | DataType::InetService => {
                ByteOrder::Big
            }
            DataType::Mark | DataType::IfName => ByteOrder::Host,
            DataType::FibAddrType | DataType::CtState | DataType::CtStatus => ByteOrder::Host,
        }
    }

    /// Whether its values have an order that means something.
    pub(crate) fn has_ranges(self) -> bool {
        match self {
            DataType::Ipv4Addr | DataType::Ipv6Addr | DataType::EtherAddr => true,
            DataType::InetProto | DataType::InetService | DataType::Mark => true,
            DataType::NfProto | DataType::IfName | DataType::Verdict => false,
            DataType::FibAddrType | DataType::CtState | DataType::CtStatus => false,
        }
    }

    /// Types that hold a number in the machine's order, whose ranges the kernel can only compare once it is turned.
    pub(crate) fn is_host_number(self) -> bool {
        matches!(self, DataType::Mark)
    }
}

/// nft's name.
impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DataType::Ipv4Addr => "ipv4_addr",
            DataType::Ipv6Addr => "ipv6_addr",
            DataType::EtherAddr => "ether_addr",
            DataType::InetProto => "inet_proto",
            DataType::InetService => "inet_service",
            DataType::Mark => "mark",
            DataType::IfName => "ifname",
            DataType::Verdict => "verdict",
            DataType::NfProto => "nf_proto",
            DataType::FibAddrType => "fib_addrtype",
            DataType::CtState => "ct_state",
            DataType::CtStatus => "ct_status",
        })
    }
}

/// A part of a packet or of what the kernel knows about it, by nft's words. `Th*` is whatever lies where tcp, udp and sctp
/// have their ports: look at the protocol too, in the same rule or the same concatenated key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Selector {
    /// `meta nfproto`
    NfProto,
    /// `meta l4proto`: IPPROTO_*, extension headers skipped.
    L4Proto,
    /// `iifname`: the interface that it came by.
    IifName,
    /// `oifname`: the interface that it leaves by.
    OifName,
    /// `meta mark`
    Mark,
    /// `ip saddr`
    IpSaddr,
    /// `ip daddr`
    IpDaddr,
    /// `ip protocol`
    IpProtocol,
    /// `ip6 saddr`
    Ip6Saddr,
    /// `ip6 daddr`
    Ip6Daddr,
    /// `ether saddr`
    EtherSaddr,
    /// `th sport`
    ThSport,
    /// `th dport`
    ThDport,
    /// `tcp sport`
    TcpSport,
    /// `tcp dport`
    TcpDport,
    /// `udp sport`
    UdpSport,
    /// `udp dport`
    UdpDport,
    /// `sctp sport`
    SctpSport,
    /// `sctp dport`
    SctpDport,
    /// `fib daddr type`: whether its destination is the host's own, a broadcast address ...
    FibDaddrType,
    /// `ct state`
    CtState,
    /// `ct status`
    CtStatus,
    /// `ct original proto-dst`: the port that the connection's first packet was sent to, before any translation. Match `L4Proto` with one protocol before
    /// it: nft prints the rule without, but does not read it back.
    CtOriginalProtoDst,
}

/// Where the kernel finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// NFT_META_*
    Meta(u32),
    /// NFT_PAYLOAD_*_HEADER and the offset in it.
    Payload(u32, u32),
    /// NFT_CT_*
    Ct(u32),
    /// NFT_CT_* of the original direction.
    CtOriginal(u32),
    /// `fib daddr type`
    FibDaddrType,
}

/// What a packet must be for a header field to be where it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    /// NFPROTO_IPV4 or NFPROTO_IPV6
    Network(u8),
    /// IPPROTO_*
    Transport(u8),
    Ether,
}

impl Selector {
    /// The type of what it finds.
    pub fn data_type(self) -> DataType {
        match self {
            Selector::NfProto => DataType::NfProto,
            Selector::L4Proto | Selector::IpProtocol => DataType::InetProto,
            Selector::IifName | Selector::OifName => DataType::IfName,
            Selector::Mark => DataType::Mark,
            Selector::IpSaddr | Selector::IpDaddr => DataType::Ipv4Addr,
            Selector::Ip6Saddr | Selector::Ip6Daddr => DataType::Ipv6Addr,
            Selector::EtherSaddr => DataType::EtherAddr,
            Selector::ThSport | Selector::TcpSport | Selector::UdpSport | Selector::SctpSport => {
                DataType::InetService
            }
            Selector::ThDport | Selector::TcpDport | Selector::UdpDport | Selector::SctpDport => {
                DataType::InetService
            }
            Selector::FibDaddrType => DataType::FibAddrType,
            Selector::CtState => DataType::CtState,
            Selector::CtStatus => DataType::CtStatus,
            Selector::CtOriginalProtoDst => DataType::InetService,
        }
    }

    pub(crate) fn source(self) -> Source {
        const NETWORK: u32 = NFT_PAYLOAD_NETWORK_HEADER;
        const TRANSPORT: u32 = NFT_PAYLOAD_TRANSPORT_HEADER;
        match self {
            Selector::Mark => Source::Meta(NFT_META_MARK),
            Selector::IifName => Source::Meta(NFT_META_IIFNAME),
            Selector::OifName => Source::Meta(NFT_META_OIFNAME),
            Selector::NfProto => Source::Meta(NFT_META_NFPROTO),
            Selector::L4Proto => Source::Meta(NFT_META_L4PROTO),
            Selector::EtherSaddr => Source::Payload(NFT_PAYLOAD_LL_HEADER, 6),
            Selector::IpProtocol => Source::Payload(NETWORK, 9),
            Selector::IpSaddr => Source::Payload(NETWORK, 12),
            Selector::IpDaddr => Source::Payload(NETWORK, 16),
            Selector::Ip6Saddr => Source::Payload(NETWORK, 8),
            Selector::Ip6Daddr => Source::Payload(NETWORK, 24),
            Selector::ThSport | Selector::TcpSport | Selector::UdpSport | Selector::SctpSport => {
                Source::Payload(TRANSPORT, 0)
            }
            Selector::ThDport | Selector::TcpDport | Selector::UdpDport | Selector::SctpDport => {
                Source::Payload(TRANSPORT, 2)
            }
            Selector::CtState => Source::Ct(NFT_CT_STATE),
            Selector::CtStatus => Source::Ct(NFT_CT_STATUS),
            Selector::CtOriginalProtoDst => Source::CtOriginal(NFT_CT_PROTO_DST),
            Selector::FibDaddrType => Source::FibDaddrType,
        }
    }

    pub(crate) fn needs(self) -> Needs {
        match self {
            Selector::IpSaddr | Selector::IpDaddr | Selector::IpProtocol => Needs::Network(NFPROTO_IPV4),
            Selector::Ip6Saddr | Selector::Ip6Daddr => Needs::Network(NFPROTO_IPV6),
            Selector::TcpSport | Selector::TcpDport => Needs::Transport(IPPROTO_TCP),
            Selector::UdpSport | Selector::UdpDport => Needs::Transport(IPPROTO_UDP),
            Selector::SctpSport | Selector::SctpDport => Needs::Transport(IPPROTO_SCTP),
            Selector::EtherSaddr => Needs::Ether,
            _ => Needs::Nothing,
        }
    }
}

/// As nft prints it.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Selector::NfProto => "meta nfproto",
            Selector::L4Proto => "meta l4proto",
            Selector::IifName => "iifname",
            Selector::OifName => "oifname",
            Selector::Mark => "meta mark",
            Selector::IpSaddr => "ip saddr",
            Selector::IpDaddr => "ip daddr",
            Selector::IpProtocol => "ip protocol",
            Selector::Ip6Saddr => "ip6 saddr",
            Selector::Ip6Daddr => "ip6 daddr",
            Selector::EtherSaddr => "ether saddr",
            Selector::ThSport => "th sport",
            Selector::ThDport => "th dport",
            Selector::TcpSport => "tcp sport",
            Selector::TcpDport => "tcp dport",
            Selector::UdpSport => "udp sport",
            Selector::UdpDport => "udp dport",
            Selector::SctpSport => "sctp sport",
            Selector::SctpDport => "sctp dport",
            Selector::FibDaddrType => "fib daddr type",
            Selector::CtState => "ct state",
            Selector::CtStatus => "ct status",
            Selector::CtOriginalProtoDst => "ct original proto-dst",
        })
    }
}
