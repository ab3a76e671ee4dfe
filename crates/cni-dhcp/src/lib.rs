//! DHCPv4 as data, for the daemon of the dhcp plugin: nothing here opens a socket, reads a clock or touches a namespace.
//!
//! - [`packet`]: messages (RFC 2131, 2132, 3396), what a lease gives (RFC 3397, 3442), and the options that the plugin's
//!   configuration asks for.
//! - [`frame`]: the same in Ethernet frames, for a client without an address, and the filter of a packet socket.
//! - [`client`]: a client's states. Events go in, actions come out, so that one thread can have thousands of clients.
//! - [`rpc`]: what the plugin and its daemon say to each other, Go's net/rpc.
//!
//! Whatever comes from a server or over a socket may be anything: it makes nothing here panic, takes memory in proportion to its
//! length, and is told as an error that says what is wrong.
//!
//! # A client and a server
//!
//! ```
//! use std::time::Duration;
//!
//! use cni_dhcp::client::{Action, Client, Config, Event};
//! use cni_dhcp::packet::{Message, MessageType, Op, Request, Settings, code, lease_key};
//!
//! // What is sent, from the configuration's `provide` and `request` and from CNI_ARGS.
//! let request = [Request { option: "121".into(), skip_default: false }];
//! let settings = Settings::new(&lease_key("4f1c", "lan", "eth0"), &[], &request, "")?;
//! assert_eq!(settings.requested(), [121, 3, 1]);
//!
//! let mac = [0x02, 0x42, 0xac, 0x11, 0x00, 0x02];
//! let seed = 7;
//! let mut now = Duration::from_secs(100);
//! let mut client = Client::new(Config::new(mac, settings, seed), now);
//!
//! // Carrier comes, and the client wants to send.
//! let mut actions = client.handle(now, Event::Carrier(true));
//! while let [Action::Broadcast { message, .. }] = &actions[..] {
//!     now += Duration::from_millis(1);
//!     let answer = server(&Message::decode(message)?);
//!     actions = client.handle(now, Event::Received(&answer.encode()));
//! }
//! let [Action::Gained(lease)] = &actions[..] else { panic!("{actions:?}") };
//! assert_eq!(lease.address.to_string(), "192.0.2.7/24");
//!
//! // Nothing is to be done until half of the hour is over.
//! let deadline = client.deadline().expect("the lease ends");
//! assert!(deadline > now + Duration::from_secs(1700));
//! assert!(matches!(client.handle(deadline, Event::Time)[..], [Action::Unicast { .. }]));
//!
//! /// A server with one address.
//! fn server(asked: &Message) -> Message {
//!     let kind = if asked.kind == MessageType::Discover { MessageType::Offer } else { MessageType::Ack };
//!     let mut answer = Message::new(kind, asked.xid, asked.chaddr);
//!     (answer.op, answer.yiaddr) = (Op::Reply, [192, 0, 2, 7].into());
//!     answer.options.set(code::SERVER_ID, [192, 0, 2, 1]).set(code::SUBNET_MASK, [255, 255, 255, 0]);
//!     answer.options.set(code::LEASE_TIME, 3600_u32.to_be_bytes());
//!     answer
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod captured_tests;
pub mod client;
pub mod frame;
pub mod packet;
pub mod rpc;

/// The example of this crate's README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
