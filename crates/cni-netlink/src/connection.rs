//! The connection: sequence numbers checked, strict checking and extended acknowledgements on, interrupted dumps retried.
//! Every protocol of this crate, and cni-nftables, talks to the kernel through it.

use std::io;
use std::os::fd::AsFd;

use netlink_packet_core::{NLM_F_DUMP_INTR, NLM_F_MULTIPART};
use netlink_packet_core::{NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN};
use netlink_sys::SocketAddr;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use crate::attr::{Message, Messages};
use crate::extack::Acknowledgement;
use crate::{Error, Result};

/// How often a read is tried again when changes interrupt it.
const TRIES: u32 = 10;

/// The kernel fills datagrams of a dump up to 32 KiB when the reader's buffer has room for it
/// (net/netlink/af_netlink.c, netlink_dump); only a single larger message is longer.
const BUFFER: usize = 32 * 1024;

/// A netlink protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// NETLINK_ROUTE
    Route,
    /// NETLINK_NETFILTER: nf_tables and connection tracking.
    Netfilter,
}

/// A netlink socket. It belongs for life to the network namespace of the thread that opened it, and may be used from
/// any thread afterwards.
pub struct Connection {
    socket: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// How an answer ended.
enum Answer {
    Complete,
    /// NLM_F_DUMP_INTR: objects changed meanwhile, some may be missing or twice.
    Interrupted,
    /// A datagram of this many bytes did not fit.
    Truncated(usize),
}

impl Connection {
    /// Opens a socket in the calling thread's namespace.
    pub fn open(protocol: Protocol) -> Result<Self> {
        let failed = |source| Error::Socket { op: "open a netlink socket".into(), source };
        let number = match protocol {
            Protocol::Route => netlink_sys::protocols::NETLINK_ROUTE,
            Protocol::Netfilter => netlink_sys::protocols::NETLINK_NETFILTER,
        };
        let socket = netlink_sys::Socket::new(number).map_err(failed)?;
        // Kernels before 4.12 and 4.20 lack the first and the last; everything works without them, with less text
        // in errors and with dumps that only this side filters.
        optional(socket.set_ext_ack(true)).map_err(failed)?;
        optional(socket.set_cap_ack(true)).map_err(failed)?;
        if protocol == Protocol::Route {
            optional(socket.set_netlink_get_strict_chk(true)).map_err(failed)?;
        }
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Sends a request that has NLM_F_ACK and waits for its acknowledgement. The sequence number is written into it. `op`
    /// completes "cannot ..." in errors.
    pub fn change(&mut self, request: &mut [u8], op: &dyn Fn() -> String) -> Result<()> {
        match self.exchange(request, op, &mut |_| {})? {
            Answer::Truncated(_) => Err(malformed(op, "an acknowledgement longer than the buffer")),
            Answer::Complete | Answer::Interrupted => Ok(()),
        }
    }

    /// Asks for objects, one or with NLM_F_DUMP all, and returns those whose payload (what follows the netlink header) `parse`
    /// takes; it answers `None` for those that are not wanted. A dump that changes interrupted is made again, ten times.
    pub fn read<T>(
        &mut self,
        request: &mut [u8],
        op: &dyn Fn() -> String,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>> {
        for _ in 0..TRIES {
            let mut found = Vec::new();
            match self.exchange(request, op, &mut |payload| found.extend(parse(payload)))? {
                Answer::Complete => return Ok(found),
                Answer::Interrupted => {}
                Answer::Truncated(size) => self.buffer.reserve(size),
            }
        }
        Err(Error::Interrupted { op: op(), tries: TRIES })
    }

    /// Sends a request under a fresh sequence number and reads all of its answer.
    fn exchange(
        &mut self,
        request: &mut [u8],
        op: &dyn Fn() -> String,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<Answer> {
        let sequence = self.sequences(1);
        request[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.send(request, op)?;

        let failed = |source| Error::Socket { op: op(), source };
        let mut interrupted = false;
        loop {
            if let Some(size) = self.receive(0).map_err(failed)? {
                return self.drain(size).map_err(failed);
            }
            for message in Messages(&self.buffer) {
                let message = message.ok_or_else(|| malformed(op, "a message of impossible length"))?;
                if message.sequence != sequence {
                    continue; // Left over from a request that was given up.
                }
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                if step(&message, request, op, each)? {
                    return Ok(if interrupted { Answer::Interrupted } else { Answer::Complete });
                }
            }
        }
    }

    /// Takes `count` sequence numbers in a row, of which it returns the first; they wrap around.
    pub fn sequences(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    /// Sends bytes as they are: messages with their headers. When they are more than the send buffer takes (208 KiB unless
    /// net.core.wmem_default says otherwise) it grows, beyond net.core.wmem_max only with CAP_NET_ADMIN in the first user
    /// namespace.
    pub fn send(&mut self, messages: &[u8], op: &dyn Fn() -> String) -> Result<()> {
        let send = || uninterrupted(|| self.socket.send_to(messages, &SocketAddr::new(0, 0), 0));
        let sent = match send() {
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                self.grow_send_buffer(messages.len()).and_then(|()| send())
            }
            sent => sent,
        };
        sent.map(drop).map_err(|source| Error::Socket { op: op(), source })
    }

    fn grow_send_buffer(&self, size: usize) -> io::Result<()> {
        // The kernel doubles the number for its own overhead (net/core/sock.c, sk_setsockopt).
        let set = setsockopt(&self.socket.as_fd(), sockopt::SndBufForce, &size)
            .or_else(|_| setsockopt(&self.socket.as_fd(), sockopt::SndBuf, &size));
        Ok(set?)
    }

    /// The messages of one datagram that is there already, `None` when there is none. The kernel answers most requests before
    /// [`Connection::send`] returns. ENOBUFS in [`Error::Socket`] tells that answers were lost; those before can still be received.
    pub fn receive_waiting(&mut self, op: &dyn Fn() -> String) -> Result<Option<Messages<'_>>> {
        match self.receive(libc::MSG_DONTWAIT) {
            Ok(None) => Ok(Some(Messages(&self.buffer))),
            Ok(Some(_)) => Err(malformed(op, "an answer longer than the buffer")),
            Err(end) if end.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(source) => Err(Error::Socket { op: op(), source }),
        }
    }

    /// Receives one datagram of the kernel into the buffer; its size when it did not fit.
    fn receive(&mut self, flags: libc::c_int) -> io::Result<Option<usize>> {
        loop {
            self.buffer.clear();
            let (size, from) =
                uninterrupted(|| self.socket.recv_from(&mut self.buffer, flags | libc::MSG_TRUNC))?;
            // Another process with the right to do so can send to this socket too.
            if from.port_number() == 0 {
                return Ok((size > self.buffer.len()).then_some(size));
            }
        }
    }

    /// Reads away what is left of an answer that cannot be used, since the kernel runs one dump per socket at a time.
    /// Each receive lets it produce the next datagram at once (netlink_recvmsg), so an empty queue is the end.
    fn drain(&mut self, mut size: usize) -> io::Result<Answer> {
        loop {
            match self.receive(libc::MSG_DONTWAIT) {
                Ok(another) => size = size.max(another.unwrap_or(0)),
                Err(end) if end.kind() == io::ErrorKind::WouldBlock => return Ok(Answer::Truncated(size)),
                Err(failure) => return Err(failure),
            }
        }
    }
}

/// Takes one message of the answer to `request`; whether it was the last.
fn step(
    message: &Message<'_>,
    request: &[u8],
    op: &dyn Fn() -> String,
    each: &mut dyn FnMut(&[u8]),
) -> Result<bool> {
    match message.kind {
        NLMSG_ERROR | NLMSG_DONE => {
            let answer = Acknowledgement::read(message, request)
                .ok_or_else(|| malformed(op, "an error without code"))?;
            answer.into_result(op)?;
            Ok(true)
        }
        NLMSG_NOOP => Ok(false),
        NLMSG_OVERRUN => Err(malformed(op, "data lost")),
        _ => {
            each(message.payload);
            // A single object has no end mark.
            Ok(message.flags & NLM_F_MULTIPART == 0)
        }
    }
}

fn malformed(op: &dyn Fn() -> String, reason: &'static str) -> Error {
    Error::Malformed { op: op(), reason }
}

/// Does not count it as a failure that this kernel does not know an option.
fn optional(set: io::Result<()>) -> io::Result<()> {
    match set {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        other => other,
    }
}

/// Repeats a system call that a signal interrupted.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use netlink_packet_core::NLM_F_REQUEST;
    use nix::libc::RTM_GETLINK;
    use nix::sched::CloneFlags;

    use super::*;
    use crate::socket::Request;
    use crate::{MacAddr, NewVeth, Socket};

    #[test]
    fn answer_to_an_earlier_request_is_skipped() {
        let mut socket = Socket::open().unwrap();
        let mut request = Request::written(RTM_GETLINK, &[0; 16], |_| {}).with(NLM_F_REQUEST);
        request[8..12].copy_from_slice(&77_u32.to_ne_bytes());
        socket.connection.socket.send_to(&request, &SocketAddr::new(0, 0), 0).unwrap();
        assert_eq!(socket.link_by_name("lo").unwrap().name, "lo");
    }

    #[test]
    fn buffer_grows_to_what_is_sent() {
        let mut socket = Socket::open().unwrap();
        for _ in 0..2 {
            socket.connection.buffer = Vec::with_capacity(20);
            assert_eq!(socket.link_by_name("lo").unwrap().name, "lo");
            assert!(socket.connection.buffer.capacity() > 500);
            socket.connection.buffer = Vec::with_capacity(20);
            assert!(socket.link_dump(None).unwrap().iter().any(|link| link.name == "lo"));
        }
    }

    #[test]
    fn options_that_the_kernel_lacks_are_done_without() {
        let error = |errno| Err(io::Error::from_raw_os_error(errno));
        assert!(optional(error(libc::ENOPROTOOPT)).is_ok());
        assert_eq!(optional(error(libc::EBADF)).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn signals_do_not_interrupt() {
        let calls = Cell::new(0);
        let result = uninterrupted(|| {
            calls.set(calls.get() + 1);
            if calls.get() < 3 { Err(io::Error::from_raw_os_error(libc::EINTR)) } else { Ok(calls.get()) }
        });
        assert_eq!(result.unwrap(), 3);
    }

    fn add_veth(socket: &mut Socket, number: u32) {
        let veth = NewVeth {
            name: &format!("a{number}"),
            mac: MacAddr::random(),
            master: None,
            peer_name: &format!("b{number}"),
            peer_mac: MacAddr::random(),
            peer_netns: None,
            mtu: None,
        };
        socket.link_add_veth(&veth).unwrap();
    }

    /// Dumps more links than two datagrams hold; at those tries of the dump for which `at` holds, one pair more is made
    /// meanwhile.
    fn dump_while_adding(at: impl Fn(u32) -> bool) -> (Result<usize>, u32) {
        let mut socket = Socket::open().unwrap();
        (0..50).for_each(|number| add_veth(&mut socket, number));
        let other = RefCell::new(Socket::open().unwrap());
        let tries = Cell::new(0);
        let parse = |payload: &[u8]| {
            // The loopback interface comes first, so this is a new try.
            if crate::attr::u32_at(payload, 4) == Some(1) {
                tries.set(tries.get() + 1);
                if at(tries.get()) {
                    add_veth(&mut other.borrow_mut(), 100 + tries.get());
                }
            }
            Some(())
        };
        let request = Request::written(RTM_GETLINK, &[0; 16], |_| {});
        let links = socket.dump(request, || "list links".into(), parse);
        (links.map(|links| links.len()), tries.get())
    }

    /// In a private namespace; `None` where there is no right to one.
    fn in_netns<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let worker = std::thread::spawn(move || {
            #[allow(clippy::disallowed_methods, reason = "the test's own thread, which ends with the test")]
            if let Err(errno) = nix::sched::unshare(CloneFlags::CLONE_NEWNET) {
                let why = format!("skipped: interrupted dumps need root ({errno}): sudo cargo test\n");
                io::Write::write_all(&mut io::stderr(), why.as_bytes()).unwrap();
                return None;
            }
            Some(test())
        });
        worker.join().unwrap()
    }

    #[test]
    fn interrupted_dump_is_tried_again() {
        if let Some((links, tries)) = in_netns(|| dump_while_adding(|tried| tried <= 3)) {
            assert_eq!(links.unwrap(), 1 + 2 * (50 + 3));
            assert_eq!(tries, 4);
        }
    }

    #[test]
    fn dump_that_is_interrupted_for_ever_is_an_error() {
        if let Some((links, tries)) = in_netns(|| dump_while_adding(|_| true)) {
            assert_eq!(links.unwrap_err().to_string(), "cannot list links: interrupted by changes 10 times");
            assert_eq!(tries, 10);
        }
    }
}
