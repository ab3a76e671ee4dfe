//! A plugin's configuration, as it arrives on standard input.

use serde_json::{Map, Value};

use crate::{CniResult, Dns, NetworkName, PluginType, SpecVersion, ValidAttachments};

/// Why a configuration, list or result could not be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConfError {
    #[error("not JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// `path` is like `ipam.ranges[0][1].rangeStart`, empty for the whole.
    #[error("{path}: {reason}")]
    Field { path: String, reason: String },
    #[error(transparent)]
    Version(#[from] crate::UnknownVersion),
    #[error(transparent)]
    Name(#[from] crate::InvalidName),
}

/// The `ipam` object's common part; its plugin reads the rest from [`PluginConf::raw`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpamConf {
    /// The IPAM plugin's executable; `None` when the object has no type or an empty one.
    pub plugin: Option<PluginType>,
}

/// One plugin's configuration: what the specification defines, and the whole as it came.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct PluginConf {
    pub cni_version: SpecVersion,
    pub name: NetworkName,
    /// `None` when absent: some runtimes leave it out, and a plugin knows who it is.
    pub plugin: Option<PluginType>,
    pub ipam: Option<IpamConf>,
    pub dns: Dns,
    pub prev_result: Option<CniResult>,
    pub valid_attachments: ValidAttachments,
    /// Every field as it came, unknown ones included.
    pub raw: Map<String, Value>,
}

impl PluginConf {
    /// Reads and validates a configuration. A prevResult without its own cniVersion has the configuration's.
    pub fn from_slice(json: &[u8]) -> Result<Self, ConfError> {
        let _ = json;
        todo!()
    }
}
