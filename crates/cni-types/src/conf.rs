//! A plugin's configuration, as it arrives on standard input.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{CniResult, Dns, InvalidName, NetworkName, PluginType, SpecVersion, ValidAttachments, json};

/// Why a configuration, list or result could not be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConfError {
    #[error("not JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// `path` is like `ipam.ranges[0][1].rangeStart`, empty for the whole.
    #[error("{}{reason}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
    Field { path: String, reason: String },
    #[error(transparent)]
    Version(#[from] crate::UnknownVersion),
    #[error(transparent)]
    Name(#[from] crate::InvalidName),
}

impl ConfError {
    pub(crate) fn field(path: impl Into<String>, reason: impl Into<String>) -> Self {
        ConfError::Field { path: path.into(), reason: reason.into() }
    }

    /// The same error, its place seen from outside the value of `key`.
    pub(crate) fn under(self, key: &str) -> Self {
        match self {
            ConfError::Field { path, reason } if path.is_empty() => Self::field(key, reason),
            ConfError::Field { path, reason } if path.starts_with('[') => {
                Self::field(format!("{key}{path}"), reason)
            }
            ConfError::Field { path, reason } => Self::field(format!("{key}.{path}"), reason),
            other => other,
        }
    }
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
        let raw: Map<String, Value> = crate::json::from_slice(json)?;
        Self::from_object(raw)
    }

    /// The same from an object that is parsed already.
    pub fn from_object(raw: Map<String, Value>) -> Result<Self, ConfError> {
        let cni_version = optional::<String>(&raw, "cniVersion")?.unwrap_or_default().parse()?;
        let name = NetworkName::new(optional::<String>(&raw, "name")?.unwrap_or_default())?;
        let plugin = plugin_type(optional(&raw, "type")?)?;
        let ipam = match optional::<WireIpam>(&raw, "ipam")? {
            Some(ipam) => Some(IpamConf { plugin: plugin_type(ipam.plugin)? }),
            None => None,
        };
        let prev_result = match json::get(&raw, "prevResult") {
            Some(value) => Some(CniResult::from_json(value, cni_version).map_err(|e| e.under("prevResult"))?),
            None => None,
        };
        Ok(PluginConf {
            cni_version,
            name,
            plugin,
            ipam,
            dns: optional(&raw, "dns")?.unwrap_or_default(),
            prev_result,
            valid_attachments: ValidAttachments::of_config(&raw)?,
            raw,
        })
    }
}

#[derive(serde::Deserialize)]
struct WireIpam {
    #[serde(rename = "type", default)]
    plugin: Option<String>,
}

fn plugin_type(name: Option<String>) -> Result<Option<PluginType>, InvalidName> {
    name.filter(|n| !n.is_empty()).map(PluginType::new).transpose()
}

fn optional<T: DeserializeOwned>(object: &Map<String, Value>, key: &str) -> Result<Option<T>, ConfError> {
    let value = json::get(object, key).map(|value| json::from_value(value).map_err(|e| e.under(key)));
    value.transpose()
}
