//! The attachments that a GC request names as valid.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ConfError, json};

/// One attachment that is in use: GC keeps all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GcAttachment {
    /// `containerID`
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// `ifname`
    pub ifname: String,
}

/// `cni.dev/valid-attachments`, or `cni.dev/attachments` as older runtimes send it. An absent or `null` key
/// says nothing about what is in use, so GC keeps everything; an empty list says that nothing is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ValidAttachments {
    Unknown,
    Known(Vec<GcAttachment>),
}

impl ValidAttachments {
    /// Looks for either key in a configuration. The newer one counts when both are set.
    pub(crate) fn of_config(config: &Map<String, Value>) -> Result<Self, ConfError> {
        for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
            if let Some(value) = json::get(config, key) {
                return json::from_value(value).map(Self::Known).map_err(|e| e.under(key));
            }
        }
        Ok(Self::Unknown)
    }
}
