//! The nftables backend: the native one, in a table of its own (`inet cni_firewall`).
//!
//! What belongs to a container is one element of a set for each of its addresses, and one that counts them, with its owner as
//! comment; what belongs to a bridge with a policy is one element, or two, with the network as comment. The rules never change,
//! so a packet's cost does not grow with the containers, nor does that of an ADD or DEL.

use std::collections::HashSet;
use std::net::IpAddr;

use cni_host::Owner;
use cni_nftables::{Batch, Element, Error as NftError, Nft, Set, Table, Value};
use cni_plugin::{Error, Result, log};

use crate::config::Policy;
use crate::ruleset::{BRIDGE_TABLE, BRIDGES, FORWARD, OWNERS, PODS4, PODS6, PORTS, TABLE, WITHIN};
use crate::ruleset::{has_rules, owner_key, repair};
use crate::{Bridge, Pod};

/// An element's set and key.
type Place = (&'static Set, Vec<Value>);

/// Lets the container through, and brings its bridge to the network's policy, in one transaction.
pub(crate) fn add(pod: &Pod, bridge: Option<&Bridge<'_>>) -> Result<()> {
    change("let the container through", pod, &pod.addresses, bridge)
}

/// Brings a bridge to its network's policy; for a container that another backend lets through.
pub(crate) fn apply_policy(pod: &Pod, bridge: &Bridge<'_>) -> Result<()> {
    change("set the bridge's policy", pod, &[], Some(bridge))
}

/// Gives the container elements for these addresses and, where it is isolated, its port, and takes what else it has from an
/// ADD before.
fn change(op: &str, pod: &Pod, addresses: &[IpAddr], bridge: Option<&Bridge<'_>>) -> Result<()> {
    let isolated = pod.port.as_deref().filter(|_| bridge.is_some_and(|b| b.policy == Policy::Isolated));
    let freed = pod.port.as_deref().filter(|_| bridge.is_some() && isolated.is_none()).map(port_place);
    let wanted: Vec<Place> = addresses.iter().copied().map(place).chain(isolated.map(port_place)).collect();
    let comment = pod.owner.comment();
    Nft::new().update(op, None, |nft| {
        let mut batch = repair(nft, &TABLE)?;
        if isolated.is_some() {
            batch.append(repair(nft, &BRIDGE_TABLE)?);
        }
        let mut held = 0;
        for (set, key) in &wanted {
            held += usize::from(put(nft, &mut batch, set, element(key.clone(), &comment))?);
        }
        if let Some((set, key)) = &freed
            && nft.element(set, key)?.is_some()
        {
            // Whoever else it was isolated for has no such port any more.
            batch.delete_element(set, key.clone());
        }
        let before = entry(nft, &pod.owner)?;
        if held != before.as_ref().map_or(0, |(count, _)| *count) {
            for (set, found) in all_of(nft, |comment| pod.owner.owns(comment))? {
                let is_at = |place: &Place| *place.0 == *set && place.1 == found.key;
                if *set != OWNERS && !wanted.iter().chain(&freed).any(is_at) {
                    batch.delete_element(set, found.key);
                }
            }
        }
        if !wanted.is_empty() {
            let count = Value::Mark(u32::try_from(wanted.len()).unwrap_or(u32::MAX));
            let entry = Element { data: vec![count], ..element(owner_key(&pod.owner), &comment) };
            put(nft, &mut batch, &OWNERS, entry)?;
        } else if let Some((_, entry)) = before {
            batch.delete_element(&OWNERS, entry.key);
        }
        batch.append(policy(nft, pod, bridge)?);
        Ok(batch)
    })?;
    Ok(())
}

/// Removes the container's elements and nobody else's. Looks through the sets only when the request does not tell of all that
/// it has, or an earlier release added it, which did not count.
pub(crate) fn del(nft: &mut Nft, pod: &Pod) -> Result<()> {
    let places: Vec<Place> =
        pod.addresses.iter().copied().map(place).chain(pod.port.as_deref().map(port_place)).collect();
    unless_unsupported(nft.update("remove the container's addresses", None, |nft| {
        let mut own = Vec::new();
        for (set, key) in &places {
            match nft.element(set, key)? {
                Some(found) if is_of(&found, &pod.owner) => own.push((*set, found)),
                Some(_) => log::info(format_args!(
                    "left alone in set {}: {key:?}, which is another container's by now",
                    set.name
                )),
                None => {}
            }
        }
        match entry(nft, &pod.owner)? {
            Some((count, entry)) if count == own.len() => own.push((&OWNERS, entry)),
            _ => own = all_of(nft, |comment| pod.owner.owns(comment))?,
        }
        Ok(removal(own))
    }))
}

/// Removes the elements of this network's attachments that are not among the valid ones.
pub(crate) fn gc(nft: &mut Nft, network: &str, valid: &HashSet<String>) -> Result<()> {
    let stale = |comment: &str| Owner::is_of_network(comment, network) && !valid.contains(comment);
    let op = "remove the addresses of containers that are gone";
    unless_unsupported(nft.update(op, None, |nft| Ok(removal(all_of(nft, stale)?))))
}

/// Compares with what ADD made; an error says what differs.
pub(crate) fn check(pod: &Pod) -> Result<()> {
    let mut nft = Nft::new();
    expect_rules(&mut nft, &TABLE)?;
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
    expect_rules(&mut nft, &TABLE)?;
    let mut kept = nft.element(&BRIDGES, &[interface(bridge.name)])?.is_some();
    if bridge.policy == Policy::Isolated {
        kept &= nft.element(&WITHIN, &twice(bridge.name))?.is_none();
        if let Some(port) = &pod.port {
            expect_rules(&mut nft, &BRIDGE_TABLE)?;
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
    Ok(!nft.has_chain(&TABLE, FORWARD)? || has_rules(&mut nft, &TABLE)?)
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
        put(nft, &mut batch, &BRIDGES, element(key, comment))?;
    } else if held.is_some() {
        batch.delete_element(&BRIDGES, key);
    }
    if wanted == Policy::SameBridge {
        put(nft, &mut batch, &WITHIN, element(pair, comment))?;
    } else if talking {
        batch.delete_element(&WITHIN, pair);
    }
    Ok(batch)
}

/// Puts an element in the place of one with the same key; whether it was there. The latest ADD wins: whoever had the address
/// before has no interface with it any more.
fn put(nft: &mut Nft, batch: &mut Batch, set: &Set, wanted: Element) -> cni_nftables::Result<bool> {
    let found = nft.element(set, &wanted.key)?;
    if found.as_ref() == Some(&wanted) {
        return Ok(true);
    }
    if found.is_some() {
        // Adding what is there would succeed and change nothing, its comment neither.
        batch.delete_element(set, wanted.key.clone());
    }
    batch.add_element(set, wanted);
    Ok(false)
}

/// The owner's entry in [`OWNERS`], and what it counts.
fn entry(nft: &mut Nft, owner: &Owner) -> cni_nftables::Result<Option<(usize, Element)>> {
    let found = nft.element(&OWNERS, &owner_key(owner))?.filter(|found| is_of(found, owner));
    Ok(found.and_then(|found| match found.data[..] {
        [Value::Mark(count)] => Some((usize::try_from(count).ok()?, found)),
        _ => None,
    }))
}

/// Every container's elements with such a comment.
fn all_of(
    nft: &mut Nft,
    wanted: impl Fn(&str) -> bool,
) -> cni_nftables::Result<Vec<(&'static Set, Element)>> {
    let mut all = Vec::new();
    for set in [&PODS4, &PODS6, &PORTS, &OWNERS] {
        let found = nft.elements(set)?.into_iter();
        all.extend(
            found.filter(|found| found.comment.as_deref().is_some_and(&wanted)).map(|found| (set, found)),
        );
    }
    Ok(all)
}

fn removal(elements: Vec<(&Set, Element)>) -> Batch {
    let mut batch = Batch::default();
    for (set, element) in elements {
        batch.remove_element(set, element);
    }
    batch
}

fn element(key: Vec<Value>, comment: &str) -> Element {
    Element { key, data: Vec::new(), comment: Some(comment.to_owned()) }
}

fn expect_rules(nft: &mut Nft, table: &Table) -> Result<()> {
    if has_rules(nft, table)? {
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

fn place(address: IpAddr) -> Place {
    let set = if address.is_ipv4() { &PODS4 } else { &PODS6 };
    (set, vec![Value::Addr(address)])
}

fn port_place(port: &str) -> Place {
    (&PORTS, vec![interface(port)])
}

fn interface(name: &str) -> Value {
    Value::IfName(name.to_owned())
}

fn twice(bridge: &str) -> Vec<Value> {
    vec![interface(bridge), interface(bridge)]
}
