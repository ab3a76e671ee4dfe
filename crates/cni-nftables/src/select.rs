//! What of a packet is looked at, and the types of what is found there.

/// Types of keys and data, with nft's names and numbers (nftables, include/datatype.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DataType {
    Ipv4Addr,
    Ipv6Addr,
    EtherAddr,
    InetProto,
    InetService,
    Mark,
    IfName,
    Verdict,
}

/// A part of a packet or of what the kernel knows about it, by nft's words. `Th*` is any transport protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Selector {
    NfProto,
    L4Proto,
    IifName,
    OifName,
    Mark,
    IpSaddr,
    IpDaddr,
    Ip6Saddr,
    Ip6Daddr,
    EtherSaddr,
    ThSport,
    ThDport,
    TcpSport,
    TcpDport,
    UdpSport,
    UdpDport,
    FibDaddrType,
    CtState,
    CtStatus,
}
