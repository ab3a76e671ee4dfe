//! Values: what selectors are compared with and what elements hold, as the kernel's bytes and as nft's text.

use std::fmt;
use std::net::IpAddr;

use cni_netlink::MacAddr;
use ipnet::IpNet;
use nix::libc::{self, IFNAMSIZ};

use crate::uapi::*;
use crate::{DataType, Verdict};

/// What a selector is compared with, and what elements of sets hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// `10.1.0.5`, `fd00::5`
    Addr(IpAddr),
    /// `10.1.0.0/16`; bits of the host do not count.
    Net(IpNet),
    /// `02:42:ac:11:00:02`
    Mac([u8; 6]),
    /// A protocol's number: 6 tcp, 17 udp, 132 sctp; for `NfProto` 2 ipv4, 10 ipv6 (NFPROTO_*).
    Proto(u8),
    /// A port.
    Port(u16),
    /// A packet mark, compared whole.
    Mark(u32),
    /// A packet mark compared under a mask: `meta mark & 0x00002000 == 0x00002000`.
    MaskedMark {
        /// Compared with.
        value: u32,
        /// Bits that count.
        mask: u32,
    },
    /// An interface name. In a match a `*` at its end stands for any rest, and `\*` for a star; in an element of a named set
    /// a star is a star.
    IfName(String),
    /// RTN_LOCAL (2) and so on, for `fib daddr type`.
    AddrType(u32),
    /// Bits of `ct state` (1 invalid, 2 established, 4 related, 8 new, 64 untracked) or `ct status` (16 snat, 32 dnat): any of
    /// them, with `Op::Eq`.
    Bits(u32),
    /// From, to, both included: `1024-65535`.
    Range(Box<Value>, Box<Value>),
    /// `{ 80, 443 }`, an anonymous set.
    AnyOf(Vec<Value>),
    /// Where a verdict map leads; only as data of an element.
    Verdict(Verdict),
}

/// Why a value cannot be what it should.
pub(crate) type Unfit = String;

impl Value {
    /// The single value of this type in the kernel's form, `data_type.size()` bytes long.
    pub(crate) fn bytes(&self, data_type: DataType) -> Result<Vec<u8>, Unfit> {
        Ok(match (self, data_type) {
            (Value::Addr(IpAddr::V4(addr)), DataType::Ipv4Addr) => addr.octets().to_vec(),
            (Value::Addr(IpAddr::V6(addr)), DataType::Ipv6Addr) => addr.octets().to_vec(),
            (Value::Net(net), _) if !self.is_interval() => Value::Addr(net.addr()).bytes(data_type)?,
            (Value::Mac(mac), DataType::EtherAddr) => mac.to_vec(),
            (Value::Proto(number), DataType::InetProto | DataType::NfProto) => vec![*number],
            (Value::Port(port), DataType::InetService) => port.to_be_bytes().to_vec(),
            (Value::Mark(mark), DataType::Mark) => mark.to_ne_bytes().to_vec(),
            (Value::AddrType(number), DataType::FibAddrType) => number.to_ne_bytes().to_vec(),
            (Value::Bits(bits), DataType::CtState | DataType::CtStatus) => bits.to_ne_bytes().to_vec(),
            (Value::IfName(name), DataType::IfName) => {
                check_if_name(name)?;
                let mut bytes = name.as_bytes().to_vec();
                bytes.resize(IFNAMSIZ, 0);
                bytes
            }
            _ => return Err(format!("{} is not a single {data_type}", self.text(data_type))),
        })
    }

    /// Reads what the kernel holds in `data_type.size()` bytes.
    pub(crate) fn from_bytes(bytes: &[u8], data_type: DataType) -> Option<Value> {
        let number = || Some(u32::from_ne_bytes(bytes.try_into().ok()?));
        Some(match data_type {
            DataType::Ipv4Addr => Value::Addr(<[u8; 4]>::try_from(bytes).ok()?.into()),
            DataType::Ipv6Addr => Value::Addr(<[u8; 16]>::try_from(bytes).ok()?.into()),
            DataType::EtherAddr => Value::Mac(bytes.try_into().ok()?),
            DataType::InetProto | DataType::NfProto => Value::Proto(*bytes.first()?),
            DataType::InetService => Value::Port(u16::from_be_bytes(bytes.try_into().ok()?)),
            DataType::Mark => Value::Mark(number()?),
            DataType::FibAddrType => Value::AddrType(number()?),
            DataType::CtState | DataType::CtStatus => Value::Bits(number()?),
            // Names may have bytes of any kind, and what is replaced or cut off would be another's name.
            DataType::IfName => {
                let name = Value::IfName(cni_netlink::raw::string(bytes));
                name.bytes(data_type).is_ok_and(|again| again == bytes).then_some(name)?
            }
            DataType::Verdict => return None,
        })
    }

    /// The first and the last of the values that it stands for, as bytes that compare like the values do: numbers of the
    /// machine's order turned.
    pub(crate) fn interval(&self, data_type: DataType) -> Result<(Vec<u8>, Vec<u8>), Unfit> {
        let ordered = |value: &Value| {
            let mut bytes = value.bytes(data_type)?;
            if data_type.is_host_number() && cfg!(target_endian = "little") {
                bytes.reverse();
            }
            Ok::<_, Unfit>(bytes)
        };
        match self {
            Value::Net(net) => {
                let (first, last) = (net.network(), net.broadcast());
                Ok((ordered(&Value::Addr(first))?, ordered(&Value::Addr(last))?))
            }
            Value::Range(..) if !data_type.has_ranges() => Err(format!("{} has no ranges", data_type)),
            Value::Range(first, last) => {
                let (first, last) = (ordered(first)?, ordered(last)?);
                if first > last {
                    return Err(format!("the range {} is empty", self.text(data_type)));
                }
                Ok((first, last))
            }
            Value::IfName(_) => match self.if_name_prefix()? {
                Some(prefix) => {
                    let (mut first, mut last) = (prefix.to_vec(), prefix.to_vec());
                    first.resize(IFNAMSIZ, 0);
                    last.resize(IFNAMSIZ, 0xff);
                    Ok((first, last))
                }
                None => {
                    let bytes = self.whole_if_name().bytes(data_type)?;
                    Ok((bytes.clone(), bytes))
                }
            },
            single => {
                let bytes = ordered(single)?;
                Ok((bytes.clone(), bytes))
            }
        }
    }

    /// Whether it stands for more than one value of its type.
    pub(crate) fn is_interval(&self) -> bool {
        match self {
            Value::Net(net) => net.prefix_len() < net.max_prefix_len(),
            Value::Range(..) => true,
            Value::IfName(name) => name.ends_with('*') && !name.ends_with("\\*"),
            _ => false,
        }
    }

    /// What stands before the star of an interface name that ends with one.
    pub(crate) fn if_name_prefix(&self) -> Result<Option<&[u8]>, Unfit> {
        match self {
            Value::IfName(name) if self.is_interval() => {
                let prefix = name.strip_suffix('*').unwrap_or(name);
                check_if_name(prefix)?;
                Ok(Some(prefix.as_bytes()))
            }
            _ => Ok(None),
        }
    }

    /// An interface name of a match without the escape of its star; anything else as it is.
    pub(crate) fn whole_if_name(&self) -> std::borrow::Cow<'_, Value> {
        match self {
            Value::IfName(name) => match name.strip_suffix("\\*") {
                Some(start) => std::borrow::Cow::Owned(Value::IfName(format!("{start}*"))),
                None => std::borrow::Cow::Borrowed(self),
            },
            _ => std::borrow::Cow::Borrowed(self),
        }
    }

    /// As nft prints it where this type is.
    pub(crate) fn text(&self, data_type: DataType) -> Text<'_> {
        Text { value: self, data_type }
    }
}

/// What can be an interface's name, and be written in quotes.
fn check_if_name(name: &str) -> Result<(), Unfit> {
    let bad = |char: char| char.is_control() || char.is_whitespace() || matches!(char, '"' | '/');
    if name.is_empty() || name.len() >= IFNAMSIZ || name.contains(bad) {
        return Err(format!("{name:?} is not an interface name"));
    }
    Ok(())
}

/// A value with the type that decides about its text.
pub(crate) struct Text<'a> {
    value: &'a Value,
    data_type: DataType,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |value| Text { value, data_type: self.data_type };
        match self.value {
            Value::Addr(addr) => write!(f, "{addr}"),
            Value::Net(net) if net.prefix_len() == net.max_prefix_len() => write!(f, "{}", net.addr()),
            Value::Net(net) => write!(f, "{}", net.trunc()),
            Value::Mac(mac) => MacAddr(*mac).fmt(f),
            Value::Proto(number) => named(f, protocols(self.data_type), u32::from(*number)),
            Value::Port(port) => write!(f, "{port}"),
            Value::Mark(mark) => write!(f, "{mark:#010x}"),
            Value::MaskedMark { value, mask } => write!(f, "& {mask:#010x} == {value:#010x}"),
            Value::IfName(name) => write!(f, "\"{name}\""),
            Value::AddrType(number) => named(f, ADDR_TYPES, *number),
            Value::Bits(bits) => bit_names(f, bits_of(self.data_type), *bits),
            // nft knows no names in a range.
            Value::Range(first, last) => match (&**first, &**last) {
                (Value::Proto(first), Value::Proto(last)) => write!(f, "{first}-{last}"),
                (first, last) => write!(f, "{}-{}", of(first), of(last)),
            },
            Value::AnyOf(values) => match &values[..] {
                [only] => of(only).fmt(f),
                _ => write!(f, "{{ {} }}", Separated(", ", values.iter().map(of))),
            },
            Value::Verdict(verdict) => verdict.fmt(f),
        }
    }
}

/// Prints things with something between them.
pub(crate) struct Separated<I>(pub(crate) &'static str, pub(crate) I);

impl<I: Iterator<Item: fmt::Display> + Clone> fmt::Display for Separated<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, item) in self.1.clone().enumerate() {
            if at > 0 {
                f.write_str(self.0)?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}

/// Names of numbers.
pub(crate) type Names = &'static [(u32, &'static str)];

/// As in /etc/protocols, where nft looks.
const PROTOCOLS: Names = &[
    (libc::IPPROTO_ICMP as u32, "icmp"),
    (libc::IPPROTO_IGMP as u32, "igmp"),
    (libc::IPPROTO_TCP as u32, "tcp"),
    (libc::IPPROTO_UDP as u32, "udp"),
    (libc::IPPROTO_DCCP as u32, "dccp"),
    (libc::IPPROTO_IPV6 as u32, "ipv6"),
    (libc::IPPROTO_GRE as u32, "gre"),
    (libc::IPPROTO_ESP as u32, "esp"),
    (libc::IPPROTO_AH as u32, "ah"),
    (libc::IPPROTO_ICMPV6 as u32, "ipv6-icmp"),
    (libc::IPPROTO_SCTP as u32, "sctp"),
    (libc::IPPROTO_UDPLITE as u32, "udplite"),
];

const NF_PROTOCOLS: Names = &[(libc::NFPROTO_IPV4 as u32, "ipv4"), (libc::NFPROTO_IPV6 as u32, "ipv6")];

pub(crate) const ADDR_TYPES: Names = &[
    (libc::RTN_UNSPEC as u32, "unspec"),
    (libc::RTN_UNICAST as u32, "unicast"),
    (libc::RTN_LOCAL as u32, "local"),
    (libc::RTN_BROADCAST as u32, "broadcast"),
    (libc::RTN_ANYCAST as u32, "anycast"),
    (libc::RTN_MULTICAST as u32, "multicast"),
    (libc::RTN_BLACKHOLE as u32, "blackhole"),
    (libc::RTN_UNREACHABLE as u32, "unreachable"),
    (libc::RTN_PROHIBIT as u32, "prohibit"),
];

/// As nft orders them.
const CT_STATES: Names = &[
    (NF_CT_STATE_INVALID_BIT, "invalid"),
    (NF_CT_STATE_BIT(IP_CT_ESTABLISHED), "established"),
    (NF_CT_STATE_BIT(IP_CT_RELATED), "related"),
    (NF_CT_STATE_BIT(IP_CT_NEW), "new"),
    (NF_CT_STATE_UNTRACKED_BIT, "untracked"),
];

const CT_STATUSES: Names = &[
    (IPS_EXPECTED, "expected"),
    (IPS_SEEN_REPLY, "seen-reply"),
    (IPS_ASSURED, "assured"),
    (IPS_CONFIRMED, "confirmed"),
    (IPS_SRC_NAT, "snat"),
    (IPS_DST_NAT, "dnat"),
    (IPS_DYING, "dying"),
];

/// Names of the protocols of this type.
pub(crate) fn protocols(data_type: DataType) -> Names {
    if data_type == DataType::NfProto { NF_PROTOCOLS } else { PROTOCOLS }
}

/// Names of the bits of this type.
pub(crate) fn bits_of(data_type: DataType) -> Names {
    if data_type == DataType::CtStatus { CT_STATUSES } else { CT_STATES }
}

fn named(f: &mut fmt::Formatter<'_>, names: Names, number: u32) -> fmt::Result {
    match names.iter().find(|(named, _)| *named == number) {
        Some((_, name)) => f.write_str(name),
        None => write!(f, "{number}"),
    }
}

fn bit_names(f: &mut fmt::Formatter<'_>, names: Names, bits: u32) -> fmt::Result {
    let known: u32 = names.iter().map(|(bit, _)| bit).sum();
    if bits == 0 || bits & !known != 0 {
        return write!(f, "{bits:#x}");
    }
    let set = names.iter().filter(|(bit, _)| bits & bit != 0);
    write!(f, "{}", Separated(",", set.map(|(_, name)| name)))
}
