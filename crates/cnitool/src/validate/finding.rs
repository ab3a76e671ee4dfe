//! One thing that is wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// It does not work, or not as it was meant.
    Error,
    /// It works, but perhaps not everywhere.
    Warning,
}

/// Where, and why.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) file: PathBuf,
    /// The place in the file, such as `plugins[0].ipam.subnet`; empty for the whole.
    pub(super) path: String,
    pub(super) message: String,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.severity.as_str(), self.file.display())?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl Finding {
    pub(super) fn json(&self) -> Value {
        json!({
            "severity": self.severity.as_str(),
            "file": self.file.display().to_string(),
            "path": self.path,
            "message": self.message,
        })
    }
}
