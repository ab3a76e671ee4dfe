//! Whose state a request is about.

use cni_host::Owner;
use cni_plugin::{Call, Request};
use cni_types::ValidAttachments;

/// The attachment of an ADD, CHECK or DEL.
pub fn owner<C>(req: &Request<C>) -> Owner {
    Owner {
        network: req.network().to_owned(),
        container_id: req.attachment.container_id.as_str().to_owned(),
        ifname: req.attachment.ifname.as_str().to_owned(),
    }
}

/// The attachments of the network that a GC must keep; `None` when the runtime named none at all, which means all of them.
pub fn valid_owners(call: &Call) -> Option<Vec<Owner>> {
    let ValidAttachments::Known(valid) = &call.conf.valid_attachments else { return None };
    let owner = |attachment: &cni_types::GcAttachment| Owner {
        network: call.conf.name.as_str().to_owned(),
        container_id: attachment.container_id.clone(),
        ifname: attachment.ifname.clone(),
    };
    Some(valid.iter().map(owner).collect())
}
