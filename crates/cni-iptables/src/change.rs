//! What is to be done to one table, as nf_tables' commands and as the input of `iptables-restore`.

use cni_nftables::{Batch, Chain, Hook, Nft, Place, Policy};
use nix::libc::{NF_IP_PRI_FILTER, NF_IP_PRI_NAT_DST, NF_IP_PRI_NAT_SRC};

use crate::entry::Entry;
use crate::{Error, Family, Found, Result, Rule, nft, words};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Make(String),
    /// Makes or empties.
    Replace(String),
    Append(String, Rule),
    Insert(String, Rule),
    Delete(String, Box<Found>),
    DeleteChain(String),
}

/// The chains that a table begins with, as iptables-nft makes them (iptables, iptables/nft.c, xtables_ipv4).
const BASE_CHAINS: [(&str, &str, Hook, i32); 6] = [
    ("filter", "INPUT", Hook::FilterInput, NF_IP_PRI_FILTER),
    ("filter", "FORWARD", Hook::FilterForward, NF_IP_PRI_FILTER),
    ("filter", "OUTPUT", Hook::FilterOutput, NF_IP_PRI_FILTER),
    ("nat", "PREROUTING", Hook::NatPrerouting, NF_IP_PRI_NAT_DST),
    ("nat", "OUTPUT", Hook::NatOutput, NF_IP_PRI_NAT_DST),
    ("nat", "POSTROUTING", Hook::NatPostrouting, NF_IP_PRI_NAT_SRC),
];

/// The commands as one batch, and those that only iptables itself can carry out, after it.
pub(crate) fn batch(
    nft: &mut Nft,
    name: &str,
    family: Family,
    commands: Vec<Command>,
) -> Result<(Batch, Vec<Command>)> {
    let table = &nft::table(name, family);
    let (mut batch, mut left) = (Batch::default(), Vec::new());
    let mut emptied: Vec<String> = Vec::new();
    let adds = |command: &Command| !matches!(command, Command::Delete(..) | Command::DeleteChain(_));
    if commands.iter().any(adds) {
        batch.add_table(table);
    }
    for (of, chain, hook, priority) in BASE_CHAINS {
        let goes_there = |command: &Command| matches!(command, Command::Append(to, _) | Command::Insert(to, _) if to == chain);
        // One that is there may have another policy, which adding it would take away.
        if of == name && commands.iter().any(goes_there) && !nft.has_chain(table, chain)? {
            batch.add_chain(table, &Chain { name: chain, base: Some((hook, priority, Policy::Accept)) });
        }
    }
    for command in commands {
        match &command {
            Command::Make(chain) => {
                words::chain(chain)?;
                emptied.retain(|name| name != chain);
                batch.add_chain(table, &Chain { name: chain, base: None });
            }
            Command::Replace(chain) => {
                words::chain(chain)?;
                emptied.retain(|name| name != chain);
                batch.add_chain(table, &Chain { name: chain, base: None });
                // Emptying is a deletion, for whose end is waited.
                if nft.has_chain(table, chain)? {
                    batch.flush_chain(table, chain);
                }
            }
            Command::DeleteChain(chain) => {
                batch.flush_chain(table, chain);
                emptied.push(chain.clone());
            }
            Command::Delete(chain, found) => drop(batch.delete_rule(table, chain, found.handle)),
            Command::Append(chain, rule) | Command::Insert(chain, rule) => {
                let place = if matches!(command, Command::Insert(..)) { Place::First } else { Place::Last };
                // What iptables-restore would refuse is refused.
                let text = words::join(rule.0.iter().map(String::as_str))?;
                match Entry::from_rule(rule, family) {
                    Some(entry) => {
                        batch.add_raw_rule(table, chain, place, nft::write(&entry, family, text));
                    }
                    None => left.push(command),
                }
            }
        }
    }
    for chain in emptied {
        batch.delete_chain(table, &chain);
    }
    Ok((batch, left))
}

/// The commands as the input of `iptables-restore --noflush`.
///
/// Chains are made by `-N`, which fails for one that another program made since the table was read; the declaration
/// `:CHAIN -` would empty it. They are deleted last: iptables-nft leaves a `-D` out when a `-F` of the same chain comes
/// later, and the kernel then refuses to delete the chain that the rule leads to.
pub(crate) fn script(table: &str, commands: &[Command]) -> Result<String> {
    let mut script = format!("*{table}\n");
    let mut emptied: Vec<&str> = Vec::new();
    for command in commands {
        let line = match command {
            Command::Make(chain) if emptied.contains(&chain.as_str()) => {
                emptied.retain(|name| name != chain);
                continue;
            }
            Command::Make(chain) => format!("-N {}", words::chain(chain)?),
            Command::Replace(chain) => {
                emptied.retain(|name| name != chain);
                format!(":{} - [0:0]", words::chain(chain)?)
            }
            Command::DeleteChain(chain) => {
                emptied.push(chain);
                format!("-F {}", words::chain(chain)?)
            }
            Command::Append(chain, rule) => with_rule("-A", chain, rule)?,
            Command::Insert(chain, rule) => with_rule("-I", chain, rule)?,
            Command::Delete(chain, found) => {
                let reason = "iptables-save has to say what it is";
                let unknown = || Error::Text { text: format!("a rule of chain {chain}"), reason };
                with_rule("-D", chain, found.rule().ok_or_else(unknown)?)?
            }
        };
        script.push_str(&line);
        script.push('\n');
    }
    script.extend(emptied.iter().map(|chain| format!("-X {chain}\n")));
    script.push_str("COMMIT\n");
    Ok(script)
}

fn with_rule(option: &str, chain: &str, rule: &Rule) -> Result<String> {
    words::join([option, words::chain(chain)?].into_iter().chain(rule.0.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests;
