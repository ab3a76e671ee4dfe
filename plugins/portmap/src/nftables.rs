//! The nftables backend. A mapping is one element of a map, with its owner as comment, so a packet's cost does not grow with
//! the containers. The latest ADD of a port wins: a pod that restarts before its old sandbox is deleted must get it.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use cni_host::Owner;
use cni_nftables::{Batch, Element, Nft, Set, Value, Verdict};
use cni_plugin::{Error, Result, log};
use ipnet::IpNet;

use crate::Pod;
use crate::config::{Config, Forward, Protocol};
use crate::ruleset::{
    Scope, TABLE, masquerade_chain, masquerade_map, postrouting, self_set, setup_masquerade,
};

/// What a container has in the table.
struct Wanted {
    /// In maps from the host's ports.
    mappings: Vec<(Set, Element, Forward)>,
    /// In the map and the set of masquerading.
    masquerade: Vec<(Set, Element)>,
    scopes: Vec<Scope>,
}

impl Wanted {
    fn new(config: &Config, pod: &Pod, forwards: &[Forward]) -> Result<Self> {
        let comment = Some(pod.owner.comment());
        let element = |key, data| Element { key, data, comment: comment.clone() };
        let mut wanted = Wanted { mappings: Vec::new(), masquerade: Vec::new(), scopes: Vec::new() };
        for address in &pod.addresses {
            let v6 = matches!(address, IpNet::V6(_));
            let of_family: Vec<_> = forwards.iter().filter(|forward| forward.pod.is_ipv6() == v6).collect();
            if of_family.is_empty() {
                continue;
            }
            let scope = Scope::new(v6, config.matches(v6)?);
            for forward in &of_family {
                let map = scope.map_of(forward.host.ip());
                let data = vec![Value::Addr(forward.pod.ip()), Value::Port(forward.pod.port())];
                wanted.mappings.push((map, element(key(forward), data), **forward));
            }
            wanted.scopes.push(scope);
            let Some(chain) = masquerade_chain(*address, config.masquerade) else { continue };
            let verdict = Value::Verdict(Verdict::Goto(chain.chain));
            for forward in &of_family {
                let key = masquerade_key(forward);
                // One for two addresses of the host that have the same port.
                if !wanted.masquerade.iter().any(|(_, element)| element.key == key) {
                    wanted.masquerade.push((masquerade_map(v6), element(key, vec![verdict.clone()])));
                }
            }
            if address.prefix_len() == address.max_prefix_len() {
                let key = vec![Value::Addr(address.addr()); 2];
                wanted.masquerade.push((self_set(v6), element(key, Vec::new())));
            }
        }
        Ok(wanted)
    }

    fn setup(&self, config: &Config, pod: &Pod) -> Batch {
        let mut batch = Batch::default();
        for scope in &self.scopes {
            scope.setup(&mut batch);
        }
        for address in &pod.addresses {
            setup_masquerade(&mut batch, *address, config.masquerade);
        }
        batch
    }
}

/// Maps the ports, all of them or none. A port that another container has goes to this one.
pub(crate) fn add(config: &Config, pod: &Pod, forwards: &[Forward]) -> Result<()> {
    let wanted = Wanted::new(config, pod, forwards)?;
    let setup = wanted.setup(config, pod);
    let mut displaced: Vec<(Forward, String)> = Vec::new();
    Nft::open()?.update("map the ports", Some(&setup), |nft| {
        let mut batch = Batch::default();
        displaced.clear();
        for (map, element, forward) in &wanted.mappings {
            let before = put(nft, &mut batch, map, element)?;
            displaced
                .extend(before.filter(|holder| !pod.owner.owns(holder)).map(|holder| (*forward, holder)));
        }
        for (set, element) in &wanted.masquerade {
            put(nft, &mut batch, set, element)?;
        }
        Ok(batch)
    })?;
    for (forward, holder) in displaced {
        log::warn(format_args!("{forward} was {}'s and is now {}'s", describe(&holder), pod.owner.comment()));
    }
    Ok(())
}

/// Adds an element, in the place of one with the same key; whose that was.
fn put(
    nft: &mut Nft,
    batch: &mut Batch,
    set: &Set,
    element: &Element,
) -> cni_nftables::Result<Option<String>> {
    let Some(found) = nft.element(set, &element.key)? else {
        batch.add_element(set, element.clone());
        return Ok(None);
    };
    if found != *element {
        batch.delete_element(set, element.key.clone()).add_element(set, element.clone());
    }
    Ok(Some(found.comment.unwrap_or_default()))
}

/// Compares with what ADD made; an error says what differs, and who has the port now.
pub(crate) fn check(config: &Config, pod: &Pod, forwards: &[Forward]) -> Result<()> {
    let wanted = Wanted::new(config, pod, forwards)?;
    let mut nft = Nft::open()?;
    for (map, element, forward) in &wanted.mappings {
        let problem = match nft.element(map, &element.key)? {
            Some(found) if found == *element => continue,
            None => "is not mapped".to_owned(),
            Some(Element { comment: Some(holder), .. }) if !pod.owner.owns(&holder) => {
                format!("is now {}'s", describe(&holder))
            }
            Some(_) => format!("does not lead to {}", forward.pod),
        };
        return Err(Error::failed(format!("{forward} {problem} (map {} of table {TABLE})", map.name)));
    }
    for (set, element) in &wanted.masquerade {
        if nft.element(set, &element.key)?.as_ref() != Some(element) {
            let pod = &element.key[0];
            return Err(Error::failed(format!("{} of table {TABLE} has nothing of {pod:?}", set.name)));
        }
    }
    let of_scope = wanted.scopes.iter().flat_map(Scope::chains);
    let of_masquerade = pod
        .addresses
        .iter()
        .filter_map(|address| {
            let chain = masquerade_chain(*address, config.masquerade)?;
            Some([chain, postrouting(matches!(address, IpNet::V6(_)))])
        })
        .flatten();
    for rules in of_scope.chain(of_masquerade) {
        if !rules.are_there(&mut nft)? {
            let chain = rules.chain;
            return Err(Error::failed(format!("chain {chain} of table {TABLE} does not have its rules")));
        }
    }
    Ok(())
}

/// Removes what carries this owner and nothing else, and adds the mappings among it to `gone`.
pub(crate) fn del(owner: &Owner, gone: &mut Vec<Forward>) -> Result<()> {
    remove("remove the container's mappings", |comment| owner.owns(comment), gone)
}

/// Removes what carries this network and none of the valid attachments.
pub(crate) fn gc(network: &str, valid: &HashSet<String>, gone: &mut Vec<Forward>) -> Result<()> {
    let stale = |comment: &str| Owner::is_of_network(comment, network) && !valid.contains(comment);
    remove("remove the mappings of containers that are gone", stale, gone)
}

/// Looks through the maps, since neither the ports nor the conditions of the ADD are sure to be told again.
fn remove(op: &str, is_meant: impl Fn(&str) -> bool, gone: &mut Vec<Forward>) -> Result<()> {
    let removed = Nft::open().and_then(|mut nft| {
        nft.update(op, None, |nft| {
            let mut batch = Batch::default();
            gone.clear();
            for (set, element) in elements(nft, &is_meant)? {
                gone.extend(forward(&element));
                batch.delete_element(&set, element.key);
            }
            Ok(batch)
        })
    });
    match removed {
        Err(error) if error.is_unsupported() => Ok(()),
        done => Ok(done?),
    }
}

/// The elements with a comment that is meant.
fn elements(nft: &mut Nft, is_meant: &impl Fn(&str) -> bool) -> cni_nftables::Result<Vec<(Set, Element)>> {
    let mut sets = Vec::new();
    let mut families = HashSet::new();
    for scope in Scope::all(nft)? {
        sets.extend([scope.host_ip(), scope.host_port()]);
        if families.insert(scope.is_v6()) {
            sets.extend([masquerade_map(scope.is_v6()), self_set(scope.is_v6())]);
        }
    }
    let mut found = Vec::new();
    for set in sets {
        let meant = |element: &Element| element.comment.as_deref().is_some_and(is_meant);
        found.extend(nft.elements(&set)?.into_iter().filter(meant).map(|element| (set, element)));
    }
    Ok(found)
}

/// Whether the kernel has what this backend needs.
pub(crate) fn is_usable() -> Result<()> {
    Nft::open()?.chains(TABLE)?;
    Ok(())
}

fn key(forward: &Forward) -> Vec<Value> {
    let port = [Value::Proto(forward.protocol.number()), Value::Port(forward.host.port())];
    match forward.host.ip() {
        any if any.is_unspecified() => port.to_vec(),
        host => [vec![Value::Addr(host)], port.to_vec()].concat(),
    }
}

fn masquerade_key(forward: &Forward) -> Vec<Value> {
    let Forward { protocol, host, pod } = forward;
    vec![Value::Addr(pod.ip()), Value::Proto(protocol.number()), Value::Port(host.port())]
}

/// Reads the mapping that an element is; `None` for those of masquerading.
fn forward(element: &Element) -> Option<Forward> {
    let [Value::Addr(pod), Value::Port(pod_port)] = element.data[..] else { return None };
    let any: IpAddr = if pod.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let (host, protocol, port) = match element.key[..] {
        [Value::Proto(protocol), Value::Port(port)] => (any, protocol, port),
        [Value::Addr(host), Value::Proto(protocol), Value::Port(port)] => (host, protocol, port),
        _ => return None,
    };
    Some(Forward {
        protocol: Protocol::of_number(protocol)?,
        host: SocketAddr::new(host, port),
        pod: SocketAddr::new(pod, pod_port),
    })
}

/// Whose an element is, for people.
fn describe(comment: &str) -> String {
    match Owner::from_alias(comment) {
        Some(Owner { network, container_id, ifname }) => {
            format!("container {container_id} ({ifname}, network {network})")
        }
        None => format!("{comment:?}"),
    }
}
