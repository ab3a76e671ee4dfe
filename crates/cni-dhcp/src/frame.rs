//! UDP over IPv4 in Ethernet frames, for a client that has no address yet, or whose address is gone; and the filter of the packet
//! socket that they come and go by.

use std::net::Ipv4Addr;

/// The port of clients (RFC 2131, section 4.1).
pub const CLIENT_PORT: u16 = 68;
/// The port of servers and relays.
pub const SERVER_PORT: u16 = 67;

/// To all on the link.
pub const BROADCAST: [u8; 6] = [0xff; 6];

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const ETHERTYPE_IPV4: u16 = 0x0800;
const PROTOCOL_UDP: u8 = 17;
const TTL: u8 = 64;

/// "More fragments" and the offset, in the field behind the identification (RFC 791, section 3.1).
const FRAGMENT: u16 = 0x3fff;

/// The most that a datagram's payload may be, by the field of 16 bits in which IPv4 has its length.
const MAX_PAYLOAD: usize = u16::MAX as usize - IPV4 - UDP;

/// From where to where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The hardware address of who sends.
    pub from_mac: [u8; 6],
    /// That of who receives, or [`BROADCAST`].
    pub to_mac: [u8; 6],
    /// The address of who sends, 0.0.0.0 without one.
    pub from: Ipv4Addr,
    /// That of who receives, or 255.255.255.255.
    pub to: Ipv4Addr,
}

/// What came in a frame to the port of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received<'a> {
    /// The hardware address that it came from.
    pub from_mac: [u8; 6],
    /// The address that it came from: a server's or a relay's.
    pub from: Ipv4Addr,
    /// The message.
    pub payload: &'a [u8],
}

/// Why a frame has no message for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Cut off, or with a length field that says more than there is.
    #[error("the {0} is cut off")]
    Truncated(&'static str),
    /// Another protocol than IPv4 or UDP, another port.
    #[error("it is not UDP over IPv4 to port 68")]
    Foreign,
    /// A part of a datagram, which a packet socket does not put together.
    #[error("it is a fragment")]
    Fragment,
    /// Damaged.
    #[error("the checksum of {0} is wrong")]
    Checksum(&'static str),
    /// More than a datagram can hold.
    #[error("{0} bytes do not fit a datagram")]
    TooLong(usize),
}

/// A frame with a message from the port of clients to that of servers.
pub fn encode(path: &Path, payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(FrameError::TooLong(payload.len()));
    }
    let length = |headers: usize| u16::try_from(headers + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut frame = Vec::with_capacity(ETHERNET + IPV4 + UDP + payload.len());
    frame.extend(path.to_mac);
    frame.extend(path.from_mac);
    frame.extend(ETHERTYPE_IPV4.to_be_bytes());

    frame.extend([0x45, 0]);
    frame.extend(length(IPV4 + UDP));
    frame.extend([0, 0, 0, 0, TTL, PROTOCOL_UDP, 0, 0]);
    frame.extend(path.from.octets());
    frame.extend(path.to.octets());
    let header = !sum(0, &frame[ETHERNET..]);
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&header.to_be_bytes());

    let udp = frame.len();
    frame.extend(CLIENT_PORT.to_be_bytes());
    frame.extend(SERVER_PORT.to_be_bytes());
    frame.extend(length(UDP));
    frame.extend([0, 0]);
    frame.extend(payload);
    // A sum of 0 is sent as its other form, since 0 says that there is none (RFC 768).
    let checksum = match !sum(pseudo_header(path.from, path.to, UDP + payload.len()), &frame[udp..]) {
        0 => u16::MAX,
        checksum => checksum,
    };
    frame[udp + 6..udp + 8].copy_from_slice(&checksum.to_be_bytes());
    Ok(frame)
}

/// Reads a frame that came to the port of clients.
pub fn decode(frame: &[u8]) -> Result<Received<'_>, FrameError> {
    let (ethernet, packet) =
        frame.split_first_chunk::<ETHERNET>().ok_or(FrameError::Truncated("Ethernet header"))?;
    let [_, _, _, _, _, _, from_mac @ .., high, low] = *ethernet;
    if u16::from_be_bytes([high, low]) != ETHERTYPE_IPV4 {
        return Err(FrameError::Foreign);
    }
    let (from, to, datagram) = ipv4(packet)?;
    let payload = udp(from, to, datagram)?;
    Ok(Received { from_mac, from, payload })
}

/// Reads the header of IPv4, with its options if there are any; returns who sent what to whom.
fn ipv4(packet: &[u8]) -> Result<(Ipv4Addr, Ipv4Addr, &[u8]), FrameError> {
    let truncated = FrameError::Truncated("IPv4 packet");
    let fixed = packet.first_chunk::<IPV4>().ok_or(truncated)?;
    let header_length = usize::from(fixed[0] & 15) * 4;
    if fixed[0] >> 4 != 4 || header_length < IPV4 {
        return Err(FrameError::Foreign);
    }
    let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    // Short frames are padded, so there may be more.
    let packet = packet.get(..total).ok_or(truncated)?;
    let (header, datagram) = packet.split_at_checked(header_length).ok_or(truncated)?;
    if sum(0, header) != u16::MAX {
        return Err(FrameError::Checksum("the IPv4 header"));
    }
    if fixed[9] != PROTOCOL_UDP {
        return Err(FrameError::Foreign);
    }
    if u16::from_be_bytes([fixed[6], fixed[7]]) & FRAGMENT != 0 {
        return Err(FrameError::Fragment);
    }
    let address = |at: usize| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
    Ok((address(12), address(16), datagram))
}

fn udp(from: Ipv4Addr, to: Ipv4Addr, datagram: &[u8]) -> Result<&[u8], FrameError> {
    let truncated = FrameError::Truncated("UDP datagram");
    let header = datagram.first_chunk::<UDP>().ok_or(truncated)?;
    if u16::from_be_bytes([header[2], header[3]]) != CLIENT_PORT {
        return Err(FrameError::Foreign);
    }
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let datagram = datagram.get(..length).ok_or(truncated)?;
    let payload = datagram.get(UDP..).ok_or(truncated)?;
    let checksum = u16::from_be_bytes([header[6], header[7]]);
    let pseudo = pseudo_header(from, to, length);
    // Between virtual devices the kernel leaves the sum to hardware that never comes: the field has that of the pseudo-header alone
    // (CHECKSUM_PARTIAL, include/linux/skbuff.h).
    let finished = checksum == 0 || sum(pseudo, datagram) == u16::MAX;
    if finished || checksum == sum(pseudo, &[]) { Ok(payload) } else { Err(FrameError::Checksum("UDP")) }
}

/// What UDP's checksum covers besides the datagram (RFC 768).
fn pseudo_header(from: Ipv4Addr, to: Ipv4Addr, length: usize) -> u32 {
    let halves = |address: Ipv4Addr| (address.to_bits() >> 16) + (address.to_bits() & 0xffff);
    halves(from) + halves(to) + u32::from(PROTOCOL_UDP) + u32::try_from(length).unwrap_or(u32::MAX >> 8)
}

/// The ones' complement sum of 16-bit words (RFC 1071), beginning with one that is not folded yet.
fn sum(start: u32, bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<2>();
    let words = words.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    let last = rest.first().map_or(0, |byte| u32::from(*byte) << 8);
    // 64 KiB of the largest words do not fill 32 bits.
    let mut sum = start + words.sum::<u32>() + last;
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

/// An instruction of classic BPF: `struct sock_filter` of linux/filter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip where it holds.
    pub jt: u8,
    /// How many where it does not.
    pub jf: u8,
    /// What with.
    pub k: u32,
}

/// The filter of a packet socket (SO_ATTACH_FILTER; `SOCK_RAW`, whose frames begin with the Ethernet header) for the messages to
/// the client with this hardware address: UDP over IPv4 to port 68, no fragments, `chaddr` its own. Without the last, every
/// container on a link would wake up for every broadcast answer.
pub fn filter(mac: [u8; 6]) -> [Instruction; 15] {
    // The words are linux/bpf_common.h's.
    const LD_H_ABS: u16 = 0x28;
    const LD_B_ABS: u16 = 0x30;
    const LD_W_IND: u16 = 0x40;
    const LD_H_IND: u16 = 0x48;
    const LDX_MSH: u16 = 0xb1;
    const JEQ: u16 = 0x15;
    const JSET: u16 = 0x45;
    const RET: u16 = 0x06;
    /// From the UDP header, behind an IPv4 header of any length, which X holds.
    const PORT: u32 = ETHERNET as u32 + 2;
    const CHADDR: u32 = (ETHERNET + UDP) as u32 + 28;

    let [a, b, c, d, e, f] = mac;
    let step = |code, k| Instruction { code, jt: 0, jf: 0, k };
    // To the last instruction, from where this one stands.
    let unless_equal = |at: u8, k: u32| Instruction { code: JEQ, jt: 0, jf: 13 - at, k };
    [
        step(LD_H_ABS, 12),
        unless_equal(1, ETHERTYPE_IPV4.into()),
        step(LD_B_ABS, 23),
        unless_equal(3, PROTOCOL_UDP.into()),
        step(LD_H_ABS, 20),
        Instruction { code: JSET, jt: 13 - 5, jf: 0, k: FRAGMENT.into() },
        step(LDX_MSH, ETHERNET as u32),
        step(LD_H_IND, PORT),
        unless_equal(8, CLIENT_PORT.into()),
        step(LD_W_IND, CHADDR),
        unless_equal(10, u32::from_be_bytes([a, b, c, d])),
        step(LD_H_IND, CHADDR + 4),
        Instruction { code: JEQ, jt: 0, jf: 1, k: u16::from_be_bytes([e, f]).into() },
        step(RET, u32::MAX),
        step(RET, 0),
    ]
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
