//! The system interface that nix has no safe form of; the only module of this crate with unsafe code.

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
