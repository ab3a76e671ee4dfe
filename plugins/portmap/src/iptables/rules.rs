//! The reference's chains and rules: what they look like, and what they say.
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

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use cni_host::Owner;
use cni_iptables::{Family, Rule};
use ipnet::IpNet;
use sha2::{Digest, Sha512};

use crate::Pod;
use crate::config::{Config, Forward, Mapping, Mark, Masquerade, Protocol};

pub(super) const DNAT: &str = "CNI-HOSTPORT-DNAT";
const SET_MARK: &str = "CNI-HOSTPORT-SETMARK";
const MASQUERADE: &str = "CNI-HOSTPORT-MASQ";
/// What the names of containers' chains begin with.
pub(super) const PREFIX: &str = "CNI-DN-";
/// Releases of the reference before 0.8 made a second chain for each container, whose name ended alike.
pub(super) const OLD_SNAT: &str = "CNI-HOSTPORT-SNAT";
pub(super) const OLD_PREFIX: &str = "CNI-SN-";

/// The most ports that `-m multiport` takes (XT_MULTI_PORTS).
const MULTIPORT: usize = 15;
/// The most bytes of a comment, less the NUL (XT_MAX_COMMENT_LEN).
const MAX_COMMENT: usize = 255;

/// Rules and the chains that they are in.
type Rules = Vec<(&'static str, Rule)>;

/// What the container needs in each family.
pub(super) fn pod_chains(config: &Config, pod: &Pod) -> Vec<(Family, PodChain)> {
    let of_address = |address: &IpNet| Some((family(*address), PodChain::new(config, &pod.owner, *address)?));
    pod.addresses.iter().filter_map(of_address).collect()
}

/// What belongs to one container in one family.
pub(super) struct PodChain {
    pub(super) name: String,
    pub(super) rules: Vec<Rule>,
    /// In [`DNAT`].
    pub(super) jumps: Vec<Rule>,
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
pub(super) fn entries() -> Rules {
    let rule = Rule::new(&["-m", "addrtype", "--dst-type", "LOCAL", "-j", DNAT]);
    vec![("PREROUTING", rule.clone()), ("OUTPUT", rule)]
}

/// The rules of the chains that mark packets and masquerade marked ones.
pub(super) fn masquerading(config: &Config) -> Rules {
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
pub(super) fn jump_to_masquerading(config: &Config) -> Option<Rule> {
    let comment = "CNI portfwd requiring masquerade";
    let jump = Rule::new(&["-m", "comment", "--comment", comment, "-j", MASQUERADE]);
    (!masquerading(config).is_empty()).then_some(jump)
}

pub(super) fn family(address: IpNet) -> Family {
    match address {
        IpNet::V4(_) => Family::Ipv4,
        IpNet::V6(_) => Family::Ipv6,
    }
}

/// `CNI-DN-` and hex digits of the SHA-512 of network and container ID, 28 characters in all, as the reference calls it.
pub(super) fn chain_name(network: &str, container_id: &str) -> String {
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
pub(super) fn read_comment(comment: &str) -> Option<(&str, &str)> {
    comment.strip_prefix(r#"dnat name: ""#)?.strip_suffix('"')?.split_once(r#"" id: ""#)
}

/// Reads the mapping that a DNAT rule of a container's chain is.
pub(super) fn forward(rule: &Rule, family: Family) -> Option<Forward> {
    let (protocol, host) = port_of(rule, family)?;
    Some(Forward { protocol, host, pod: after(rule, "--to-destination")?.parse().ok()? })
}

/// The port of the host that a rule of a container's chain is for.
pub(super) fn port_of(rule: &Rule, family: Family) -> Option<(Protocol, SocketAddr)> {
    let any: IpAddr = if family == Family::Ipv4 { [0; 4].into() } else { [0; 16].into() };
    let host = match after(rule, "-d") {
        Some(host) => host.split('/').next()?.parse().ok()?,
        None => any,
    };
    let port = after(rule, "--dport")?.parse().ok()?;
    Some((Protocol::of_name(after(rule, "-p")?)?, SocketAddr::new(host, port)))
}

/// A rule of [`DNAT`], which leads to a container's chain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Jump {
    pub(super) protocol: Protocol,
    pub(super) ports: Vec<u16>,
    pub(super) chain: String,
    /// What else a packet must be.
    pub(super) conditions: Vec<String>,
}

impl Jump {
    /// Reads a rule; `None` for one that is not of this form.
    pub(super) fn of(rule: &Rule) -> Option<Self> {
        let ports = after(rule, "--dports").or_else(|| after(rule, "--destination-ports"))?;
        let ports = ports.split(',').map(|port| port.parse().ok()).collect::<Option<_>>()?;
        let protocol = Protocol::of_name(after(rule, "-p")?)?;
        let chain = after(rule, "-j")?.to_owned();
        let (mut conditions, mut words) = (Vec::new(), rule.0.iter());
        while let Some(word) = words.next() {
            match word.as_str() {
                "-m" | "-p" | "-j" | "--comment" | "--dports" | "--destination-ports" => drop(words.next()),
                _ => conditions.push(word.clone()),
            }
        }
        Some(Jump { protocol, ports, chain, conditions })
    }
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
    fn a_jump_tells_ports_chain_and_conditions() {
        let words: Vec<&str> =
            "-i eth0 -p tcp -m comment --comment x -m multiport --dports 80,81 ! -s 192.0.2.0/24 -j CNI-DN-x"
                .split(' ')
                .collect();
        let jump = Jump::of(&Rule::new(&words)).unwrap();
        assert_eq!(
            (jump.protocol, &jump.ports[..], &*jump.chain),
            (Protocol::Tcp, &[80, 81][..], "CNI-DN-x")
        );
        assert_eq!(jump.conditions, ["-i", "eth0", "!", "-s", "192.0.2.0/24"]);
        assert_eq!(Jump::of(&Rule::new(&["-p", "tcp", "-j", "CNI-DN-x"])), None);
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
