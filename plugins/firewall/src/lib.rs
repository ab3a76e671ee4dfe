//! The `firewall` plugin: has the host's firewall let a container through, and keeps containers of different bridges, or
//! of one, apart where the network says so. Chained after the plugin that makes the interface, whose result it passes on.
//!
//! Three backends: iptables with the reference's rules, nftables with a table of its own, firewalld by D-Bus. Rules go by
//! the container's addresses; whose an address is stands in the element's comment (nftables) or in a record beside
//! the rules, so that a late DEL leaves a reused address alone and needs no namespace.

use std::collections::HashSet;
use std::net::IpAddr;

use cni_host::Owner;
use cni_interface::{all, owner, valid_owners};
use cni_netlink::Socket;
use cni_nftables::Nft;
use cni_plugin::{Call, Error, Plugin, Request, Result, Undo, environment, log};
use cni_types::{CniResult, ErrorCode, IfName, SpecVersion};

mod config;
mod dbus;
mod firewalld;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod iptables;
mod nftables;
mod records;
mod ruleset;

pub use config::Wire;
use config::{Backend, Config, Policy};
use records::Records;

/// The plugin's table of functions.
pub const PLUGIN: Plugin<Wire> =
    Plugin { name: "firewall", versions: VERSIONS, config: Call::read, add, check, del, gc, status };

/// The reference's plugin begins here too.
const VERSIONS: &[SpecVersion] = &[SpecVersion::V0_4_0, SpecVersion::V1_0_0, SpecVersion::V1_1_0];

/// A container as the firewall sees it.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) owner: Owner,
    /// Each once.
    pub(crate) addresses: Vec<IpAddr>,
    /// Its port of the bridge, on the host.
    pub(crate) port: Option<String>,
}

/// The bridge that a policy is about.
#[derive(Debug)]
pub(crate) struct Bridge<'a> {
    pub(crate) name: &'a str,
    pub(crate) policy: Policy,
}

fn add(req: &Request<Wire>) -> Result<CniResult> {
    let config = Config::new(&req.config)?;
    let result = req.prev_result()?;
    let pod = pod(req, Some(result));
    let bridge = bridge(result, config.policy)?;
    bridge.as_ref().filter(has_policy).map_or(Ok(()), expect_bridge)?;
    let path = environment("PATH");

    let backend = config.backend.unwrap_or_else(|| of_this_host(&path));
    log::debug(format_args!("backend: {backend:?}"));
    let mut undo = Undo::default();
    match backend {
        // One transaction: nothing of a failed one is left.
        Backend::Nftables => log::step("change the nftables table", || nftables::add(&pod, bridge.as_ref()))?,
        Backend::Iptables => {
            let bridge = bridge.as_ref().filter(has_policy);
            log::step("change the iptables rules", || {
                iptables::add(&pod, &config.admin_chain, bridge, &path, &mut undo)
            })?;
        }
        Backend::Firewalld => {
            log::step("add to the firewalld zone", || firewalld::add(&pod, &config.zone, &mut undo))?;
            if let Some(bridge) = bridge.as_ref().filter(has_policy) {
                log::step("set the bridge's policy", || beside_firewalld(&pod, bridge, &path))?;
            }
        }
    }
    undo.commit();
    Ok(result.clone())
}

fn check(req: &Request<Wire>) -> Result<()> {
    let config = Config::new(&req.config)?;
    let result = req.prev_result()?;
    let pod = pod(req, Some(result));
    let bridge = bridge(result, config.policy)?.filter(|bridge| has_policy(&bridge));
    let bridge = bridge.as_ref();
    bridge.map_or(Ok(()), expect_bridge)?;
    let path = environment("PATH");
    match config.backend.unwrap_or_else(|| in_use(&pod, &path)) {
        Backend::Nftables => {
            nftables::check(&pod)?;
            bridge.map_or(Ok(()), |bridge| nftables::check_policy(&pod, bridge))
        }
        Backend::Iptables => iptables::check(&pod, &config.admin_chain, bridge, &path),
        Backend::Firewalld => {
            firewalld::check(&pod, &config.zone)?;
            match bridge {
                Some(bridge) if iptables::is_installed(&path) => iptables::check_policy(&pod, bridge, &path),
                Some(bridge) => nftables::check_policy(&pod, bridge),
                None => Ok(()),
            }
        }
    }
}

/// Looks at every backend, since the host, or the configuration, may have chosen another one at the time of the ADD. What
/// belongs to bridges stays, as others may be on them.
fn del(req: &Request<Wire>) -> Result<()> {
    let result = req.call.conf.prev_result().unwrap_or_else(|error| {
        log::warn(format_args!("deleting without prevResult: {error}"));
        None
    });
    let (pod, path) = (pod(req, result), environment("PATH"));
    let chosen = match req.config.backend() {
        Some(backend) => backend == Backend::Firewalld,
        None => firewalld::is_running(),
    };
    let nft = &mut Nft::new();
    all([
        log::step("remove the nftables elements", || nftables::del(nft, &pod)),
        log::step("remove the iptables rules", || iptables::del(nft, &pod, &path)),
        log::step("take out of the firewalld zone", || firewalld::del(&pod, req.config.zone(), chosen)),
    ])
}

fn gc(call: &Call, wire: &Wire) -> Result<()> {
    let Some(valid) = valid_owners(call) else { return Ok(()) };
    let network = call.conf.name.as_str();
    let valid: HashSet<String> = valid.iter().map(Owner::comment).collect();
    let nft = &mut Nft::new();
    all([
        log::step("collect nftables elements", || nftables::gc(nft, network, &valid)),
        log::step("collect iptables rules", || iptables::gc(nft, network, &valid, &environment("PATH"))),
        log::step("collect firewalld sources", || firewalld::gc(network, &valid, wire.zone())),
    ])
}

/// Cheap, since it is asked every few seconds: no program is run.
fn status(_: &Call, wire: &Wire) -> Result<()> {
    let config = Config::new(wire)?;
    let path = environment("PATH");
    let unavailable = |reason: &str| Err(Error::new(ErrorCode::PLUGIN_NOT_AVAILABLE, reason));
    match config.backend.unwrap_or_else(|| of_this_host(&path)) {
        Backend::Nftables => match nftables::is_whole() {
            Ok(true) => Ok(()),
            // The next ADD puts them back; until then the containers that are there are not let through.
            Ok(false) => Err(Error::new(ErrorCode::LIMITED_CONNECTIVITY, nftables::LOST)),
            Err(error) => unavailable(&format!("cannot use nf_tables of this kernel: {error}")),
        },
        Backend::Iptables if !iptables::is_installed(&path) => unavailable("cannot find iptables"),
        Backend::Firewalld if !firewalld::is_running() => unavailable("firewalld is not running"),
        Backend::Iptables | Backend::Firewalld => Ok(()),
    }
}

/// What the reference takes, firewalld where it runs and else iptables; and nftables where neither is there.
fn of_this_host(path: &str) -> Backend {
    if firewalld::is_running() {
        Backend::Firewalld
    } else if iptables::is_installed(path) {
        Backend::Iptables
    } else {
        Backend::Nftables
    }
}

/// The backend that the ADD took, which need not be what the host would take now: CHECK of what an ADD made must hold.
fn in_use(pod: &Pod, path: &str) -> Backend {
    let recorded = |backend: &str| {
        let records = Records::of(backend);
        pod.addresses.iter().any(|address| records.holds(*address, &pod.owner))
    };
    if recorded(firewalld::NAME) {
        Backend::Firewalld
    } else if recorded(iptables::NAME) {
        Backend::Iptables
    } else if nftables::holds(pod) {
        Backend::Nftables
    } else {
        of_this_host(path)
    }
}

/// firewalld knows no such policies. The reference runs iptables for them whatever the backend.
fn beside_firewalld(pod: &Pod, bridge: &Bridge<'_>, path: &str) -> Result<()> {
    if iptables::is_installed(path) {
        iptables::apply_policy(pod, bridge, path)
    } else {
        nftables::apply_policy(pod, bridge)
    }
}

fn pod(req: &Request<Wire>, result: Option<&CniResult>) -> Pod {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for ip in result.into_iter().flat_map(|result| &result.ips) {
        if !addresses.contains(&ip.address.addr()) {
            addresses.push(ip.address.addr());
        }
    }
    // As the bridge plugin tells it: the bridge, the port, the container's interface.
    let port = result.and_then(|result| result.interfaces.get(1));
    let port = port.filter(|port| port.sandbox.is_none() && expect_one_link(&port.name).is_ok());
    Pod { owner: owner(req), addresses, port: port.map(|port| port.name.clone()) }
}

/// The result's first interface, which is the bridge when the plugin of that name made it. A policy needs one; without a
/// policy it is looked at to take back an earlier one.
fn bridge(result: &CniResult, policy: Policy) -> Result<Option<Bridge<'_>>> {
    let first = result.interfaces.first().filter(|interface| !interface.name.is_empty());
    let expected = match first {
        None => Err("prevResult names no interface".to_owned()),
        // macvlan's, say. The host may have one of that name too, which is its uplink as likely as not.
        Some(first) if first.sandbox.is_some() => Err(format!("{} is inside the container", first.name)),
        Some(first) => expect_one_link(&first.name).map(|()| first),
    };
    match expected {
        Ok(first) => Ok(Some(Bridge { name: &first.name, policy })),
        Err(_) if policy == Policy::Open => Ok(None),
        Err(reason) => Err(about_no_bridge(policy, &reason)),
    }
}

/// Fails unless the host has a bridge of that name: rules for another kind of link, an uplink, say, would be about all that
/// passes it.
fn expect_bridge(bridge: &Bridge<'_>) -> Result<()> {
    let Bridge { name, policy } = bridge;
    let reason = match Socket::open()?.link_by_name(name) {
        // Rules go by a link's name, and not by others that it has beside.
        Ok(link) if link.name != *name => format!("{name} is an alternative name of {}", link.name),
        Ok(link) if link.kind == "bridge" => return Ok(()),
        Ok(link) if link.kind.is_empty() => format!("{name} is a device without a kind"),
        Ok(link) => format!("{name} is a link of kind {}", link.kind),
        Err(error) if error.is_not_found() => format!("the host has no interface {name}"),
        Err(error) => return Err(error.into()),
    };
    Err(about_no_bridge(*policy, &reason))
}

/// A name that means one link wherever it is written: iptables takes `br+` for all that begin with br, nftables `br*`, and some
/// characters end a name in the text of either.
fn expect_one_link(name: &str) -> std::result::Result<(), String> {
    IfName::new(name).map_err(|error| format!("prevResult: {error}"))?;
    let ends_or_widens = |c: char| c.is_control() || "\"'\\*;".contains(c);
    if name.ends_with('+') || name.starts_with(['-', '!']) || name.contains(ends_or_widens) {
        return Err(format!(
            "the name {name:?} of prevResult's first interface is a pattern to iptables or nftables"
        ));
    }
    Ok(())
}

fn about_no_bridge(policy: Policy, reason: &str) -> Error {
    let policy = policy.as_str();
    Error::config(format!(
        "ingressPolicy {policy} is about no bridge: {reason}; chain this plugin after bridge"
    ))
}

fn has_policy(bridge: &&Bridge<'_>) -> bool {
    bridge.policy != Policy::Open
}
