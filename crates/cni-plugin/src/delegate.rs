//! Running the IPAM plugin: same environment, same standard input, as section 4 of the specification has it.

use cni_types::CniResult;

use crate::{Call, Request, Result};

impl<C> Request<C> {
    /// Runs the IPAM plugin's ADD. When it fails its DEL is run here, as the specification asks, but not after
    /// host-local's refusal of a second ADD for the same attachment: that DEL would free the lease in use. After success
    /// the caller arms its [`crate::Undo`] with [`Request::ipam_del`].
    pub fn ipam_add(&self) -> Result<CniResult> {
        todo!()
    }
    /// Runs the IPAM plugin's CHECK.
    pub fn ipam_check(&self) -> Result<()> {
        todo!()
    }
    /// Runs the IPAM plugin's DEL.
    pub fn ipam_del(&self) -> Result<()> {
        todo!()
    }
}

impl Call {
    /// Whether the configuration names an IPAM plugin; without one, a plugin works at layer 2 only.
    pub fn has_ipam(&self) -> bool {
        self.conf.ipam.as_ref().is_some_and(|ipam| ipam.plugin.is_some())
    }
    /// Forwards GC to the IPAM plugin, if there is one.
    pub fn ipam_gc(&self) -> Result<()> {
        todo!()
    }
    /// Forwards STATUS to the IPAM plugin, if there is one.
    pub fn ipam_status(&self) -> Result<()> {
        todo!()
    }
}
