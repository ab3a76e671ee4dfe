//! Garbage collection: deleting the attachments of a network that nobody uses any more.

use cni_types::{GcAttachment, SpecVersion};

use crate::request::{Env, gc_stdin};
use crate::{Error, Network, Operation, Runtime};

/// What a collection did. Errors do not stop it, so both can have something in them.
#[derive(Debug, Default)]
#[must_use = "a collection that failed in part says so here"]
#[non_exhaustive]
pub struct GcReport {
    /// The cached attachments that were deleted. What plugins remove on their own they do not tell.
    pub removed: Vec<GcAttachment>,
    /// What failed, each with the attachment or the plugin at fault.
    pub errors: Vec<Error>,
}

impl Runtime {
    /// Deletes every cached attachment of the network that is not in `valid`, with the namespace and the arguments it was
    /// added with, at every version. Then, from version 1.1.0 on, sends GC to each plugin, for what no cache knows of.
    /// Does nothing when the network sets `disableGC`.
    ///
    /// `None` is what the reference's libcni does without a list: every cached attachment of the network is deleted, and
    /// plugins, which are told nothing, keep everything else. An empty list has them remove everything of the network.
    ///
    /// A cache entry that cannot be read is kept: it does not say whose it is.
    pub fn gc(&self, network: &Network, valid: Option<&[GcAttachment]>) -> GcReport {
        let mut report = GcReport::default();
        if network.disable_gc {
            return report;
        }
        self.del_stale(network, valid.unwrap_or_default(), &mut report);
        if network.cni_version >= SpecVersion::V1_1_0 {
            self.gc_plugins(network, valid, &mut report);
        }
        report
    }

    fn del_stale(&self, network: &Network, valid: &[GcAttachment], report: &mut GcReport) {
        let entries = match self.cache().entries() {
            Ok(entries) => entries,
            Err(error) => return report.errors.push(error.into()),
        };
        for entry in entries.into_iter().flatten() {
            let key = entry.attachment.key();
            if entry.network != network.name || valid.contains(&key) {
                continue;
            }
            match self.del(network, &entry.attachment) {
                Ok(()) => report.removed.push(key),
                Err(error) => report.errors.push(error),
            }
        }
    }

    fn gc_plugins(&self, network: &Network, valid: Option<&[GcAttachment]>, report: &mut GcReport) {
        let operation = Operation::Gc { network: network.name.clone() };
        let env = match self.cni_path() {
            Ok(path) => Env::network("GC", &path),
            Err(error) => return report.errors.push(error),
        };
        for plugin in &network.plugins {
            let stdin = gc_stdin(network, plugin, valid);
            report.errors.extend(self.exec(&operation, plugin, &env, stdin).err());
        }
    }
}
