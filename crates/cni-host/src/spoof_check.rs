//! MAC spoof check (`macspoofchk`): a container's port of a bridge takes only frames that carry the container's own address.
//!
//! An element for each port, so that neither a frame nor a change costs more as containers grow:
//!
//! ```text
//! table bridge cni_spoofcheck {
//!     set ports { type ifname; elements = { "veth1a2b..." comment "cni:net:c1:eth0" } }
//!     set allowed { type ifname . ether_addr
//!         elements = { "veth1a2b..." . 02:42:0a:58:00:05 comment "cni:net:c1:eth0" } }
//!     chain prerouting { type filter hook prerouting priority -300; policy accept;
//!         iifname . ether saddr @allowed return
//!         iifname @ports drop }
//! }
//! ```
//!
//! The priority is the reference's. A port's name is [`Owner::veth_name`], so both elements are found without a search as
//! long as the address is known. What the reference made, rules and chains in `bridge nat`, is removed by DEL too; GC
//! leaves it alone, since it does not tell its network.

use cni_netlink::MacAddr;
use cni_nftables::{Batch, Chain, DataType, Element, Family, Hook, Nft, Op, Policy, Selector, Set};
use cni_nftables::{Statement, Table, Value, Verdict};

use crate::masquerade::unless_unsupported;
use crate::{Error, Owner, Result};

const TABLE: Table = Table::new(Family::Bridge, "cni_spoofcheck");
static PORTS: Set = Set::new(TABLE, "ports", &[DataType::IfName]);
static ALLOWED: Set = Set::new(TABLE, "allowed", &[DataType::IfName, DataType::EtherAddr]);
const PREROUTING: &str = "prerouting";
const PRIORITY: i32 = -300;
/// How many rules it has.
const RULES: usize = 2;

/// Where the reference's rules are.
const THEIR_TABLE: Table = Table::new(Family::Bridge, "nat");
const THEIR_PREROUTING: &str = "PREROUTING";

/// The check that a container's port takes frames of its own MAC address only (`macspoofchk`).
#[derive(Clone, Copy, Debug)]
pub struct SpoofCheck;

impl SpoofCheck {
    /// Lets the owner's port, [`Owner::veth_name`], take frames of this address only. The latest address counts.
    pub fn add(owner: &Owner, mac: MacAddr) -> Result<()> {
        let [port, pair] = elements(owner, mac);
        let mut nft = Nft::new();
        let added = nft.update("check for spoofed MAC addresses", None, |nft| {
            // Somebody may have flushed the table, which leaves its elements and takes the rules that look at them.
            let is_whole = nft.rules(&TABLE, PREROUTING)?.len() >= RULES;
            let mut batch = if is_whole { Batch::default() } else { setup() };
            if nft.element(&PORTS, &port.key)?.is_some() {
                // Left by an ADD that was never undone: another address must not stay allowed.
                for old in of_port(nft, &port)? {
                    batch.delete_element(&ALLOWED, old.key);
                }
                batch.delete_element(&PORTS, port.key.clone());
            }
            batch.add_element(&ALLOWED, pair.clone()).add_element(&PORTS, port.clone());
            Ok(batch)
        });
        added
            .map_err(|error| if error.is_unsupported() { Error::NoBridgeFilter(error) } else { error.into() })
    }

    /// Removes the owner's elements, and what the reference made for this container. With the address, as the result has it,
    /// no search is needed. What is not there is no failure.
    pub fn del(owner: &Owner, mac: Option<MacAddr>) -> Result<()> {
        let plan = |nft: &mut Nft| SpoofCheck::plan_del(nft, owner, mac);
        unless_unsupported(Nft::new().update("stop checking for spoofed MAC addresses", None, plan))
    }

    pub(crate) fn plan_del(
        nft: &mut Nft,
        owner: &Owner,
        mac: Option<MacAddr>,
    ) -> cni_nftables::Result<Batch> {
        let mut batch = Batch::default();
        let port = port_element(owner);
        if let Some(found) = nft.element(&PORTS, &port.key)? {
            batch.remove_element(&PORTS, found);
            let known = match mac {
                Some(mac) => nft.element(&ALLOWED, &elements(owner, mac)[1].key)?,
                None => None,
            };
            let pairs = if let Some(pair) = known { vec![pair] } else { of_port(nft, &port)? };
            for pair in pairs {
                batch.remove_element(&ALLOWED, pair);
            }
        }
        batch.append(delete_theirs(nft, owner)?);
        Ok(batch)
    }

    /// Compares with what [`SpoofCheck::add`] made, or the reference.
    pub fn check(owner: &Owner, mac: MacAddr) -> Result<()> {
        let mut nft = Nft::new();
        let [port, pair] = elements(owner, mac);
        if nft.element(&PORTS, &port.key)?.is_none() {
            if !nft.rules(&THEIR_TABLE, &their_chains(owner)[0])?.is_empty() {
                return Ok(());
            }
            return mismatch(owner, &format!("it is not in set ports of table {TABLE}"));
        }
        if nft.element(&ALLOWED, &pair.key)?.is_none() {
            return mismatch(owner, &format!("{mac} is not allowed there"));
        }
        if nft.rules(&TABLE, PREROUTING)?.len() < RULES {
            return mismatch(owner, &format!("chain {PREROUTING} of table {TABLE} does not have its rules"));
        }
        Ok(())
    }

    /// Removes the elements of the network's attachments that are not among the valid ones.
    pub fn gc(network: &str, valid: &[Owner]) -> Result<()> {
        let valid = Owner::tags(valid);
        let plan = |nft: &mut Nft| {
            let mut batch = Batch::default();
            for set in [&PORTS, &ALLOWED] {
                for found in nft.elements(set)? {
                    let comment = found.comment.as_deref().unwrap_or_default();
                    if Owner::is_of_network(comment, network) && !valid.contains(comment) {
                        batch.delete_element(set, found.key);
                    }
                }
            }
            Ok(batch)
        };
        unless_unsupported(Nft::new().update("collect spoof checks", None, plan))
    }

    /// Whether an ADD could check, and whether those ports are checked that were to be: fails where somebody has flushed the table.
    pub fn status() -> Result<()> {
        let mut nft = Nft::new();
        nft.probe()?;
        if nft.has_chain(&TABLE, PREROUTING)? && nft.rules(&TABLE, PREROUTING)?.len() < RULES {
            return Err(Error::Mismatch(format!(
                "chain {PREROUTING} of table {TABLE} does not have its rules"
            )));
        }
        Ok(())
    }
}

/// What does not belong to single ports. Harmless when done again.
fn setup() -> Batch {
    let mut batch = Batch::default();
    let base = Chain { name: PREROUTING, base: Some((Hook::FilterPrerouting, PRIORITY, Policy::Accept)) };
    batch.add_table(&TABLE).add_set(&PORTS).add_set(&ALLOWED);
    batch.add_chain(&TABLE, &base).flush_chain(&TABLE, PREROUTING);
    let in_set = |key: &[Selector], set: &Set, verdict| {
        let found = Statement::InSet { key: key.to_vec(), op: Op::Eq, set: set.name.to_string() };
        vec![found, Statement::Verdict(verdict)]
    };
    let pair = [Selector::IifName, Selector::EtherSaddr];
    batch.add_rule(&TABLE, PREROUTING, in_set(&pair, &ALLOWED, Verdict::Return));
    batch.add_rule(&TABLE, PREROUTING, in_set(&pair[..1], &PORTS, Verdict::Drop));
    batch
}

fn port_element(owner: &Owner) -> Element {
    Element { key: vec![Value::IfName(owner.veth_name())], data: Vec::new(), comment: Some(owner.comment()) }
}

/// The port, and the pair of port and address.
fn elements(owner: &Owner, mac: MacAddr) -> [Element; 2] {
    let port = port_element(owner);
    let mut pair = port.clone();
    pair.key.push(Value::Mac(mac.0));
    [port, pair]
}

/// All addresses that are allowed for a port; reads the whole set.
fn of_port(nft: &mut Nft, port: &Element) -> cni_nftables::Result<Vec<Element>> {
    let mut pairs = nft.elements(&ALLOWED)?;
    pairs.retain(|pair| pair.key.first() == port.key.first());
    Ok(pairs)
}

fn mismatch(owner: &Owner, why: &str) -> Result<()> {
    Err(Error::Mismatch(format!(
        "port {} is not checked for spoofed MAC addresses: {why}",
        owner.veth_name()
    )))
}

/// The chain that PREROUTING's rule leads to, and the one that this leads to in turn (plugins v1.9.1,
/// pkg/link/spoofcheck.go, with `<container ID>-<ifname>` as its refID).
fn their_chains(owner: &Owner) -> [String; 2] {
    let chain = format!("cni-br-iface-{}-{}", owner.container_id, owner.ifname);
    let mac_chain = format!("{chain}-mac");
    [chain, mac_chain]
}

fn delete_theirs(nft: &mut Nft, owner: &Owner) -> cni_nftables::Result<Batch> {
    let mut batch = Batch::default();
    let chains = their_chains(owner);
    // Told by one lookup: theirs are never empty, unless another DEL is in the middle of its two steps.
    if nft.rules(&THEIR_TABLE, &chains[0])?.is_empty() {
        return Ok(batch);
    }
    let comment = format!("macspoofchk-{}-{}", owner.container_id, owner.ifname);
    for rule in nft.rules(&THEIR_TABLE, THEIR_PREROUTING)? {
        if rule.comment.as_deref() == Some(&comment) {
            batch.delete_rule(&THEIR_TABLE, THEIR_PREROUTING, rule.handle);
        }
    }
    for chain in &chains {
        batch.flush_chain(&THEIR_TABLE, chain).delete_chain(&THEIR_TABLE, chain);
    }
    Ok(batch)
}
