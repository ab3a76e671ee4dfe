//! What goes into a client and what comes out.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::packet::{DecodeError, Lease, LeaseError, OptionError};

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The interface has carrier, or has it no longer. Nothing is sent without.
    Carrier(bool),
    /// The deadline has come.
    Time,
    /// A message arrived at the port of clients.
    Received(&'a [u8]),
    /// Another host answers for the address that [`Action::Probe`] asked about.
    Conflict,
    /// The lease shall be given back.
    Release,
    /// The container's namespace, or the interface, is gone.
    NamespaceGone,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send to 255.255.255.255, from 0.0.0.0 or the address held.
    Broadcast {
        /// The source address.
        from: Ipv4Addr,
        /// The datagram's payload.
        message: Vec<u8>,
    },
    /// Send to a server, from the address held. Of a RELEASE the address may be gone already; then a frame does.
    Unicast {
        /// The source address.
        from: Ipv4Addr,
        /// The server.
        to: Ipv4Addr,
        /// The datagram's payload.
        message: Vec<u8>,
    },
    /// Ask by ARP whether another host has this address, and report [`Event::Conflict`].
    Probe(Ipv4Addr),
    /// Store and configure: there was no lease before.
    Gained(Lease),
    /// Store: the same lease, from now on.
    Renewed(Lease),
    /// Store and configure the new in the place of the old.
    Changed {
        /// What was held.
        old: Lease,
        /// What is.
        new: Lease,
    },
    /// Take it out of the configuration and the store: its address must not be used any more.
    Lost(Lease, Loss),
    /// No first lease could be had. The client has ended.
    Failed(Failure),
    /// A message, or a part of it, counts for nothing. For a log.
    Ignored(Ignored),
}

/// Why a lease is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// No server renewed it. The client goes on asking.
    Expired,
    /// A server said so by a NAK. The client goes on asking.
    Refused,
    /// It was given back. The client has ended.
    Released,
    /// The namespace is gone. The client has ended.
    NamespaceGone,
}

/// Why there is no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no lease within {} seconds: {why}", within.as_secs())]
#[non_exhaustive]
pub struct Failure {
    /// How long was tried.
    pub within: Duration,
    /// What was missing last.
    pub why: Missing,
}

/// What was missing for a lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// Nothing could be sent.
    #[error("the interface has no carrier")]
    Carrier,
    /// No server answered.
    #[error("no server made an offer")]
    Offer,
    /// An offer was not acknowledged.
    #[error("server {0} does not acknowledge what it offered")]
    Ack(Ipv4Addr),
    /// A NAK.
    #[error("a server refused it{}", with_colon(.0))]
    Agreement(String),
    /// An acknowledgement that is none.
    #[error("the server's acknowledgement is unusable: {0}")]
    Usable(LeaseError),
    /// A DECLINE of ours.
    #[error("another host has the address {0} that the server gave")]
    Unused(Ipv4Addr),
}

fn with_colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// Why a message counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ignored {
    /// No message at all.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// Another client's, or an answer to an earlier request.
    #[error("it is not an answer to this client: its {0} is another")]
    Foreign(&'static str),
    /// Nothing that is waited for.
    #[error("nothing of the kind is waited for")]
    Unexpected,
    /// An offer without an address or without a server.
    #[error("it offers nothing that could be asked for")]
    Offer,
    /// An acknowledgement that gives no lease.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// An option that a lease can do without.
    #[error(transparent)]
    Option(#[from] OptionError),
}
