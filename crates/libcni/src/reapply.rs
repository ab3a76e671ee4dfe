//! Doing part of an ADD again: after somebody flushed the packet filter, what some plugins made is gone and the rest is not.

use cni_types::PluginType;

use crate::request::{Env, attachment_stdin};
use crate::{CacheEntry, Error, Network, Operation, Plugin, Runtime};

/// What was done again. Errors do not stop it, so both can have something in them.
#[derive(Debug, Default)]
#[must_use = "what failed in part says so here"]
#[non_exhaustive]
pub struct ReapplyReport {
    /// The plugins that ran, in their order.
    pub plugins: Vec<PluginType>,
    /// What failed, each with the plugin at fault.
    pub errors: Vec<Error>,
}

impl Runtime {
    /// ADD once more for those plugins of a cached attachment's chain that `pick` picks, as it was asked for the first time,
    /// with the cached result as prevResult. For plugins whose second ADD only makes what is missing, such as the
    /// reference's and this project's portmap and firewall. What they answer is dropped, and the cache stays as it is.
    ///
    /// The chain is the cached one: plugins from the folder beside the list are not in it.
    pub fn reapply(&self, entry: &CacheEntry, pick: impl Fn(&Plugin) -> bool) -> ReapplyReport {
        let mut report = ReapplyReport::default();
        let attachment = &entry.attachment;
        let operation = Operation::Reapply { attachment: attachment.key(), network: entry.network.clone() };
        let prepared = Network::from_slice(&entry.config).map_err(Error::from).and_then(|network| {
            let previous = self.cached_result(&operation, &network, attachment)?;
            Ok((network, previous, Env::attachment("ADD", attachment, &self.cni_path()?)))
        });
        let (network, previous, env) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                report.errors.push(error);
                return report;
            }
        };
        for plugin in network.plugins.iter().filter(|plugin| pick(plugin)) {
            let stdin = attachment_stdin(&network, plugin, attachment, previous.as_ref());
            match self.exec(&operation, plugin, &env, stdin) {
                Ok(_) => report.plugins.push(plugin.plugin_type.clone()),
                Err(error) => report.errors.push(error),
            }
        }
        report
    }
}
