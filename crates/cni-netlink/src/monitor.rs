//! Waiting for events instead of sleeping: `ip monitor`.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use netlink_sys::SocketAddr;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::attr::Messages;
use crate::connection::uninterrupted;
use crate::link::message_index;
use crate::{Addr, Error, Link, Result, Socket};

/// Multicast groups as bits of `nl_groups` (linux/rtnetlink.h).
const RTMGRP_LINK: u32 = 1;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;

/// Enough for the start of every event: only its index is read.
const BUFFER: usize = 8 * 1024;

/// A subscription to link and IPv6 address changes of one namespace. Open it before making the change whose effect is
/// waited for, and nothing is missed.
pub struct LinkMonitor {
    socket: netlink_sys::Socket,
    buffer: Vec<u8>,
}

impl LinkMonitor {
    /// Subscribes, in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        let failed = |source| Error::Socket { op: "subscribe to link changes".into(), source };
        let mut socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE).map_err(failed)?;
        socket.bind(&SocketAddr::new(0, RTMGRP_LINK | RTMGRP_IPV6_IFADDR)).map_err(failed)?;
        Ok(Self { socket, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Waits until `ready` holds for the link. Looks first, then at every event; lost events (ENOBUFS) mean a fresh look.
    /// A link that is gone is an error at once, for which `is_not_found` holds. `socket` is of the same namespace.
    pub fn wait_link(
        &mut self,
        socket: &mut Socket,
        index: u32,
        timeout: Duration,
        ready: impl Fn(&Link) -> bool,
    ) -> Result<Link> {
        let wait = Wait::new(index, timeout, "wait for link");
        loop {
            let link = socket.link_by_index(index)?;
            if ready(&link) {
                return Ok(link);
            }
            self.wait_event(&wait)?;
        }
    }

    /// Waits until `ready` holds for the link's addresses, likewise.
    pub fn wait_addrs(
        &mut self,
        socket: &mut Socket,
        index: u32,
        timeout: Duration,
        ready: impl Fn(&[Addr]) -> bool,
    ) -> Result<Vec<Addr>> {
        let wait = Wait::new(index, timeout, "wait for the addresses of link");
        loop {
            let addrs = socket.addr_dump(index)?;
            if ready(&addrs) {
                return Ok(addrs);
            }
            self.wait_event(&wait)?;
        }
    }

    /// Returns when something may have changed about the link.
    fn wait_event(&mut self, wait: &Wait) -> Result<()> {
        loop {
            let left = wait.left()?;
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            let ready = uninterrupted(|| Ok(poll(&mut fds, left)?)).map_err(|source| wait.failed(source))?;
            if ready > 0 && self.drain(wait.index).map_err(|source| wait.failed(source))? {
                return Ok(());
            }
        }
    }

    /// Reads all waiting events; whether one of them was about this link.
    fn drain(&mut self, index: u32) -> io::Result<bool> {
        let mut concerned = false;
        loop {
            self.buffer.clear();
            match uninterrupted(|| self.socket.recv_from(&mut self.buffer, libc::MSG_DONTWAIT)) {
                Ok(_) => concerned |= about(&self.buffer, index),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => concerned = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(concerned),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether a datagram of events speaks of this link. What cannot be read may: a look more costs little.
fn about(datagram: &[u8], index: u32) -> bool {
    Messages(datagram)
        .any(|message| message.is_none_or(|message| message_index(message.payload) == Some(index)))
}

/// What is waited for, and until when.
struct Wait {
    index: u32,
    timeout: Duration,
    since: Instant,
    what: &'static str,
}

impl Wait {
    fn new(index: u32, timeout: Duration, what: &'static str) -> Self {
        Self { index, timeout, since: Instant::now(), what }
    }

    /// The time left, rounded up so that the last millisecond is not spent spinning.
    fn left(&self) -> Result<PollTimeout> {
        let left = self.timeout.saturating_sub(self.since.elapsed());
        if left.is_zero() {
            return Err(Error::TimedOut { op: self.op(), millis: self.timeout.as_millis() });
        }
        Ok(PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Socket { op: self.op(), source }
    }

    fn op(&self) -> String {
        format!("{} with index {}", self.what, self.index)
    }
}
