//! Results of 0.3.0, 0.3.1 and 0.4.0: interfaces without the later fields, and a `version` beside each address.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{CniResult, Interface, IpConfig, Route, address, is_blank, not_blank};
use crate::{Dns, SpecVersion};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wire {
    #[serde(default)]
    cni_version: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<WireInterface>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ips: Vec<WireIp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Route>,
    #[serde(default)]
    dns: Dns,
}

#[derive(Serialize, Deserialize)]
struct WireInterface {
    #[serde(default)]
    name: String,
    #[serde(default, skip_serializing_if = "is_blank")]
    mac: Option<String>,
    #[serde(default, skip_serializing_if = "is_blank")]
    sandbox: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WireIp {
    /// `"4"` or `"6"`. The address says it as well, so what is read here is not looked at.
    #[serde(default)]
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<usize>,
    #[serde(deserialize_with = "address::network")]
    address: IpNet,
    #[serde(default, deserialize_with = "address::optional", skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

impl Wire {
    pub(super) fn into_result(self) -> CniResult {
        let interfaces = self.interfaces.into_iter().map(|interface| Interface {
            name: interface.name,
            mac: not_blank(interface.mac),
            sandbox: not_blank(interface.sandbox),
            ..Interface::default()
        });
        let ips = self.ips.into_iter();
        CniResult {
            interfaces: interfaces.collect(),
            ips: ips
                .map(|ip| IpConfig { interface: ip.interface, address: ip.address, gateway: ip.gateway })
                .collect(),
            routes: self.routes,
            dns: self.dns,
        }
    }

    /// Leaves out the interface fields that came with 1.0.0 and 1.1.0; routes keep all of theirs.
    pub(super) fn of(result: &CniResult, version: SpecVersion) -> Self {
        let interfaces = result.interfaces.iter().map(|interface| WireInterface {
            name: interface.name.clone(),
            mac: interface.mac.clone(),
            sandbox: interface.sandbox.clone(),
        });
        let ips = result.ips.iter().map(|ip| WireIp {
            version: if ip.address.addr().is_ipv4() { "4" } else { "6" }.to_owned(),
            interface: ip.interface,
            address: ip.address,
            gateway: ip.gateway,
        });
        Wire {
            cni_version: version.to_string(),
            interfaces: interfaces.collect(),
            ips: ips.collect(),
            routes: result.routes.clone(),
            dns: result.dns.clone(),
        }
    }
}
