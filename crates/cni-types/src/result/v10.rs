//! Results of 1.0.0 and 1.1.0. The reference gives both the same fields.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{CniResult, Interface, IpConfig, Route, address, is_blank, is_zero, not_blank};
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
    #[serde(default, skip_serializing_if = "Dns::is_empty")]
    dns: Dns,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireInterface {
    #[serde(default)]
    name: String,
    #[serde(default, skip_serializing_if = "is_blank")]
    mac: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    mtu: Option<u32>,
    #[serde(default, skip_serializing_if = "is_blank")]
    sandbox: Option<String>,
    #[serde(default, skip_serializing_if = "is_blank")]
    socket_path: Option<String>,
    #[serde(rename = "pciID", default, skip_serializing_if = "is_blank")]
    pci_id: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WireIp {
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
            mtu: interface.mtu.filter(|mtu| *mtu != 0),
            sandbox: not_blank(interface.sandbox),
            socket_path: not_blank(interface.socket_path),
            pci_id: not_blank(interface.pci_id),
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

    pub(super) fn of(result: &CniResult, version: SpecVersion) -> Self {
        let interfaces = result.interfaces.iter().map(|interface| WireInterface {
            name: interface.name.clone(),
            mac: interface.mac.clone(),
            mtu: interface.mtu,
            sandbox: interface.sandbox.clone(),
            socket_path: interface.socket_path.clone(),
            pci_id: interface.pci_id.clone(),
        });
        let ips = result.ips.iter();
        Wire {
            cni_version: version.to_string(),
            interfaces: interfaces.collect(),
            ips: ips
                .map(|ip| WireIp { interface: ip.interface, address: ip.address, gateway: ip.gateway })
                .collect(),
            routes: result.routes.clone(),
            dns: result.dns.clone(),
        }
    }
}
