//! The configuration: its form on the wire, and what ADD, CHECK and STATUS make of it.
//!
//! DEL and GC need none of it: what an ADD was refused for must not keep a DEL from cleaning up.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use cni_nftables::{Statement, parse_matches};
use cni_plugin::{Error, Result};
use cni_types::parse_address;
use ipnet::IpNet;
use serde::Deserialize;

/// Which bit of a packet's mark tells that it is to be masqueraded. Kubernetes uses 14 and 15, Calico 20 to 31.
const DEFAULT_MARK_BIT: i64 = 13;

/// The plugin's keys of the network configuration, read but not yet validated.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wire {
    backend: Option<String>,
    snat: Option<bool>,
    conditions_v4: Vec<String>,
    conditions_v6: Vec<String>,
    masq_all: bool,
    mark_masq_bit: Option<i64>,
    external_set_mark_chain: Option<String>,
    runtime_config: WireRuntime,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireRuntime {
    port_mappings: Vec<WireMapping>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireMapping {
    host_port: i64,
    container_port: i64,
    protocol: String,
    #[serde(rename = "hostIP")]
    host_ip: String,
}

/// Who carries out the mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Iptables,
    Nftables,
}

impl Backend {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Backend::Iptables => "iptables",
            Backend::Nftables => "nftables",
        }
    }
}

/// Whose packets come to the container under the host's address instead of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Masquerade {
    /// `snat: false`
    Nobody,
    /// Those that the answers would not come back through the host: from the container's own subnet, itself included, and
    /// from the host's 127.0.0.0/8.
    Near,
    /// `masqAll`
    All,
}

/// How the iptables backend tells the packets to be masqueraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The bit of the mark that chains of this plugin set and look at.
    Bit(u8),
    /// A chain that somebody else looks after.
    Chain(String),
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Protocol {
    Sctp,
    Tcp,
    Udp,
}

impl Protocol {
    pub(crate) const ALL: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Sctp => "sctp",
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    /// IPPROTO_*
    pub(crate) fn number(self) -> u8 {
        match self {
            Protocol::Sctp => 132,
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Protocol::ALL.into_iter().find(|protocol| name.eq_ignore_ascii_case(protocol.name()))
    }

    pub(crate) fn of_number(number: u8) -> Option<Self> {
        Protocol::ALL.into_iter().find(|protocol| protocol.number() == number)
    }
}

/// An entry of `portMappings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) protocol: Protocol,
    /// `None` for all addresses of both families; an unspecified one for all of its own.
    pub(crate) host_ip: Option<IpAddr>,
    pub(crate) host_port: u16,
    pub(crate) container_port: u16,
}

/// A port of the host that leads to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    pub(crate) protocol: Protocol,
    /// An unspecified address stands for all of the host's of this family.
    pub(crate) host: SocketAddr,
    pub(crate) pod: SocketAddr,
}

impl Mapping {
    /// What it means for a container's address; nothing when `hostIP` is of the other family.
    pub(crate) fn forward(&self, pod: IpNet) -> Option<Forward> {
        let any = match pod {
            IpNet::V4(_) => IpAddr::from([0; 4]),
            IpNet::V6(_) => IpAddr::from([0; 16]),
        };
        let host_ip = self.host_ip.unwrap_or(any);
        (host_ip.is_ipv4() == any.is_ipv4()).then(|| Forward {
            protocol: self.protocol,
            host: SocketAddr::new(host_ip, self.host_port),
            pod: SocketAddr::new(pod.addr(), self.container_port),
        })
    }
}

impl Forward {
    /// Whether nothing would come by it as long as somebody else, who comes first, has this port of the host: the same one, or
    /// that of all addresses.
    pub(crate) fn displaces(&self, protocol: Protocol, host: SocketAddr) -> bool {
        let of_all = host.ip().is_unspecified()
            && (host.is_ipv4(), host.port()) == (self.host.is_ipv4(), self.host.port());
        self.protocol == protocol && (self.host == host || of_all)
    }

    /// Whether a packet can be for both: the port is the same, and so is the address, or one of the two has all of the host's.
    pub(crate) fn overlaps(&self, other: &Forward) -> bool {
        self.displaces(other.protocol, other.host) || other.displaces(self.protocol, self.host)
    }

    /// The same port of all the host's addresses.
    pub(crate) fn of_all_addresses(mut self) -> Self {
        let any = if self.host.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        self.host.set_ip(any);
        self
    }
}

/// `tcp port 8080`, `udp port 53 of 10.0.0.1`
impl std::fmt::Display for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} port {}", self.protocol.name(), self.host.port())?;
        if self.host.ip().is_unspecified() { Ok(()) } else { write!(f, " of {}", self.host.ip()) }
    }
}

/// A configuration that ADD can carry out.
#[derive(Debug)]
pub struct Config {
    /// `None` for what the host offers.
    pub(crate) backend: Option<Backend>,
    pub(crate) masquerade: Masquerade,
    pub(crate) mark: Mark,
    pub(crate) mappings: Vec<Mapping>,
    conditions: [Vec<String>; 2],
}

impl Config {
    /// Validates the keys.
    pub(crate) fn new(wire: &Wire) -> Result<Self> {
        let masquerade = match (wire.snat.unwrap_or(true), wire.masq_all) {
            (false, _) => Masquerade::Nobody,
            (true, false) => Masquerade::Near,
            (true, true) => Masquerade::All,
        };
        let config = Config {
            backend: wire.backend()?,
            masquerade,
            mark: wire.mark()?,
            mappings: wire.mappings()?,
            conditions: [&wire.conditions_v4, &wire.conditions_v6]
                .map(|conditions| if is_empty(conditions) { Vec::new() } else { conditions.clone() }),
        };
        config.backend.map_or(Ok(()), |backend| config.expect_fit(backend))?;
        Ok(config)
    }

    /// The words of `conditionsV4` or `conditionsV6`.
    pub(crate) fn conditions(&self, v6: bool) -> &[String] {
        &self.conditions[usize::from(v6)]
    }

    /// The same as matches of nf_tables.
    pub(crate) fn matches(&self, v6: bool) -> Result<Vec<Statement>> {
        parse_conditions(CONDITIONS[usize::from(v6)], self.conditions(v6))
    }

    /// Refuses what the backend cannot do.
    pub(crate) fn expect_fit(&self, backend: Backend) -> Result<()> {
        self.expect_only_of(backend)?;
        if backend == Backend::Nftables {
            for (key, conditions) in CONDITIONS.into_iter().zip(&self.conditions) {
                parse_conditions(key, conditions)?;
            }
        }
        Ok(())
    }

    /// Refuses keys that only the other backend knows. What a condition is for shows in its first character: iptables'
    /// begin with an option or `!`, nft's never do.
    fn expect_only_of(&self, backend: Backend) -> Result<()> {
        let mut others: Vec<&str> = Vec::new();
        if matches!(self.mark, Mark::Chain(_)) && backend != Backend::Iptables {
            others.push("externalSetMarkChain");
        }
        for (key, conditions) in CONDITIONS.into_iter().zip(&self.conditions) {
            let Some(first) = conditions.first() else { continue };
            let of = if first.starts_with(['-', '!']) { Backend::Iptables } else { Backend::Nftables };
            if of != backend {
                others.push(key);
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        let (other, backend) = match backend {
            Backend::Iptables => (Backend::Nftables, backend),
            Backend::Nftables => (Backend::Iptables, backend),
        };
        Err(Error::config(format!(
            "the backend is {}, but these keys are for {}: {}",
            backend.name(),
            other.name(),
            others.join(", ")
        )))
    }
}

const CONDITIONS: [&str; 2] = ["conditionsV4", "conditionsV6"];

impl Wire {
    fn backend(&self) -> Result<Option<Backend>> {
        match self.backend.as_deref() {
            None => Ok(None),
            Some("iptables") => Ok(Some(Backend::Iptables)),
            Some("nftables") => Ok(Some(Backend::Nftables)),
            Some(other) => {
                Err(Error::config(format!("backend: {other:?} is unknown; known are iptables and nftables")))
            }
        }
    }

    fn mark(&self) -> Result<Mark> {
        match (&self.external_set_mark_chain, self.mark_masq_bit) {
            (Some(_), Some(_)) => {
                Err(Error::config("externalSetMarkChain and markMasqBit exclude each other"))
            }
            (Some(chain), None) => Ok(Mark::Chain(chain.clone())),
            (None, bit) => match u8::try_from(bit.unwrap_or(DEFAULT_MARK_BIT)) {
                Ok(bit) if bit < 32 => Ok(Mark::Bit(bit)),
                _ => Err(Error::config(format!(
                    "markMasqBit: {} is not between 0 and 31",
                    bit.unwrap_or_default()
                ))),
            },
        }
    }

    /// Each host port once; of two that exclude each other the first counts, as it does in the reference's rules.
    fn mappings(&self) -> Result<Vec<Mapping>> {
        let (mut mappings, mut ports) = (Vec::new(), HashSet::new());
        for (index, wire) in self.runtime_config.port_mappings.iter().enumerate() {
            let mapping = wire
                .mapping()
                .map_err(|reason| Error::config(format!("runtimeConfig.portMappings[{index}].{reason}")))?;
            if ports.insert((mapping.protocol, mapping.host_ip, mapping.host_port)) {
                mappings.push(mapping);
            }
        }
        Ok(mappings)
    }
}

/// As the reference takes it, a list that begins with an empty text is none.
fn is_empty(conditions: &[String]) -> bool {
    conditions.first().is_none_or(String::is_empty)
}

/// The reference joins them by spaces, too, so that each may be a match or a word of one.
fn parse_conditions(key: &str, conditions: &[String]) -> Result<Vec<Statement>> {
    if conditions.is_empty() {
        return Ok(Vec::new());
    }
    parse_matches(&conditions.join(" ")).map_err(|error| Error::config(format!("{key}: {error}")))
}

impl WireMapping {
    fn mapping(&self) -> std::result::Result<Mapping, String> {
        let port = |key: &str, port: i64| match u16::try_from(port) {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(format!("{key}: {port} is not a port")),
        };
        let protocol = Protocol::of_name(&self.protocol)
            .ok_or_else(|| format!("protocol: {:?} is not one of tcp, udp, sctp", self.protocol))?;
        let host_ip = match self.host_ip.as_str() {
            "" => None,
            text => {
                Some(parse_address(text).ok_or_else(|| format!("hostIP: {text:?} is not an IP address"))?)
            }
        };
        Ok(Mapping {
            protocol,
            host_ip,
            host_port: port("hostPort", self.host_port)?,
            container_port: port("containerPort", self.container_port)?,
        })
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
