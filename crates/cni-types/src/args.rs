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
    #[allow(dead_code)]
    pairs: Vec<(String, String)>,
}

impl CniArgs {
    /// Splits the text; an empty text has no pairs.
    pub fn parse(text: &str) -> Result<Self, ArgsError> {
        let _ = text;
        todo!()
    }
    /// Refuses keys that are neither in `known` nor `IgnoreUnknown`, unless `IgnoreUnknown` is true (`1`, `true`).
    /// A plugin that reads any key of `CNI_ARGS` calls this first, as the reference's LoadArgs does; one that
    /// reads none never looks. Keys are matched to the letter.
    pub fn expect_only(&self, known: &[&str]) -> Result<(), ArgsError> {
        let _ = known;
        todo!()
    }
    /// The value of the last pair with this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let _ = key;
        todo!()
    }
}
