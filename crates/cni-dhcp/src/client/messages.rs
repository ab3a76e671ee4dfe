//! What a client sends (RFC 2131, table 5), and whether what it gets is an answer.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Action, Client, Ignored, State};
use crate::packet::{Lease, Message, MessageType, Op, code};

impl Client {
    pub(super) fn discover(&self, xid: u32, secs: u16, wanted: Option<Ipv4Addr>) -> Action {
        let mut message = self.asking(MessageType::Discover, xid, secs);
        if let Some(wanted) = wanted {
            message.options.set(code::REQUESTED_ADDRESS, wanted.octets());
        }
        broadcast(Ipv4Addr::UNSPECIFIED, &message)
    }

    /// Takes an offer, by its server's identifier; or without one asks for the address of a stored lease.
    pub(super) fn request(&self, xid: u32, secs: u16, address: Ipv4Addr, server: Option<Ipv4Addr>) -> Action {
        let mut message = self.asking(MessageType::Request, xid, secs);
        message.options.set(code::REQUESTED_ADDRESS, address.octets());
        if let Some(server) = server {
            message.options.set(code::SERVER_ID, server.octets());
        }
        broadcast(Ipv4Addr::UNSPECIFIED, &message)
    }

    /// Asks for more time, with the address in `ciaddr` alone: its server, or all of them.
    pub(super) fn extend(&self, xid: u32, secs: u16, lease: &Lease, all: bool) -> Action {
        let mut message = self.asking(MessageType::Request, xid, secs);
        message.ciaddr = lease.address.addr();
        // Who has an address gets answers by it (RFC 2131, section 4.1).
        message.broadcast = false;
        if all { broadcast(message.ciaddr, &message) } else { unicast(lease, &message) }
    }

    pub(super) fn release(&mut self, lease: &Lease) -> Action {
        let mut message = Message::new(MessageType::Release, self.random.xid(), self.config.mac);
        message.ciaddr = lease.address.addr();
        message.options.set(code::SERVER_ID, lease.server.octets());
        self.config.settings.identify(&mut message);
        unicast(lease, &message)
    }

    pub(super) fn decline(&mut self, lease: &Lease) -> Action {
        let mut message = Message::new(MessageType::Decline, self.random.xid(), self.config.mac);
        message.options.set(code::REQUESTED_ADDRESS, lease.address.addr().octets());
        message.options.set(code::SERVER_ID, lease.server.octets());
        self.config.settings.identify(&mut message);
        broadcast(Ipv4Addr::UNSPECIFIED, &message)
    }

    /// `secs`, from when asking began.
    pub(super) fn secs(&self, now: Duration) -> u16 {
        u16::try_from(now.saturating_sub(self.began).as_secs()).unwrap_or(u16::MAX)
    }

    fn asking(&self, kind: MessageType, xid: u32, secs: u16) -> Message {
        let mut message = Message::new(kind, xid, self.config.mac);
        message.secs = secs;
        message.broadcast = self.config.broadcast;
        self.config.settings.ask(&mut message);
        message
    }

    /// Whether a message answers what this client asks at present.
    pub(super) fn is_answer(&self, message: &Message) -> Result<(), Ignored> {
        if message.op != Op::Reply {
            return Err(Ignored::Foreign("op"));
        }
        if message.chaddr != self.config.mac {
            return Err(Ignored::Foreign("chaddr"));
        }
        if !self.config.settings.is_for_this_client(message) {
            return Err(Ignored::Foreign("client identifier"));
        }
        match &self.state {
            State::Selecting { exchange, .. }
            | State::Requesting { exchange, .. }
            | State::Rebooting { exchange, .. }
            | State::Renewing(_, exchange)
            | State::Rebinding(_, exchange) => {
                // What was never sent has no answer, however well its number is guessed.
                if exchange.first.is_some() && message.xid == exchange.xid {
                    Ok(())
                } else {
                    Err(Ignored::Foreign("xid"))
                }
            }
            State::Probing { .. } | State::Bound(_) | State::Ended => Err(Ignored::Unexpected),
        }
    }
}

/// Whether a message is of this server; one that does not say whose it is may be.
pub(super) fn is_by(message: &Message, server: Ipv4Addr) -> Result<(), Ignored> {
    match message.options.address(code::SERVER_ID) {
        Ok(id) if id.is_none_or(|id| id == server) => Ok(()),
        Ok(_) => Err(Ignored::Foreign("server identifier")),
        Err(error) => Err(error.into()),
    }
}

fn broadcast(from: Ipv4Addr, message: &Message) -> Action {
    Action::Broadcast { from, message: message.encode() }
}

fn unicast(lease: &Lease, message: &Message) -> Action {
    Action::Unicast { from: lease.address.addr(), to: lease.server, message: message.encode() }
}
