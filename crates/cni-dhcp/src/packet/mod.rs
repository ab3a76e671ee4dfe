//! DHCPv4 messages (RFC 2131, RFC 2132), written and read.
//!
//! What is read comes from any server on the link. Every length is checked, whatever is wrong is an error that says
//! what, and memory is taken in proportion to the input.

mod domain;
mod error;
mod lease;
mod options;
mod routes;
mod settings;

#[cfg(test)]
mod lease_tests;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

pub use error::{DecodeError, LeaseError, OptionError, SettingsError};
pub(crate) use lease::is_host;
pub use lease::{FOREVER, Lease, LeaseRoute};
pub use options::{Options, code};
pub use settings::{Provide, Request, Settings, lease_key, option_code};

/// The four bytes before the options (RFC 1497; RFC 2131, section 3).
const MAGIC: [u8; 4] = [99, 130, 83, 99];

/// Where the fixed part has its fields (RFC 2131, figure 1).
const CIADDR: usize = 12;
const YIADDR: usize = 16;
const SIADDR: usize = 20;
const GIADDR: usize = 24;
const CHADDR: usize = 28;
const SNAME: usize = 44;
const FILE: usize = 108;
const COOKIE: usize = 236;
const OPTIONS: usize = 240;

/// The shortest message that is sent: relays and servers that know BOOTP drop shorter ones (RFC 1542, section 2.1).
const MIN_SENT: usize = 300;

/// Ethernet (RFC 1700), with addresses of six bytes.
const HTYPE_ETHERNET: u8 = 1;
const HLEN_ETHERNET: u8 = 6;

/// The highest bit of `flags`: the server shall answer by broadcast (RFC 2131, figure 2).
const BROADCAST: u16 = 0x8000;

/// Which way a message goes: `op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// From a client: BOOTREQUEST.
    Request,
    /// To a client: BOOTREPLY.
    Reply,
}

/// What a message is: option 53 (RFC 2132, section 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are RFC 2131's")]
pub enum MessageType {
    Discover,
    Offer,
    Request,
    Decline,
    Ack,
    Nak,
    Release,
    Inform,
}

impl MessageType {
    const ALL: [MessageType; 8] = [
        MessageType::Discover,
        MessageType::Offer,
        MessageType::Request,
        MessageType::Decline,
        MessageType::Ack,
        MessageType::Nak,
        MessageType::Release,
        MessageType::Inform,
    ];

    /// The value of option 53.
    pub fn number(self) -> u8 {
        Self::ALL.iter().zip(1..).find(|(kind, _)| **kind == self).map_or(0, |(_, number)| number)
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().zip(1..).find(|(_, known)| *known == number).map(|(kind, _)| kind)
    }
}

/// A message. `sname` and `file` are empty when it is written; when it is read, they count only as far as option 52 says that
/// options go on in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which way it goes.
    pub op: Op,
    /// What it is; not among `options`.
    pub kind: MessageType,
    /// Ties answers to requests.
    pub xid: u32,
    /// Since the client began, in seconds.
    pub secs: u16,
    /// Whether the answer shall be a broadcast.
    pub broadcast: bool,
    /// The client's address, where it has one and answers to it.
    pub ciaddr: Ipv4Addr,
    /// "Your" address: what the server gives.
    pub yiaddr: Ipv4Addr,
    /// The next server of a boot.
    pub siaddr: Ipv4Addr,
    /// A relay between client and server.
    pub giaddr: Ipv4Addr,
    /// The client's hardware address.
    pub chaddr: [u8; 6],
    /// All options but 52 and 53, each whole.
    pub options: Options,
}

impl Message {
    /// A message from a client, with no address in it yet.
    pub fn new(kind: MessageType, xid: u32, chaddr: [u8; 6]) -> Self {
        Message {
            op: Op::Request,
            kind,
            xid,
            secs: 0,
            broadcast: false,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr,
            options: Options::default(),
        }
    }

    /// The payload of a datagram.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; OPTIONS];
        bytes[0] = if self.op == Op::Request { 1 } else { 2 };
        bytes[1] = HTYPE_ETHERNET;
        bytes[2] = HLEN_ETHERNET;
        bytes[4..8].copy_from_slice(&self.xid.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.secs.to_be_bytes());
        bytes[10..12].copy_from_slice(&if self.broadcast { BROADCAST } else { 0 }.to_be_bytes());
        bytes[CIADDR..YIADDR].copy_from_slice(&self.ciaddr.octets());
        bytes[YIADDR..SIADDR].copy_from_slice(&self.yiaddr.octets());
        bytes[SIADDR..GIADDR].copy_from_slice(&self.siaddr.octets());
        bytes[GIADDR..CHADDR].copy_from_slice(&self.giaddr.octets());
        bytes[CHADDR..CHADDR + 6].copy_from_slice(&self.chaddr);
        bytes[COOKIE..OPTIONS].copy_from_slice(&MAGIC);
        bytes.extend([code::MESSAGE_TYPE, 1, self.kind.number()]);
        self.options.encode(&mut bytes);
        bytes.push(code::END);
        bytes.resize(bytes.len().max(MIN_SENT), 0);
        bytes
    }

    /// Reads the payload of a datagram.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let Some((fixed, rest)) = bytes.split_first_chunk::<OPTIONS>() else {
            return Err(DecodeError::Short(bytes.len()));
        };
        let op = match fixed[0] {
            1 => Op::Request,
            2 => Op::Reply,
            other => return Err(DecodeError::Op(other)),
        };
        if (fixed[1], fixed[2]) != (HTYPE_ETHERNET, HLEN_ETHERNET) {
            return Err(DecodeError::Hardware { htype: fixed[1], hlen: fixed[2] });
        }
        if fixed[COOKIE..] != MAGIC {
            return Err(DecodeError::Magic);
        }
        let mut options = Options::decode(rest, &fixed[FILE..COOKIE], &fixed[SNAME..FILE])?;
        let kind = match options.remove(code::MESSAGE_TYPE).as_deref() {
            None => return Err(DecodeError::NoMessageType),
            Some([number]) => MessageType::from_number(*number).ok_or(DecodeError::MessageType(*number))?,
            Some(other) => return Err(OptionError::length(code::MESSAGE_TYPE, other, "1 byte").into()),
        };
        Ok(Message {
            op,
            kind,
            xid: u32::from_be_bytes(array(fixed, 4)),
            secs: u16::from_be_bytes(array(fixed, 8)),
            broadcast: u16::from_be_bytes(array(fixed, 10)) & BROADCAST != 0,
            ciaddr: array(fixed, CIADDR).into(),
            yiaddr: array(fixed, YIADDR).into(),
            siaddr: array(fixed, SIADDR).into(),
            giaddr: array(fixed, GIADDR).into(),
            chaddr: array(fixed, CHADDR),
            options,
        })
    }
}

/// Bytes of the fixed part, in which every field lies.
fn array<const N: usize>(fixed: &[u8; OPTIONS], at: usize) -> [u8; N] {
    std::array::from_fn(|index| fixed[at + index])
}
