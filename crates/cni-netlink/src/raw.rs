//! Netlink itself, for other protocols than rtnetlink: a [`Connection`], a [`Writer`] for requests, and lenient readers of answers.
//!
//! cni-nftables is built on it. Nothing here knows what the messages mean.
//!
//! ```no_run
//! use cni_netlink::raw::{Attrs, Connection, Protocol, Writer, be32};
//! use nix::libc::{NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN, NLM_F_REQUEST};
//!
//! // linux/netfilter/nf_tables.h
//! const NFTA_GEN_ID: u16 = 1;
//!
//! // The number of the ruleset's generation. Four bytes are the length of struct nfgenmsg.
//! let mut connection = Connection::open(Protocol::Netfilter)?;
//! let mut request = Writer::default();
//! let kind = (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN) as u16;
//! request.message(kind, NLM_F_REQUEST as u16, 0, &[0; 4], |_| {});
//! let generation = connection.read(&mut request.into_bytes(), &|| "read the generation".into(), |payload| {
//!     Attrs::after(payload, 4).find(NFTA_GEN_ID).and_then(be32)
//! })?;
//! # Ok::<(), cni_netlink::Error>(())
//! ```

pub use crate::attr::{Attrs, Message, Messages, be32, be64, string};
pub use crate::connection::{Connection, Protocol};
pub use crate::extack::Acknowledgement;
pub use crate::write::Writer;
