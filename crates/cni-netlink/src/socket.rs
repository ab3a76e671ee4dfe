//! The rtnetlink socket. Every operation of this crate is one call of `change`, `get` or `dump`.

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;

use crate::connection::{Connection, Protocol};
use crate::{Error, Result};

/// An rtnetlink socket. It belongs for life to the network namespace of the thread that opened it, and may be used from
/// any thread afterwards.
pub struct Socket {
    pub(crate) connection: Connection,
}

impl Socket {
    /// Opens a socket in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        Ok(Self { connection: Connection::open(Protocol::Route)? })
    }

    /// Sends a change and waits for its acknowledgement. `op` completes "cannot ..." in errors.
    pub(crate) fn change(
        &mut self,
        message: impl Into<RouteNetlinkMessage>,
        flags: u16,
        op: impl Fn() -> String,
    ) -> Result<()> {
        self.connection.change(&mut encode(message.into(), NLM_F_REQUEST | NLM_F_ACK | flags), &op)
    }

    /// Asks for one object, which `parse` reads from the answer's payload.
    pub(crate) fn get<T>(
        &mut self,
        message: RouteNetlinkMessage,
        op: impl Fn() -> String,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T> {
        let found = self.connection.read(&mut encode(message, NLM_F_REQUEST), &op, parse)?;
        found.into_iter().next().ok_or_else(|| Error::Malformed { op: op(), reason: "no object in it" })
    }

    /// Asks for all objects that `parse` takes; it answers `None` for those that are not wanted.
    pub(crate) fn dump<T>(
        &mut self,
        message: RouteNetlinkMessage,
        op: impl Fn() -> String,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>> {
        self.connection.read(&mut encode(message, NLM_F_REQUEST | NLM_F_DUMP), &op, parse)
    }
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
