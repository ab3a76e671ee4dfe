//! Netlink itself, for protocols beside rtnetlink: a [`Connection`], a [`Writer`] for requests, and lenient readers of answers.
//!
//! cni-nftables is built on it. Nothing here knows what the messages mean.
//!
//! ```no_run
//! use cni_netlink::raw::{Attrs, Connection, Protocol, Writer, be32};
//!
//! // NFT_MSG_GETGEN: the number of the ruleset's generation.
//! let mut connection = Connection::open(Protocol::Netfilter)?;
//! let mut request = Writer::default();
//! request.message(10 << 8 | 16, 1, 0, &[0; 4], |_| {});
//! let generation = connection.read(&mut request.into_bytes(), &|| "read the generation".into(), |payload| {
//!     Attrs::after(payload, 4).find(1).and_then(be32)
//! })?;
//! # Ok::<(), cni_netlink::Error>(())
//! ```

pub use crate::attr::{Attrs, Message, Messages, be32, be64, string};
pub use crate::connection::{Connection, Protocol};
pub use crate::extack::Acknowledgement;
pub use crate::write::Writer;
