//! Whose state a request is about.

use cni_host::Owner;
use cni_plugin::{Gc, Request};

/// The attachment of an ADD, CHECK or DEL.
pub fn owner<C>(req: &Request<C>) -> Owner {
    Owner {
        network: req.network().to_owned(),
        container_id: req.attachment.container_id.as_str().to_owned(),
        ifname: req.attachment.ifname.as_str().to_owned(),
    }
}

/// The attachments of the network that a GC must keep.
pub fn valid_owners<W>(gc: &Gc<W>) -> Vec<Owner> {
    let owner = |attachment: &cni_types::GcAttachment| Owner {
        network: gc.call.conf.name.as_str().to_owned(),
        container_id: attachment.container_id.clone(),
        ifname: attachment.ifname.clone(),
    };
    gc.valid.iter().map(owner).collect()
}
