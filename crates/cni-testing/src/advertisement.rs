//! A router's advertisement, so that no daemon need be installed.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, sendto, setsockopt, socket,
    sockopt,
};

/// Tells the host with this link-local address, on the link with this index of the calling thread's namespace, that we are its
/// default router for half an hour (RFC 4861, section 4.2).
pub(crate) fn advertise(to: Ipv6Addr, index: u32) {
    const TYPE: u8 = 134;
    let lifetime = 1800_u16.to_be_bytes();
    let [hop_limit, flags] = [64, 0];
    let head = [TYPE, 0, 0, 0, hop_limit, flags, lifetime[0], lifetime[1]];
    let packet = [head, [0; 8]].concat();
    let socket = socket(AddressFamily::Inet6, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6)
        .expect("cannot open a raw ICMP socket");
    // Less would have passed a router on its way, and is not believed.
    setsockopt(&socket, sockopt::Ipv6Ttl, &255).expect("a socket has a hop limit");
    let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, index));
    sendto(socket.as_raw_fd(), &packet, &to, MsgFlags::empty()).expect("cannot send an advertisement");
}
