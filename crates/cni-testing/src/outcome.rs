//! What a plugin's run gave.

use serde_json::Value;

/// Exit code, standard output and standard error of one run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// The result of a success, `Null` for no output; panics with all there is when it failed.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.code, Some(0), "the plugin failed: {self:#?}");
        if self.stdout.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("standard output is not JSON: {error}: {self:#?}"))
    }

    /// Code and message of the error object of a failure; panics when it succeeded or printed anything else.
    #[track_caller]
    pub fn err(&self) -> (u64, String) {
        assert_ne!(self.code, Some(0), "the plugin should have failed: {self:#?}");
        let error: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("standard output is not JSON: {error}: {self:#?}"));
        match (error["code"].as_u64(), error["msg"].as_str()) {
            (Some(code), Some(msg)) if error["cniVersion"].is_string() => (code, msg.to_owned()),
            _ => panic!("standard output is not an error object: {self:#?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    fn outcome(code: i32, stdout: &str) -> Outcome {
        Outcome { code: Some(code), stdout: stdout.to_owned(), stderr: String::new() }
    }

    #[test]
    fn a_success_is_its_json_or_null() {
        assert_eq!(outcome(0, "").ok(), Value::Null);
        assert_eq!(outcome(0, r#"{"a":1}"#).ok()["a"], 1);
        assert!(catch_unwind(|| outcome(0, "done").ok()).is_err());
        assert!(catch_unwind(|| outcome(1, "{}").ok()).is_err());
    }

    #[test]
    fn a_failure_is_an_error_object_and_nothing_else() {
        let object = r#"{"cniVersion":"1.0.0","code":7,"msg":"no"}"#;
        assert_eq!(outcome(1, object).err(), (7, "no".to_owned()));
        assert!(catch_unwind(|| outcome(0, object).err()).is_err());
        assert!(catch_unwind(|| outcome(1, r#"{"code":7,"msg":"no"}"#).err()).is_err());
        assert!(catch_unwind(|| outcome(101, "").err()).is_err());
    }
}
