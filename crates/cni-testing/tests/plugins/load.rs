//! Many attachments at once: sixteen processes at a time add and delete in random order, with repeats and with DELs that
//! come when the address is another's already. Nothing is ever held twice, lost or left.
//!
//! The order is drawn from a seed, which a failure prints; `CNI_TESTING_SEED` runs it again. Which process is the faster is
//! the kernel's matter, so that a seed need not fail each time.

pub(crate) mod node;
pub(crate) mod work;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::load::node::{Kind, Node};
use crate::load::work::Work;

/// How many processes run at a time.
pub(crate) const WORKERS: usize = 16;

/// Runs a whole load, looking at all there is after each of `rounds`.
fn load(backend: &'static str, kinds: &'static [Kind], attachments: usize, rounds: usize) {
    let seed = Seed::new();
    let node = Node::new(backend, kinds);
    node.warm_up();
    let before = node.left();
    let work = Work::new(&node, attachments, seed.0);
    for round in 1..=rounds {
        work.add_up_to(attachments * round / rounds);
        work.verify();
    }
    work.delete_all();
    work.verify();
    node.left().assert_same(&before);
}

#[test]
fn sixteen_at_a_time_share_addresses_and_ports_by_nftables() {
    load("nftables", &[Kind::Ours], 500, 4);
}

#[test]
#[ignore = "needs iptables: add -- --ignored load"]
fn sixteen_at_a_time_share_addresses_and_ports_by_iptables() {
    load("iptables", &[Kind::Ours], 100, 2);
}

#[test]
#[ignore = "needs the reference's plugins in $CNI_REFERENCE_DIR: add -- --ignored load"]
fn sixteen_at_a_time_share_one_data_folder_with_the_reference() {
    load("nftables", &[Kind::Ours, Kind::TheirIpam, Kind::TheirBridge], 160, 2);
}

/// Tells itself when the test fails.
struct Seed(u64);

impl Seed {
    fn new() -> Self {
        #[allow(clippy::disallowed_methods, reason = "a setting of the tests themselves, not CNI's")]
        let chosen = std::env::var("CNI_TESTING_SEED").ok();
        let chosen = chosen.map(|seed| seed.parse().expect("CNI_TESTING_SEED is a number"));
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        Seed(chosen.unwrap_or_else(clock))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("once more with the same order: CNI_TESTING_SEED={}", self.0);
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ bits >> 31) % limit as u64) as usize
    }
}
