//! Whose ports the chains of containers are for, be they ours or the reference's.

use std::collections::BTreeMap;

use cni_host::Owner;
use cni_iptables::{Found, Iptables};
use cni_nftables::Nft;
use cni_plugin::Result;

use super::rules::{DNAT, PREFIX, forward, read_comment};
use super::{FAMILIES, Family, TABLE};
use crate::config::Forward;

/// A mapping in a container's chain, and what the rule that leads there tells of the container.
pub(crate) struct Chained {
    pub(crate) network: String,
    pub(crate) container_id: String,
    pub(crate) forward: Forward,
}

/// What other containers in other networks have of these ports.
pub(crate) fn holders(
    nft: &mut Nft,
    forwards: &[Forward],
    owner: &Owner,
    path: &str,
) -> cni_iptables::Result<Vec<Chained>> {
    let mut held = Vec::new();
    let whose = |jump: &Found| {
        let (network, container_id) = read_comment(jump.comment()?)?;
        let is_others = network != owner.network && container_id != owner.container_id;
        let chain = jump.target().filter(|target| is_others && target.starts_with(PREFIX))?;
        Some((chain.to_owned(), (network.to_owned(), container_id.to_owned())))
    };
    for family in FAMILIES {
        let v6 = family == Family::Ipv6;
        if !forwards.iter().any(|wanted| wanted.host.is_ipv6() == v6) {
            continue;
        }
        Iptables::wherever(&[family], path).look(nft, family, TABLE, |table| {
            let chains: BTreeMap<_, _> = table.rules(DNAT)?.iter().filter_map(whose).collect();
            for (chain, (network, container_id)) in chains {
                let rules = table.rules(&chain)?;
                let mapped = rules.iter().filter_map(|found| forward(found.rule()?, family));
                let mapped = mapped.filter(|mapped| forwards.iter().any(|wanted| wanted.overlaps(mapped)));
                held.extend(mapped.map(|forward| Chained {
                    network: network.clone(),
                    container_id: container_id.clone(),
                    forward,
                }));
            }
            // The other variant may have more.
            Ok(None::<()>)
        })?;
    }
    Ok(held)
}

/// All mappings to addresses of IPv4.
pub(crate) fn mappings(nft: &mut Nft, path: &str) -> Result<Vec<Forward>> {
    let mut found = Vec::new();
    Iptables::wherever(&[Family::Ipv4], path).look(nft, Family::Ipv4, TABLE, |table| {
        for chain in table.chains()?.iter().filter(|chain| chain.starts_with(PREFIX)) {
            let rules = table.rules(chain)?;
            found.extend(rules.iter().filter_map(|found| forward(found.rule()?, Family::Ipv4)));
        }
        Ok(None::<()>)
    })?;
    Ok(found)
}
