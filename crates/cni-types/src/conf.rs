//! A plugin's configuration, as it arrives on standard input.

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
    pub valid_attachments: ValidAttachments,
    /// Every field as it came, unknown ones included.
    pub raw: Map<String, Value>,
    prev_result: Option<Result<CniResult, Unreadable>>,
}

/// The place and the reason of a [`ConfError::Field`].
type Unreadable = (String, String);

impl PluginConf {
    /// Reads and validates a configuration. One without `cniVersion` is of 0.1.0, one without `name` is refused.
    pub fn from_slice(json: &[u8]) -> Result<Self, ConfError> {
        let raw: Map<String, Value> = json::from_slice(json)?;
        Self::from_object(raw)
    }

    /// The same from an object that is parsed already.
    pub fn from_object(raw: Map<String, Value>) -> Result<Self, ConfError> {
        let cni_version = json::optional::<String>(&raw, "cniVersion")?.unwrap_or_default().parse()?;
        let name = NetworkName::new(json::optional::<String>(&raw, "name")?.unwrap_or_default())?;
        let plugin = plugin_type(json::optional(&raw, "type")?)?;
        let ipam = match json::optional::<WireIpam>(&raw, "ipam")? {
            Some(ipam) => Some(IpamConf { plugin: plugin_type(ipam.plugin)? }),
            None => None,
        };
        let prev_result = json::get(&raw, "prevResult").map(|value| read_prev_result(value, cni_version));
        Ok(PluginConf {
            cni_version,
            name,
            plugin,
            ipam,
            dns: json::optional(&raw, "dns")?.unwrap_or_default(),
            valid_attachments: ValidAttachments::of_config(&raw)?,
            prev_result,
            raw,
        })
    }

    /// The result of the plugins before this one. Whoever does not ask is not kept from working by one that cannot be
    /// read; above all, a DEL that has no use for it still cleans up.
    pub fn prev_result(&self) -> Result<Option<&CniResult>, ConfError> {
        match &self.prev_result {
            None => Ok(None),
            Some(Ok(result)) => Ok(Some(result)),
            Some(Err((path, reason))) => Err(ConfError::field(path, reason)),
        }
    }
}

fn read_prev_result(value: &Value, config_version: SpecVersion) -> Result<CniResult, Unreadable> {
    CniResult::from_json(value, config_version).map_err(|error| match error.under("prevResult") {
        ConfError::Field { path, reason } => (path, reason),
        other => ("prevResult.cniVersion".to_owned(), other.to_string()),
    })
}

#[derive(serde::Deserialize)]
struct WireIpam {
    #[serde(rename = "type", default)]
    plugin: Option<String>,
}

fn plugin_type(name: Option<String>) -> Result<Option<PluginType>, InvalidName> {
    name.filter(|n| !n.is_empty()).map(PluginType::new).transpose()
}
