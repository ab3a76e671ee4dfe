//! Who comes first: of the containers that have rules for one port, the one whose jump stands before the others'.

use cni_iptables::{Family, Found, Iptables, Rule};
use cni_nftables::Nft;
use cni_plugin::Result;

use super::TABLE;
use super::rules::{DNAT, Jump, PREFIX, forward, read_comment};
use crate::config::Forward;

/// The first mapping of the container's chain whose packets another container's chain leads elsewhere before, and that chain. The
/// same container's in another network may: podman passes the same ports to each network of one.
pub(super) fn first_taken(
    nft: &mut Nft,
    family: Family,
    chain: &str,
    jumps: &[Rule],
    path: &str,
) -> Result<Option<(Forward, String)>> {
    let own: Vec<Jump> = jumps.iter().filter_map(Jump::of).collect();
    let found = Iptables::wherever(&[family], path).look(nft, family, TABLE, |table| {
        let there = table.rules(DNAT)?;
        let Some(at) = there.iter().position(|found| found.leads_to(chain)) else { return Ok(None) };
        let rules = table.rules(chain)?;
        let mapped: Vec<Forward> = rules.iter().filter_map(|found| forward(found.rule()?, family)).collect();
        let id = |found: &Found| Some(read_comment(found.comment()?)?.1.to_owned());
        let own_id = id(&there[at]);
        let is_others = |found: &&Found| own_id.is_none() || id(found) != own_id;
        // Of one with conditions that ours does not have it is not known which packets it takes.
        let earlier = there[..at].iter().filter(is_others);
        let earlier = earlier.filter_map(|found| Jump::of(found.rule()?)).filter(|jump| {
            let is_like = |own: &Jump| jump.conditions.is_empty() || jump.conditions == own.conditions;
            jump.chain.starts_with(PREFIX) && own.iter().any(is_like)
        });
        for jump in earlier {
            let meets = |mapped: &&Forward| {
                mapped.protocol == jump.protocol && jump.ports.contains(&mapped.host.port())
            };
            if !mapped.iter().any(|mapped| meets(&mapped)) {
                continue;
            }
            let rules = table.rules(&jump.chain)?;
            let taken = rules.iter().filter_map(|found| forward(found.rule()?, family));
            for other in taken {
                let is_taken = |mapped: &&Forward| {
                    // One that had the address before, and is still to be deleted, leads to the same place.
                    mapped.displaces(other.protocol, other.host) && mapped.pod != other.pod
                };
                if let Some(mapped) = mapped.iter().find(is_taken) {
                    return Ok(Some(Some((*mapped, jump.chain))));
                }
            }
        }
        Ok(Some(None))
    })?;
    Ok(found.flatten())
}
