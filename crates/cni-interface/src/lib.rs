//! What plugins that make an interface in a container share: between the request ([`cni_plugin`]) and the host
//! ([`cni_host`]), neither of which knows the other.
//!
//! The order of an ADD is the same for all of them: the interface's name is free, the link is made, IPAM answers (at the same
//! time if it does not look at the link), addresses and routes are set, the result is told. What kind of link it is stays the
//! plugin's own affair.

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
pub use outcome::{absent_is_fine, all};
pub use owner::{owner, valid_owners};
pub use pair::{collect_pairs, delete_attachment, delete_pair, near_end, pair_and_ipam};
pub use pair::{expect_near_end, far_end, far_end_interface};
pub use result::{inside, on_host};
pub use setup::{collect_and_release, iface_config, lock_or_go_on, open_inside};
pub use setup::{ipam_add, ipam_wants_link, link_and_ipam, remove_and_release};
pub use single::{add_interface, check_link};
