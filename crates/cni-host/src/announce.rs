//! Telling the neighbours of a new address: gratuitous ARP and unsolicited neighbour advertisement, so that a reused address
//! does not meet stale caches (cni#84). Both go out as raw frames through one packet socket, which needs no route and no
//! time to settle.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use cni_netlink::MacAddr;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, sendto, socket};

use crate::{Error, Result, sys};

/// Sends one ARP announcement (RFC 5227) or neighbour advertisement (RFC 4861, 7.2.6) for the address. The link must be up.
/// Call inside the container's namespace.
pub fn announce(ifname: &str, index: u32, mac: MacAddr, address: IpAddr) -> Result<()> {
    let frame = match address {
        IpAddr::V4(address) => arp_announcement(mac, address),
        IpAddr::V6(address) => neighbour_advertisement(mac, address),
    };
    // Protocol 0: the socket only sends, and the kernel queues nothing that comes in.
    let sent = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
        .and_then(|fd| sendto(fd.as_raw_fd(), &frame, &sys::packet_address(index), MsgFlags::empty()));
    match sent {
        Ok(_) => Ok(()),
        Err(errno) => {
            Err(Error::Packet { op: "announce an address", ifname: ifname.to_owned(), source: errno.into() })
        }
    }
}

/// An Ethernet frame with an ARP request whose sender and target are both the address (RFC 5227, 2.3).
fn arp_announcement(mac: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    const BROADCAST: [u8; 6] = [0xff; 6];
    // Ethernet, IPv4, their address lengths, request (RFC 826).
    const REQUEST: [u8; 8] = [0, 1, 0x08, 0x00, 6, 4, 0, 1];
    let mut frame = ethernet_header(BROADCAST, mac, 0x0806);
    frame.extend(REQUEST);
    frame.extend(mac.0);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// An Ethernet frame with an unsolicited neighbour advertisement to all nodes (RFC 4861, 4.4 and 7.2.6): the override flag
/// makes neighbours replace what they have cached.
fn neighbour_advertisement(mac: MacAddr, address: Ipv6Addr) -> Vec<u8> {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    // RFC 2464, 7: 33:33 and the last four bytes of the group.
    const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
    const ICMPV6: u8 = 58;
    const OVERRIDE: u8 = 0x20;

    // Type 136, code 0, checksum filled in below, flags, target; then the option target link-layer address (type 2, one
    // unit of eight bytes).
    let mut message = vec![136, 0, 0, 0, OVERRIDE, 0, 0, 0];
    message.extend(address.octets());
    message.extend([2, 1]);
    message.extend(mac.0);
    let sum = icmpv6_checksum(address, ALL_NODES, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut frame = ethernet_header(ALL_NODES_MAC, mac, 0x86dd);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((message.len() as u16).to_be_bytes());
    // Receivers drop a hop limit below 255: it proves that no router passed the packet on.
    frame.extend([ICMPV6, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(message);
    frame
}

fn ethernet_header(to: [u8; 6], from: MacAddr, protocol: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + 40 + 32);
    frame.extend(to);
    frame.extend(from.0);
    frame.extend(protocol.to_be_bytes());
    frame
}

/// The Internet checksum over the pseudo-header (RFC 8200, 8.1) and a message of even length whose checksum field is zero.
fn icmpv6_checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
    };
    let mut sum = words(&from.octets()) + words(&to.octets()) + message.len() as u32 + 58 + words(message);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([0x02, 0x42, 0xac, 0x11, 0x00, 0x02]);

    /// The bytes of the kernel's own with `arp_notify=1` when a link with this address comes up, captured with tcpdump.
    #[test]
    fn an_arp_announcement_names_the_address_as_sender_and_target() {
        let expected = [
            "ffffffffffff",
            "0242ac110002",
            "0806", // Ethernet
            "0001",
            "0800",
            "06",
            "04",
            "0001", // request
            "0242ac110002",
            "0a010005", // sender
            "000000000000",
            "0a010005", // target
        ];
        assert_eq!(hex(&arp_announcement(MAC, Ipv4Addr::new(10, 1, 0, 5))), expected.concat());
    }

    /// The bytes of the kernel's own with `ndisc_notify=1`, captured likewise.
    #[test]
    fn a_neighbour_advertisement_overrides_what_neighbours_have_cached() {
        let expected = [
            "333300000001",
            "0242ac110002",
            "86dd", // Ethernet
            "60000000",
            "0020",
            "3a",
            "ff", // IPv6: 32 bytes of ICMPv6, hop limit 255
            "fd000000000000000000000000000005",
            "ff020000000000000000000000000001",
            "88",
            "00",
            "ae3e",
            "20000000",
            "fd000000000000000000000000000005", // advertisement
            "02",
            "01",
            "0242ac110002", // target link-layer address
        ];
        assert_eq!(hex(&neighbour_advertisement(MAC, "fd00::5".parse().unwrap())), expected.concat());
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
