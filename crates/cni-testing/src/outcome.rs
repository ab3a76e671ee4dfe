//! What a plugin's run gave.

use serde_json::Value;

/// Exit code, standard output and standard error of one run.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// The result of a success, `Null` for no output; panics with all there is when it failed.
    #[track_caller]
    pub fn ok(&self) -> Value {
        todo!()
    }
    /// Code and message of the error object of a failure; panics when it succeeded or printed anything else.
    #[track_caller]
    pub fn err(&self) -> (u64, String) {
        todo!()
    }
}
