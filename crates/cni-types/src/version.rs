//! Versions of the specification and the answer to VERSION.

use serde::Deserialize;
use serde_json::Value;

use crate::{ConfError, json};

/// A released version of the CNI specification, in the order of their release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SpecVersion {
    /// 0.1.0: one address of each family.
    V0_1_0,
    /// 0.2.0: VERSION.
    V0_2_0,
    /// 0.3.0: chains of plugins, interfaces in results.
    V0_3_0,
    /// 0.3.1: the same form as 0.3.0.
    V0_3_1,
    /// 0.4.0: CHECK.
    V0_4_0,
    /// 1.0.0: lists alone, no `version` in a result's addresses.
    V1_0_0,
    /// 1.1.0: GC, STATUS, more about interfaces and routes.
    V1_1_0,
}

/// A version string that no released specification has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown CNI version {0:?}")]
pub struct UnknownVersion(pub String);

impl SpecVersion {
    /// Every version, oldest first.
    pub const ALL: &'static [SpecVersion] = &[
        SpecVersion::V0_1_0,
        SpecVersion::V0_2_0,
        SpecVersion::V0_3_0,
        SpecVersion::V0_3_1,
        SpecVersion::V0_4_0,
        SpecVersion::V1_0_0,
        SpecVersion::V1_1_0,
    ];

    /// `"1.0.0"` and so on.
    pub fn as_str(self) -> &'static str {
        match self {
            SpecVersion::V0_1_0 => "0.1.0",
            SpecVersion::V0_2_0 => "0.2.0",
            SpecVersion::V0_3_0 => "0.3.0",
            SpecVersion::V0_3_1 => "0.3.1",
            SpecVersion::V0_4_0 => "0.4.0",
            SpecVersion::V1_0_0 => "1.0.0",
            SpecVersion::V1_1_0 => "1.1.0",
        }
    }
}

impl std::fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An empty string is 0.1.0, as a configuration without `cniVersion` is.
impl std::str::FromStr for SpecVersion {
    type Err = UnknownVersion;
    fn from_str(s: &str) -> Result<Self, UnknownVersion> {
        if s.is_empty() {
            return Ok(SpecVersion::V0_1_0);
        }
        let known = Self::ALL.iter().find(|version| version.as_str() == s);
        known.copied().ok_or_else(|| UnknownVersion(s.to_owned()))
    }
}

/// What a plugin answers to VERSION. Versions stay strings, since a plugin may know newer ones than we do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// The version in which the answer is given.
    pub cni_version: String,
    /// The versions that the plugin speaks.
    pub supported_versions: Vec<String>,
}

impl VersionInfo {
    /// Reads a plugin's answer. Plugins of version 0.2.0 name no `supportedVersions`: theirs are 0.1.0 and 0.2.0.
    pub fn from_json(value: &Value) -> Result<Self, ConfError> {
        let wire: WireVersionInfo = json::from_value(value)?;
        if wire.cni_version.is_empty() {
            return Err(ConfError::field("cniVersion", "missing from the answer to VERSION"));
        }
        let mut supported_versions = wire.supported_versions;
        if supported_versions.is_empty() {
            if wire.cni_version != SpecVersion::V0_2_0.as_str() {
                return Err(ConfError::field("supportedVersions", "missing from the answer to VERSION"));
            }
            supported_versions = vec!["0.1.0".to_owned(), "0.2.0".to_owned()];
        }
        Ok(VersionInfo { cni_version: wire.cni_version, supported_versions })
    }

    /// `{cniVersion, supportedVersions}`.
    pub fn to_json(&self) -> Value {
        serde_json::json!({
            "cniVersion": self.cni_version,
            "supportedVersions": self.supported_versions,
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireVersionInfo {
    cni_version: String,
    supported_versions: Vec<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_version_is_read_from_its_own_text() {
        for version in SpecVersion::ALL {
            assert_eq!(version.as_str().parse(), Ok(*version));
            assert_eq!(version.to_string(), version.as_str());
        }
        assert!(SpecVersion::ALL.is_sorted());
    }

    #[test]
    fn no_version_is_the_first() {
        assert_eq!("".parse(), Ok(SpecVersion::V0_1_0));
    }

    #[test]
    fn other_texts_are_no_versions() {
        for text in ["0.1", "1.0", "1.1.1", "2.0.0", " 1.0.0", "v1.0.0", "1.0.0-rc1"] {
            assert_eq!(text.parse::<SpecVersion>(), Err(UnknownVersion(text.to_owned())));
        }
        assert_eq!(UnknownVersion("2.0.0".to_owned()).to_string(), r#"unknown CNI version "2.0.0""#);
    }

    #[test]
    fn an_answer_to_version_may_name_versions_that_are_unknown_here() {
        let answer = json!({ "cniVersion": "9.0.0", "supportedVersions": ["1.0.0", "9.0.0"] });
        assert_eq!(VersionInfo::from_json(&answer).unwrap().to_json(), answer);
    }

    #[test]
    fn a_plugin_of_0_2_0_need_not_name_versions() {
        let info = VersionInfo::from_json(&json!({ "cniVersion": "0.2.0" })).unwrap();
        assert_eq!(info.supported_versions, ["0.1.0", "0.2.0"]);
    }

    #[test]
    fn an_answer_that_lacks_something_is_refused() {
        let error = |value| VersionInfo::from_json(&value).unwrap_err().to_string();
        assert_eq!(
            error(json!({ "supportedVersions": ["1.0.0"] })),
            "cniVersion: missing from the answer to VERSION"
        );
        assert_eq!(
            error(json!({ "cniVersion": "1.0.0" })),
            "supportedVersions: missing from the answer to VERSION"
        );
        assert_eq!(error(json!("1.0.0")), r#"invalid type: string "1.0.0", expected an object"#);
    }
}
