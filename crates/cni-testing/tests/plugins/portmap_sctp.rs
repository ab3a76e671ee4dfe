//! SCTP through mapped ports, by raw sockets: most kernels have no SCTP of their own, and translate it all the same.

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, recv, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use serde_json::json;

use crate::portmap_net::{BACKENDS, HOST, Site};

/// Length of SCTP's common header (RFC 9260, 3.1): ports, verification tag, checksum.
const HEADER: usize = 12;

/// An INIT, without which connection tracking takes no packet for the start of a connection.
fn init(from: u16, to: u16) -> Vec<u8> {
    let mut packet = [from.to_be_bytes(), to.to_be_bytes()].concat();
    packet.extend([0; 8]);
    // Type, flags, length; tag, window, streams out and in, first sequence number.
    packet.extend([1, 0, 0, 20]);
    packet.extend([0, 0, 0, 7, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    let sum = checksum(&packet);
    packet[8..HEADER].copy_from_slice(&sum);
    packet
}

/// CRC-32C over the packet with zeroes in the checksum's place (RFC 9260, appendix A).
fn checksum(packet: &[u8]) -> [u8; 4] {
    let zeroed =
        packet.iter().enumerate().map(|(at, byte)| if (8..HEADER).contains(&at) { 0 } else { *byte });
    let crc = zeroed.fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 },
        )
    });
    (!crc).to_le_bytes()
}

fn open(v4: bool) -> OwnedFd {
    let family = if v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Sctp).unwrap();
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(2500)).unwrap();
    socket
}

fn send(to: SocketAddr, packet: &[u8]) {
    let socket = open(to.is_ipv4());
    let (fd, none) = (socket.as_raw_fd(), MsgFlags::empty());
    match to {
        SocketAddr::V4(to) => sendto(fd, packet, &SockaddrIn::from(SocketAddrV4::new(*to.ip(), 0)), none),
        SocketAddr::V6(to) => {
            sendto(fd, packet, &SockaddrIn6::from(SocketAddrV6::new(*to.ip(), 0, 0, 0)), none)
        }
    }
    .unwrap();
}

/// The next packet's SCTP part.
fn receive(socket: &OwnedFd, v4: bool) -> Option<Vec<u8>> {
    let mut buffer = [0; 1500];
    let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).ok()?;
    // A raw IPv4 socket gets the IP header too.
    let header = if v4 { usize::from(buffer[0] & 15) * 4 } else { 0 };
    Some(buffer[header..length].to_vec())
}

#[test]
fn an_sctp_init_reaches_the_containers_port_with_its_checksum_right() {
    for backend in BACKENDS {
        let site = Site::new(backend);
        let pod = site.pod("c1", 5);
        let conf = site.conf(&pod, &["8080/sctp"], json!({}));
        site.run("ADD", &pod, &conf).ok();
        site.run("CHECK", &pod, &conf).ok();
        for host in HOST {
            let host: IpAddr = host.parse().unwrap();
            let socket = pod.container.ns().run(|| open(host.is_ipv4())).unwrap();
            let packet = init(4000, 8080);
            assert_eq!(packet[8..HEADER], checksum(&packet));
            site.outside.ns().run(|| send(SocketAddr::new(host, 8080), &packet)).unwrap();
            let got = receive(&socket, host.is_ipv4())
                .unwrap_or_else(|| panic!("{backend}: nothing came from {host}"));
            assert_eq!(got[..4], [4000_u16.to_be_bytes(), 80_u16.to_be_bytes()].concat(), "{backend} {host}");
            assert_eq!(got[8..HEADER], checksum(&got), "{backend} {host}");
            assert_eq!(got[HEADER..], packet[HEADER..]);
        }
    }
}
