//! The nftables backend. A mapping is one element of a map, with its owner as comment, so a packet's cost does not grow with
//! the containers. The latest ADD of a port wins: a pod that restarts before its old sandbox is deleted must get it.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use cni_host::Owner;
use cni_nftables::{Batch, Element, Nft, Set, Value};
use cni_plugin::{Error, Result, log};
use ipnet::IpNet;

use crate::Pod;
use crate::config::{Config, Forward, Protocol};
use crate::holder::{Claim, Held, describe};
use crate::leftovers;
use crate::ruleset::{Group, Rules, Scope, TABLE, martians, owner_key, owners, self_set, setup};

/// What a container has in the table.
pub(crate) struct Wanted {
    /// In maps from the host's ports.
    mappings: Vec<(Set, Element, Forward)>,
    /// In the sets of masquerading.
    masquerade: Vec<(Set, Element)>,
    /// In [`owners`].
    entry: Element,
    scopes: Vec<Scope>,
    groups: Vec<Group>,
}

impl Wanted {
    pub(crate) fn new(config: &Config, pod: &Pod, forwards: &[Forward]) -> Result<Self> {
        let comment = pod.owner.comment();
        let element = |key, data| Element { key, data, comment: Some(comment.clone()) };
        let (mut mappings, mut masquerade) = (Vec::new(), Vec::new());
        let (mut scopes, mut groups) = (Vec::new(), Vec::new());
        for address in &pod.addresses {
            let v6 = matches!(address, IpNet::V6(_));
            let of_family: Vec<_> = forwards.iter().filter(|forward| forward.pod.is_ipv6() == v6).collect();
            if of_family.is_empty() {
                continue;
            }
            let scope = Scope::new(v6, config.matches(v6)?);
            for forward in &of_family {
                let data = vec![Value::Addr(forward.pod.ip()), Value::Port(forward.pod.port())];
                mappings.push((scope.map_of(forward.host.ip()), element(key(forward), data), **forward));
            }
            scopes.push(scope);
            let Some(group) = Group::new(*address, config.masquerade) else { continue };
            // One for two addresses of the host that have the same port.
            let mut ports = HashSet::new();
            for forward in of_family {
                if ports.insert((forward.protocol, forward.host.port())) {
                    masquerade.push((group.set(), element(masquerade_key(forward), Vec::new())));
                }
            }
            if address.prefix_len() == address.max_prefix_len() {
                let key = vec![Value::Addr(address.addr()); 2];
                masquerade.push((self_set(v6), element(key, Vec::new())));
            }
            groups.push(group);
        }
        let count = u32::try_from(mappings.len() + masquerade.len()).unwrap_or(u32::MAX);
        let entry = element(owner_key(&pod.owner), vec![Value::Mark(count)]);
        Ok(Wanted { mappings, masquerade, entry, scopes, groups })
    }

    /// All elements but the entry.
    fn elements(&self) -> impl Iterator<Item = (&Set, &Element)> {
        let mappings = self.mappings.iter().map(|(set, element, _)| (set, element));
        mappings.chain(self.masquerade.iter().map(|(set, element)| (set, element)))
    }

    fn has_key(&self, set: &Set, key: &[Value]) -> bool {
        self.elements().any(|(of, wanted)| of == set && wanted.key == key)
    }

    /// The conditions that its mappings have.
    pub(crate) fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    fn chains(&self) -> impl Iterator<Item = Rules> {
        self.scopes.iter().flat_map(Scope::chains).chain(self.groups.iter().flat_map(Group::chains))
    }

    /// Makes whatever all containers share and is missing, be it because a table was flushed.
    fn setup(&self, nft: &mut Nft) -> cni_nftables::Result<Batch> {
        let mut batch = Batch::default();
        for rules in self.chains() {
            if !rules.are_there(nft)? {
                setup(&self.scopes, &self.groups, &mut batch);
                break;
            }
        }
        Ok(batch)
    }
}

/// Maps the ports, all of them or none. A port that another container of the network has goes to this one, and so does one whose
/// holder in another network is gone.
pub(crate) fn add(nft: &mut Nft, wanted: &Wanted, claim: &Claim<'_>) -> Result<()> {
    let owner = claim.owner;
    let mut displaced: Vec<(Forward, String)> = Vec::new();
    claim.update(nft, "map the ports", |nft, gone| {
        let mut batch = wanted.setup(nft)?;
        displaced.clear();
        if nft.element(&owners(), &wanted.entry.key)?.is_some() {
            // An ADD before this one, whose ports may have been others.
            for (set, element) in elements(nft, &|comment| owner.owns(comment))? {
                if set != owners() && !wanted.has_key(&set, &element.key) {
                    batch.delete_element(&set, element.key);
                }
            }
        }
        leftovers::displace(nft, &mut batch, claim.forwards, &mut displaced)?;
        let elsewhere = displaced_by_new_conditions(nft, wanted, owner)?;
        // What has the key of a wanted one is told of below.
        let gone = gone.into_iter().filter(|held| !wanted.has_key(&held.set, &held.element.key));
        for Held { set, element, forward } in elsewhere.into_iter().chain(gone) {
            displaced.push((forward, element.comment.unwrap_or_default()));
            batch.delete_element(&set, element.key);
        }
        for (map, element, forward) in &wanted.mappings {
            let before = put(nft, &mut batch, map, element)?;
            displaced.extend(before.filter(|holder| !owner.owns(holder)).map(|holder| (*forward, holder)));
        }
        for (set, element) in &wanted.masquerade {
            put(nft, &mut batch, set, element)?;
        }
        put(nft, &mut batch, &owners(), &wanted.entry)?;
        Ok(batch)
    })?;
    for (forward, holder) in displaced {
        tell_displaced(&forward, &describe(&holder), owner);
    }
    Ok(())
}

/// Puts into the log that a port has changed hands.
pub(crate) fn tell_displaced(forward: &Forward, holder: &str, owner: &Owner) {
    log::warn(format_args!("{forward} was {holder}'s and is now {}'s", describe(&owner.comment())));
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

/// What other containers of this network have of the wanted ports under other conditions: those of the configuration before it
/// was changed, which would come first for packets that both are for.
fn displaced_by_new_conditions(
    nft: &mut Nft,
    wanted: &Wanted,
    owner: &Owner,
) -> cni_nftables::Result<Vec<Held>> {
    let mut found = Vec::new();
    for scope in Scope::found(nft)? {
        if wanted.scopes.iter().any(|wanted| wanted.is_named_like(&scope)) {
            continue;
        }
        for (_, element, forward) in &wanted.mappings {
            if forward.host.is_ipv6() != scope.is_v6() {
                continue;
            }
            let set = scope.map_of(forward.host.ip());
            let Some(element) = nft.element(&set, &element.key)? else { continue };
            let comment = element.comment.as_deref().unwrap_or_default();
            if Owner::is_of_network(comment, &owner.network) && !owner.owns(comment) {
                found.push(Held { set, element, forward: *forward });
            }
        }
    }
    Ok(found)
}

/// Compares with what ADD made; an error says what differs, and who has the port now.
pub(crate) fn check(nft: &mut Nft, wanted: &Wanted, owner: &Owner) -> Result<()> {
    for (map, element, forward) in &wanted.mappings {
        let problem = match nft.element(map, &element.key)? {
            Some(found) if found == *element => continue,
            None => "is not mapped".to_owned(),
            Some(Element { comment: Some(holder), .. }) if !owner.owns(&holder) => {
                format!("is now {}'s", describe(&holder))
            }
            Some(_) => format!("does not lead to {}", forward.pod),
        };
        return Err(Error::failed(format!("{forward} {problem} (map {} of table {TABLE})", map.name)));
    }
    let entry = (owners(), wanted.entry.clone());
    for (set, element) in wanted.masquerade.iter().chain([&entry]) {
        if nft.element(set, &element.key)?.as_ref() != Some(element) {
            let owner = describe(&owner.comment());
            return Err(Error::failed(format!(
                "{} of table {TABLE} does not have what is {owner}'s",
                set.name
            )));
        }
    }
    for rules in wanted.chains() {
        if !rules.are_there(nft)? {
            let chain = &rules.chain;
            return Err(Error::failed(format!("chain {chain} of table {TABLE} does not have its rules")));
        }
    }
    Ok(())
}

/// Fails when a mapping of this table has taken a port from a container that iptables maps.
pub(crate) fn expect_undisplaced(nft: &mut Nft, owner: &Owner, forwards: &[Forward]) -> Result<()> {
    for forward in forwards {
        let map = Scope::new(forward.host.is_ipv6(), Vec::new()).map_of(forward.host.ip());
        let found = match nft.element(&map, &key(forward)) {
            Err(error) if error.is_unsupported() => return Ok(()),
            found => found?,
        };
        let holder = found.and_then(|found| found.comment).filter(|holder| !owner.owns(holder));
        if let Some(holder) = holder {
            let holder = describe(&holder);
            return Err(Error::failed(format!(
                "{forward} is now {holder}'s (map {} of table {TABLE})",
                map.name
            )));
        }
    }
    Ok(())
}

/// Whether an element of this table, whoever's it is, leads from the same port to the same place.
pub(crate) fn maps(nft: &mut Nft, wanted: &Forward) -> Result<bool> {
    for scope in Scope::found(nft)?.into_iter().filter(|scope| scope.is_v6() == wanted.host.is_ipv6()) {
        let found = nft.element(&scope.map_of(wanted.host.ip()), &key(wanted))?;
        if found.as_ref().and_then(forward).as_ref() == Some(wanted) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// All mappings to addresses of IPv4.
pub(crate) fn mappings(nft: &mut Nft) -> Result<Vec<Forward>> {
    let mut found = Vec::new();
    for scope in Scope::found(nft)?.iter().filter(|scope| !scope.is_v6()) {
        for map in [scope.host_ip(), scope.host_port()] {
            // What is about to expire has no comment any more.
            let there = nft.elements(&map)?.into_iter().filter(|element| element.comment.is_some());
            found.extend(there.filter_map(|element| forward(&element)));
        }
    }
    Ok(found)
}

/// Removes what carries this owner and nothing else, and adds the mappings among it to `gone`. When what the request tells
/// of the ADD is all that there is, nothing else is looked at, so that it costs the same however many containers there are.
pub(crate) fn del(
    nft: &mut Nft,
    owner: &Owner,
    told: Option<&Wanted>,
    gone: &mut Vec<Forward>,
) -> Result<()> {
    remove(nft, "remove the container's mappings", gone, |nft| {
        let owned = |comment: &str| owner.owns(comment);
        let mut found = Vec::new();
        for (set, element) in told.iter().flat_map(|told| told.elements()) {
            let there = nft.element(set, &element.key)?;
            found.extend(there.filter(|there| is_meant(there, &owned)).map(|there| (set.clone(), there)));
        }
        let count = Value::Mark(u32::try_from(found.len()).unwrap_or(u32::MAX));
        match nft.element(&owners(), &owner_key(owner))? {
            Some(entry) if is_meant(&entry, &owned) && entry.data == [count] => {
                found.push((owners(), entry));
                Ok(found)
            }
            None if told.is_some() && found.is_empty() => Ok(found),
            _ => elements(nft, &owned),
        }
    })
}

/// Removes what carries this network and none of the valid attachments.
pub(crate) fn gc(
    nft: &mut Nft,
    network: &str,
    valid: &HashSet<String>,
    gone: &mut Vec<Forward>,
) -> Result<()> {
    let stale = |comment: &str| Owner::is_of_network(comment, network) && !valid.contains(comment);
    remove(nft, "remove the mappings of containers that are gone", gone, |nft| elements(nft, &stale))
}

fn remove(
    nft: &mut Nft,
    op: &str,
    gone: &mut Vec<Forward>,
    meant: impl Fn(&mut Nft) -> cni_nftables::Result<Vec<(Set, Element)>>,
) -> Result<()> {
    let removed = nft.update(op, None, |nft| {
        let mut batch = Batch::default();
        // What an earlier try has found stays: where the kernel knows no expiry, its mappings of UDP are deleted by now.
        for (set, element) in meant(nft)? {
            let mapping = forward(&element);
            gone.extend(mapping);
            if mapping.is_some_and(|mapping| mapping.protocol == Protocol::Udp) {
                // Not with the kernel's next tick: until then a client's next packet would bring a flow back that is
                // about to be forgotten.
                batch.delete_element(&set, element.key);
            } else {
                batch.remove_element(&set, element);
            }
        }
        Ok(batch)
    });
    match removed {
        Err(error) if error.is_unsupported() => Ok(()),
        done => Ok(done?),
    }
}

/// All elements with a comment that is meant, wherever they are in the table.
fn elements(nft: &mut Nft, meant: &impl Fn(&str) -> bool) -> cni_nftables::Result<Vec<(Set, Element)>> {
    let names = nft.sets(&TABLE)?;
    let mut sets = Group::sets(&names);
    sets.extend([owners(), self_set(false), self_set(true)]);
    for scope in Scope::all(&names) {
        sets.extend([scope.host_ip(), scope.host_port()]);
    }
    let mut found = Vec::new();
    for set in sets {
        let of_set = nft.elements(&set)?.into_iter().filter(|element| is_meant(element, meant));
        found.extend(of_set.map(|element| (set.clone(), element)));
    }
    Ok(found)
}

fn is_meant(element: &Element, meant: &impl Fn(&str) -> bool) -> bool {
    element.comment.as_deref().is_some_and(meant)
}

/// The first chain of this configuration's that has lost its rules: somebody has flushed the table.
pub(crate) fn emptied(config: &Config) -> Result<Option<String>> {
    let mut nft = Nft::new();
    let mut wanted = vec![martians()];
    for v6 in [false, true] {
        wanted.extend(Scope::new(v6, config.matches(v6)?).chains());
    }
    for rules in wanted {
        if rules.are_lost(&mut nft)? {
            return Ok(Some(rules.chain));
        }
    }
    Ok(None)
}

/// Whether the kernel has what this backend needs.
pub(crate) fn is_usable() -> Result<()> {
    Ok(Nft::new().probe()?)
}

/// The key of a mapping.
pub(crate) fn key(forward: &Forward) -> Vec<Value> {
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
pub(crate) fn forward(element: &Element) -> Option<Forward> {
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
