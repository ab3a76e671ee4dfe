//! Addresses: `ip address`.

mod found;

pub use found::FoundAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use nix::libc::{IFA_ADDRESS, IFA_F_DADFAILED, IFA_F_TENTATIVE, IFA_FLAGS, IFA_LOCAL};
use nix::libc::{RTM_DELADDR, RTM_GETADDR, RTM_NEWADDR};

use crate::attr::{self, Attrs};
use crate::socket::Request;
use crate::{Result, Socket};

/// Flags of an address to be added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddrFlags {
    /// IFA_F_NODAD: no duplicate address detection, usable at once. IPv6 only, ignored for IPv4.
    pub nodad: bool,
}

/// An address that a link has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addr {
    /// The link's index.
    pub index: u32,
    /// The address with its subnet's prefix length.
    pub address: IpNet,
    /// Duplicate address detection has not ended.
    pub tentative: bool,
    /// Another machine has it.
    pub dadfailed: bool,
}

impl Socket {
    /// Adds an address; IPv4 gets the broadcast address that iproute2's `brd +` gives, as the reference does.
    pub fn addr_add(&mut self, index: u32, address: IpNet, flags: AddrFlags) -> Result<()> {
        let message = Request::of(RTM_NEWADDR, &add_message(index, address, flags));
        self.change(message, NLM_F_CREATE | NLM_F_EXCL, || {
            format!("add address {address} to the link with index {index}")
        })
    }

    /// The same without the route to the address's subnet that the kernel makes otherwise (IFA_F_NOPREFIXROUTE): for whoever
    /// reaches its subnet by other ways than this link.
    pub fn addr_add_noprefixroute(&mut self, index: u32, address: IpNet, flags: AddrFlags) -> Result<()> {
        let message = Request::of(RTM_NEWADDR, &noprefixroute(add_message(index, address, flags)));
        self.change(message, NLM_F_CREATE | NLM_F_EXCL, || {
            format!("add address {address} to the link with index {index}")
        })
    }

    /// Removes an address.
    pub fn addr_del(&mut self, index: u32, address: IpNet) -> Result<()> {
        let message = Request::of(RTM_DELADDR, &message(index, address));
        self.change(message, 0, || format!("remove address {address} from the link with index {index}"))
    }

    /// The addresses of one link, both families.
    pub fn addr_dump(&mut self, index: u32) -> Result<Vec<Addr>> {
        let mut message = AddressMessage::default();
        // Both families answer to AF_UNSPEC. Kernels before 4.20 ignore the index and give those of all links.
        message.header.index = index;
        self.dump(
            Request::of(RTM_GETADDR, &message),
            || format!("list the addresses of the link with index {index}"),
            |payload| parse(payload).filter(|addr| addr.index == index),
        )
    }
}

/// `ip address add ADDRESS brd + [nodad] dev INDEX`
fn add_message(index: u32, address: IpNet, flags: AddrFlags) -> AddressMessage {
    let mut message = message(index, address);
    match address {
        // RFC 3021: a network of two addresses, or one, has no broadcast address.
        IpNet::V4(net) if net.prefix_len() < 31 => {
            message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
        }
        IpNet::V4(_) => {}
        IpNet::V6(_) if flags.nodad => message.header.flags |= AddressHeaderFlags::Nodad,
        IpNet::V6(_) => {}
    }
    message
}

/// `noprefixroute` of `ip address add`. The flag does not fit into the header's byte, and the attribute replaces that
/// whole (net/ipv4/devinet.c, rtm_to_ifaddr).
fn noprefixroute(mut message: AddressMessage) -> AddressMessage {
    let header = std::mem::replace(&mut message.header.flags, AddressHeaderFlags::empty());
    let flags = AddressFlags::from_bits_retain(header.bits().into()) | AddressFlags::Noprefixroute;
    message.attributes.insert(1, AddressAttribute::Flags(flags));
    message
}

/// `ip address del ADDRESS dev INDEX`
fn message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = match address {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    };
    message.header.prefix_len = address.prefix_len();
    message.header.index = index;
    message.attributes =
        vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
    message
}

/// Length of `struct ifaddrmsg`.
const IFADDRMSG: usize = 8;

/// Reads the payload of RTM_NEWADDR; `None` for other families and for what is cut short.
pub(crate) fn parse(payload: &[u8]) -> Option<Addr> {
    let prefix_len = attr::u8_at(payload, 1)?;
    let mut flags = u32::from(attr::u8_at(payload, 2)?);
    let index = attr::u32_at(payload, 4)?;
    let (mut address, mut local) = (None, None);
    for (kind, value) in Attrs::after(payload, IFADDRMSG) {
        match kind {
            IFA_ADDRESS => address = attr::ip(value),
            IFA_LOCAL => local = attr::ip(value),
            IFA_FLAGS => flags = attr::u32(value).unwrap_or(flags),
            _ => {}
        }
    }
    // With a peer IFA_ADDRESS is the peer's, and without one IPv6 has no IFA_LOCAL.
    Some(Addr {
        index,
        address: IpNet::new(local.or(address)?, prefix_len).ok()?,
        tentative: flags & IFA_F_TENTATIVE != 0,
        dadfailed: flags & IFA_F_DADFAILED != 0,
    })
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::golden::{self, CHANGE, CREATE_EXCL, assert_request};

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    /// ip address add 10.1.2.3/16 brd + dev br0
    #[test]
    fn ipv4_gets_its_broadcast_address() {
        assert_request(
            Request::of(RTM_NEWADDR, &add_message(2, net("10.1.2.3/16"), AddrFlags { nodad: true })),
            CREATE_EXCL,
            "30000000 14000506 00000000 00000000
             02100000 02000000 08000200 0a010203 08000100 0a010203 08000400 0a01ffff",
        );
    }

    /// ip address add 10.1.2.4/32 dev br0
    #[test]
    fn ipv4_network_of_one_or_two_gets_none() {
        assert_request(
            Request::of(RTM_NEWADDR, &add_message(2, net("10.1.2.4/32"), AddrFlags::default())),
            CREATE_EXCL,
            "28000000 14000506 00000000 00000000 02200000 02000000 08000200 0a010204 08000100 0a010204",
        );
        assert_eq!(add_message(2, net("10.1.2.4/31"), AddrFlags::default()).attributes.len(), 2);
        assert_eq!(add_message(2, net("10.1.2.4/30"), AddrFlags::default()).attributes.len(), 3);
    }

    /// ip address add 2001:db8::5/64 dev br0 nodad
    #[test]
    fn ipv6_without_duplicate_detection() {
        assert_request(
            Request::of(RTM_NEWADDR, &add_message(2, net("2001:db8::5/64"), AddrFlags { nodad: true })),
            CREATE_EXCL,
            "40000000 14000506 00000000 00000000
             0a400200 02000000
             14000200 20010db8 00000000 00000000 00000005
             14000100 20010db8 00000000 00000000 00000005",
        );
    }

    /// ip address add 10.1.2.3/16 brd + dev br0 noprefixroute
    #[test]
    fn ipv4_without_the_route_to_its_subnet() {
        assert_request(
            Request::of(
                RTM_NEWADDR,
                &noprefixroute(add_message(2, net("10.1.2.3/16"), AddrFlags::default())),
            ),
            CREATE_EXCL,
            "38000000 14000506 00000000 00000000
             02100000 02000000
             08000200 0a010203 08000800 00020000 08000100 0a010203 08000400 0a01ffff",
        );
    }

    /// ip address add 2001:db8::5/64 dev br0 nodad noprefixroute
    #[test]
    fn ipv6_without_the_route_to_its_subnet() {
        assert_request(
            Request::of(
                RTM_NEWADDR,
                &noprefixroute(add_message(2, net("2001:db8::5/64"), AddrFlags { nodad: true })),
            ),
            CREATE_EXCL,
            "48000000 14000506 00000000 00000000
             0a400000 02000000
             14000200 20010db8 00000000 00000000 00000005
             08000800 02020000
             14000100 20010db8 00000000 00000000 00000005",
        );
    }

    /// ip address del 10.1.2.3/16 dev br0
    #[test]
    fn removal() {
        assert_request(
            Request::of(RTM_DELADDR, &message(2, net("10.1.2.3/16"))),
            CHANGE,
            "28000000 15000500 00000000 00000000 02100000 02000000 08000200 0a010203 08000100 0a010203",
        );
    }

    fn read(hex: &str) -> Option<Addr> {
        let datagram = golden::bytes(hex);
        parse(golden::message(&datagram).payload)
    }

    /// The answer to `ip address show dev br0` after `ip address add 10.8.0.1 peer 10.8.0.2/32 dev br0`.
    #[test]
    fn own_address_is_read_not_the_peers() {
        let addr = read(
            "4c000000 14002200 01000000 46030000 02208000 02000000
             08000100 0a080002 08000200 0a080001 08000300 62723000 08000800 80000000
             14000600 ffffffff ffffffff cbb50300 cbb50300",
        );
        let address = net("10.8.0.1/32");
        assert_eq!(addr, Some(Addr { index: 2, address, tentative: false, dadfailed: false }));
    }

    /// The same after `ip address add 2001:db8::5/64 dev br0`, while the kernel still looks for duplicates.
    #[test]
    fn ipv6_without_local_attribute_is_read_with_its_flags() {
        let addr = |flags: &str| {
            read(&format!(
                "48000000 14002200 01000000 46030000 0a40c000 02000000
                 14000100 20010db8 00000000 00000000 00000005
                 14000600 ffffffff ffffffff cbb50300 cbb50300 08000800 {flags}"
            ))
        };
        let expected = Addr { index: 2, address: net("2001:db8::5/64"), tentative: true, dadfailed: false };
        assert_eq!(addr("c0000000"), Some(expected));
        assert_eq!(addr("c8000000"), Some(Addr { dadfailed: true, ..expected }));
        assert_eq!(addr("80000000"), Some(Addr { tentative: false, ..expected }));
    }

    #[test]
    fn impossible_prefix_or_no_address_is_no_address() {
        assert_eq!(parse(&golden::bytes("02210000 02000000 08000100 0a080002")), None);
        assert_eq!(parse(&golden::bytes("02200000 02000000")), None);
        assert_eq!(parse(&golden::bytes("02200000 02")), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(payload: Vec<u8>) {
            let _ = parse(&payload);
        }
    }
}
