//! Capability arguments: what a runtime puts under `runtimeConfig` (CONVENTIONS.md of the specification).
//!
//! Only those that are structures have a type here: `portMappings` and `bandwidth`. `mac`, `deviceID`, `infinibandGUID`
//! and `cgroupPath` are strings, `ips` and `aliases` lists of strings, and `ipRanges` is in host-local's own form.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// An entry of the `portMappings` capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// The port on the host.
    pub host_port: u16,
    /// The port in the container.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`; unchecked.
    pub protocol: String,
    /// The host's address on which the port is open; `None` is all of them, for which runtimes also send an empty text.
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
pub struct BandwidthEntry {
    /// Towards the container, bits a second.
    pub ingress_rate: u64,
    /// Towards the container, bits.
    pub ingress_burst: u64,
    /// From the container, bits a second.
    pub egress_rate: u64,
    /// From the container, bits.
    pub egress_burst: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::json;

    #[test]
    fn port_mappings_are_read_as_runtimes_send_them() {
        let mappings: Vec<PortMapping> = json::from_value(&json!([
            { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" },
            { "hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "" },
            { "HostPort": 443, "containerPort": 443, "protocol": "sctp", "hostIP": "fd00::1" },
        ]))
        .unwrap();
        assert_eq!(mappings[1].host_ip, None);
        assert_eq!((mappings[2].host_port, mappings[2].host_ip), (443, "fd00::1".parse().ok()));
        assert_eq!(
            serde_json::to_value(&mappings[0]).unwrap(),
            json!({ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" })
        );
    }

    #[test]
    fn a_bad_port_mapping_is_refused() {
        let error = |value| json::from_value::<PortMapping>(&value).unwrap_err().to_string();
        let with_port = |port: i64| json!({ "hostPort": port, "containerPort": 80, "protocol": "tcp" });
        assert_eq!(
            error(with_port(65536)),
            "hostPort: invalid value: number 65536, expected a number from 0 to 65535"
        );
        assert_eq!(
            error(with_port(-1)),
            "hostPort: invalid value: number -1, expected a number from 0 to 65535"
        );
        let mut bad_address = with_port(80);
        bad_address["hostIP"] = "10.0.0".into();
        assert_eq!(error(bad_address), r#"hostIP: invalid IP address "10.0.0""#);
    }

    #[test]
    fn bandwidth_may_be_partial() {
        let entry: BandwidthEntry =
            json::from_value(&json!({ "ingressRate": 2048, "ingressBurst": 1600 })).unwrap();
        assert_eq!(
            entry,
            BandwidthEntry { ingress_rate: 2048, ingress_burst: 1600, ..BandwidthEntry::default() }
        );
    }
}
