//! Names that come from outside and end up in paths, environment and kernel objects. Each type can only be made valid.

/// A name that a rule of the specification or of the kernel forbids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind} {value:?}: {reason}")]
pub struct InvalidName {
    /// What it should have been: "container ID", "interface name" ...
    pub kind: &'static str,
    /// The offending text.
    pub value: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $validate:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks the rules above.
            pub fn new(value: impl Into<String>) -> Result<Self, InvalidName> {
                let value = value.into();
                $validate(&value)?;
                Ok(Self(value))
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// `CNI_CONTAINERID`: starts with a letter or digit, then letters, digits, `_`, `.` and `-`.
    ContainerId, validate_container_id);
name_type!(
    /// `CNI_IFNAME`: 1 to 15 bytes, no `/`, `:` or white space, not `.` or `..` (net/core/dev.c, dev_valid_name).
    IfName, validate_if_name);
name_type!(
    /// A network's name: the same characters as a container ID's.
    NetworkName, validate_network_name);
name_type!(
    /// A plugin's `type`: the name of an executable, never a path (CVE-2021-20206).
    PluginType, validate_plugin_type);

fn validate_container_id(_value: &str) -> Result<(), InvalidName> {
    todo!()
}
fn validate_if_name(_value: &str) -> Result<(), InvalidName> {
    todo!()
}
fn validate_network_name(_value: &str) -> Result<(), InvalidName> {
    todo!()
}
fn validate_plugin_type(_value: &str) -> Result<(), InvalidName> {
    todo!()
}
