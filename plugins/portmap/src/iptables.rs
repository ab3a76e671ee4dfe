//! The iptables backend: the reference's chains, rules and comments to the letter, since nerdctl and Nomad read them. Ports
//! are appended, so that of two containers with one port the first has it.
//!
//! ```text
//! PREROUTING, OUTPUT  -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
//! CNI-HOSTPORT-DNAT   -m comment --comment ... -m multiport -p tcp --destination-ports 8080,8081 -j CNI-DN-...
//! CNI-DN-...          -p tcp --dport 8080 -s 10.1.0.5/16 -j CNI-HOSTPORT-SETMARK
//!                     -p tcp --dport 8080 -s 127.0.0.1 -j CNI-HOSTPORT-SETMARK
//!                     -p tcp --dport 8080 -j DNAT --to-destination 10.1.0.5:80
//! CNI-HOSTPORT-SETMARK  -m comment --comment ... -j MARK --set-xmark 0x2000/0x2000
//! POSTROUTING         -m comment --comment ... -j CNI-HOSTPORT-MASQ    (the first)
//! CNI-HOSTPORT-MASQ   -m mark --mark 0x2000/0x2000 -j MASQUERADE
//! ```
//!
//! All but the chain `CNI-DN-...` and the rules that lead to it belong to everybody and stay.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};

use cni_host::Owner;
use cni_iptables::{Family, Found, Iptables, Rule, Table};
use cni_plugin::{Error, Result, Undo};
use ipnet::IpNet;
use sha2::{Digest, Sha512};

use crate::Pod;
use crate::config::{Config, Forward, Mapping, Mark, Masquerade, Protocol};
use crate::nftables::tell_displaced;

const TABLE: &str = "nat";
const DNAT: &str = "CNI-HOSTPORT-DNAT";
const SET_MARK: &str = "CNI-HOSTPORT-SETMARK";
const MASQUERADE: &str = "CNI-HOSTPORT-MASQ";
/// What the names of containers' chains begin with.
const PREFIX: &str = "CNI-DN-";
/// Releases of the reference before 0.8 made a second chain for each container, whose name ended alike.
const OLD_SNAT: &str = "CNI-HOSTPORT-SNAT";
const OLD_PREFIX: &str = "CNI-SN-";

/// The most ports that `-m multiport` takes (XT_MULTI_PORTS).
const MULTIPORT: usize = 15;
/// The most bytes of a comment, less the NUL (XT_MAX_COMMENT_LEN).
const MAX_COMMENT: usize = 255;

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// Rules and the chains that they are in.
type Rules = Vec<(&'static str, Rule)>;

/// Maps the ports, for the families that the container has an address of.
pub(crate) fn add(config: &Config, pod: &Pod, path: &str) -> Result<()> {
    let chains = pod_chains(config, pod);
    if chains.is_empty() {
        return Ok(());
    }
    let families: Vec<Family> = chains.iter().map(|(family, _)| *family).collect();
    let iptables = Iptables::find(&families, path)?;
    let mut undo = Undo::default();
    let owner = &pod.owner;
    undo.push("remove the container's iptables rules", move || del(owner, path, &mut Vec::new()));
    iptables.update(TABLE, |table| {
        let of_family = chains.iter().find(|(family, _)| *family == table.family());
        of_family.map_or(Ok(()), |(_, chain)| plan(table, config, chain))
    })?;
    undo.commit();
    Ok(())
}

fn plan(table: &mut Table<'_>, config: &Config, chain: &PodChain) -> cni_iptables::Result<()> {
    for (chain, rule) in masquerading(config) {
        table.ensure_chain(chain)?;
        table.append_unique(chain, rule)?;
    }
    if let Some(jump) = jump_to_masquerading(config) {
        table.insert_unique("POSTROUTING", jump)?;
    }
    table.ensure_chain(DNAT)?;
    for (hook, rule) in entries() {
        table.append_unique(hook, rule)?;
    }
    if table.has_chain(&chain.name)? {
        for rule in &chain.rules {
            table.append_unique(&chain.name, rule.clone())?;
        }
    } else {
        // Without comparing each with all of thousands.
        table.replace_chain(&chain.name, chain.rules.clone());
    }
    for rule in &chain.jumps {
        table.append_unique(DNAT, rule.clone())?;
    }
    Ok(())
}

/// Compares with what ADD made, wherever it is.
pub(crate) fn check(config: &Config, pod: &Pod, path: &str) -> Result<()> {
    for (family, chain) in pod_chains(config, pod) {
        let shared = entries().into_iter().chain(masquerading(config));
        let jump = jump_to_masquerading(config).map(|rule| ("POSTROUTING", rule));
        let mut wanted = vec![(chain.name.as_str(), chain.rules), (DNAT, chain.jumps)];
        wanted.extend(shared.chain(jump).map(|(chain, rule)| (chain, vec![rule])));
        let iptables = Iptables::wherever(&[family], path);
        if let Some((chain, rule)) = iptables.first_missing(family, TABLE, &wanted)? {
            let program = if family == Family::Ipv4 { "iptables" } else { "ip6tables" };
            return Err(Error::failed(format!(
                "chain {chain} of the {program} table {TABLE} does not have the rule: {rule}"
            )));
        }
    }
    Ok(())
}

/// Removes the chains that the reference's plugin or this one made for the container and network, and adds the mappings that
/// were in them to `gone`. They do not tell interfaces.
pub(crate) fn del(owner: &Owner, path: &str, gone: &mut Vec<Forward>) -> Result<()> {
    let chain = chain_name(&owner.network, &owner.container_id);
    remove(path, gone, |table| {
        // The older one is not without this one.
        Ok(if table.has_chain(&chain)? { vec![chain.clone()] } else { Vec::new() })
    })
}

/// Removes the chains of this network's containers that are not among the valid ones. Which container a chain is for is told
/// by the comment of the rule that leads to it; one that was cut short tells nothing, and its chain is kept.
pub(crate) fn gc(network: &str, valid: &HashSet<&str>, path: &str, gone: &mut Vec<Forward>) -> Result<()> {
    remove(path, gone, |table| {
        let of_rule = |rule: &Found| {
            let (of, container_id) = read_comment(rule.comment()?)?;
            let chain = chain_name(network, container_id);
            let stale = of == network && !valid.contains(container_id) && rule.leads_to(&chain);
            stale.then_some(chain)
        };
        let chains: BTreeSet<String> = table.rules(DNAT)?.iter().filter_map(of_rule).collect();
        Ok(chains.into_iter().collect())
    })
}

/// Takes these ports from containers whose chains have them, which come before the other backend's.
pub(crate) fn displace(forwards: &[Forward], owner: &Owner, path: &str) -> Result<()> {
    let mut displaced: Vec<(Forward, String)> = Vec::new();
    let forward = |found: &Found, family: Family| {
        let (protocol, host) = port_of(found.rule()?, family)?;
        forwards.iter().find(|forward| forward.displaces(protocol, host)).copied()
    };
    Iptables::wherever(&FAMILIES, path).update(TABLE, |table| {
        let family = table.family();
        displaced.retain(|(forward, _)| forward.pod.is_ipv4() != (family == Family::Ipv4));
        let chains: BTreeSet<String> = table
            .rules(DNAT)?
            .iter()
            .filter_map(|found| found.target().filter(|target| target.starts_with(PREFIX)).map(str::to_owned))
            .collect();
        for chain in chains {
            // Those that mark the packets as well, or a masqAll of theirs would go on.
            table.delete_matching(&chain, |found| forward(found, family).is_some())?;
            let taken = table.rules(&chain)?;
            let taken = taken.iter().filter_map(|found| forward(found, family));
            displaced.extend(taken.map(|forward| (forward, format!("chain {chain}"))));
        }
        Ok(())
    })?;
    displaced.dedup();
    for (forward, holder) in displaced {
        tell_displaced(&forward, &holder, owner);
    }
    Ok(())
}

/// Removes chains and what leads to them, wherever they are.
fn remove(
    path: &str,
    gone: &mut Vec<Forward>,
    chains: impl Fn(&mut Table<'_>) -> cni_iptables::Result<Vec<String>>,
) -> Result<()> {
    // What an earlier try has found stays: flows to it are stale as well.
    Ok(Iptables::wherever(&FAMILIES, path).update(TABLE, |table| {
        let family = table.family();
        for chain in chains(table)? {
            let rules = table.rules(&chain)?;
            gone.extend(rules.iter().filter_map(|found| forward(found.rule()?, family)));
            let old = chain.replacen(PREFIX, OLD_PREFIX, 1);
            for (top, chain) in [(DNAT, &chain), (OLD_SNAT, &old)] {
                table.delete_matching(top, |found| found.leads_to(chain))?;
                table.delete_chain(chain)?;
            }
        }
        Ok(())
    })?)
}

/// Whether iptables is installed. Whether the kernel agrees shows when it runs.
pub(crate) fn is_usable(path: &str) -> Result<()> {
    Iptables::find(&[Family::Ipv4], path)?;
    Ok(())
}

/// What the container needs in each family.
fn pod_chains(config: &Config, pod: &Pod) -> Vec<(Family, PodChain)> {
    let of_address = |address: &IpNet| Some((family(*address), PodChain::new(config, &pod.owner, *address)?));
    pod.addresses.iter().filter_map(of_address).collect()
}

/// What belongs to one container in one family.
struct PodChain {
    name: String,
    rules: Vec<Rule>,
    /// In [`DNAT`].
    jumps: Vec<Rule>,
}

impl PodChain {
    /// `None` when no mapping is for this family.
    fn new(config: &Config, owner: &Owner, address: IpNet) -> Option<Self> {
        let name = chain_name(&owner.network, &owner.container_id);
        // `hostIP` 0.0.0.0 and none at all have the same rules.
        let mut seen = HashSet::new();
        let rules = config.mappings.iter().flat_map(|mapping| rules_of(mapping, address, config));
        let rules: Vec<Rule> = rules.filter(|rule| seen.insert(rule.0.clone())).collect();
        if rules.is_empty() {
            return None;
        }
        let comment = comment(&owner.network, &owner.container_id);
        let conditions = config.conditions(address.addr().is_ipv6());
        let mut ports: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for mapping in &config.mappings {
            ports.entry(mapping.protocol.name()).or_default().push(mapping.host_port.to_string());
        }
        let jump = |protocol: &str, ports: &[String]| {
            let ports = ports.join(",");
            let mut words = vec!["-m", "comment", "--comment", &comment];
            words.extend(["-m", "multiport", "-p", protocol, "--destination-ports", &ports]);
            words.extend(conditions.iter().map(String::as_str));
            words.extend(["-j", &name]);
            Rule::new(&words)
        };
        let jumps = ports
            .iter()
            .flat_map(|(protocol, ports)| ports.chunks(MULTIPORT).map(|ports| jump(protocol, ports)))
            .collect();
        Some(PodChain { name, rules, jumps })
    }
}

/// The marks come before the translation, which ends the packet's way through the chain.
fn rules_of(mapping: &Mapping, address: IpNet, config: &Config) -> Vec<Rule> {
    let Some(forward) = mapping.forward(address) else { return Vec::new() };
    let (host, port) = (forward.host.ip().to_string(), forward.host.port().to_string());
    let mut port = vec!["-p", mapping.protocol.name(), "--dport", &port];
    if !forward.host.ip().is_unspecified() {
        port.extend(["-d", &host]);
    }
    let v6 = forward.pod.is_ipv6();
    let subnet = address.to_string();
    let sources: &[&str] = match config.masquerade {
        Masquerade::Nobody => &[],
        Masquerade::Near if v6 => &[&subnet],
        Masquerade::Near => &[&subnet, "127.0.0.1"],
        Masquerade::All if v6 => &["::/0"],
        Masquerade::All => &["0.0.0.0/0"],
    };
    let set_mark = match &config.mark {
        Mark::Bit(_) => SET_MARK,
        Mark::Chain(chain) => chain,
    };
    let mark = |source: &&str| Rule::new(&[&port[..], &["-s", source, "-j", set_mark]].concat());
    let mut rules: Vec<Rule> = sources.iter().map(mark).collect();
    let pod = forward.pod.to_string();
    rules.push(Rule::new(&[&port[..], &["-j", "DNAT", "--to-destination", &pod]].concat()));
    rules
}

/// What leads every packet for the host to [`DNAT`].
fn entries() -> Rules {
    let rule = Rule::new(&["-m", "addrtype", "--dst-type", "LOCAL", "-j", DNAT]);
    vec![("PREROUTING", rule.clone()), ("OUTPUT", rule)]
}

/// The rules of the chains that mark packets and masquerade marked ones.
fn masquerading(config: &Config) -> Rules {
    let (Mark::Bit(bit), Masquerade::Near | Masquerade::All) = (&config.mark, config.masquerade) else {
        return Vec::new();
    };
    let mark = format!("{0:#x}/{0:#x}", 1_u32 << bit);
    let comment = "CNI portfwd masquerade mark";
    vec![
        (SET_MARK, Rule::new(&["-m", "comment", "--comment", comment, "-j", "MARK", "--set-xmark", &mark])),
        (MASQUERADE, Rule::new(&["-m", "mark", "--mark", &mark, "-j", "MASQUERADE"])),
    ]
}

/// It comes before all others, or the rules of bridge and ptp that end the packet's way would.
fn jump_to_masquerading(config: &Config) -> Option<Rule> {
    let comment = "CNI portfwd requiring masquerade";
    let jump = Rule::new(&["-m", "comment", "--comment", comment, "-j", MASQUERADE]);
    (!masquerading(config).is_empty()).then_some(jump)
}

fn family(address: IpNet) -> Family {
    match address {
        IpNet::V4(_) => Family::Ipv4,
        IpNet::V6(_) => Family::Ipv6,
    }
}

/// `CNI-DN-` and hex digits of the SHA-512 of network and container ID, 28 characters in all, as the reference calls it.
fn chain_name(network: &str, container_id: &str) -> String {
    let digest = Sha512::digest(format!("{network}{container_id}"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{hex}")[..28].to_owned()
}

/// As the reference writes it, cut short where iptables would refuse it.
fn comment(network: &str, container_id: &str) -> String {
    let mut comment = format!(r#"dnat name: "{network}" id: "{container_id}""#);
    if comment.len() > MAX_COMMENT {
        comment.truncate(MAX_COMMENT - "...".len());
        comment.push_str("...");
    }
    comment
}

/// Network and container ID; `None` for any other comment.
fn read_comment(comment: &str) -> Option<(&str, &str)> {
    comment.strip_prefix(r#"dnat name: ""#)?.strip_suffix('"')?.split_once(r#"" id: ""#)
}

/// Reads the mapping that a DNAT rule of a container's chain is.
fn forward(rule: &Rule, family: Family) -> Option<Forward> {
    let (protocol, host) = port_of(rule, family)?;
    Some(Forward { protocol, host, pod: after(rule, "--to-destination")?.parse().ok()? })
}

/// The port of the host that a rule of a container's chain is for.
fn port_of(rule: &Rule, family: Family) -> Option<(Protocol, SocketAddr)> {
    let any: IpAddr = if family == Family::Ipv4 { [0; 4].into() } else { [0; 16].into() };
    let host = match after(rule, "-d") {
        Some(host) => host.split('/').next()?.parse().ok()?,
        None => any,
    };
    let port = after(rule, "--dport")?.parse().ok()?;
    Some((Protocol::of_name(after(rule, "-p")?)?, SocketAddr::new(host, port)))
}

/// The word after an option.
fn after<'r>(rule: &'r Rule, option: &str) -> Option<&'r str> {
    let at = rule.0.iter().position(|word| word == option)?;
    rule.0.get(at + 1).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference's own test has this name (portmap_iptables_test.go).
    #[test]
    fn the_chains_name_is_the_references() {
        let container_id = "icee6giejonei6sohng6ahngee7laquohquee9shiGo7fohferakah3Feiyoolu2pei7ciPhoh7shaoX6vai3vuf0ahfaeng8yohb9ceu0daez5hashee8ooYai5wa3y";
        assert_eq!(chain_name("test", container_id), "CNI-DN-67e92b96e692a494b6b85");
    }

    #[test]
    fn a_comment_tells_network_and_container_unless_it_is_cut_short() {
        let text = comment("net", "c1");
        assert_eq!(text, r#"dnat name: "net" id: "c1""#);
        assert_eq!(read_comment(&text), Some(("net", "c1")));
        let long = comment("net", &"c".repeat(300));
        assert_eq!(long.len(), 255);
        assert_eq!(read_comment(&long), None);
        assert_eq!(read_comment(r#"name: "net" id: "c1""#), None);
    }

    #[test]
    fn a_rule_is_read_as_the_mapping_it_is() {
        let forward_of = |text: &str, family| {
            let words: Vec<&str> = text.split(' ').collect();
            forward(&Rule::new(&words), family).map(|forward| format!("{forward} {}", forward.pod))
        };
        for (text, family, read) in [
            (
                "-p udp -m udp --dport 53 -j DNAT --to-destination 10.1.0.5:5353",
                Family::Ipv4,
                Some("udp port 53 10.1.0.5:5353"),
            ),
            (
                "-d 2001:db8::1/128 -p tcp -m tcp --dport 80 -j DNAT --to-destination [fd00::5]:8080",
                Family::Ipv6,
                Some("tcp port 80 of 2001:db8::1 [fd00::5]:8080"),
            ),
            ("-s 127.0.0.1/32 -p udp -m udp --dport 53 -j CNI-HOSTPORT-SETMARK", Family::Ipv4, None),
            ("-p udp -j DNAT --to-destination 10.1.0.5", Family::Ipv4, None),
        ] {
            assert_eq!(forward_of(text, family).as_deref(), read, "{text}");
        }
    }
}
