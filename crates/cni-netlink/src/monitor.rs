//! Waiting for events instead of sleeping: `ip monitor`.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use netlink_sys::SocketAddr;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::attr::Messages;
use crate::connection::uninterrupted;
use crate::link::message_index;
use crate::uapi::{RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE, RTMGRP_LINK};
use crate::{Addr, Error, Link, Result, Socket};

/// After which a route is looked for once more without an event: the kernel tells of a route before it marks the node of its
/// tree as one that has routes (net/ipv6/ip6_fib.c, fib6_add_rt2node), and until then a look on another processor finds nothing.
const SECOND_LOOK: Duration = Duration::from_millis(2);

/// Enough for the start of every event: only its index is read.
const BUFFER: usize = 8 * 1024;

/// A subscription to link and IPv6 address changes of one namespace. Open it before making the change whose effect is
/// waited for, and nothing is missed.
pub struct LinkMonitor(Events);

impl LinkMonitor {
    /// Subscribes, in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        Events::subscribe("subscribe to link changes", RTMGRP_LINK | RTMGRP_IPV6_IFADDR).map(Self)
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
        let wait = Wait::new(format!("wait for link with index {index}"), timeout);
        loop {
            let link = socket.link_by_index(index)?;
            if ready(&link) {
                return Ok(link);
            }
            self.0.wait(&wait, Duration::MAX, |event| about(event, index))?;
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
        let wait = Wait::new(format!("wait for the addresses of link with index {index}"), timeout);
        loop {
            let addrs = socket.addr_dump(index)?;
            if ready(&addrs) {
                return Ok(addrs);
            }
            self.0.wait(&wait, Duration::MAX, |event| about(event, index))?;
        }
    }
}

/// A subscription to changes of one namespace's IPv6 routes, which a router may have many of: no part of [`LinkMonitor`].
pub struct RouteMonitor(Events);

impl RouteMonitor {
    /// Subscribes, in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        Events::subscribe("subscribe to route changes", RTMGRP_IPV6_ROUTE).map(Self)
    }

    /// Waits until packets to an address that was added are taken for the host's own. The kernel makes their route only
    /// some time after it has answered that the address is there, and flagged it as no longer tentative
    /// (net/ipv6/addrconf.c, addrconf_dad_work); until then they are dropped. `socket` is of the same namespace.
    pub fn wait_local(&mut self, socket: &mut Socket, address: Ipv6Addr, timeout: Duration) -> Result<()> {
        let wait = Wait::new(format!("wait until packets to {address} are received"), timeout);
        while !socket.route_get(address.into())?.is_some_and(|way| way.local) {
            self.0.wait(&wait, SECOND_LOOK, |_| true)?;
        }
        Ok(())
    }

    /// The same for an address that other links may have too: until it is received as this link's.
    pub fn wait_local_on(
        &mut self,
        socket: &mut Socket,
        index: u32,
        address: Ipv6Addr,
        timeout: Duration,
    ) -> Result<()> {
        let wait =
            Wait::new(format!("wait until packets to {address} are received on link {index}"), timeout);
        while !socket.route_get_oif(address.into(), index)?.is_some_and(|way| way.local) {
            self.0.wait(&wait, SECOND_LOOK, |_| true)?;
        }
        Ok(())
    }
}

/// A socket that gets events.
struct Events {
    socket: netlink_sys::Socket,
    buffer: Vec<u8>,
}

impl Events {
    /// `groups` are bits of `nl_groups`.
    fn subscribe(op: &str, groups: u32) -> Result<Self> {
        let failed = |source| Error::Socket { op: op.into(), source };
        let mut socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE).map_err(failed)?;
        socket.bind(&SocketAddr::new(0, groups)).map_err(failed)?;
        Ok(Self { socket, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Returns when a datagram of events matters, or may have been one among those that were lost, and after this while at the
    /// latest.
    fn wait(&mut self, wait: &Wait, at_most: Duration, matters: impl Fn(&[u8]) -> bool) -> Result<()> {
        loop {
            let left = wait.left(at_most)?;
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            let ready = uninterrupted(|| Ok(poll(&mut fds, left)?)).map_err(|source| wait.failed(source))?;
            if ready == 0 || self.drain(&matters).map_err(|source| wait.failed(source))? {
                return Ok(());
            }
        }
    }

    /// Reads all waiting events; whether one of them matters.
    fn drain(&mut self, matters: impl Fn(&[u8]) -> bool) -> io::Result<bool> {
        let mut one_does = false;
        loop {
            self.buffer.clear();
            match uninterrupted(|| self.socket.recv_from(&mut self.buffer, libc::MSG_DONTWAIT)) {
                Ok(_) => one_does |= matters(&self.buffer),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => one_does = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(one_does),
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
    op: String,
    timeout: Duration,
    since: Instant,
}

impl Wait {
    fn new(op: String, timeout: Duration) -> Self {
        Self { op, timeout, since: Instant::now() }
    }

    /// The time left, or a shorter one, rounded up so that the last millisecond is not spent spinning.
    fn left(&self, at_most: Duration) -> Result<PollTimeout> {
        let left = self.timeout.saturating_sub(self.since.elapsed()).min(at_most);
        if left.is_zero() {
            return Err(Error::TimedOut { op: self.op.clone(), millis: self.timeout.as_millis() });
        }
        Ok(PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Socket { op: self.op.clone(), source }
    }
}
