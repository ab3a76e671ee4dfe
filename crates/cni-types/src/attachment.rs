//! The attachments that a GC request names as valid.

/// One attachment that is in use: GC keeps all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GcAttachment {
    /// `containerID`
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
