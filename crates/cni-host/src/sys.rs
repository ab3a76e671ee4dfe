//! The system interfaces that nix has no safe form of; the only module of this crate with unsafe code.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

/// Whether an nsfs file is a network namespace rather than one of another kind: NS_GET_NSTYPE (ioctl_ns(2)).
pub(crate) fn is_netns(fd: impl AsFd) -> nix::Result<bool> {
    // _IO(NSIO, 0x3) in include/uapi/linux/nsfs.h.
    const NS_GET_NSTYPE: libc::Ioctl = nix::request_code_none!(0xb7, 0x3);
    // SAFETY: the descriptor is open while `fd` is borrowed, and this request takes no argument.
    let kind = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), NS_GET_NSTYPE) };
    Ok(Errno::result(kind)? == libc::CLONE_NEWNET)
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
        return Err(Errno::EINVAL);
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
    Errno::result(done).map(drop)
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
    Errno::result(done).map(drop)
}

/// A packet socket of one link (packet(7)) for the frames of IPv4 that a filter lets through, which is in force before the first
/// can come. It is in the calling thread's network namespace and does not block.
pub(crate) fn packet_socket(index: u32, filter: &[libc::sock_filter]) -> nix::Result<OwnedFd> {
    // Of no protocol yet, so that it receives nothing before it is bound.
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call takes no pointer.
    let fd = Errno::result(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the descriptor was made by the line above, and nothing else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };

    let len = u16::try_from(filter.len()).map_err(|_| Errno::EINVAL)?;
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the pointer is to a whole sock_fprog, whose own is to `len` instructions; the kernel copies both and changes neither.
    let attached = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    Errno::result(attached)?;

    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_IP as u16).to_be(),
        sll_ifindex: i32::try_from(index).map_err(|_| Errno::ENODEV)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the pointer is to a whole sockaddr_ll, which is copied.
    let bound = unsafe {
        libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    Errno::result(bound)?;
    Ok(fd)
}

/// The first descriptor that systemd passes on (sd_listen_fds(3)), closed from now on where another program is started.
///
/// Once a process: whoever calls it owns the descriptor, and it closes it.
pub(crate) fn take_listen_fd() -> nix::Result<OwnedFd> {
    const SD_LISTEN_FDS_START: i32 = 3;
    // SAFETY: the call takes no pointer, and says EBADF of a descriptor that is not there.
    let flagged = unsafe { libc::fcntl(SD_LISTEN_FDS_START, libc::F_SETFD, libc::FD_CLOEXEC) };
    Errno::result(flagged)?;
    // SAFETY: it is open, and was given to this process for it to own: nothing that the process opened itself can have its number,
    // since it was taken when the process began.
    Ok(unsafe { OwnedFd::from_raw_fd(SD_LISTEN_FDS_START) })
}
