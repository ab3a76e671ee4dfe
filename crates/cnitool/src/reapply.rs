//! Putting back the rules of the attachments in the cache, after somebody flushed the packet filter (a reload of firewalld, for
//! one).
//!
//! Of the chained plugins, those that make nothing but rules are run again. What bridge and ptp themselves have in
//! the packet filter is put back here, by the functions that they use. Links, addresses and leases stay as they are.

use std::net::IpAddr;
use std::time::SystemTime;

use cni_host::{Masquerade, MasqueradeBackend, NetNs, Owner, SpoofCheck};
use cni_types::{CniResult, Interface, SpecVersion, json};
use libcni::{CacheEntry, Network, Plugin};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::chain::{Answer, Tool, network_name};
use crate::outcome::{Failure, Outcome};

/// Plugins that make rules of the packet filter and nothing else, and of which a second ADD makes only what is missing.
const RULE_MAKERS: [&str; 2] = ["portmap", "firewall"];
/// Plugins that make an interface, with masquerading.
const INTERFACE_MAKERS: [&str; 2] = ["bridge", "ptp"];

const MASQUERADING: &str = "masquerading";
const SPOOF_CHECK: &str = "MAC spoof check";

/// What is put back of an interface-making plugin's configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct OwnRules {
    ip_masq: bool,
    ip_masq_backend: String,
    #[serde(rename = "macspoofchk")]
    mac_spoof_check: bool,
}

impl Tool {
    pub(crate) fn reapply(&self, network: Option<&str>) -> Answer {
        let network = network.map(network_name).transpose()?;
        let entries = self.runtime.cache().entries().map_err(|error| Failure::new(error.to_string()))?;
        let mut outcome = Outcome::default();
        let (mut reapplied, mut skipped) = (Vec::new(), Vec::new());
        let mut wanted = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) if network.as_ref().is_none_or(|network| entry.network == *network) => {
                    wanted.push(entry)
                }
                Ok(_) => {}
                // Whose rules they are nobody can tell: they are not put back, and that must not look like success.
                Err(error) => outcome.failures.push(Failure::new(error.to_string())),
            }
        }
        // Of two that claim the same, such as a port of the host, the later ADD has it.
        wanted.sort_by_key(|entry| self.added_at(entry));

        let mut put_back = Vec::new();
        for entry in &wanted {
            match present(entry) {
                Err(Absent::Gone(reason)) => skipped.push((entry, reason)),
                Err(Absent::Unreadable(reason)) => {
                    outcome.failures.push(Failure::new(format!("cannot put back {}: {reason}", name(entry))));
                }
                Ok(result) => put_back.push((entry, self.reapply_one(entry, &result, &mut outcome.failures))),
            }
        }
        for (entry, done) in put_back {
            if self.was_deleted(entry) {
                // That DEL may have come too early to remove what was put back, so it is run once more.
                outcome.failures.extend(self.delete_again(entry).into_iter().flatten());
                skipped.push((entry, "it was deleted meanwhile".to_owned()));
                continue;
            }
            if !done.is_empty() {
                outcome.text += &format!("{}: {}\n", name(entry), done.join(", "));
            }
            reapplied.push(about(entry, "done", done.into()));
        }
        for (entry, reason) in &skipped {
            outcome.notes.push(format!("left out {}: {reason}", name(entry)));
        }
        let skipped: Vec<_> =
            skipped.into_iter().map(|(entry, reason)| about(entry, "reason", reason.into())).collect();
        outcome.json = Map::from_iter([
            ("reapplied".to_owned(), json!(reapplied)),
            ("skipped".to_owned(), json!(skipped)),
        ]);
        Ok(outcome)
    }

    /// Puts back all rules of one attachment, and says which.
    fn reapply_one(
        &self,
        entry: &CacheEntry,
        result: &CniResult,
        failures: &mut Vec<Failure>,
    ) -> Vec<String> {
        let mut done = Vec::new();
        match Network::from_slice(&entry.config) {
            Ok(network) => {
                for plugin in network.plugins.iter().filter(|plugin| is_one_of(&INTERFACE_MAKERS, plugin)) {
                    for (what, outcome) in self.own_rules(plugin, entry, result) {
                        match outcome {
                            Ok(()) => done.push(what.to_owned()),
                            Err(error) => failures.push(Failure::new(format!(
                                "cannot put back {what} of {}: {error}",
                                name(entry)
                            ))),
                        }
                    }
                }
            }
            Err(error) => {
                failures.push(Failure::new(format!("cannot put back the rules of {}: {error}", name(entry))));
                return done;
            }
        }
        let report = self.runtime.reapply(entry, |plugin| is_one_of(&RULE_MAKERS, plugin));
        done.extend(report.plugins.iter().map(ToString::to_string));
        failures.extend(report.errors.iter().flat_map(|error| self.failures(error)));
        done
    }

    /// Puts back what bridge and ptp have in the packet filter themselves.
    fn own_rules(
        &self,
        plugin: &Plugin,
        entry: &CacheEntry,
        result: &CniResult,
    ) -> Vec<(&'static str, Result<(), String>)> {
        let rules: OwnRules = match json::from_value(&Value::Object(plugin.conf.clone())) {
            Ok(rules) => rules,
            Err(error) => return vec![("rules", Err(error.to_string()))],
        };
        let owner = owner(entry);
        let mut outcomes = Vec::new();
        if rules.ip_masq {
            let addresses: Vec<_> = result.ips.iter().map(|ip| ip.address).collect();
            let outcome = backend(&rules.ip_masq_backend).and_then(|backend| {
                Masquerade::new(backend, &self.environment.path())
                    .add(&owner, &addresses)
                    .map_err(|error| error.to_string())
            });
            outcomes.push((MASQUERADING, outcome));
        }
        if rules.mac_spoof_check && plugin.plugin_type.as_str() == "bridge" {
            let outcome = put_back_spoof_check(&owner, result).map_err(|error| error.to_string());
            outcomes.push((SPOOF_CHECK, outcome));
        }
        outcomes
    }

    /// Whether a DEL has finished since: nothing is in the cache, and the interface is not as it was.
    fn was_deleted(&self, entry: &CacheEntry) -> bool {
        let cached = self.runtime.cache().get(&entry.network, &entry.attachment.key());
        matches!(cached, Ok(None)) && present(entry).is_err()
    }

    /// The failures of a DEL, each plugin's.
    fn delete_again(&self, entry: &CacheEntry) -> Option<Vec<Failure>> {
        let network = Network::from_slice(&entry.config).ok()?;
        let error = self.runtime.del(&network, &entry.attachment).err()?;
        Some(self.failures(&error))
    }

    /// When the entry was written. One that has just been deleted sorts first, and is left out for its namespace.
    fn added_at(&self, entry: &CacheEntry) -> SystemTime {
        let path = self.runtime.cache().path(&entry.network, &entry.attachment.key());
        path.metadata().and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

fn put_back_spoof_check(owner: &Owner, result: &CniResult) -> Result<(), Box<dyn std::error::Error>> {
    let port = owner.veth_name();
    if !result.interfaces.iter().any(|interface| interface.sandbox.is_none() && interface.name == port) {
        return Err(format!("the result has no port {port}; another release of the plugins made it").into());
    }
    let container = inside(result, &owner.ifname).and_then(|interface| interface.mac.as_deref());
    let mac = container.ok_or("the result does not tell the MAC address")?.parse()?;
    Ok(SpoofCheck::add(owner, mac)?)
}

/// As bridge and ptp read it.
fn backend(name: &str) -> Result<Option<MasqueradeBackend>, String> {
    match name {
        "" => Ok(None),
        "iptables" => Ok(Some(MasqueradeBackend::Iptables)),
        "nftables" => Ok(Some(MasqueradeBackend::Nftables)),
        other => Err(format!("ipMasqBackend: unknown backend {other:?}")),
    }
}

/// Why nothing is put back for an attachment.
enum Absent {
    /// It is not there any more.
    Gone(String),
    /// What the cache says of it cannot be read.
    Unreadable(String),
}

/// The result of an attachment that is still there; why it is left out, when it is not. An address may be another
/// container's by now, which would lose it to rules of one that is gone: so the interface must have it.
fn present(entry: &CacheEntry) -> Result<CniResult, Absent> {
    let gone = |reason: &str| Absent::Gone(reason.to_owned());
    let result = entry.result.as_ref().ok_or_else(|| gone("the cache has no result of it"))?;
    let result = CniResult::from_json(result, SpecVersion::V0_1_0)
        .map_err(|error| Absent::Unreadable(format!("cannot read its cached result: {error}")))?;
    let netns = entry.attachment.netns.as_deref().ok_or_else(|| gone("it has no namespace"))?;
    let ifname = entry.attachment.ifname.as_str();
    let found = addresses_inside(netns, ifname).map_err(|error| Absent::Gone(error.to_string()))?;
    let ours = |address: &IpAddr| found.contains(address);
    match result.ips.iter().map(|ip| ip.address.addr()).find(|address| !ours(address)) {
        Some(address) => Err(Absent::Gone(format!("{ifname} in {netns} does not have address {address}"))),
        None => Ok(result),
    }
}

/// The addresses of an interface in a namespace; none when there is no such interface.
fn addresses_inside(netns: &str, ifname: &str) -> cni_host::Result<Vec<IpAddr>> {
    let mut socket = NetNs::open(netns)?.socket()?;
    let index = match socket.link_by_name(ifname) {
        Ok(link) => link.index,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    Ok(socket.addr_dump(index)?.into_iter().map(|found| found.address.addr()).collect())
}

fn inside<'a>(result: &'a CniResult, ifname: &str) -> Option<&'a Interface> {
    result.interfaces.iter().find(|interface| interface.sandbox.is_some() && interface.name == ifname)
}

fn is_one_of(types: &[&str], plugin: &Plugin) -> bool {
    types.contains(&plugin.plugin_type.as_str())
}

fn owner(entry: &CacheEntry) -> Owner {
    Owner {
        network: entry.network.to_string(),
        container_id: entry.attachment.container_id.to_string(),
        ifname: entry.attachment.ifname.to_string(),
    }
}

fn name(entry: &CacheEntry) -> String {
    let Owner { network, container_id, ifname } = owner(entry);
    format!("{ifname} of container {container_id} on network {network}")
}

fn about(entry: &CacheEntry, key: &str, what: Value) -> Map<String, Value> {
    let Owner { network, container_id, ifname } = owner(entry);
    Map::from_iter([
        ("network".to_owned(), network.into()),
        ("containerID".to_owned(), container_id.into()),
        ("ifname".to_owned(), ifname.into()),
        (key.to_owned(), what),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> CniResult {
        let json = json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "br0"}, {"name": "veth1"}, {"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/x"}],
        });
        CniResult::from_json(&json, SpecVersion::V1_0_0).unwrap()
    }

    #[test]
    fn the_containers_interface_is_the_one_in_a_sandbox() {
        assert_eq!(inside(&result(), "eth0").unwrap().mac.as_deref(), Some("02:00:00:00:00:01"));
        assert!(inside(&result(), "br0").is_none());
    }

    #[test]
    fn a_port_that_other_plugins_made_is_named() {
        let owner = Owner { network: "blue".into(), container_id: "c1".into(), ifname: "eth0".into() };
        let error = put_back_spoof_check(&owner, &result()).unwrap_err();
        assert!(error.to_string().starts_with("the result has no port vethd3c1b05f553"), "{error}");
    }

    #[test]
    fn own_rules_are_read_as_the_plugin_reads_them() {
        let conf = json!({"type": "bridge", "IPMasq": true, "ipMasqBackend": null, "macspoofchk": true});
        let rules: OwnRules = json::from_value(&conf).unwrap();
        assert!(rules.ip_masq && rules.mac_spoof_check);
        assert_eq!(backend(&rules.ip_masq_backend), Ok(None));
        assert_eq!(backend("nftables"), Ok(Some(MasqueradeBackend::Nftables)));
        assert!(backend("pf").is_err());
    }
}
