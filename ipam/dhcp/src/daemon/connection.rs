//! A plugin that is connected.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use cni_dhcp::rpc::{Answer, Call, Server, unknown_method};
use cni_types::CniResult;

use crate::call::{CHECK, GC};

/// A connection, and what is still to be sent on it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    server: Server,
    unsent: Vec<u8>,
}

/// What a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Allocate,
    Check,
    Release,
    Gc,
}

impl Method {
    /// Or the error that Go answers with.
    pub(super) fn of(call: &Call) -> Result<Self, String> {
        Ok(match call.method.as_str() {
            cni_dhcp::rpc::ALLOCATE => Method::Allocate,
            cni_dhcp::rpc::RELEASE => Method::Release,
            CHECK => Method::Check,
            GC => Method::Gc,
            other => return Err(unknown_method(other)),
        })
    }
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Option<Self> {
        stream.set_nonblocking(true).ok()?;
        Some(Connection { stream, server: Server::new(), unsent: Vec::new() })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(super) fn wants_to_send(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Takes what has arrived; none when the connection has ended.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Option<Vec<Call>> {
        let mut calls = Vec::new();
        // The rest is for the next turn.
        match self.stream.read(buffer) {
            Ok(0) => return None,
            Ok(length) => {
                let greeting = self.server.received(&buffer[..length]).ok()?;
                self.unsent.extend(greeting);
                while let Some(call) = self.server.next_call().ok()? {
                    calls.push(call);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return None,
        }
        self.send().then_some(calls)
    }

    pub(super) fn answer(&mut self, call: &Call, answer: &Result<CniResult, String>) -> bool {
        let answer = match answer {
            Err(error) => Answer::Error(error),
            Ok(_) if matches!(Method::of(call), Ok(Method::Release | Method::Gc)) => Answer::Empty,
            Ok(result) => Answer::Result(result),
        };
        let bytes = self.server.answer(call, answer);
        self.unsent.extend(bytes);
        self.send()
    }

    /// Sends what can be; false when the connection has ended.
    pub(super) fn send(&mut self) -> bool {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(length) => drop(self.unsent.drain(..length)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}
