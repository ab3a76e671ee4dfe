//! Sockets that the standard library cannot make: one for whole frames of a link, and the one that systemd passes on.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc::sock_filter;

use crate::sys;

/// An instruction of classic BPF: `struct sock_filter` of linux/filter.h.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct BpfInstruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// A packet socket of one link, for frames of IPv4 with their Ethernet header. Nothing on it blocks, but that closing it waits for a
/// grace period of the kernel, some milliseconds (net/packet/af_packet.c, packet_release).
#[derive(Debug)]
pub struct PacketSocket(File);

impl PacketSocket {
    /// Opens one in the calling thread's namespace (call inside [`crate::NetNs::run`]). Frames that the filter does not let through
    /// never arrive.
    pub fn open(index: u32, filter: &[BpfInstruction]) -> io::Result<Self> {
        let filter: Vec<sock_filter> = filter
            .iter()
            .map(|&BpfInstruction { code, jt, jf, k }| sock_filter { code, jt, jf, k })
            .collect();
        Ok(PacketSocket(File::from(sys::packet_socket(index, &filter)?)))
    }

    /// Sends a whole frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        (&self.0).write(frame).map(drop)
    }

    /// The next frame that has arrived, cut to the buffer; `None` when there is none.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        match (&self.0).read(buffer) {
            Ok(length) => Ok(Some(&buffer[..length])),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The socket that systemd has opened for this process, of which it says by `LISTEN_FDS` and `LISTEN_PID` that it is there. It can be
/// taken once.
pub fn listen_fd() -> io::Result<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(io::Error::other("the socket that systemd passed on has been taken already"));
    }
    Ok(sys::take_listen_fd()?)
}
