//! Waiting for events instead of sleeping: `ip monitor`.

use std::time::Duration;

use crate::{Addr, Link, Result, Socket};

/// A subscription to link and IPv6 address changes of one namespace. Open it before making the change whose effect is
/// waited for, and nothing is missed.
pub struct LinkMonitor {}

impl LinkMonitor {
    /// Subscribes, in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        todo!()
    }
    /// Waits until `ready` holds for the link. Looks first, then at every event; lost events (ENOBUFS) mean a fresh look.
    pub fn wait_link(
        &mut self,
        socket: &mut Socket,
        index: u32,
        timeout: Duration,
        ready: impl Fn(&Link) -> bool,
    ) -> Result<Link> {
        let _ = (socket, index, timeout, ready);
        todo!()
    }
    /// Waits until `ready` holds for the link's addresses, likewise.
    pub fn wait_addrs(
        &mut self,
        socket: &mut Socket,
        index: u32,
        timeout: Duration,
        ready: impl Fn(&[Addr]) -> bool,
    ) -> Result<Vec<Addr>> {
        let _ = (socket, index, timeout, ready);
        todo!()
    }
}
