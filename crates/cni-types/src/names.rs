//! Names that come from outside and end up in paths, environment and kernel objects. Each type can only be made valid.

/// A name that a rule of the specification or of the kernel forbids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.describe())]
#[non_exhaustive]
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
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
        #[serde(try_from = "String")]
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

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(value: String) -> Result<Self, InvalidName> {
                Self::new(value)
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

impl InvalidName {
    fn describe(&self) -> String {
        let InvalidName { kind, value, reason } = self;
        match value.as_str() {
            "" => format!("missing {kind}"),
            _ => format!("invalid {kind} {value:?}: {reason}"),
        }
    }
}

/// The rule that `value` breaks, if any, as the error of a `kind` of name.
fn check(kind: &'static str, value: &str, broken: Option<&'static str>) -> Result<(), InvalidName> {
    let broken = if value.is_empty() { Some("it is empty") } else { broken };
    match broken {
        None => Ok(()),
        Some(reason) => Err(InvalidName { kind, value: value.to_owned(), reason }),
    }
}

fn validate_container_id(value: &str) -> Result<(), InvalidName> {
    check("container ID", value, broken_identifier_rule(value))
}

fn validate_network_name(value: &str) -> Result<(), InvalidName> {
    check("network name", value, broken_identifier_rule(value))
}

/// The rule that the specification gives for both container IDs and network names.
fn broken_identifier_rule(value: &str) -> Option<&'static str> {
    if !value.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Some("it must start with a letter or a digit")
    } else if !value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')) {
        Some("only letters, digits, `_`, `.` and `-` are allowed")
    } else {
        None
    }
}

fn validate_if_name(value: &str) -> Result<(), InvalidName> {
    // The kernel's isspace() works on bytes and counts 0xa0 in (lib/ctype.c); the reference refuses Unicode's
    // white space as well.
    let is_space = |c: char| c.is_whitespace() || c.to_string().bytes().any(|b| b == 0xa0);
    let broken = if value.len() > 15 {
        Some("it is longer than 15 bytes")
    } else if value == "." || value == ".." {
        Some("it is a directory's name")
    } else if value.contains(['/', ':', '\0']) || value.contains(is_space) {
        Some("`/`, `:`, NUL and white space are not allowed")
    } else if value.contains('%') {
        Some("`%` is not allowed, since the kernel puts a number in its place")
    } else {
        None
    };
    check("interface name", value, broken)
}

fn validate_plugin_type(value: &str) -> Result<(), InvalidName> {
    let broken = if value == "." || value == ".." {
        Some("it is a directory's name")
    } else if value.contains(['/', '\\']) {
        Some("it must be a file's name, not a path")
    } else if value.contains(char::is_control) {
        Some("control characters are not allowed")
    } else {
        None
    };
    check("plugin type", value, broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason<T: std::fmt::Debug>(outcome: Result<T, InvalidName>) -> &'static str {
        outcome.unwrap_err().reason
    }

    #[test]
    fn container_ids_and_network_names_are_letters_digits_and_three_signs() {
        for good in ["a", "0", "a_b.c-d", "9f-", "a..", &"x".repeat(300)] {
            assert_eq!(ContainerId::new(good).unwrap().as_str(), good);
            assert_eq!(NetworkName::new(good).unwrap().to_string(), good);
        }
        for bad in [".", "..", "-a", "_a", ".hidden"] {
            assert_eq!(reason(ContainerId::new(bad)), "it must start with a letter or a digit", "{bad}");
        }
        for bad in ["a/b", "a b", "a\n", "a\0", "a:b", "\u{e4}", "a\u{e4}", "../../etc"] {
            assert!(ContainerId::new(bad).is_err(), "{bad:?}");
            assert!(NetworkName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn interface_names_are_what_the_kernel_takes() {
        for good in ["eth0", "a", "fifteen-bytes-x", "eth0.100", "...", "-", "\u{e4}\u{e4}", "a\u{1}b"] {
            assert_eq!(IfName::new(good).unwrap().as_str(), good);
        }
        assert_eq!(reason(IfName::new("sixteen-bytes-xx")), "it is longer than 15 bytes");
        // Eight letters, but sixteen bytes.
        assert_eq!(reason(IfName::new("\u{e4}".repeat(8))), "it is longer than 15 bytes");
        for bad in [".", ".."] {
            assert_eq!(reason(IfName::new(bad)), "it is a directory's name");
        }
        for bad in [
            "a/b",
            "a:1",
            "a b",
            "a\t",
            "\na",
            "a\x0b",
            "a\x0cb",
            "a\r",
            "a\0b",
            "a\u{2003}",
            "a\u{a0}",
            "\u{e0}",
        ] {
            assert_eq!(reason(IfName::new(bad)), "`/`, `:`, NUL and white space are not allowed", "{bad:?}");
        }
        assert_eq!(
            reason(IfName::new("eth%d")),
            "`%` is not allowed, since the kernel puts a number in its place"
        );
    }

    #[test]
    fn plugin_types_are_names_of_files() {
        for good in ["bridge", "host-local", "my plugin", "..x", "a.b"] {
            assert_eq!(PluginType::new(good).unwrap().as_str(), good);
        }
        for bad in [".", "..", "/bin/sh", "../sh", "a/", "a\\b", "a\0", "a\n", "a\u{85}"] {
            assert!(PluginType::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn errors_read_as_sentences() {
        assert_eq!(NetworkName::new("").unwrap_err().to_string(), "missing network name");
        assert_eq!(ContainerId::new("").unwrap_err().to_string(), "missing container ID");
        assert_eq!(
            PluginType::new("../x").unwrap_err().to_string(),
            r#"invalid plugin type "../x": it must be a file's name, not a path"#
        );
    }

    #[test]
    fn a_name_in_a_configuration_is_checked_as_it_is_read() {
        let error = crate::json::from_slice::<Vec<IfName>>(br#"["eth0", "eth:1"]"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"[1]: invalid interface name "eth:1": `/`, `:`, NUL and white space are not allowed"#
        );
    }
}
