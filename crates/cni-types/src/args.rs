//! `CNI_ARGS`: `KEY=value;KEY2=value2`.

/// Why `CNI_ARGS` was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ArgsError {
    #[error("invalid pair {0:?} in CNI_ARGS")]
    InvalidPair(String),
    #[error("unknown arguments {0:?} in CNI_ARGS (IgnoreUnknown=1 allows them)")]
    Unknown(Vec<String>),
    #[error("invalid value {value:?} for {key} in CNI_ARGS")]
    InvalidValue { key: String, value: String },
}

/// The pairs of `CNI_ARGS`, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniArgs {
    pairs: Vec<(String, String)>,
}

impl CniArgs {
    /// Splits the text; an empty text has no pairs. Each pair has exactly one `=`, so values cannot hold any.
    pub fn parse(text: &str) -> Result<Self, ArgsError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let pairs = text.split(';').map(|pair| match pair.split_once('=') {
            Some((key, value)) if !value.contains('=') => Ok((key.to_owned(), value.to_owned())),
            _ => Err(ArgsError::InvalidPair(pair.to_owned())),
        });
        Ok(Self { pairs: pairs.collect::<Result<_, _>>()? })
    }

    /// Refuses keys that are neither in `known` nor `IgnoreUnknown`, unless `IgnoreUnknown` is true (`1`, `true`).
    /// A plugin that reads any key of `CNI_ARGS` calls this first, as the reference's LoadArgs does; one that
    /// reads none never looks. Keys are matched to the letter.
    pub fn expect_only(&self, known: &[&str]) -> Result<(), ArgsError> {
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
