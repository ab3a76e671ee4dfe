//! The attachments that a GC request names as valid.

use serde::{Deserialize, Serialize};

use crate::ConfError;
use crate::json::RawObject;

/// One attachment that is in use: GC keeps all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GcAttachment {
    /// `containerID`
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// `ifname`
    pub ifname: String,
}

/// `cni.dev/valid-attachments`, or `cni.dev/attachments` as older runtimes send it. An absent key says nothing about what
/// is in use, so GC keeps everything. An empty list says that nothing is, and so does `null`: Go writes a list that nobody
/// has put anything into that way, and libcni 1.3.1 so sends both keys for a runtime that holds no attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValidAttachments {
    /// Nothing is known: keep all.
    Unknown,
    /// These are in use; whatever else the network has may go.
    Known(Vec<GcAttachment>),
}

impl ValidAttachments {
    /// Looks for either key in a configuration. The newer one counts when both are lists.
    pub(crate) fn of_config(config: &RawObject) -> Result<Self, ConfError> {
        const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];
        for key in KEYS {
            if let Some(list) = config.get(key)? {
                return Ok(Self::Known(list));
            }
        }
        Ok(if config.has_any(&KEYS) { Self::Known(Vec::new()) } else { Self::Unknown })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(config: Value) -> Result<ValidAttachments, ConfError> {
        ValidAttachments::of_config(&RawObject::from_slice(config.to_string().as_bytes())?)
    }

    fn known(pairs: &[(&str, &str)]) -> ValidAttachments {
        let attachment = |(id, ifname): &(&str, &str)| GcAttachment {
            container_id: (*id).into(),
            ifname: (*ifname).into(),
        };
        ValidAttachments::Known(pairs.iter().map(attachment).collect())
    }

    #[test]
    fn a6_an_absent_key_says_nothing_but_null_and_an_empty_list_do() {
        assert_eq!(read(json!({})).unwrap(), ValidAttachments::Unknown);
        for empty in [json!([]), Value::Null] {
            for keys in
                [&["cni.dev/valid-attachments"][..], &["cni.dev/attachments"], &["CNI.dev/attachments"]]
            {
                let config = keys.iter().map(|key| (key.to_string(), empty.clone())).collect();
                assert_eq!(read(Value::Object(config)).unwrap(), known(&[]), "{keys:?} {empty}");
            }
        }
        let as_libcni = json!({ "cni.dev/valid-attachments": null, "cni.dev/attachments": null });
        assert_eq!(read(as_libcni).unwrap(), known(&[]));
    }

    #[test]
    fn either_key_is_read_and_the_newer_one_counts() {
        let list = |id: &str| json!([{ "containerID": id, "ifname": "eth0" }]);
        assert_eq!(read(json!({ "cni.dev/valid-attachments": list("a") })).unwrap(), known(&[("a", "eth0")]));
        assert_eq!(read(json!({ "cni.dev/attachments": list("b") })).unwrap(), known(&[("b", "eth0")]));
        let both = json!({ "cni.dev/attachments": list("b"), "cni.dev/valid-attachments": list("a") });
        assert_eq!(read(both).unwrap(), known(&[("a", "eth0")]));
        let null = json!({ "cni.dev/attachments": list("b"), "cni.dev/valid-attachments": null });
        assert_eq!(read(null).unwrap(), known(&[("b", "eth0")]));
    }

    #[test]
    fn an_attachment_without_its_parts_is_an_error_and_not_one_less_to_keep() {
        let error = |list: Value| read(json!({ "cni.dev/valid-attachments": list })).unwrap_err().to_string();
        assert_eq!(
            error(json!([{ "containerID": "a", "ifname": "eth0" }, { "containerID": "b" }])),
            "cni.dev/valid-attachments[1]: missing field `ifname`"
        );
        assert_eq!(error(json!([null])), "cni.dev/valid-attachments[0]: missing field `containerID`");
        assert!(error(json!({})).starts_with("cni.dev/valid-attachments: invalid type"));
    }
}
