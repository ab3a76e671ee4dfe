//! Reading matches in nft's syntax, for conditions that users write.

use crate::Statement;

/// What was not understood, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot understand {token:?} in {text:?}: {reason}")]
#[allow(missing_docs)]
pub struct ParseError {
    pub token: String,
    pub text: String,
    pub reason: String,
}

/// Reads one or more matches, as in `iifname != "eth0" ip saddr { 10.0.0.0/8, 192.168.0.0/16 } tcp dport 1024-65535`.
/// Anything else, a verdict for one, is refused.
pub fn parse_matches(text: &str) -> std::result::Result<Vec<Statement>, ParseError> {
    let _ = text;
    todo!()
}
