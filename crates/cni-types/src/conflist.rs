//! A network configuration list, as it lies in /etc/cni/net.d.

use serde_json::{Map, Value};

use crate::{ConfError, NetworkName, SpecVersion};

/// A network: the plugins to run, in order.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct NetworkConfigList {
    pub name: NetworkName,
    /// The version to speak: `cniVersion`, or the newest of `cniVersions` that is known here.
    pub cni_version: SpecVersion,
    pub disable_check: bool,
    pub disable_gc: bool,
    pub load_only_inlined_plugins: bool,
    /// Each plugin's own object, unknown fields included; `type` is present and valid in each.
    pub plugins: Vec<Map<String, Value>>,
    /// The whole list as it came.
    pub raw: Map<String, Value>,
}

impl NetworkConfigList {
    /// Reads a list (`plugins` present) and checks each plugin's `type`.
    pub fn from_slice(json: &[u8]) -> Result<Self, ConfError> {
        let _ = json;
        todo!()
    }
    /// A list of one, from a single plugin's configuration (the .conf form of before 0.3.0).
    pub fn from_single(json: &[u8]) -> Result<Self, ConfError> {
        let _ = json;
        todo!()
    }
}
