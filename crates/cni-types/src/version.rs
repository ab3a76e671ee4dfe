//! Versions of the specification and the answer to VERSION.

use serde_json::Value;

/// A released version of the CNI specification, in the order of their release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum SpecVersion {
    V0_1_0,
    V0_2_0,
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
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
        todo!()
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
        let _ = s;
        todo!()
    }
}

/// What a plugin answers to VERSION. Versions stay strings, since a plugin may know newer ones than we do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct VersionInfo {
    pub cni_version: String,
    pub supported_versions: Vec<String>,
}

impl VersionInfo {
    /// Reads a plugin's answer.
    pub fn from_json(value: &Value) -> Result<Self, crate::ConfError> {
        let _ = value;
        todo!()
    }
    /// The JSON form of the answer.
    pub fn to_json(&self) -> Value {
        todo!()
    }
}
