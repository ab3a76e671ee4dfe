//! The system interfaces that nix has no safe form of; the only module of this crate with unsafe code.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

/// Whether an nsfs file is a network namespace rather than one of another kind: NS_GET_NSTYPE (ioctl_ns(2)).
pub(crate) fn is_netns(fd: impl AsFd) -> nix::Result<bool> {
    // _IO(NSIO, 0x3) in include/uapi/linux/nsfs.h.
    const NS_GET_NSTYPE: libc::Ioctl = nix::request_code_none!(0xb7, 0x3);
    // SAFETY: the descriptor is open while `fd` is borrowed, and this request takes no argument.
    let kind = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), NS_GET_NSTYPE) };
    Ok(nix::errno::Errno::result(kind)? == libc::CLONE_NEWNET)
}

/// Binds an open /dev/net/tun to a tap device: TUNSETIFF of Documentation/networking/tuntap.rst. With `new` it is made, and
/// EBUSY says that there is a link of that name (IFF_TUN_EXCL); without, one that is there is attached to. Frames have nothing
/// before them (IFF_NO_PI).
pub(crate) fn tun_set_iff(fd: impl AsFd, name: &str, multi_queue: bool, new: bool) -> nix::Result<()> {
    const TUNSETIFF: libc::Ioctl = nix::request_code_write!(b'T', 202, size_of::<libc::c_int>());
    let mut flags = libc::IFF_TAP | libc::IFF_NO_PI;
    if multi_queue {
        flags |= libc::IFF_MULTI_QUEUE;
    }
    if new {
        flags |= libc::IFF_TUN_EXCL;
    }
    // The kernel takes what is cut off for the end of the name.
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(nix::errno::Errno::EINVAL);
    }
    let mut ifr_name = [0; libc::IFNAMSIZ];
    for (to, from) in ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed() as libc::c_char;
    }
    // The kernel knows the flags as 16 bits; the upper one is a sign to C only.
    let ifru_flags = (flags as u16).cast_signed();
    let mut request = libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags } };
    // SAFETY: the descriptor is open while `fd` is borrowed, and the pointer is to a whole ifreq, which is what the kernel
    // copies and writes the name back to. What its union has beyond the flags is not read.
    let done = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), TUNSETIFF, &raw mut request) };
    nix::errno::Errno::result(done).map(drop)
}

/// The user who may attach to the tap device that this file is bound to: TUNSETOWNER.
pub(crate) fn tun_set_owner(fd: impl AsFd, user: u32) -> nix::Result<()> {
    tun_set(fd, nix::request_code_write!(b'T', 204, size_of::<libc::c_int>()), user)
}

/// The group that may: TUNSETGROUP.
pub(crate) fn tun_set_group(fd: impl AsFd, group: u32) -> nix::Result<()> {
    tun_set(fd, nix::request_code_write!(b'T', 206, size_of::<libc::c_int>()), group)
}

/// The device stays when the file is closed: TUNSETPERSIST.
pub(crate) fn tun_set_persist(fd: impl AsFd) -> nix::Result<()> {
    tun_set(fd, nix::request_code_write!(b'T', 203, size_of::<libc::c_int>()), 1)
}

fn tun_set(fd: impl AsFd, request: libc::Ioctl, value: u32) -> nix::Result<()> {
    // SAFETY: the descriptor is open while `fd` is borrowed, and these requests take the number itself, no pointer, whatever
    // their codes say (drivers/net/tun.c, __tun_chr_ioctl).
    let done = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request, libc::c_ulong::from(value)) };
    nix::errno::Errno::result(done).map(drop)
}
