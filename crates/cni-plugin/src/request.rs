//! A request, as a plugin's functions get it.

use std::ops::Deref;
use std::path::PathBuf;

use cni_types::{CniArgs, CniResult, ContainerId, ErrorCode, GcAttachment, IfName, PluginConf};
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
}

/// A request about one attachment, of which a namespace may be known: DEL's, and what ADD and CHECK have in common with it.
#[derive(Debug)]
pub struct Request<C> {
    /// What every command has.
    pub call: Call,
    /// Whom it is about.
    pub attachment: Attachment,
    /// `CNI_NETNS`, which DEL may lack. A DEL whose `CNI_NETNS` is the plugin's own namespace has `None` too, since what lies
    /// there is the host's.
    pub netns: Option<String>,
    /// The plugin's own configuration: what it reads for DEL, what it has validated for ADD and CHECK.
    pub config: C,
}

/// DEL, with what could be read of the plugin's own keys.
pub type Del<W> = Request<W>;

impl<C> Request<C> {
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

/// A request about a container that is there: ADD's and CHECK's.
#[derive(Debug)]
pub struct InNetns<C> {
    request: Request<C>,
    path: String,
}

/// ADD, with the configuration that the plugin has validated.
pub type Add<C> = InNetns<C>;

/// CHECK, with the configuration that the plugin has validated.
pub type Check<C> = InNetns<C>;

impl<C> InNetns<C> {
    /// Fails with error code 4 without `CNI_NETNS`.
    pub(crate) fn new(request: Request<C>) -> Result<Self> {
        let path = request.netns.clone().ok_or_else(|| {
            Error::new(ErrorCode::INVALID_ENVIRONMENT, "required environment variable CNI_NETNS is missing")
        })?;
        Ok(InNetns { request, path })
    }

    /// `CNI_NETNS`
    pub fn netns(&self) -> &str {
        &self.path
    }

    pub(crate) fn into_request(self) -> Request<C> {
        self.request
    }
}

/// What all requests about an attachment have.
impl<C> Deref for InNetns<C> {
    type Target = Request<C>;

    fn deref(&self) -> &Request<C> {
        &self.request
    }
}

/// GC, which is only asked for when it is known which attachments are in use.
#[derive(Debug)]
pub struct Gc<W> {
    /// What every command has.
    pub call: Call,
    /// What could be read of the plugin's own keys.
    pub config: W,
    /// The attachments that must stay.
    pub valid: Vec<GcAttachment>,
}

/// STATUS, with the configuration that the plugin has validated.
#[derive(Debug)]
pub struct Status<C> {
    /// What every command has.
    pub call: Call,
    /// The plugin's own configuration.
    pub config: C,
}
