//! The matches and targets that the plugins' rules have: their words, and the structures of the kernel's modules
//! (include/uapi/linux/netfilter/xt_*.h). What another has is not understood, which [`words`] says by `None`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::entry::Extension;
use crate::{Family, protocol};

/// nf_inet_addr, which holds either family.
const ADDRESS: usize = 16;

/// NF_NAT_RANGE_MAP_IPS and NF_NAT_RANGE_PROTO_SPECIFIED
const MAP_IPS: u32 = 1;
const MAP_PORTS: u32 = 2;

/// XT_CONNTRACK_STATE, of `match_flags`.
const MATCH_STATE: u16 = 1;
/// Bits of `state_mask`: XT_CONNTRACK_STATE_INVALID, XT_CONNTRACK_STATE_BIT(IP_CT_*), XT_CONNTRACK_STATE_SNAT and _DNAT.
const STATES: [(&str, u16); 6] =
    [("INVALID", 1), ("ESTABLISHED", 2), ("RELATED", 4), ("NEW", 8), ("SNAT", 1 << 6), ("DNAT", 1 << 7)];
/// Where struct xt_conntrack_mtinfo3 has `match_flags`, behind eight addresses and masks, two times and five numbers; two more sets
/// of bits follow it, and four ports.
const CONNTRACK_FLAGS: usize = 8 * ADDRESS + 2 * 4 + 5 * 2;
const CONNTRACK_SIZE: usize = 164;

/// The bits of an address's type: 1 << RTN_*.
const TYPES: [(&str, u16); 3] = [("UNICAST", 1 << 1), ("LOCAL", 1 << 2), ("BROADCAST", 1 << 3)];

/// XT_MULTIPORT_DESTINATION, and the most ports.
const MULTIPORT_DESTINATION: u8 = 1;
const MULTIPORT_MOST: usize = 15;

/// struct xt_sctp_info, where it has the types of chunks, none as iptables writes it, and its flags; XT_SCTP_DEST_PORTS.
const SCTP_SIZE: usize = 292;
const SCTP_CHUNKS: [usize; 4] = [268, 271, 274, 277];
const SCTP_FLAGS: usize = 284;
const SCTP_DESTINATION: u32 = 2;

/// A structure as the kernel takes it: filled up to XT_ALIGN.
fn extension(name: &str, revision: u8, mut info: Vec<u8>) -> Extension {
    info.resize(info.len().next_multiple_of(align_of::<u64>()), 0);
    Extension { name: name.to_owned(), revision, info }
}

/// `-m conntrack --ctstate ...`, with the states in any order.
pub(crate) fn conntrack(states: &str) -> Option<Extension> {
    let bits = bits(states, &STATES)?;
    let mut info = vec![0; CONNTRACK_SIZE];
    put(&mut info, CONNTRACK_FLAGS, &MATCH_STATE.to_ne_bytes());
    put(&mut info, CONNTRACK_FLAGS + 4, &bits.to_ne_bytes());
    Some(extension("conntrack", 3, info))
}

/// `-m addrtype --dst-type ...`
pub(crate) fn addrtype(types: &str) -> Option<Extension> {
    let mut info = vec![0; 8];
    put(&mut info, 2, &bits(types, &TYPES)?.to_ne_bytes());
    Some(extension("addrtype", 1, info))
}

/// `-m multiport --dports ...`, single ports.
pub(crate) fn multiport(ports: &str) -> Option<Extension> {
    let ports: Vec<u16> = ports.split(',').map(|port| port.parse().ok()).collect::<Option<_>>()?;
    if ports.len() > MULTIPORT_MOST {
        return None;
    }
    let mut info = vec![0; 48];
    info[0] = MULTIPORT_DESTINATION;
    // No more than 15.
    info[1] = ports.len() as u8;
    for (at, port) in ports.iter().enumerate() {
        put(&mut info, 2 + 2 * at, &port.to_ne_bytes());
    }
    Some(extension("multiport", 1, info))
}

/// `-m tcp --dport ...` of a protocol that has ports.
pub(crate) fn dport(number: u8, port: &str) -> Option<Extension> {
    let port: u16 = port.parse().ok()?;
    let [any, one] = [[0, u16::MAX], [port, port]]
        .map(|range: [u16; 2]| range.iter().flat_map(|port| port.to_ne_bytes()).collect::<Vec<u8>>());
    match number {
        protocol::TCP => Some(extension("tcp", 0, [any, one, vec![0; 4]].concat())),
        protocol::UDP => Some(extension("udp", 0, [any, one, vec![0; 2]].concat())),
        protocol::SCTP => {
            // Ports that are not compared are left empty here.
            let mut info = one;
            info.resize(SCTP_SIZE, 0);
            for at in SCTP_CHUNKS {
                info[at] = u8::MAX;
            }
            put(&mut info, SCTP_FLAGS, &SCTP_DESTINATION.to_ne_bytes());
            Some(extension("sctp", 0, info))
        }
        _ => None,
    }
}

/// `-m mark --mark value/mask`
pub(crate) fn mark(text: &str, negated: bool) -> Option<Extension> {
    let (value, mask) = masked(text)?;
    let info = [value.to_ne_bytes(), mask.to_ne_bytes(), [u8::from(negated), 0, 0, 0]];
    Some(extension("mark", 1, info.concat()))
}

/// `-j MARK --set-xmark value/mask`
pub(crate) fn set_mark(text: &str) -> Option<Extension> {
    let (value, mask) = masked(text)?;
    Some(extension("MARK", 2, [value.to_ne_bytes(), mask.to_ne_bytes()].concat()))
}

/// `-j MASQUERADE`, to any address and port.
pub(crate) fn masquerade(family: Family) -> Extension {
    let info = match family {
        // struct nf_nat_ipv4_multi_range_compat of one range that says nothing.
        Family::Ipv4 => [&1_u32.to_ne_bytes()[..], &[0; 16]].concat(),
        // struct nf_nat_range
        Family::Ipv6 => vec![0; 40],
    };
    extension("MASQUERADE", 0, info)
}

/// `-j DNAT --to-destination address:port`, as struct nf_nat_range2.
pub(crate) fn dnat(to: &str, family: Family) -> Option<Extension> {
    let to: SocketAddr = to.parse().ok()?;
    if to.is_ipv4() != (family == Family::Ipv4) {
        return None;
    }
    let mut address = match to.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    address.resize(ADDRESS, 0);
    let port = to.port().to_be_bytes();
    let mut info = (MAP_IPS | MAP_PORTS).to_ne_bytes().to_vec();
    info.extend([&address[..], &address, &port, &port].concat());
    // The base of a range of ports, unused, and what fills the structure.
    info.extend([0; 4]);
    Some(extension("DNAT", 2, info))
}

/// The words of a match or target.
pub(crate) fn words(extension: &Extension, family: Family) -> Option<Vec<String>> {
    let Extension { name, revision, info } = extension;
    let words: Vec<String> = match (name.as_str(), revision) {
        ("conntrack", 1..=3) => conntrack_words(info)?,
        ("addrtype", 1) => addrtype_words(info)?,
        ("multiport", 1) => multiport_words(info)?,
        ("tcp" | "udp" | "sctp", 0) => port_words(name, info)?,
        ("mark", 1) => {
            let negated = *info.get(8)? != 0;
            let word = format!("{:#x}/{:#x}", u32_at(info, 0)?, u32_at(info, 4)?);
            let not = negated.then(|| "!".to_owned());
            let rest = ["-m", "mark", "--mark", &word].map(str::to_owned);
            let [m, mark, option, word] = rest;
            [m, mark].into_iter().chain(not).chain([option, word]).collect()
        }
        ("MARK", 2) => {
            vec!["-j".into(), name.clone(), "--set-xmark".into(), marks(info)?]
        }
        ("MASQUERADE", 0) if extension.is_like(&masquerade(family)) => vec!["-j".into(), name.clone()],
        ("DNAT", 0..=2) => {
            let to = dnat_to(info, *revision, family)?;
            vec!["-j".into(), name.clone(), "--to-destination".into(), to]
        }
        _ => return None,
    };
    Some(words)
}

impl Extension {
    /// Whether it says the same, however far it is filled up.
    fn is_like(&self, other: &Extension) -> bool {
        let common = self.info.len().min(other.info.len());
        self.info[..common] == other.info[..common] && self.info.len().abs_diff(other.info.len()) < 8
    }
}

fn conntrack_words(info: &[u8]) -> Option<Vec<String>> {
    let [flags, inverted, states] = [0, 2, 4].map(|at| u16_at(info, CONNTRACK_FLAGS + at));
    // The states alone: nothing else may be compared.
    let only_states = flags? == MATCH_STATE && inverted? == 0;
    let states = only_states.then(|| names(states?, &STATES))??;
    Some(["-m", "conntrack", "--ctstate", &states].map(str::to_owned).to_vec())
}

fn addrtype_words(info: &[u8]) -> Option<Vec<String>> {
    let plain = u16_at(info, 0)? == 0 && u32_at(info, 4)? == 0;
    let types = plain.then(|| names(u16_at(info, 2)?, &TYPES))??;
    Some(["-m", "addrtype", "--dst-type", &types].map(str::to_owned).to_vec())
}

fn multiport_words(info: &[u8]) -> Option<Vec<String>> {
    let count = usize::from(*info.get(1)?);
    // Ranges are marked behind the ports, the inversion behind that.
    let plain = info[0] == MULTIPORT_DESTINATION && count <= MULTIPORT_MOST;
    if !plain || info.get(2 + 2 * MULTIPORT_MOST..)?.iter().take(MULTIPORT_MOST + 1).any(|byte| *byte != 0) {
        return None;
    }
    let ports: Option<Vec<String>> =
        (0..count).map(|at| Some(u16_at(info, 2 + 2 * at)?.to_string())).collect();
    Some(["-m", "multiport", "--dports", &ports?.join(",")].map(str::to_owned).to_vec())
}

fn port_words(name: &str, info: &[u8]) -> Option<Vec<String>> {
    let port = match name {
        "sctp" => u16_at(info, 0)?,
        _ => u16_at(info, 4)?,
    };
    let same = dport(protocol::number(name)?, &port.to_string())?;
    let like = Extension { name: name.to_owned(), revision: 0, info: info.to_vec() };
    like.is_like(&same).then(|| ["-m", name, "--dport", &port.to_string()].map(str::to_owned).to_vec())
}

/// Where packets are sent: one address and port.
fn dnat_to(info: &[u8], revision: u8, family: Family) -> Option<String> {
    // Revision 0 of IPv4 has the older structure: a number of ranges, then flags, two addresses of four bytes, two ports.
    let old = revision == 0 && family == Family::Ipv4;
    let (flags, first, size) = match (old, family) {
        (true, _) => (4, 8, 4),
        (false, _) => (0, 4, ADDRESS),
    };
    let at = |at: usize, len: usize| info.get(at..at + len);
    let (address, last) = (at(first, size)?, at(first + size, size)?);
    let (port, last_port) = (at(first + 2 * size, 2)?, at(first + 2 * size + 2, 2)?);
    if u32_at(info, flags)? != MAP_IPS | MAP_PORTS || address != last || port != last_port {
        return None;
    }
    let ip: IpAddr = match family {
        Family::Ipv4 => Ipv4Addr::from(<[u8; 4]>::try_from(address.get(..4)?).ok()?).into(),
        Family::Ipv6 => Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?).into(),
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(port.try_into().ok()?)).to_string())
}

/// `0x2000/0x2000`
fn marks(info: &[u8]) -> Option<String> {
    Some(format!("{:#x}/{:#x}", u32_at(info, 0)?, u32_at(info, 4)?))
}

/// Reads `0x2000/0x2000`.
fn masked(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let (value, mask) = text.split_once('/')?;
    Some((number(value)?, number(mask)?))
}

/// The bits of a list of names.
fn bits(list: &str, known: &[(&str, u16)]) -> Option<u16> {
    let bit = |name: &str| known.iter().find(|(of, _)| *of == name).map(|(_, bit)| *bit);
    list.split(',').map(bit).try_fold(0, |bits, bit| Some(bits | bit?))
}

/// The names of bits, of which there is at least one and none but the known.
fn names(bits: u16, known: &[(&str, u16)]) -> Option<String> {
    let set: Vec<&(&str, u16)> = known.iter().filter(|(_, bit)| bits & bit != 0).collect();
    let all = set.iter().fold(0, |all, (_, bit)| all | bit);
    (bits != 0 && bits == all).then(|| set.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(","))
}

fn put(info: &mut [u8], at: usize, bytes: &[u8]) {
    info[at..at + bytes.len()].copy_from_slice(bytes);
}

fn u16_at(info: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(info.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(info: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?))
}
