//! The result of ADD, and its forms in every version of the specification.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::{ConfError, Dns, SpecVersion};

/// What an ADD achieved. Holds all that version 1.1.0 can say; older forms are made from it and read into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CniResult {
    pub interfaces: Vec<Interface>,
    pub ips: Vec<IpConfig>,
    pub routes: Vec<Route>,
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
    /// Index into [`CniResult::interfaces`].
    pub interface: Option<usize>,
    /// The address itself with its prefix length, as in 10.1.0.5/16.
    pub address: IpNet,
    /// The default gateway of this subnet.
    pub gateway: Option<IpAddr>,
}

/// A route to be made in the container. Fields from `mtu` on are version 1.1.0's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Route {
    pub dst: IpNet,
    pub gw: Option<IpAddr>,
    pub mtu: Option<u32>,
    pub advmss: Option<u32>,
    pub priority: Option<u32>,
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
#[allow(missing_docs)]
pub struct ResultError {
    pub version: SpecVersion,
    pub reason: String,
}

impl CniResult {
    /// Reads a result. Its `cniVersion` says which form it has; `default_version` holds when it has none.
    pub fn from_json(value: &Value, default_version: SpecVersion) -> Result<Self, ConfError> {
        let _ = (value, default_version);
        todo!()
    }
    /// The form that `version` gives it, `cniVersion` included. Fails where that version cannot hold the result at
    /// all (0.1 and 0.2 need an address); what a version has no field for is left out as the reference does.
    pub fn to_json(&self, version: SpecVersion) -> Result<Value, ResultError> {
        let _ = version;
        todo!()
    }
}

impl serde::Serialize for Route {
    fn serialize<S: serde::Serializer>(&self, _s: S) -> Result<S::Ok, S::Error> {
        todo!()
    }
}

/// The JSON form that configurations and results share.
impl<'de> serde::Deserialize<'de> for Route {
    fn deserialize<D: serde::Deserializer<'de>>(_d: D) -> Result<Self, D::Error> {
        todo!()
    }
}
