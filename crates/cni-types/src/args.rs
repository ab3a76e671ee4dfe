//! `CNI_ARGS`: `KEY=value;KEY2=value2`.

/// Why `CNI_ARGS` was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// A piece between semicolons is not `KEY=value`.
    #[error("invalid pair {0:?} in CNI_ARGS")]
    InvalidPair(String),
    /// These keys mean nothing to the plugin.
    #[error("unknown arguments {0:?} in CNI_ARGS (IgnoreUnknown=1 allows them)")]
    Unknown(Vec<String>),
    /// A key's value cannot be read; for `IgnoreUnknown`, and for plugins to use for their own keys.
    #[error("invalid value {value:?} for {key} in CNI_ARGS")]
    InvalidValue {
        /// The key.
        key: String,
        /// Its text.
        value: String,
    },
}

/// The pairs of `CNI_ARGS`, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniArgs {
    pairs: Vec<(String, String)>,
    /// The first piece that is no pair.
    invalid: Option<String>,
}

impl CniArgs {
    /// Splits the text; an empty text has no pairs. Each pair has exactly one `=`, so values cannot hold any. A piece that
    /// is no pair is complained of by [`CniArgs::expect_only`], since plugins that read no arguments never look.
    pub fn parse(text: &str) -> Self {
        let mut args = Self::default();
        if text.is_empty() {
            return args;
        }
        for pair in text.split(';') {
            match pair.split_once('=') {
                Some((key, value)) if !value.contains('=') => {
                    args.pairs.push((key.to_owned(), value.to_owned()))
                }
                _ => args.invalid = args.invalid.or_else(|| Some(pair.to_owned())),
            }
        }
        args
    }

    /// Refuses what is no pair, and keys that are neither in `known` nor `IgnoreUnknown`, unless `IgnoreUnknown` is true
    /// (`1`, `true`). A plugin that reads any key of `CNI_ARGS` calls this first, as the reference's LoadArgs does; one that
    /// reads none never looks. Keys are matched to the letter.
    pub fn expect_only(&self, known: &[&str]) -> Result<(), ArgsError> {
        if let Some(pair) = &self.invalid {
            return Err(ArgsError::InvalidPair(pair.clone()));
        }
        let mut ignore_unknown = false;
        let mut unknown = Vec::new();
        for (key, value) in &self.pairs {
            if key == IGNORE_UNKNOWN {
                ignore_unknown = parse_bool(value)
                    .ok_or_else(|| ArgsError::InvalidValue { key: key.clone(), value: value.clone() })?;
            } else if !known.contains(&key.as_str()) {
                unknown.push(key.clone());
            }
        }
        if unknown.is_empty() || ignore_unknown { Ok(()) } else { Err(ArgsError::Unknown(unknown)) }
    }

    /// The value of the last pair with this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}

const IGNORE_UNKNOWN: &str = "IgnoreUnknown";

/// The truth values of the reference's args.go (UnmarshallableBool), in any case.
fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> CniArgs {
        CniArgs::parse(text)
    }

    #[test]
    fn pairs_are_split_at_semicolons() {
        let args = parse("IP=10.0.0.5/24;K8S_POD_NAME=web;EMPTY=");
        assert_eq!(args.get("IP"), Some("10.0.0.5/24"));
        assert_eq!(args.get("K8S_POD_NAME"), Some("web"));
        assert_eq!(args.get("EMPTY"), Some(""));
        assert_eq!(args.get("ip"), None);
        assert_eq!(parse(""), CniArgs::default());
    }

    #[test]
    fn the_last_of_several_pairs_counts() {
        assert_eq!(parse("IP=10.0.0.5;IP=10.0.0.6").get("IP"), Some("10.0.0.6"));
    }

    #[test]
    fn a_pair_has_exactly_one_equals_sign() {
        for (text, pair) in
            [("A", "A"), ("A=b=c", "A=b=c"), ("A=1;", ""), (";A=1", ""), ("A=1;;B=2", ""), ("A=1;B==", "B==")]
        {
            let error = parse(text).expect_only(&["A", "B"]).unwrap_err();
            assert_eq!(error, ArgsError::InvalidPair(pair.to_owned()), "{text}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_unless_that_is_switched_off() {
        let unknown =
            |keys: &[&str]| Err(ArgsError::Unknown(keys.iter().map(|key| (*key).to_owned()).collect()));
        assert_eq!(parse("IP=1").expect_only(&["IP", "MAC"]), Ok(()));
        assert_eq!(parse("IP=1;a=1;B=2").expect_only(&["IP"]), unknown(&["a", "B"]));
        assert_eq!(parse("ip=1").expect_only(&["IP"]), unknown(&["ip"]));
        for value in ["1", "true", "True", "TRUE"] {
            assert_eq!(parse(&format!("a=1;IgnoreUnknown={value}")).expect_only(&[]), Ok(()), "{value}");
        }
        for value in ["0", "false", "False"] {
            assert_eq!(
                parse(&format!("IgnoreUnknown={value};a=1")).expect_only(&[]),
                unknown(&["a"]),
                "{value}"
            );
        }
        assert_eq!(parse("IgnoreUnknown=1;a=1;IgnoreUnknown=0").expect_only(&[]), unknown(&["a"]));
        assert_eq!(parse("ignoreunknown=1;a=1").expect_only(&[]), unknown(&["ignoreunknown", "a"]));
    }

    #[test]
    fn ignore_unknown_must_be_a_truth_value() {
        let error = parse("IgnoreUnknown=yes").expect_only(&[]).unwrap_err();
        assert_eq!(error.to_string(), r#"invalid value "yes" for IgnoreUnknown in CNI_ARGS"#);
    }
}
