//! SCTP through mapped ports, by raw sockets: most kernels have no SCTP of their own, and translate it all the same.

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use cni_testing::Container;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, SockaddrStorage,
    recvfrom, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::portmap::net::{BACKENDS, BEYOND, From, GATEWAY, HOST, OUTSIDE, Pod, Site};

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
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(800)).unwrap();
    socket
}

/// From the calling thread's namespace; the kernel chooses the address.
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

/// The SCTP part of the next packet that is an INIT, and who sent it.
fn receive(socket: &OwnedFd, v4: bool) -> Option<(IpAddr, Vec<u8>)> {
    loop {
        let mut buffer = [0; 1500];
        let (length, from) = recvfrom::<SockaddrStorage>(socket.as_raw_fd(), &mut buffer).ok()?;
        // A raw IPv4 socket gets the IP header too.
        let header = if v4 { usize::from(buffer[0] & 15) * 4 } else { 0 };
        let packet = buffer[header..length].to_vec();
        let from = from?;
        let v4_from = from.as_sockaddr_in().map(|from| IpAddr::from(from.ip()));
        let from = v4_from.or_else(|| from.as_sockaddr_in6().map(|from| from.ip().into()))?;
        // A kernel that has SCTP answers with ABORT.
        if packet.get(HEADER) == Some(&1) {
            return Some((from, packet));
        }
    }
}

/// A port that no packet has come from yet: connection tracking looks at rules only for the first one of a connection.
fn fresh_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(4000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Sends an INIT and expects it at `at`, on this port and from there, with its checksum right.
#[track_caller]
fn expect(from: From<'_>, to: (&str, u16), at: &Container, port: u16, seen_from: Option<&str>) {
    let to = SocketAddr::new(to.0.parse().unwrap(), to.1);
    let v4 = to.is_ipv4();
    let socket = at.ns().run(|| open(v4)).unwrap();
    let packet = init(fresh_port(), to.port());
    assert_eq!(packet[8..HEADER], checksum(&packet));
    let ask = || match from {
        From::Host => send(to, &packet),
        From::Inside(container) => container.ns().run(|| send(to, &packet)).unwrap(),
    };
    // More than once, as SCTP does (RFC 9260, 5.1): what is sent over an interface that is young may be lost.
    let received = (0..5).find_map(|_| {
        ask();
        receive(&socket, v4)
    });
    let (sender, got) = received.unwrap_or_else(|| panic!("nothing came from {to}"));
    assert_eq!(got[2..4], port.to_be_bytes(), "{to}");
    assert_eq!(got[8..HEADER], checksum(&got), "{to}");
    assert_eq!(got[HEADER..], packet[HEADER..], "{to}");
    if let Some(seen_from) = seen_from {
        assert_eq!(sender, seen_from.parse::<IpAddr>().unwrap(), "{to}");
    }
}

/// A site with a port mapped, unless the kernel tracks no SCTP (CONFIG_NF_CT_PROTO_SCTP).
fn site(backend: &'static str) -> Option<(Site, Pod)> {
    let site = Site::new(backend);
    let pod = site.pod("c1", 5);
    site.map(&pod, &["8080/sctp"]);
    if !Path::new("/proc/sys/net/netfilter/nf_conntrack_sctp_timeout_established").exists() {
        let _ = writeln!(io::stderr(), "skipped: portmap_sctp this kernel tracks no SCTP");
        return None;
    }
    Some((site, pod))
}

#[test]
fn from_outside_sctp_reaches_the_containers_port_and_shows_who_asks() {
    for backend in BACKENDS {
        let Some((site, pod)) = site(backend) else { return };
        for (host, outside) in HOST.into_iter().zip(OUTSIDE) {
            let from = From::Inside(&site.outside);
            expect(from, (host, 8080), &pod.container, 80, Some(outside));
        }
    }
}

#[test]
fn the_host_reaches_the_container_by_sctp_also_as_localhost() {
    for backend in BACKENDS {
        let Some((_site, pod)) = site(backend) else { return };
        for host in HOST.into_iter().chain(GATEWAY) {
            expect(From::Host, (host, 8080), &pod.container, 80, None);
        }
        expect(From::Host, ("127.0.0.1", 8080), &pod.container, 80, Some(GATEWAY[0]));
    }
}

#[test]
fn a_container_reaches_itself_and_its_neighbour_through_the_host_by_sctp() {
    for backend in BACKENDS {
        let Some((site, pod)) = site(backend) else { return };
        let neighbour = site.pod("c2", 6);
        for (host, gateway) in HOST.into_iter().zip(GATEWAY) {
            for asking in [&pod, &neighbour] {
                let from = From::Inside(&asking.container);
                expect(from, (host, 8080), &pod.container, 80, Some(gateway));
            }
        }
    }
}

/// CVE-2025-67499, by SCTP.
#[test]
fn cve_2025_67499_sctp_to_another_hosts_same_port_passes_through_untouched() {
    for backend in BACKENDS {
        let Some((site, _pod)) = site(backend) else { return };
        for (beyond, outside) in BEYOND.into_iter().zip(OUTSIDE) {
            let from = From::Inside(&site.outside);
            expect(from, (beyond, 8080), &site.beyond, 8080, Some(outside));
            expect(From::Host, (beyond, 8080), &site.beyond, 8080, None);
        }
    }
}
