//! What the dhcp plugin and its daemon say to each other: Go's net/rpc over a Unix socket, with gob, so that either side can be the
//! reference's. Bytes in, bytes out; nothing here has a socket.
//!
//! The client sends [`HELLO`], waits for the answer, and sends a call: a request's header and [`CmdArgs`]. The server answers
//! with a response's header and a result, or with an error's text and an empty struct. A daemon may get several calls on
//! one connection; the plugins make one and close it.
//!
//! ```
//! use cni_dhcp::rpc::{Answer, CmdArgs, Client, HELLO, RELEASE, Server, Step};
//!
//! let args = CmdArgs { container_id: "c1".into(), ifname: "eth0".into(), ..CmdArgs::default() };
//! let (mut client, mut server) = (Client::new(RELEASE, &args), Server::new());
//!
//! let hello = server.received(HELLO)?;
//! let Step::Send(request) = client.received(&hello)? else { panic!("the daemon has greeted") };
//! server.received(&request)?;
//! let call = server.next_call()?.expect("the call is there");
//! assert_eq!((call.method.as_str(), &call.args), (RELEASE, &args));
//!
//! let response = server.answer(&call, Answer::Empty);
//! let Step::Done(outcome) = client.received(&response)? else { panic!("the daemon has answered") };
//! assert!(outcome.is_ok());
//! # Ok::<(), cni_dhcp::rpc::RpcError>(())
//! ```

mod client;
mod gob;
mod messages;
mod result;
mod server;
mod stream;

#[cfg(test)]
mod tests;

pub use client::{Client, Step};
pub use gob::GobError;
pub use messages::CmdArgs;
pub use server::{Answer, Call, Server};
pub use stream::MAX_MESSAGE;

/// The method of ADD and CHECK.
pub const ALLOCATE: &str = "DHCP.Allocate";
/// The method of DEL.
pub const RELEASE: &str = "DHCP.Release";

/// What a client sends first.
pub const HELLO: &[u8] = b"CONNECT /_goRPC_ HTTP/1.0\n\n";

/// What a server answers to that.
const CONNECTED: &[u8] = b"HTTP/1.0 200 Connected to Go RPC\n\n";

/// Why a connection is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RpcError {
    /// Something else listens, or something else has connected.
    #[error("the other side greets with {0:?}")]
    Greeting(String),
    /// Longer than anything that is said.
    #[error("the other side sends more than {MAX_MESSAGE} bytes at once")]
    TooLong,
    /// An answer to what was not asked.
    #[error("the other side answers {0:?}, which was not asked")]
    Answer(String),
    /// No gob.
    #[error("cannot read what the other side sends: {0}")]
    Gob(#[from] GobError),
}

/// The error that a daemon answers with to a method that it does not have, as Go's net/rpc words it.
pub fn unknown_method(method: &str) -> String {
    match method.rsplit_once('.') {
        None => format!("rpc: service/method request ill-formed: {method}"),
        Some(("DHCP", _)) => format!("rpc: can't find method {method}"),
        Some(_) => format!("rpc: can't find service {method}"),
    }
}

/// Whether a daemon's error says that it does not have the method: an older one.
pub fn is_unknown_method(error: &str) -> bool {
    error.starts_with("rpc: can't find ")
}
