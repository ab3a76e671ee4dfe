//! The error object of the specification.

use serde_json::Value;

use crate::json;

/// Error codes. 1 to 99 are the specification's, 100 and up a plugin's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// The plugin does not speak the configuration's `cniVersion`, or that version lacks the command.
    pub const INCOMPATIBLE_CNI_VERSION: ErrorCode = ErrorCode(1);
    /// A field of the configuration is not supported; the message names its key and value.
    pub const UNSUPPORTED_FIELD: ErrorCode = ErrorCode(2);
    /// There is no such container, so nothing needs to be cleaned up.
    pub const UNKNOWN_CONTAINER: ErrorCode = ErrorCode(3);
    /// A `CNI_*` variable is missing or invalid; the message names it.
    pub const INVALID_ENVIRONMENT: ErrorCode = ErrorCode(4);
    /// Reading or writing failed, such as of standard input.
    pub const IO_FAILURE: ErrorCode = ErrorCode(5);
    /// Something is not the JSON that it should be.
    pub const DECODING_FAILURE: ErrorCode = ErrorCode(6);
    /// The configuration says what cannot be.
    pub const INVALID_NETWORK_CONFIG: ErrorCode = ErrorCode(7);
    /// `CNI_NETNS` is not a namespace that could be used (code of the reference; the specification leaves 8 open).
    pub const INVALID_NETNS: ErrorCode = ErrorCode(8);
    /// A passing condition; the runtime should try again.
    pub const TRY_AGAIN_LATER: ErrorCode = ErrorCode(11);
    /// STATUS: an ADD would fail.
    pub const PLUGIN_NOT_AVAILABLE: ErrorCode = ErrorCode(50);
    /// STATUS: an ADD would fail, and containers of the network may have limited connectivity.
    pub const LIMITED_CONNECTIVITY: ErrorCode = ErrorCode(51);
    /// What the reference answers for every fault of its own (skel, ErrInternal).
    pub const INTERNAL: ErrorCode = ErrorCode(999);
}

/// What a plugin prints on standard output when it fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{msg}{}{details} (code {})", if details.is_empty() { "" } else { "; " }, code.0)]
pub struct CniError {
    /// What kind of failure it is.
    pub code: ErrorCode,
    /// What failed and why, in a line.
    pub msg: String,
    /// More about it; empty when there is none.
    pub details: String,
}

impl CniError {
    /// Reads a plugin's error; `None` when the value is no error object, as a result or an answer to VERSION. The
    /// reference's plugins print theirs without `cniVersion`, so it is not asked for.
    pub fn from_json(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        let code = match json::get(object, "code") {
            Some(code) => Some(u32::try_from(code.as_u64()?).ok()?),
            None => None,
        };
        let text = |key| json::get(object, key).map_or(Some(""), Value::as_str);
        let (msg, details) = (text("msg")?, text("details")?);
        if code.is_none() && msg.is_empty() {
            return None;
        }
        Some(CniError {
            code: ErrorCode(code.unwrap_or(0)),
            msg: msg.to_owned(),
            details: details.to_owned(),
        })
    }
    /// `{cniVersion, code, msg, details}`, with details left out when empty.
    pub fn to_json(&self, cni_version: &str) -> Value {
        let mut object = serde_json::json!({
            "cniVersion": cni_version,
            "code": self.code.0,
            "msg": self.msg,
        });
        if !self.details.is_empty() {
            object["details"] = Value::from(self.details.as_str());
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_reads_as_one_sentence() {
        let mut error =
            CniError { code: ErrorCode::TRY_AGAIN_LATER, msg: "cannot lease".into(), details: String::new() };
        assert_eq!(error.to_string(), "cannot lease (code 11)");
        error.details = "the pool is locked".into();
        assert_eq!(error.to_string(), "cannot lease; the pool is locked (code 11)");
    }

    #[test]
    fn empty_details_are_left_out() {
        let error = CniError { code: ErrorCode::INTERNAL, msg: "m".into(), details: String::new() };
        assert_eq!(error.to_json("1.0.0"), json!({ "cniVersion": "1.0.0", "code": 999, "msg": "m" }));
    }

    #[test]
    fn what_the_reference_prints_is_read_though_it_lacks_a_version() {
        let printed = json!({ "code": 7, "msg": "bad", "details": "very" });
        let error = CniError::from_json(&printed).unwrap();
        assert_eq!(
            (error.code, &*error.msg, &*error.details),
            (ErrorCode::INVALID_NETWORK_CONFIG, "bad", "very")
        );
        assert!(CniError::from_json(&json!({ "msg": "no code" })).is_some());
        assert!(CniError::from_json(&json!({ "code": 100 })).is_some());
    }

    #[test]
    fn what_is_no_error_object_is_told_apart() {
        for other in [
            json!({}),
            json!("text"),
            json!([{ "code": 7 }]),
            json!({ "cniVersion": "1.0.0", "ips": [] }),
            json!({ "cniVersion": "1.0.0", "supportedVersions": ["1.0.0"] }),
            json!({ "code": "7", "msg": "a string for a code" }),
            json!({ "code": -1, "msg": "m" }),
            json!({ "code": 7, "msg": ["m"] }),
        ] {
            assert_eq!(CniError::from_json(&other), None, "{other}");
        }
    }
}
