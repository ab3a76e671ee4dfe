//! ICMP echo by a raw socket, so that no `ping` need be installed.

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, recv, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// Sends one echo request from the calling thread's namespace; whether its answer comes in time. A network
/// that refuses to send (no route, no such neighbour) is an answer too: no.
///
/// Panics when there can be no raw socket at all.
pub(crate) fn ping(to: IpAddr) -> bool {
    static COUNT: AtomicU16 = AtomicU16::new(1);
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
        .unwrap_or_else(|error| panic!("cannot open a raw ICMP socket: {error}"));
    let request = request(to, COUNT.fetch_add(1, Ordering::Relaxed));
    match send(&socket, to, &request) {
        Ok(_) => answered(&socket, &request, to, Instant::now() + crate::PATIENCE),
        Err(_) => false,
    }
}

fn send(socket: &OwnedFd, to: IpAddr, request: &[u8]) -> nix::Result<usize> {
    let (fd, none) = (socket.as_raw_fd(), MsgFlags::empty());
    match SocketAddr::from((to, 0)) {
        SocketAddr::V4(to) => sendto(fd, request, &SockaddrIn::from(SocketAddrV4::new(*to.ip(), 0)), none),
        SocketAddr::V6(to) => {
            sendto(fd, request, &SockaddrIn6::from(SocketAddrV6::new(*to.ip(), 0, 0, 0)), none)
        }
    }
}

/// Raw sockets hear every ICMP packet of the namespace: the answer is the one with our identifier and sequence number.
fn answered(socket: &OwnedFd, request: &[u8], to: IpAddr, deadline: Instant) -> bool {
    let mut buffer = [0; 1500];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        // A timeout of zero would mean for ever.
        let left = TimeVal::microseconds(i64::try_from(left.as_micros()).unwrap_or(1).max(1));
        setsockopt(socket, sockopt::ReceiveTimeout, &left).expect("a socket has a receive timeout");
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) if is_answer(&buffer[..length], request, to) => return true,
            Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => {}
            // The kernel's own report, such as EHOSTUNREACH for a neighbour that does not answer.
            Err(_) => return false,
        }
    }
}

/// An echo request (RFC 792, RFC 4443 section 4.1): type, code, checksum, identifier, sequence number. The identifier
/// is the process's, the sequence number the caller's.
fn request(to: IpAddr, sequence: u16) -> [u8; 8] {
    let [_, _, id @ ..] = std::process::id().to_be_bytes();
    let sequence = sequence.to_be_bytes();
    let kind = if to.is_ipv4() { 8 } else { 128 };
    let mut packet = [kind, 0, 0, 0, id[0], id[1], sequence[0], sequence[1]];
    // The kernel fills in ICMPv6's own, which covers addresses that are not chosen yet.
    if to.is_ipv4() {
        let sum = checksum(&packet).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
    }
    packet
}

fn is_answer(packet: &[u8], request: &[u8], to: IpAddr) -> bool {
    let (icmp, kind) = match to {
        // IPv4's raw sockets hand over the IP header too; its length is in 32-bit words.
        IpAddr::V4(_) => {
            let header = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
            (packet.get(header..), 0)
        }
        IpAddr::V6(_) => (Some(packet), 129),
    };
    icmp.is_some_and(|icmp| icmp.len() >= 8 && icmp[0] == kind && icmp[4..8] == request[4..8])
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(packet: &[u8]) -> u16 {
    let sum: u32 = packet.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_packet_with_its_checksum_is_zero() {
        let packet = request(IpAddr::from([10, 0, 0, 1]), 0xfffe);
        assert_eq!(checksum(&packet), 0);
        assert_ne!(packet[2..4], [0, 0]);
    }

    #[test]
    fn only_the_answer_to_this_request_counts() {
        let to = IpAddr::from([10, 0, 0, 1]);
        let sent = request(to, 7);
        let mut answer = [&[0x45][..], &[0; 19], &sent].concat();
        assert!(!is_answer(&answer, &sent, to), "the request itself, seen on lo, is no answer");
        answer[20] = 0;
        assert!(is_answer(&answer, &sent, to));
        assert!(!is_answer(&answer, &request(to, 8), to));
        assert!(!is_answer(&answer[..24], &sent, to));
        assert!(!is_answer(&[], &sent, to));
    }
}
