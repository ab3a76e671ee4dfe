//! What plugins that make an interface in a container share: between the request ([`cni_plugin`]) and the host
//! ([`cni_host`]), neither of which knows the other.
//!
//! The order of an ADD is the same for all of them: the interface's name is free, the link is made, IPAM answers (at the same
//! time if it does not look at the link), addresses and routes are set, the result is told. What kind of link it is stays the
//! plugin's own affair.
//!
//! # A plugin
//!
//! One that gives a container a dummy interface, without configuration of its own:
//!
//! ```no_run
//! use cni_interface::{Container, add_interface, check_link, link_del};
//! use cni_netlink::{LinkKind, NewLink};
//! use cni_plugin::{Add, Plugin, Result};
//! use cni_types::{CniResult, SpecVersion};
//!
//! const PLUGIN: Plugin<(), ()> = Plugin {
//!     name: "dummy",
//!     versions: SpecVersion::ALL,
//!     read: |_| Ok(()),
//!     validate: |(), _| Ok(()),
//!     add,
//!     check: |req| check_link(req, "dummy").map(drop),
//!     del: |req| link_del(req, "dummy"),
//!     gc: |req| req.call.ipam_gc(),
//!     status: |req| req.call.ipam_status(),
//! };
//!
//! fn add(req: &Add<()>) -> Result<CniResult> {
//!     let mut container = Container::open(req)?;
//!     container.expect_free()?;
//!     add_interface(
//!         req,
//!         &mut container,
//!         None,
//!         |container, undo| {
//!             let name = container.ifname().to_owned();
//!             container.add_link(&NewLink::new(&name, LinkKind::Dummy), undo)
//!         },
//!         |result| result,
//!     )
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     cni_plugin::main(&PLUGIN)
//! }
//! ```
//!
//! # What is here
//!
//! | for | use |
//! |---|---|
//! | the container's side of an ADD and a CHECK | [`Container`] |
//! | the whole of an ADD and a CHECK of one interface | [`add_interface`], [`check_link`] |
//! | its steps, for plugins that do more between them | [`link_and_ipam`], [`iface_config`], [`remove_and_release`] |
//! | an interface that stands on another | [`Master`] |
//! | a veth pair | [`pair_and_ipam`], [`near_end`], [`delete_pair`], [`collect_pairs`] |
//! | masquerading | [`Masquerade`] |
//! | keys that several plugins have | [`mtu`], [`mac`], [`dns`] |
//! | what prevResult says | [`Reported`], [`inside`], [`on_host`] |

mod check;
mod container;
mod forwarding;
mod keys;
mod link;
mod masquerade;
mod master;
mod outcome;
mod owner;
mod pair;
mod result;
mod setup;
mod single;

pub use check::{Reported, check_mac, check_mtu, check_up, expect_kind, reported_config};
pub use container::Container;
pub use forwarding::enable_forwarding;
pub use keys::{dns, mac, mtu};
pub use link::link_del;
pub use masquerade::{Masquerade, not_ready};
pub use master::{Master, expect_mtu_fits};
pub use outcome::{absent_is_fine, all, io_failure};
pub use owner::{owner, valid_owners};
pub use pair::{collect_pairs, delete_attachment, delete_pair, near_end, pair_and_ipam};
pub use pair::{expect_near_end, far_end, far_end_interface};
pub use result::{inside, on_host};
pub use setup::{collect_and_release, iface_config, lock_or_go_on, open_inside};
pub use setup::{ipam_add, ipam_wants_link, link_and_ipam, remove_and_release};
pub use single::{add_interface, check_link};

/// The example of this crate's README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
