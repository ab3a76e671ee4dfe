//! Capability arguments: what a runtime puts under `runtimeConfig` (CONVENTIONS.md of the specification).

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// An entry of the `portMappings` capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct PortMapping {
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: String,
    /// Runtimes send an empty text for none.
    #[serde(
        rename = "hostIP",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::result::address::optional"
    )]
    pub host_ip: Option<IpAddr>,
}

/// The `bandwidth` capability: rates in bits a second, bursts in bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)]
pub struct BandwidthEntry {
    pub ingress_rate: u64,
    pub ingress_burst: u64,
    pub egress_rate: u64,
    pub egress_burst: u64,
}
