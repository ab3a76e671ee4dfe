//! A plugin's configuration, as it arrives on standard input.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::json::{RawObject, Unread};
use crate::{
    CniResult, Dns, InvalidName, NetworkName, PluginType, SpecVersion, UnknownVersion, ValidAttachments,
};

/// Why a configuration, list or result could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfError {
    /// The text is not JSON.
    #[error("not JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// A value is missing, of the wrong type or out of range.
    #[error("{}{reason}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
    Field {
        /// Where it is, like `ipam.ranges[0][1].rangeStart`; empty for the whole.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `cniVersion` is none of [`SpecVersion::ALL`].
    #[error(transparent)]
    Version(#[from] UnknownVersion),
    /// The network's name or a plugin's type is missing or must not be used.
    #[error(transparent)]
    Name(#[from] InvalidName),
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
#[non_exhaustive]
pub struct IpamConf {
    /// The IPAM plugin's executable; `None` when the object has no type or an empty one.
    pub plugin: Option<PluginType>,
}

/// One plugin's configuration: what the specification defines, and the whole as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConf {
    /// `cniVersion`, which is also the version to answer in; 0.1.0 when absent.
    pub cni_version: SpecVersion,
    /// `name`: the network's.
    pub name: NetworkName,
    /// `type`; `None` when absent: some runtimes leave it out, and a plugin knows who it is.
    pub plugin: Option<PluginType>,
    /// `ipam`, when there is such an object.
    pub ipam: Option<IpamConf>,
    /// `dns`; empty when absent.
    pub dns: Dns,
    /// What a GC request says is in use.
    pub valid_attachments: ValidAttachments,
    /// The whole as it came, unknown fields included.
    pub raw: RawObject,
    prev_result: Option<Result<CniResult, Unreadable>>,
    /// What could not be read, where that does not matter.
    faults: Option<Vec<String>>,
}

/// The place and the reason of a [`ConfError::Field`].
type Unreadable = (String, String);

impl PluginConf {
    /// Reads and validates a configuration. One without `cniVersion` is of 0.1.0, one without `name` is refused.
    pub fn from_slice(json: &[u8]) -> Result<Self, ConfError> {
        Self::read(json, None, ValidAttachments::of_config)
    }

    /// Reads what there is for a DEL, which needs nothing but `name` and must not be kept by anything else from removing what an
    /// ADD has made: what cannot be read is taken for unset, an unreadable `cniVersion` for the newest one, and
    /// [`PluginConf::faults`] tells.
    pub fn for_del(json: &[u8]) -> Result<Self, ConfError> {
        Self::read(json, Some(Vec::new()), |_| Ok(ValidAttachments::Unknown))
    }

    /// The same for a GC, which needs to know as well what is in use.
    pub fn for_gc(json: &[u8]) -> Result<Self, ConfError> {
        Self::read(json, Some(Vec::new()), ValidAttachments::of_config)
    }

    fn read(
        json: &[u8],
        mut faults: Option<Vec<String>>,
        attachments: impl FnOnce(&RawObject) -> Result<ValidAttachments, ConfError>,
    ) -> Result<Self, ConfError> {
        let raw = RawObject::from_slice(json)?;
        let wire: Wire<'_> = raw.read()?;
        let mut forgive = |error: ConfError| match &mut faults {
            Some(faults) => {
                faults.push(error.to_string());
                Ok(())
            }
            None => Err(error),
        };
        let cni_version = match optional::<String>(wire.cni_version, "cniVersion") {
            Ok(version) => version.unwrap_or_default().parse()?,
            Err(error) => forgive(error).map(|()| SpecVersion::V1_1_0)?,
        };
        let name = NetworkName::new(optional::<String>(wire.name, "name")?.unwrap_or_default())?;
        let plugin = optional(wire.plugin, "type").and_then(|name| Ok(plugin_type(name)?));
        let ipam = optional::<WireIpam>(wire.ipam, "ipam")
            .and_then(|ipam| Ok(ipam.map(|ipam| plugin_type(ipam.plugin)).transpose()?));
        let dns = optional::<Dns>(wire.dns, "dns");
        let conf = PluginConf {
            cni_version,
            name,
            plugin: plugin.or_else(|error| forgive(error).map(|()| None))?,
            ipam: ipam.or_else(|error| forgive(error).map(|()| None))?.map(|plugin| IpamConf { plugin }),
            dns: dns.or_else(|error| forgive(error).map(|()| None))?.unwrap_or_default(),
            valid_attachments: attachments(&raw)?,
            prev_result: wire.prev_result.map(|value| read_prev_result(value, cni_version)),
            faults: None,
            raw,
        };
        Ok(PluginConf { faults, ..conf })
    }

    /// Reads a plugin's own keys, as strictly as these were read. Where that is not strictly, the second part tells what could
    /// not be read.
    pub fn own<T: DeserializeOwned>(&self) -> Result<(T, Vec<ConfError>), ConfError> {
        match self.faults {
            Some(_) => self.raw.read_what_can_be(),
            None => Ok((self.raw.read()?, Vec::new())),
        }
    }

    /// What [`PluginConf::for_del`] and [`PluginConf::for_gc`] could not read.
    pub fn faults(&self) -> &[String] {
        self.faults.as_deref().unwrap_or_default()
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

/// Reads the value of one key. Errors are placed under the key.
pub(crate) fn optional<'t, T: Deserialize<'t>>(
    value: Option<Unread<'t>>,
    key: &str,
) -> Result<Option<T>, ConfError> {
    value.map(|value| value.read().map_err(|error| error.under(key))).transpose()
}

fn read_prev_result(value: Unread<'_>, config_version: SpecVersion) -> Result<CniResult, Unreadable> {
    CniResult::from_slice(value.text().as_bytes(), config_version).map_err(|error| {
        match error.under("prevResult") {
            ConfError::Field { path, reason } => (path, reason),
            other => ("prevResult.cniVersion".to_owned(), other.to_string()),
        }
    })
}

/// The keys that are everybody's.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire<'t> {
    #[serde(borrow)]
    cni_version: Option<Unread<'t>>,
    name: Option<Unread<'t>>,
    #[serde(rename = "type")]
    plugin: Option<Unread<'t>>,
    ipam: Option<Unread<'t>>,
    dns: Option<Unread<'t>>,
    prev_result: Option<Unread<'t>>,
}

#[derive(Deserialize)]
struct WireIpam {
    #[serde(rename = "type", default)]
    plugin: Option<String>,
}

fn plugin_type(name: Option<String>) -> Result<Option<PluginType>, InvalidName> {
    name.filter(|n| !n.is_empty()).map(PluginType::new).transpose()
}

#[cfg(test)]
mod tests;
