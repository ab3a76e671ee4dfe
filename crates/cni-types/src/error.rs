//! The error object of the specification.

use serde_json::Value;

use crate::json;

/// Error codes. 1 to 99 are the specification's, 100 and up a plugin's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub u32);

#[allow(missing_docs)]
impl ErrorCode {
    pub const INCOMPATIBLE_CNI_VERSION: ErrorCode = ErrorCode(1);
    pub const UNSUPPORTED_FIELD: ErrorCode = ErrorCode(2);
    pub const UNKNOWN_CONTAINER: ErrorCode = ErrorCode(3);
    pub const INVALID_ENVIRONMENT: ErrorCode = ErrorCode(4);
    pub const IO_FAILURE: ErrorCode = ErrorCode(5);
    pub const DECODING_FAILURE: ErrorCode = ErrorCode(6);
    pub const INVALID_NETWORK_CONFIG: ErrorCode = ErrorCode(7);
    pub const INVALID_NETNS: ErrorCode = ErrorCode(8);
    pub const TRY_AGAIN_LATER: ErrorCode = ErrorCode(11);
    pub const PLUGIN_NOT_AVAILABLE: ErrorCode = ErrorCode(50);
    pub const LIMITED_CONNECTIVITY: ErrorCode = ErrorCode(51);
    /// What the reference answers for every fault of its own (skel, ErrInternal).
    pub const INTERNAL: ErrorCode = ErrorCode(999);
}

/// What a plugin prints on standard output when it fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{msg}{}{details} (code {})", if details.is_empty() { "" } else { "; " }, code.0)]
#[allow(missing_docs)]
pub struct CniError {
    pub code: ErrorCode,
    pub msg: String,
    /// Empty when there are none.
    pub details: String,
}

impl CniError {
    /// Reads a plugin's error; `None` when the value is no error object.
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
