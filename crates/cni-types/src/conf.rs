//! A plugin's configuration, as it arrives on standard input.

use serde_json::{Map, Value};

use crate::{
    CniResult, Dns, InvalidName, NetworkName, PluginType, SpecVersion, UnknownVersion, ValidAttachments, json,
};

/// Why a configuration, list or result could not be read.
#[derive(Debug, thiserror::Error)]
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
    /// Every field as it came, unknown ones included.
    pub raw: Map<String, Value>,
    prev_result: Option<Result<CniResult, Unreadable>>,
}

/// The place and the reason of a [`ConfError::Field`].
type Unreadable = (String, String);

impl PluginConf {
    /// Reads and validates a configuration. One without `cniVersion` is of 0.1.0, one without `name` is refused.
    pub fn from_slice(json: &[u8]) -> Result<Self, ConfError> {
        let raw = json::object_from_slice(json)?;
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(conf: Value) -> Result<PluginConf, ConfError> {
        PluginConf::from_slice(conf.to_string().as_bytes())
    }

    fn error(conf: Value) -> String {
        read(conf).unwrap_err().to_string()
    }

    #[test]
    fn only_a_name_is_needed() {
        let conf = read(json!({ "name": "net" })).unwrap();
        assert_eq!(conf.cni_version, SpecVersion::V0_1_0);
        assert_eq!((conf.plugin.as_ref(), conf.ipam.as_ref()), (None, None));
        assert_eq!(conf.valid_attachments, ValidAttachments::Unknown);
        assert!(conf.dns.is_empty() && conf.prev_result().unwrap().is_none());
    }

    #[test]
    fn keys_may_be_spelled_in_any_case_and_null_is_unset() {
        let conf = read(json!({
            "CNIVersion": "1.0.0", "Name": "net", "TYPE": "bridge", "ipam": { "Type": "host-local" }, "dns": null,
            "prevResult": null,
        }))
        .unwrap();
        assert_eq!((conf.cni_version, conf.name.as_str()), (SpecVersion::V1_0_0, "net"));
        assert_eq!(conf.plugin.unwrap().as_str(), "bridge");
        assert_eq!(conf.ipam.unwrap().plugin.unwrap().as_str(), "host-local");
    }

    #[test]
    fn an_ipam_object_without_a_type_is_told_apart_from_none() {
        for ipam in [json!({}), json!({ "type": "" }), json!({ "type": null, "subnet": "10.0.0.0/8" })] {
            assert_eq!(
                read(json!({ "name": "n", "ipam": ipam })).unwrap().ipam,
                Some(IpamConf { plugin: None })
            );
        }
    }

    #[test]
    fn unknown_fields_survive() {
        let given = json!({ "name": "n", "sysctl": { "a": 18446744073709551615_u64 }, "keyA": [1.5, null] });
        assert_eq!(Value::Object(read(given.clone()).unwrap().raw), given);
    }

    #[test]
    fn a_missing_or_impossible_name_is_refused() {
        for conf in [json!({}), json!({ "name": "" }), json!({ "name": null })] {
            assert_eq!(error(conf), "missing network name");
        }
        assert!(matches!(read(json!({ "name": "../etc" })), Err(ConfError::Name(_))));
    }

    #[test]
    fn an_unknown_version_is_an_error_of_its_own_even_without_a_name() {
        let outcome = read(json!({ "cniVersion": "1.2.0" }));
        assert!(matches!(&outcome, Err(ConfError::Version(version)) if version.0 == "1.2.0"), "{outcome:?}");
    }

    #[test]
    fn types_that_would_be_paths_are_refused() {
        assert!(error(json!({ "name": "n", "type": "../sh" })).contains("invalid plugin type"));
        assert!(error(json!({ "name": "n", "ipam": { "type": "/bin/sh" } })).contains("invalid plugin type"));
    }

    #[test]
    fn wrong_types_are_named() {
        assert_eq!(error(json!({ "name": 5 })), "name: invalid type: integer `5`, expected a string");
        assert_eq!(
            error(json!({ "name": "n", "ipam": { "type": [] } })),
            "ipam.type: invalid type: sequence, expected a string"
        );
        assert_eq!(
            error(json!({ "name": "n", "dns": { "search": [1] } })),
            "dns.search[0]: invalid type: integer `1`, expected a string"
        );
        assert_eq!(error(json!(["name"])), "not an object");
        assert!(matches!(PluginConf::from_slice(b"{"), Err(ConfError::Syntax(_))));
    }

    #[test]
    fn a_prev_result_without_a_version_has_the_configuration_s() {
        let with = |version: &str, prev_result: Value| {
            let conf =
                read(json!({ "cniVersion": version, "name": "n", "prevResult": prev_result })).unwrap();
            conf.prev_result().unwrap().cloned().unwrap().ips.len()
        };
        let new = json!({ "ips": [{ "address": "10.0.0.5/24" }] });
        let old = json!({ "ip4": { "ip": "10.0.0.5/24" } });
        assert_eq!(with("1.0.0", new.clone()), 1);
        assert_eq!(with("0.2.0", old.clone()), 1);
        assert_eq!(with("0.2.0", new), 0);
        // Its own counts when it has one.
        let mut own = old;
        own["cniVersion"] = "0.2.0".into();
        assert_eq!(with("1.0.0", own), 1);
    }

    #[test]
    fn a_prev_result_that_cannot_be_read_hurts_only_who_asks_for_it() {
        let reason = |prev_result: Value| {
            let conf =
                read(json!({ "cniVersion": "1.0.0", "name": "n", "prevResult": prev_result })).unwrap();
            assert!(conf.raw.contains_key("prevResult"));
            conf.prev_result().unwrap_err().to_string()
        };
        assert_eq!(
            reason(json!({ "ips": [{ "address": "10.0.0.5" }] })),
            r#"prevResult.ips[0].address: invalid address with prefix length "10.0.0.5""#
        );
        assert_eq!(
            reason(json!({ "cniVersion": "5.0.0" })),
            r#"prevResult.cniVersion: unknown CNI version "5.0.0""#
        );
        assert_eq!(
            reason(json!({ "interfaces": "eth0" })),
            r#"prevResult.interfaces: invalid type: string "eth0", expected a sequence"#
        );
    }

    #[test]
    fn attachments_are_read_from_the_configuration() {
        let conf = read(
            json!({ "name": "n", "cni.dev/valid-attachments": [{ "containerID": "a", "ifname": "b" }] }),
        )
        .unwrap();
        assert!(matches!(conf.valid_attachments, ValidAttachments::Known(known) if known.len() == 1));
    }
}
