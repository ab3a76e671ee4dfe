//! The result of ADD, and its forms in every version of the specification.

pub(crate) mod address;
mod route;
mod v02;
mod v03;
mod v10;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::json::{self, Unread};
use crate::{ConfError, Dns, SpecVersion};

/// What an ADD achieved. Holds all that version 1.1.0 can say; older forms are made from it and read into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniResult {
    /// Every interface that the attachment has, on the host and in the container.
    pub interfaces: Vec<Interface>,
    /// Every address, the preferred first.
    pub ips: Vec<IpConfig>,
    /// The routes of the container.
    pub routes: Vec<Route>,
    /// Name service settings.
    pub dns: Dns,
}

/// An interface that a plugin made or changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address, as in `02:42:ac:11:00:02`.
    pub mac: Option<String>,
    /// Its MTU in bytes (1.1.0).
    pub mtu: Option<u32>,
    /// The path of the network namespace it is in; `None` for the host.
    pub sandbox: Option<String>,
    /// Absolute path of a socket (1.1.0).
    pub socket_path: Option<String>,
    /// PCI address of the device (1.1.0).
    pub pci_id: Option<String>,
}

/// An address with its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpConfig {
    /// Index into [`CniResult::interfaces`]. Whoever takes it from another plugin's result must expect one beyond the
    /// list: the reference passes such on, so reading does not refuse it.
    pub interface: Option<usize>,
    /// The address itself with its prefix length, as in 10.1.0.5/16.
    pub address: IpNet,
    /// The default gateway of this subnet.
    pub gateway: Option<IpAddr>,
}

/// A route to be made in the container. The fields from `mtu` on came with version 1.1.0; the reference reads and prints
/// them from 0.3.0 on, and so does this.
///
/// `mtu`, `advmss` and `priority` of 0 are read as `None` and not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination; host bits are kept as they came.
    pub dst: IpNet,
    /// The next hop. Without one, plugins take the gateway of the address, or make the destination on-link.
    pub gw: Option<IpAddr>,
    /// The MTU along the path, in bytes.
    pub mtu: Option<u32>,
    /// The TCP segment size to advertise, in bytes.
    pub advmss: Option<u32>,
    /// The metric; lower wins.
    pub priority: Option<u32>,
    /// The routing table.
    pub table: Option<u32>,
    /// 0 universe, 200 site, 253 link, 254 host, 255 nowhere (rtnetlink(7)).
    pub scope: Option<u8>,
}

impl Route {
    /// A route with nothing but a destination and perhaps a gateway.
    pub fn new(dst: IpNet, gw: Option<IpAddr>) -> Self {
        Route { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}

/// Why a result has no form in a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot convert a result to CNI {version}: {reason}")]
#[non_exhaustive]
pub struct ResultError {
    /// The version that was asked for.
    pub version: SpecVersion,
    /// What it cannot hold.
    pub reason: String,
}

impl CniResult {
    /// Reads a result. Its `cniVersion` says which form it has; `default_version` holds when it has none: that of the
    /// configuration which the result was made for. Fields that the form's version does not have are ignored.
    pub fn from_json(value: &Value, default_version: SpecVersion) -> Result<Self, ConfError> {
        Self::from_slice(value.to_string().as_bytes(), default_version)
    }

    /// The same from text.
    pub fn from_slice(text: &[u8], default_version: SpecVersion) -> Result<Self, ConfError> {
        let all: Unread<'_> = json::from_slice(text)?;
        let header: Header = all.read()?;
        let version =
            if header.cni_version.is_empty() { default_version } else { header.cni_version.parse()? };
        match version {
            SpecVersion::V0_1_0 | SpecVersion::V0_2_0 => all.read().map(v02::Wire::into_result),
            SpecVersion::V0_3_0 | SpecVersion::V0_3_1 | SpecVersion::V0_4_0 => {
                all.read().map(v03::Wire::into_result)
            }
            SpecVersion::V1_0_0 | SpecVersion::V1_1_0 => all.read().map(v10::Wire::into_result),
        }
    }

    /// The form that `version` gives it, `cniVersion` included. Fails where that version cannot hold the result at
    /// all (0.1 and 0.2 need an address); what a version has no field for is left out as the reference does.
    pub fn to_json(&self, version: SpecVersion) -> Result<Value, ResultError> {
        let form = match version {
            SpecVersion::V0_1_0 | SpecVersion::V0_2_0 => serde_json::to_value(v02::Wire::of(self, version)?),
            SpecVersion::V0_3_0 | SpecVersion::V0_3_1 | SpecVersion::V0_4_0 => {
                serde_json::to_value(v03::Wire::of(self, version))
            }
            SpecVersion::V1_0_0 | SpecVersion::V1_1_0 => serde_json::to_value(v10::Wire::of(self, version)),
        };
        Ok(form.expect("structs of strings, numbers and lists are always JSON"))
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Header {
    cni_version: String,
}

/// Go's omitempty: a number that is 0 is not printed, and read as absent.
fn is_zero(number: &Option<u32>) -> bool {
    number.is_none_or(|n| n == 0)
}

/// Go's omitempty for strings.
fn is_blank(text: &Option<String>) -> bool {
    text.as_ref().is_none_or(String::is_empty)
}

fn not_blank(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.is_empty())
}
