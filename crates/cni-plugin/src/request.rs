//! A validated request, as a plugin's functions get it.

use std::path::PathBuf;

use cni_types::{CniArgs, CniResult, ContainerId, ErrorCode, IfName, PluginConf};
use serde::de::DeserializeOwned;

use crate::{Error, Result, log};

/// What every command has: the configuration, the arguments and the path of delegates.
#[derive(Debug)]
pub struct Call {
    /// The configuration of standard input.
    pub conf: PluginConf,
    /// `CNI_ARGS`
    pub args: CniArgs,
    /// `CNI_PATH`, split; empty elements are left out.
    pub path: Vec<PathBuf>,
    /// Standard input as it came; delegates get the same bytes.
    pub stdin: Vec<u8>,
    /// The plugins that wait for the answer, from the outermost to this one itself. A delegate that is one of them would
    /// start the next without end.
    pub delegators: Vec<String>,
}

impl Call {
    /// Reads a plugin's own configuration from the whole object, keys and `null` taken as the reference takes them
    /// ([`cni_types::json`]). What cannot be read is error code 6, but for DEL and GC: to them it is unset, and a warning.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let (own, faults) = self.conf.own()?;
        faults.iter().for_each(told);
        Ok(own)
    }
}

/// Says that a removal goes on without a part of the configuration.
pub(crate) fn told(fault: impl std::fmt::Display) {
    log::warn(format_args!("removing without what cannot be read of the configuration: {fault}"));
}

/// Whom ADD, CHECK and DEL are about. `(network name, container_id, ifname)` is the key of all state.
#[derive(Debug)]
pub struct Attachment {
    /// `CNI_CONTAINERID`
    pub container_id: ContainerId,
    /// `CNI_IFNAME`
    pub ifname: IfName,
    /// `CNI_NETNS`; only DEL may lack it. A DEL whose `CNI_NETNS` is the plugin's own namespace has `None` too, since
    /// what lies there is the host's.
    pub netns: Option<String>,
}

/// A request about one attachment: ADD, CHECK or DEL.
#[derive(Debug)]
pub struct Request<C> {
    /// What every command has.
    pub call: Call,
    /// Whom it is about.
    pub attachment: Attachment,
    /// The plugin's own configuration.
    pub config: C,
}

impl<C> Request<C> {
    /// `CNI_NETNS`, or error code 4 when it is missing.
    pub fn netns(&self) -> Result<&str> {
        self.attachment.netns.as_deref().ok_or_else(|| {
            Error::new(ErrorCode::INVALID_ENVIRONMENT, "required environment variable CNI_NETNS is missing")
        })
    }
    /// The network's name.
    pub fn network(&self) -> &str {
        self.call.conf.name.as_str()
    }
    /// The result of the plugins before this one, or error code 7 when there is none, 6 when it cannot be
    /// read.
    pub fn prev_result(&self) -> Result<&CniResult> {
        self.call.conf.prev_result()?.ok_or_else(|| Error::config("required prevResult is missing"))
    }
}
