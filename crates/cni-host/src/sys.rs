//! The two system interfaces that nix has no safe form of; the only module of this crate with unsafe code.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

use nix::libc;
use nix::sys::socket::{LinkAddr, SockaddrLike};

/// Whether an nsfs file is a network namespace rather than one of another kind: NS_GET_NSTYPE (ioctl_ns(2)).
pub(crate) fn is_netns(fd: impl AsFd) -> nix::Result<bool> {
    // _IO(NSIO, 0x3) in include/uapi/linux/nsfs.h.
    const NS_GET_NSTYPE: libc::Ioctl = nix::request_code_none!(0xb7, 0x3);
    // SAFETY: the descriptor is open while `fd` is borrowed, and this request takes no argument.
    let kind = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), NS_GET_NSTYPE) };
    Ok(nix::errno::Errno::result(kind)? == libc::CLONE_NEWNET)
}

/// The address by which a packet socket sends on one interface (packet(7)): only the index counts for a raw one, since its
/// frames bring their own link-layer header.
pub(crate) fn packet_address(index: u32) -> LinkAddr {
    let raw = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the pointer is to a whole, initialised sockaddr_ll, whose size and family are as from_raw wants; it copies.
    let address = unsafe { LinkAddr::from_raw((&raw const raw).cast(), Some(size_of_val(&raw) as u32)) };
    address.expect("the family and length are right")
}
