//! The iptables backend: the reference's chains, rules, comments and order to the letter, since people and programs look
//! at them.
//!
//! ```text
//! FORWARD                1. CNI-ISOLATION-STAGE-1 (with a policy)   2. CNI-FORWARD
//! CNI-ISOLATION-STAGE-1  from a bridge with a policy to anywhere else: CNI-ISOLATION-STAGE-2; within an isolated one: drop
//! CNI-ISOLATION-STAGE-2  to a bridge with a policy: drop
//! CNI-FORWARD            1. CNI-ADMIN, which is the owner's   2. answers to a container and what it sends: accept
//! ```

use std::collections::HashSet;
use std::net::IpAddr;

use cni_iptables::{Change, Error as IptablesError, Family, Iptables, Rule, Saved, holders};
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

/// Whether the programs are installed; IPv4's stand for both.
pub(crate) fn is_installed(path: &str) -> bool {
    Iptables::find(Family::Ipv4, path).is_ok()
}

/// Lets the container through, and sets its bridge's policy: one change for each family that it has an address of.
pub(crate) fn add<'a>(
    pod: &'a Pod,
    admin_chain: &str,
    bridge: Option<&Bridge<'_>>,
    path: &'a str,
    undo: &mut Undo<'a>,
) -> Result<()> {
    let records = Records::of(NAME);
    records.locked(|| {
        // Armed no earlier: who has waited for the lock in vain should not wait for it again.
        undo.push("remove the container's iptables rules", || del(pod, path));
        for address in &pod.addresses {
            records.set(*address, &pod.owner, "")?;
        }
        change(pod, path, |saved, change, addresses| {
            ensure_pods(saved, change, admin_chain, addresses);
            if let Some(bridge) = bridge {
                ensure_policy(saved, change, bridge);
            }
        })
    })
}

/// Sets a bridge's policy; for a container that another backend lets through.
pub(crate) fn apply_policy(pod: &Pod, bridge: &Bridge<'_>, path: &str) -> Result<()> {
    change(pod, path, |saved, change, _| ensure_policy(saved, change, bridge))
}

/// Removes the container's rules, and those that the reference's plugin made for an address of prevResult.
pub(crate) fn del(pod: &Pod, path: &str) -> Result<()> {
    remove(path, |records| records.of_pod(pod))
}

/// Removes the rules of this network's attachments that are not among the valid ones, as far as it is known whose they are.
pub(crate) fn gc(network: &str, valid: &HashSet<String>, path: &str) -> Result<()> {
    remove(path, |records| records.stale(network, valid))
}

/// Compares with what ADD made; an error says what differs.
pub(crate) fn check(pod: &Pod, admin_chain: &str, bridge: Option<&Bridge<'_>>, path: &str) -> Result<()> {
    for (family, addresses) in families(&pod.addresses) {
        let saved = Iptables::find(family, path)?.save(TABLE)?;
        let mut wanted = vec![(FORWARD, to_pods()), (PODS, to_admin(admin_chain))];
        wanted.extend(addresses.iter().flat_map(|address| pod_rules(*address)).map(|rule| (PODS, rule)));
        wanted.extend(bridge.into_iter().flat_map(policy_rules));
        expect(&saved, &wanted)?;
    }
    Ok(())
}

/// The same for a bridge's policy alone.
pub(crate) fn check_policy(pod: &Pod, bridge: &Bridge<'_>, path: &str) -> Result<()> {
    for (family, _) in families(&pod.addresses) {
        expect(&Iptables::find(family, path)?.save(TABLE)?, &policy_rules(bridge))?;
    }
    Ok(())
}

fn expect(saved: &Saved, wanted: &[(&str, Rule)]) -> Result<()> {
    for (chain, rule) in wanted {
        if !saved.rules(chain).iter().any(|found| rule.is_same(found)) {
            let words = rule.0.join(" ");
            return Err(Error::failed(format!(
                "chain {chain} of iptables table {TABLE} has no rule {words}"
            )));
        }
    }
    Ok(())
}

fn change(pod: &Pod, path: &str, plan: impl Fn(&Saved, &mut Change, &[IpAddr])) -> Result<()> {
    for (family, addresses) in families(&pod.addresses) {
        Iptables::find(family, path)?.update(TABLE, |saved| {
            let mut change = Change::default();
            plan(saved, &mut change, &addresses);
            change
        })?;
    }
    Ok(())
}

fn ensure_pods(saved: &Saved, change: &mut Change, admin_chain: &str, addresses: &[IpAddr]) {
    change.ensure_chain(saved, PODS);
    change.ensure_chain(saved, admin_chain);
    change.insert_unique(saved, FORWARD, to_pods());
    change.insert_unique(saved, PODS, to_admin(admin_chain));
    for rule in addresses.iter().flat_map(|address| pod_rules(*address)) {
        change.append_unique(saved, PODS, rule);
    }
}

fn ensure_policy(saved: &Saved, change: &mut Change, bridge: &Bridge<'_>) {
    change.ensure_chain(saved, STAGE_1);
    change.ensure_chain(saved, STAGE_2);
    for (chain, rule) in policy_rules(bridge) {
        // What ends a chain stays its last.
        if rule.target() == Some("RETURN") {
            change.append_unique(saved, chain, rule);
        } else {
            change.insert_unique(saved, chain, rule);
        }
    }
}

fn to_pods() -> Rule {
    Rule::new(&["-m", "comment", "--comment", "CNI firewall plugin rules", "-j", PODS])
}

fn to_admin(chain: &str) -> Rule {
    Rule::new(&["-m", "comment", "--comment", "CNI firewall plugin admin overrides", "-j", chain])
}

fn pod_rules(address: IpAddr) -> [Rule; 2] {
    let address = ipnet::IpNet::from(address).to_string();
    [
        Rule::new(&["-d", &address, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"]),
        Rule::new(&["-s", &address, "-j", "ACCEPT"]),
    ]
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

/// Removes the rules of addresses, and their records. Where no iptables holds the chain, nothing is run.
fn remove(path: &str, pick: impl Fn(&Records) -> Vec<IpAddr>) -> Result<()> {
    let records = Records::of(NAME);
    let addresses = pick(&records);
    let mut needed = records.has_unfinished() || addresses.iter().any(|address| records.knows(*address));
    for (family, _) in families(&addresses) {
        needed |= !holders_of(family, path)?.is_empty();
    }
    if !needed {
        return Ok(());
    }
    records.locked(|| {
        // Somebody may have got an address since.
        let addresses = pick(&records);
        for (family, addresses) in families(&addresses) {
            for iptables in holders_of(family, path)? {
                iptables.update(TABLE, |saved| {
                    let mut change = Change::default();
                    for rule in addresses.iter().flat_map(|address| pod_rules(*address)) {
                        change.delete(saved, PODS, &rule);
                    }
                    change
                })?;
            }
            for address in addresses {
                records.remove(address)?;
            }
        }
        Ok(())
    })
}

/// Rules that no program is there for any more must not keep a container from being deleted.
fn holders_of(family: Family, path: &str) -> Result<Vec<Iptables>> {
    match holders(family, path, TABLE, PODS) {
        Err(error @ IptablesError::NotFound { .. }) => {
            log::warn(format_args!("rules may be left in chain {PODS}: {error}"));
            Ok(Vec::new())
        }
        found => Ok(found?),
    }
}

/// The families that there are addresses of, with those.
fn families(addresses: &[IpAddr]) -> Vec<(Family, Vec<IpAddr>)> {
    let of = |family| {
        let addresses = addresses.iter().copied();
        let addresses: Vec<IpAddr> =
            addresses.filter(|address| address.is_ipv4() == (family == Family::Ipv4)).collect();
        (!addresses.is_empty()).then_some((family, addresses))
    };
    FAMILIES.into_iter().filter_map(of).collect()
}
