//! The networks that are measured.

use std::path::Path;

use serde_json::{Value, json};

use crate::chain::Chain;

/// How the packet filter is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Nftables,
    Iptables,
}

impl Backend {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Backend::Nftables => "nftables",
            Backend::Iptables => "iptables",
        }
    }
}

fn ipam(leases: &Path, subnet: &str) -> Value {
    json!({
        "type": "host-local",
        "dataDir": leases,
        "ranges": [[{"subnet": subnet}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    })
}

fn bridge_conf(leases: &Path) -> Value {
    json!({"type": "bridge", "bridge": "bench0", "isGateway": true, "ipam": ipam(leases, "10.77.0.0/16")})
}

/// bridge and host-local.
pub(crate) fn bridge(leases: &Path) -> Chain {
    Chain::new("bench", vec![bridge_conf(leases)])
}

/// ptp with masquerading, by whatever the host has.
pub(crate) fn ptp(leases: &Path) -> Chain {
    let ptp = json!({"type": "ptp", "ipMasq": true, "ipam": ipam(leases, "10.77.0.0/16")});
    Chain::new("bench", vec![ptp])
}

/// bridge with masquerading, portmap with two ports, firewall, tuning. The reference's firewall has no nftables backend.
pub(crate) fn full(leases: &Path, backend: Backend, firewall: Backend) -> Chain {
    let mut chain = held(leases, backend, firewall);
    chain.plugins.push(json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}));
    chain.runtime_config = ports(8080);
    chain
}

/// bridge with masquerading, portmap, firewall.
pub(crate) fn held(leases: &Path, backend: Backend, firewall: Backend) -> Chain {
    let mut bridge = bridge_conf(leases);
    bridge["ipMasq"] = json!(true);
    bridge["ipMasqBackend"] = json!(backend.name());
    let portmap = json!({
        "type": "portmap",
        "backend": backend.name(),
        "capabilities": {"portMappings": true},
    });
    let firewall = json!({"type": "firewall", "backend": firewall.name()});
    Chain::new("bench", vec![bridge, portmap, firewall])
}

/// bridge, portmap, firewall with the keys that networks have: no backend but where it is nftables, the pods masqueraded or not. The
/// reference's firewall takes nftables for a word that it does not know, and works by iptables.
pub(crate) fn node(leases: &Path, backend: Option<Backend>, masquerades: bool) -> Chain {
    let mut bridge = bridge_conf(leases);
    bridge["hairpinMode"] = json!(true);
    let mut portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let mut firewall = json!({"type": "firewall"});
    if masquerades {
        bridge["ipMasq"] = json!(true);
    }
    if let Some(backend) = backend {
        bridge["ipMasqBackend"] = json!(backend.name());
        portmap["backend"] = json!(backend.name());
        firewall["backend"] = json!(backend.name());
    }
    Chain::new("bench", vec![bridge, portmap, firewall])
}

/// Two ports of the host, from `first` on.
pub(crate) fn ports(first: u16) -> Value {
    let mapping =
        |port: u16, inside: u16| json!({"hostPort": port, "containerPort": inside, "protocol": "tcp"});
    json!({"portMappings": [mapping(first, 80), mapping(first + 1, 443)]})
}

/// Addresses alone.
pub(crate) fn host_local(leases: &Path, subnet: &str) -> Chain {
    Chain::new("bench", vec![json!({"type": "host-local", "ipam": ipam(leases, subnet)})])
}
