//! The rtnetlink socket. Every operation of this crate is one call of `change`, `get` or `dump`.

use netlink_packet_core::{Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};

use crate::connection::{Connection, Protocol};
use crate::write::Writer;
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
    pub(crate) fn change(&mut self, request: Request, flags: u16, op: impl Fn() -> String) -> Result<()> {
        self.connection.change(&mut request.with(NLM_F_REQUEST | NLM_F_ACK | flags), &op)
    }

    /// Asks for one object, which `parse` reads from the answer's payload.
    pub(crate) fn get<T>(
        &mut self,
        request: Request,
        op: impl Fn() -> String,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T> {
        let found = self.connection.read(&mut request.with(NLM_F_REQUEST), &op, parse)?;
        found.into_iter().next().ok_or_else(|| Error::Malformed { op: op(), reason: "no object in it" })
    }

    /// Asks for all objects that `parse` takes; it answers `None` for those that are not wanted.
    pub(crate) fn dump<T>(
        &mut self,
        request: Request,
        op: impl Fn() -> String,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>> {
        self.connection.read(&mut request.with(NLM_F_REQUEST | NLM_F_DUMP), &op, parse)
    }
}

/// A message to the kernel, its flags and sequence number still zero.
pub(crate) struct Request(Vec<u8>);

impl Request {
    /// A message of this type (RTM_*), written by hand: the protocol's own fixed header, and what `attributes` writes.
    pub(crate) fn written(kind: u16, header: &[u8], attributes: impl FnOnce(&mut Writer)) -> Self {
        let mut writer = Writer::default();
        writer.message(kind, 0, 0, header, attributes);
        Self(writer.into_bytes())
    }

    /// The same of a message crate. Its enum of all messages would encode it too, and bring the code for all of them into
    /// every plugin.
    pub(crate) fn of(kind: u16, message: &impl Emitable) -> Self {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        Self::written(kind, &bytes, |_| {})
    }

    /// Its bytes with NLM_F_* flags.
    pub(crate) fn with(self, flags: u16) -> Vec<u8> {
        let Self(mut bytes) = self;
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes
    }
}
