//! The system interface that nix has no safe form of; the only module of this crate with unsafe code.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;

/// Asks a socket for an option of any size: getsockopt(2). What is in `buffer` is the question, and the answer is written
/// over it; how many bytes of it is returned.
pub(crate) fn get(
    socket: impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    buffer: &mut [u8],
) -> nix::Result<usize> {
    let mut length = libc::socklen_t::try_from(buffer.len()).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the descriptor is open while `socket` is borrowed. The kernel reads and writes no more than `length` bytes of the
    // buffer, which are all there, initialised and nobody else's while it is borrowed; any bytes make a [u8], and the kernel
    // copies without regard to alignment. It writes `length` itself, which is of the type that it takes.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(done)?;
    usize::try_from(length).map_err(|_| Errno::EOVERFLOW)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn an_answer_fills_as_much_of_the_buffer_as_it_is_long() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut buffer = [0xee; 8];
        assert_eq!(get(&socket, libc::SOL_SOCKET, libc::SO_TYPE, &mut buffer), Ok(4));
        assert_eq!(buffer[..4], libc::SOCK_DGRAM.to_ne_bytes());
        assert_eq!(buffer[4..], [0xee; 4]);
    }

    #[test]
    fn what_is_refused_is_an_error() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(get(&file, libc::SOL_SOCKET, libc::SO_TYPE, &mut [0; 4]), Err(Errno::ENOTSOCK));
    }
}
