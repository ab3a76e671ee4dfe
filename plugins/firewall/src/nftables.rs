//! The nftables backend: the native one, in a table of its own (`inet cni_firewall`).
//!
//! What belongs to a container is one element of a set for each of its addresses, with its owner as comment; what belongs
//! to a bridge with a policy is one element, or two, with the network as comment. The rules never change, so a packet's
//! cost does not grow with the containers, nor does that of an ADD or DEL.

use std::collections::HashSet;
use std::net::IpAddr;

use cni_host::Owner;
use cni_nftables::{Batch, Element, Error as NftError, Nft, Set, Table, Value};
use cni_plugin::{Error, Result, log};

use crate::config::Policy;
use crate::ruleset::{BRIDGE_TABLE, BRIDGES, FORWARD, PODS4, PODS6, PORTS, TABLE, WITHIN};
use crate::ruleset::{has_all_rules, repair};
use crate::{Bridge, Pod};

/// Lets the container through, and brings its bridge to the network's policy, in one transaction.
pub(crate) fn add(pod: &Pod, bridge: Option<&Bridge<'_>>) -> Result<()> {
    let comment = pod.owner.comment();
    Nft::new().update("let the container through", None, |nft| {
        let mut batch = repair(nft, TABLE)?;
        for address in &pod.addresses {
            let (set, key) = place(*address);
            put(nft, &mut batch, set, key, &comment)?;
        }
        batch.append(policy(nft, pod, bridge)?);
        Ok(batch)
    })?;
    Ok(())
}

/// Brings a bridge to its network's policy; for a container that another backend lets through.
pub(crate) fn apply_policy(pod: &Pod, bridge: &Bridge<'_>) -> Result<()> {
    Nft::new().update("set the bridge's policy", None, |nft| {
        let mut batch = repair(nft, TABLE)?;
        batch.append(policy(nft, pod, Some(bridge))?);
        Ok(batch)
    })?;
    Ok(())
}

/// Removes the container's elements and nobody else's. Looks through the sets only when one is not where it should be, or
/// no address is known.
pub(crate) fn del(nft: &mut Nft, pod: &Pod) -> Result<()> {
    let places: Vec<_> = pod.addresses.iter().map(|address| place(*address)).collect();
    unless_unsupported(nft.update("remove the container's addresses", None, |nft| {
        let mut batch = Batch::default();
        let mut complete = !places.is_empty();
        for (set, key) in &places {
            complete &= take(nft, &mut batch, set, key, &pod.owner)?;
        }
        if !complete {
            return all_of(nft, |comment| pod.owner.owns(comment));
        }
        if let Some(port) = &pod.port {
            take(nft, &mut batch, &PORTS, &[interface(port)], &pod.owner)?;
        }
        Ok(batch)
    }))
}

/// Removes the elements of this network's attachments that are not among the valid ones.
pub(crate) fn gc(nft: &mut Nft, network: &str, valid: &HashSet<String>) -> Result<()> {
    let stale = |comment: &str| Owner::is_of_network(comment, network) && !valid.contains(comment);
    let op = "remove the addresses of containers that are gone";
    unless_unsupported(nft.update(op, None, |nft| all_of(nft, stale)))
}

/// Compares with what ADD made; an error says what differs.
pub(crate) fn check(pod: &Pod) -> Result<()> {
    let mut nft = Nft::new();
    expect_rules(&mut nft, TABLE)?;
    for address in &pod.addresses {
        let (set, key) = place(*address);
        let whose = match nft.element(set, &key)? {
            Some(found) if is_of(&found, &pod.owner) => continue,
            Some(found) => format!("it is that of {}", found.comment.as_deref().unwrap_or("nobody known")),
            None => "it is missing".to_owned(),
        };
        return Err(Error::failed(format!("{address} in set {} of table {TABLE_NAME}: {whose}", set.name)));
    }
    Ok(())
}

/// Whether the bridge has at least the network's policy; another network on it may ask for more.
pub(crate) fn check_policy(pod: &Pod, bridge: &Bridge<'_>) -> Result<()> {
    let mut nft = Nft::new();
    expect_rules(&mut nft, TABLE)?;
    let mut kept = nft.element(&BRIDGES, &[interface(bridge.name)])?.is_some();
    if bridge.policy == Policy::Isolated {
        kept &= nft.element(&WITHIN, &twice(bridge.name))?.is_none();
        if let Some(port) = &pod.port {
            expect_rules(&mut nft, BRIDGE_TABLE)?;
            kept &= nft.element(&PORTS, &[interface(port)])?.is_some();
        }
    }
    if kept {
        return Ok(());
    }
    let (bridge, policy) = (bridge.name, bridge.policy.as_str());
    Err(Error::failed(format!("bridge {bridge} does not have ingressPolicy {policy} in table {TABLE_NAME}")))
}

/// Whether this container was let through by this backend.
pub(crate) fn holds(pod: &Pod) -> bool {
    let mut nft = Nft::new();
    pod.addresses.iter().any(|address| {
        let (set, key) = place(*address);
        nft.element(set, &key).is_ok_and(|found| found.is_some_and(|found| is_of(&found, &pod.owner)))
    })
}

/// Whether the table, if it is there, has its rules. Fails when the kernel does not have what this backend needs.
pub(crate) fn is_whole() -> Result<bool> {
    let mut nft = Nft::new();
    nft.probe()?;
    Ok(!nft.has_chain(TABLE, FORWARD)? || has_all_rules(&mut nft, TABLE)?)
}

/// What is wrong when it is not.
pub(crate) const LOST: &str = "table inet cni_firewall has lost its rules: somebody flushed it";

/// The comment of the elements of a bridge that more than one network has set a policy for.
const SEVERAL: &str = "several networks";

/// As nft calls it.
const TABLE_NAME: &str = "inet cni_firewall";

/// What is to change for a policy. An element of a bridge says which network asked for it, and only that network takes it
/// back. Once several have asked, nobody does, and the strictest policy of them stays.
fn policy(nft: &mut Nft, pod: &Pod, bridge: Option<&Bridge<'_>>) -> cni_nftables::Result<Batch> {
    let mut batch = Batch::default();
    let Some(bridge) = bridge else { return Ok(batch) };
    isolate_port(nft, &mut batch, pod, bridge.policy)?;

    let own = network_comment(&pod.owner.network);
    let (key, pair) = (vec![interface(bridge.name)], twice(bridge.name));
    let held = nft.element(&BRIDGES, &key)?;
    let talking = nft.element(&WITHIN, &pair)?.is_some();
    let is_others = held.as_ref().is_some_and(|held| held.comment.as_ref() != Some(&own));
    let (comment, wanted) = match bridge.policy {
        Policy::Open if is_others => return Ok(batch),
        wanted if is_others => (SEVERAL, if talking { wanted } else { Policy::Isolated }),
        wanted => (own.as_str(), wanted),
    };
    if wanted != Policy::Open {
        put(nft, &mut batch, &BRIDGES, key, comment)?;
    } else if held.is_some() {
        batch.delete_element(&BRIDGES, key);
    }
    if wanted == Policy::SameBridge {
        put(nft, &mut batch, &WITHIN, pair, comment)?;
    } else if talking {
        batch.delete_element(&WITHIN, pair);
    }
    Ok(batch)
}

/// Keeps the container's port apart from others, or no longer.
fn isolate_port(nft: &mut Nft, batch: &mut Batch, pod: &Pod, policy: Policy) -> cni_nftables::Result<()> {
    let Some(port) = &pod.port else { return Ok(()) };
    let key = vec![interface(port)];
    if policy == Policy::Isolated {
        batch.append(repair(nft, BRIDGE_TABLE)?);
        return put(nft, batch, &PORTS, key, &pod.owner.comment());
    }
    // Whoever else it was isolated for has no such port any more.
    if nft.element(&PORTS, &key)?.is_some() {
        batch.delete_element(&PORTS, key);
    }
    Ok(())
}

/// Makes an element this owner's. The latest ADD wins: whoever had the address before has no interface with it any more.
fn put(
    nft: &mut Nft,
    batch: &mut Batch,
    set: &Set,
    key: Vec<Value>,
    comment: &str,
) -> cni_nftables::Result<()> {
    let found = nft.element(set, &key)?;
    if let Some(found) = &found {
        if found.comment.as_deref() == Some(comment) {
            return Ok(());
        }
        // Adding what is there would succeed and change nothing, its comment neither.
        batch.delete_element(set, key.clone());
    }
    batch.add_element(set, Element { key, data: Vec::new(), comment: Some(comment.to_owned()) });
    Ok(())
}

/// Removes an element if it is this owner's; whether it was there at all.
fn take(
    nft: &mut Nft,
    batch: &mut Batch,
    set: &Set,
    key: &[Value],
    owner: &Owner,
) -> cni_nftables::Result<bool> {
    let Some(found) = nft.element(set, key)? else { return Ok(false) };
    if is_of(&found, owner) {
        batch.remove_element(set, found);
    } else {
        log::info(format_args!(
            "left alone in set {}: {key:?}, which is another container's by now",
            set.name
        ));
    }
    Ok(true)
}

/// The deletion of every container's element with such a comment.
fn all_of(nft: &mut Nft, wanted: impl Fn(&str) -> bool) -> cni_nftables::Result<Batch> {
    let mut batch = Batch::default();
    for set in [&PODS4, &PODS6, &PORTS] {
        for element in nft.elements(set)? {
            if element.comment.as_deref().is_some_and(&wanted) {
                batch.remove_element(set, element);
            }
        }
    }
    Ok(batch)
}

fn expect_rules(nft: &mut Nft, table: Table) -> Result<()> {
    if has_all_rules(nft, table)? {
        return Ok(());
    }
    Err(Error::failed(LOST))
}

/// A kernel without nf_tables has nothing of ours.
fn unless_unsupported(done: std::result::Result<(), NftError>) -> Result<()> {
    match done {
        Err(error) if error.is_unsupported() => Ok(()),
        done => Ok(done?),
    }
}

/// The comment of a bridge's elements: that of no container, so that GC of containers passes it by.
fn network_comment(network: &str) -> String {
    let nobody = String::new;
    Owner { network: network.to_owned(), container_id: nobody(), ifname: nobody() }.comment()
}

fn is_of(element: &Element, owner: &Owner) -> bool {
    element.comment.as_deref().is_some_and(|comment| owner.owns(comment))
}

fn place(address: IpAddr) -> (&'static Set, Vec<Value>) {
    let set = if address.is_ipv4() { &PODS4 } else { &PODS6 };
    (set, vec![Value::Addr(address)])
}

fn interface(name: &str) -> Value {
    Value::IfName(name.to_owned())
}

fn twice(bridge: &str) -> Vec<Value> {
    vec![interface(bridge), interface(bridge)]
}
