//! The socket: sequence numbers checked, strict checking and extended acknowledgements on, interrupted dumps retried.
//! Every operation of this crate is one call of `change`, `get` or `dump`.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};
use netlink_packet_core::{NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN};
use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::SocketAddr;
use nix::libc;

use crate::attr::{self, Message, Messages};
use crate::{Error, Result, extack};

/// How often a read is tried again when changes interrupt it.
const TRIES: u32 = 10;

/// The kernel fills datagrams of a dump up to 32 KiB when the reader's buffer has room for it
/// (net/netlink/af_netlink.c, netlink_dump); only a single larger message is longer.
const BUFFER: usize = 32 * 1024;

/// An rtnetlink socket. It belongs for life to the network namespace of the thread that opened it, and may be used from
/// any thread afterwards.
pub struct Socket {
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

impl Socket {
    /// Opens a socket in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        let failed = |source| Error::Socket { op: "open a netlink socket".into(), source };
        let socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE).map_err(failed)?;
        // Kernels before 4.12 and 4.20 lack the first and the last; everything works without them, with less text
        // in errors and with dumps that only this side filters.
        optional(socket.set_ext_ack(true)).map_err(failed)?;
        optional(socket.set_cap_ack(true)).map_err(failed)?;
        optional(socket.set_netlink_get_strict_chk(true)).map_err(failed)?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Sends a change and waits for its acknowledgement. `op` completes "cannot ..." in errors.
    pub(crate) fn change(
        &mut self,
        message: impl Into<RouteNetlinkMessage>,
        flags: u16,
        op: impl Fn() -> String,
    ) -> Result<()> {
        let mut request = encode(message.into(), NLM_F_REQUEST | NLM_F_ACK | flags);
        match self.exchange(&mut request, &op, &mut |_| {})? {
            Answer::Truncated(_) => Err(malformed(&op, "an acknowledgement longer than the buffer")),
            Answer::Complete | Answer::Interrupted => Ok(()),
        }
    }

    /// Asks for one object, which `parse` reads from the answer's payload.
    pub(crate) fn get<T>(
        &mut self,
        message: RouteNetlinkMessage,
        op: impl Fn() -> String,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T> {
        let found = self.read(message, 0, &op, parse)?;
        found.into_iter().next().ok_or_else(|| malformed(&op, "no object in it"))
    }

    /// Asks for all objects that `parse` takes; it answers `None` for those that are not wanted.
    pub(crate) fn dump<T>(
        &mut self,
        message: RouteNetlinkMessage,
        op: impl Fn() -> String,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>> {
        self.read(message, NLM_F_DUMP, &op, parse)
    }

    fn read<T>(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        op: &dyn Fn() -> String,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>> {
        let mut request = encode(message, NLM_F_REQUEST | flags);
        for _ in 0..TRIES {
            let mut found = Vec::new();
            match self.exchange(&mut request, op, &mut |payload| found.extend(parse(payload)))? {
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
        self.sequence = self.sequence.wrapping_add(1);
        request[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        let failed = |source| Error::Socket { op: op(), source };
        uninterrupted(|| self.socket.send_to(request, &SocketAddr::new(0, 0), 0)).map_err(failed)?;

        let mut interrupted = false;
        loop {
            if let Some(size) = self.receive(0).map_err(failed)? {
                return self.drain(size).map_err(failed);
            }
            for message in Messages(&self.buffer) {
                let message = message.ok_or_else(|| malformed(op, "a message of impossible length"))?;
                if message.sequence != self.sequence {
                    continue; // Left over from a request that was given up.
                }
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                if step(&message, request, op, each)? {
                    return Ok(if interrupted { Answer::Interrupted } else { Answer::Complete });
                }
            }
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

    /// Reads away what is left of an answer that cannot be used, since the kernel runs one dump a socket at a time.
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
        NLMSG_ERROR => {
            let code =
                attr::u32_at(message.payload, 0).ok_or_else(|| malformed(op, "an error without code"))?;
            refused(code, op, || extack::of_error(message.flags, message.payload, request))?;
            Ok(true)
        }
        NLMSG_DONE => {
            // Since 4.14 it carries the dump's result, before that nothing.
            let code = attr::u32_at(message.payload, 0).unwrap_or(0);
            refused(code, op, || extack::of_done(message.flags, message.payload, request))?;
            Ok(true)
        }
        NLMSG_NOOP => Ok(false),
        NLMSG_OVERRUN => Err(malformed(op, "data lost")),
        _ => {
            each(message.payload);
            // A single object has no end mark.
            Ok(message.flags & netlink_packet_core::NLM_F_MULTIPART == 0)
        }
    }
}

/// An error for a negative errno in two's complement.
fn refused(code: u32, op: &dyn Fn() -> String, text: impl FnOnce() -> String) -> Result<()> {
    match code.cast_signed() {
        code if code < 0 => Err(Error::Kernel {
            op: op(),
            source: io::Error::from_raw_os_error(code.wrapping_neg()),
            text: text(),
        }),
        _ => Ok(()),
    }
}

fn malformed(op: &dyn Fn() -> String, reason: &'static str) -> Error {
    Error::Malformed { op: op(), reason }
}

/// The bytes of a request, its sequence number still zero.
pub(crate) fn encode(message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Makes an option that this kernel does not know no failure.
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

    use netlink_packet_route::link::LinkMessage;
    use nix::sched::CloneFlags;

    use super::*;
    use crate::{MacAddr, NewVeth};

    #[test]
    fn answer_to_an_earlier_request_is_skipped() {
        let mut socket = Socket::open().unwrap();
        let mut request = encode(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_REQUEST);
        request[8..12].copy_from_slice(&77_u32.to_ne_bytes());
        socket.socket.send_to(&request, &SocketAddr::new(0, 0), 0).unwrap();
        assert_eq!(socket.link_by_name("lo").unwrap().name, "lo");
    }

    #[test]
    fn buffer_grows_to_what_is_sent() {
        let mut socket = Socket::open().unwrap();
        for _ in 0..2 {
            socket.buffer = Vec::with_capacity(20);
            assert_eq!(socket.link_by_name("lo").unwrap().name, "lo");
            assert!(socket.buffer.capacity() > 500);
            socket.buffer = Vec::with_capacity(20);
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
            if attr::u32_at(payload, 4) == Some(1) {
                tries.set(tries.get() + 1);
                if at(tries.get()) {
                    add_veth(&mut other.borrow_mut(), 100 + tries.get());
                }
            }
            Some(())
        };
        let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let links = socket.dump(message, || "list links".into(), parse);
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
