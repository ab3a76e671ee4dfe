//! The iptables backend: the reference's chains, rules, comments and order to the letter, since people and programs look
//! at them, and one rule more for each address, without which its published ports would end at a FORWARD that drops.
//!
//! ```text
//! FORWARD                1. CNI-ISOLATION-STAGE-1 (with a policy)   2. CNI-FORWARD
//! CNI-ISOLATION-STAGE-1  from a bridge with a policy to anywhere else: CNI-ISOLATION-STAGE-2; within an isolated one: drop
//! CNI-ISOLATION-STAGE-2  to a bridge with a policy: drop
//! CNI-FORWARD            1. CNI-ADMIN, which is the owner's   2. answers to a container, what it sends, and what comes for it by
//!                        a published port: accept
//! ```

use std::collections::HashSet;
use std::net::IpAddr;

use cni_iptables::{Error as IptablesError, Family, Iptables, Rule, Table};
use cni_nftables::Nft;
use cni_plugin::{Error, Result, Undo, log};

use crate::config::Policy;
use crate::records::Records;
use crate::{Bridge, Pod};

const TABLE: &str = "filter";
const FORWARD: &str = "FORWARD";
const PODS: &str = "CNI-FORWARD";
const STAGE_1: &str = "CNI-ISOLATION-STAGE-1";
const STAGE_2: &str = "CNI-ISOLATION-STAGE-2";

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// The name of this backend's records.
pub(crate) const NAME: &str = "iptables";

/// Noted of an address that has all its rules. One without the note has what the reference makes: the reference itself or an
/// earlier release added it.
const PUBLISHED: &str = "published ports";

/// Whether iptables is installed; IPv4's stands for both.
pub(crate) fn is_installed(path: &str) -> bool {
    Iptables::find(&[Family::Ipv4], path).is_ok()
}

/// Lets the container through, and sets its bridge's policy: one change, with each family that it has an address of.
pub(crate) fn add<'a>(
    pod: &'a Pod,
    admin_chain: &str,
    bridge: Option<&Bridge<'_>>,
    path: &'a str,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let iptables = Iptables::find(&families(&pod.addresses), path)?;
    let records = Records::of(NAME);
    // Whose the addresses are stands there before the rules do, so that a late DEL of another owner that finds the rules
    // finds that they are not its own.
    undo.push("remove the container's iptables rules", || del(&mut Nft::new(), pod, path));
    let new = records.set_all(&pod.addresses, &pod.owner, PUBLISHED)?;
    let plan = |table: &mut Table<'_>| {
        ensure_pods(table, admin_chain, &of_family(&pod.addresses, table.family()), &new)?;
        bridge.map_or(Ok(()), |bridge| ensure_policy(table, bridge))
    };
    Ok(iptables.update(&mut Nft::new(), TABLE, plan)?)
}

/// Sets a bridge's policy; for a container that another backend lets through.
pub(crate) fn apply_policy(pod: &Pod, bridge: &Bridge<'_>, path: &str) -> Result<()> {
    let iptables = Iptables::find(&families(&pod.addresses), path)?;
    Ok(iptables.update(&mut Nft::new(), TABLE, |table| ensure_policy(table, bridge))?)
}

/// Removes the container's rules, and those that the reference's plugin made for an address of prevResult.
pub(crate) fn del(nft: &mut Nft, pod: &Pod, path: &str) -> Result<()> {
    remove(nft, path, |records| records.of_pod(pod))
}

/// Removes the rules of this network's attachments that are not among the valid ones, as far as it is known whose they are.
pub(crate) fn gc(nft: &mut Nft, network: &str, valid: &HashSet<String>, path: &str) -> Result<()> {
    remove(nft, path, |records| records.stale(network, valid))
}

/// Compares with what ADD made; an error says what differs.
pub(crate) fn check(pod: &Pod, admin_chain: &str, bridge: Option<&Bridge<'_>>, path: &str) -> Result<()> {
    let records = Records::of(NAME);
    let of_address = |address: IpAddr| {
        let is_ours =
            records.holds(address, &pod.owner) && records.note(address).as_deref() == Some(PUBLISHED);
        pod_rules(address).into_iter().take(if is_ours { usize::MAX } else { REFERENCES })
    };
    for family in families(&pod.addresses) {
        let mut wanted = vec![(FORWARD, to_pods()), (PODS, to_admin(admin_chain))];
        let addresses = of_family(&pod.addresses, family);
        wanted.extend(addresses.into_iter().flat_map(of_address).map(|rule| (PODS, rule)));
        wanted.extend(bridge.into_iter().flat_map(policy_rules));
        expect(family, path, wanted)?;
    }
    Ok(())
}

/// The same for a bridge's policy alone.
pub(crate) fn check_policy(pod: &Pod, bridge: &Bridge<'_>, path: &str) -> Result<()> {
    families(&pod.addresses).into_iter().try_for_each(|family| expect(family, path, policy_rules(bridge)))
}

/// All of them in one place, whichever iptables it is.
fn expect(family: Family, path: &str, wanted: Vec<(&'static str, Rule)>) -> Result<()> {
    let wanted: Vec<_> = wanted.into_iter().map(|(chain, rule)| (chain, vec![rule])).collect();
    match Iptables::wherever(&[family], path).first_missing(&mut Nft::new(), family, TABLE, &wanted)? {
        Some((chain, rule)) => {
            let what = format!("chain {chain} of iptables table {TABLE} has no rule {rule}");
            Err(Error::failed(what))
        }
        None => Ok(()),
    }
}

fn ensure_pods(
    table: &mut Table<'_>,
    admin_chain: &str,
    addresses: &[IpAddr],
    new: &[IpAddr],
) -> cni_iptables::Result<()> {
    table.ensure_chain(PODS)?;
    table.ensure_chain(admin_chain)?;
    table.insert_unique(FORWARD, to_pods())?;
    table.insert_unique(PODS, to_admin(admin_chain))?;
    for address in addresses {
        for rule in pod_rules(*address) {
            if new.contains(address) {
                // Also when an earlier owner's is there, which a late DEL may be about to delete.
                table.append_anew(PODS, rule)?;
            } else {
                table.append_unique(PODS, rule)?;
            }
        }
    }
    Ok(())
}

fn ensure_policy(table: &mut Table<'_>, bridge: &Bridge<'_>) -> cni_iptables::Result<()> {
    table.ensure_chain(STAGE_1)?;
    table.ensure_chain(STAGE_2)?;
    for (chain, rule) in policy_rules(bridge) {
        // What ends a chain stays its last.
        if rule.target() == Some("RETURN") {
            table.append_unique(chain, rule)?;
        } else {
            table.insert_unique(chain, rule)?;
        }
    }
    Ok(())
}

fn to_pods() -> Rule {
    Rule::new(&["-m", "comment", "--comment", "CNI firewall plugin rules", "-j", PODS])
}

fn to_admin(chain: &str) -> Rule {
    Rule::new(&["-m", "comment", "--comment", "CNI firewall plugin admin overrides", "-j", chain])
}

/// How many of [`pod_rules`] the reference makes: the first.
const REFERENCES: usize = 2;

fn pod_rules(address: IpAddr) -> [Rule; 3] {
    let address = ipnet::IpNet::from(address).to_string();
    let to = |states| Rule::new(&["-d", &address, "-m", "conntrack", "--ctstate", states, "-j", "ACCEPT"]);
    [to("RELATED,ESTABLISHED"), Rule::new(&["-s", &address, "-j", "ACCEPT"]), to("DNAT")]
}

/// A policy's rules, each with its chain, in the order in which the reference puts them there.
fn policy_rules(bridge: &Bridge<'_>) -> Vec<(&'static str, Rule)> {
    let name = bridge.name;
    let own = format!("CNI firewall plugin rules (ingressPolicy: {})", bridge.policy.as_str());
    let shared = "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)";
    let rule = |words: &[&str], comment: &str| {
        Rule::new(&[words, &["-m", "comment", "--comment", comment]].concat())
    };
    let mut rules = vec![
        (FORWARD, rule(&["-j", STAGE_1], shared)),
        (STAGE_1, rule(&["-i", name, "!", "-o", name, "-j", STAGE_2], &own)),
    ];
    if bridge.policy == Policy::Isolated {
        rules.push((STAGE_1, rule(&["-i", name, "-o", name, "-j", "DROP"], &own)));
    }
    rules.push((STAGE_1, rule(&["-j", "RETURN"], shared)));
    rules.push((STAGE_2, rule(&["-o", name, "-j", "DROP"], shared)));
    rules.push((STAGE_2, rule(&["-j", "RETURN"], shared)));
    rules
}

/// Removes the rules of addresses, and their records.
///
/// Whose an address is is looked up in the same breath as the rules: with iptables-nft whoever gets it meanwhile changes the
/// ruleset, and with iptables-legacy waits for its turn.
fn remove(nft: &mut Nft, path: &str, pick: impl Fn(&Records) -> Vec<IpAddr>) -> Result<()> {
    let records = Records::of(NAME);
    let picked = pick(&records);
    if picked.is_empty() {
        return records.clean();
    }
    let removed = Iptables::wherever(&families(&picked), path).update(nft, TABLE, |table| {
        for rule in of_family(&pick(&records), table.family()).into_iter().flat_map(pod_rules) {
            table.delete(PODS, &rule)?;
        }
        Ok(())
    });
    match removed {
        // Rules that no program is there for any more must not keep a container from being deleted.
        Err(error @ IptablesError::NotFound { .. }) => {
            log::warn(format_args!("rules may be left in chain {PODS}: {error}"));
        }
        done => done?,
    }
    records.remove_all(&picked, pick)
}

/// The families that there are addresses of.
fn families(addresses: &[IpAddr]) -> Vec<Family> {
    FAMILIES.into_iter().filter(|family| !of_family(addresses, *family).is_empty()).collect()
}

fn of_family(addresses: &[IpAddr], family: Family) -> Vec<IpAddr> {
    let is_v4 = family == Family::Ipv4;
    addresses.iter().copied().filter(|address| address.is_ipv4() == is_v4).collect()
}
