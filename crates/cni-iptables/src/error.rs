//! What went wrong.

use std::io;

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed iptables operation.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    /// The program is not installed; `path` are the folders looked in.
    #[error("cannot find {program} in {path}")]
    NotFound { program: &'static str, path: String },
    #[error("cannot run {program}: {source}")]
    Spawn { program: String, source: io::Error },
    /// It failed; `stderr` is what it said, `script` what it was told.
    #[error("cannot {op} with {program}: {stderr}")]
    Failed { op: &'static str, program: String, stderr: String },
    /// A text that would be read as something else: a newline, a NUL.
    #[error("cannot use {text:?} in an iptables rule: {reason}")]
    Text { text: String, reason: &'static str },
}
