//! What can go wrong when a chain is run.

use std::fmt;

use cni_exec::ExecError;
use cni_types::{CniError, ConfError, GcAttachment, NetworkName, PluginType, ResultError, SpecVersion};

use crate::{CacheError, ConfigError};

/// This crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What was being done, for whom. It reads as "add eth0 of web-1 to network blue".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// [`crate::Runtime::add`]
    Add {
        /// The container and its interface.
        attachment: GcAttachment,
        /// The network's name.
        network: NetworkName,
    },
    /// [`crate::Runtime::check`]
    Check {
        /// The container and its interface.
        attachment: GcAttachment,
        /// The network's name.
        network: NetworkName,
    },
    /// [`crate::Runtime::del`]
    Del {
        /// The container and its interface.
        attachment: GcAttachment,
        /// The network's name.
        network: NetworkName,
    },
    /// [`crate::Runtime::gc`]
    Gc {
        /// The network's name.
        network: NetworkName,
    },
    /// [`crate::Runtime::reapply`]
    Reapply {
        /// The container and its interface.
        attachment: GcAttachment,
        /// The network's name.
        network: NetworkName,
    },
    /// [`crate::Runtime::status`]
    Status {
        /// The network's name.
        network: NetworkName,
    },
    /// [`crate::Runtime::version`]
    Version {
        /// The plugin's name.
        plugin: PluginType,
    },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Add { attachment, network } => {
                write!(f, "add {} to network {network}", Of(attachment))
            }
            Operation::Check { attachment, network } => {
                write!(f, "check {} on network {network}", Of(attachment))
            }
            Operation::Del { attachment, network } => {
                write!(f, "delete {} from network {network}", Of(attachment))
            }
            Operation::Reapply { attachment, network } => {
                write!(f, "put back the rules of {} on network {network}", Of(attachment))
            }
            Operation::Gc { network } => write!(f, "collect the garbage of network {network}"),
            Operation::Status { network } => write!(f, "use network {network}"),
            Operation::Version { plugin } => write!(f, "ask plugin {plugin} for its versions"),
        }
    }
}

struct Of<'a>(&'a GcAttachment);

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of container {}", self.0.ifname, self.0.container_id)
    }
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A network could not be loaded.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The cache could not be read or written.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A plugin was not found, could not be run, or answered with an error.
    #[error("cannot {operation}: {source}")]
    Plugin {
        /// What was being done.
        operation: Box<Operation>,
        /// The plugin at fault.
        plugin: PluginType,
        /// What it said, or why it did not run.
        source: ExecError,
    },
    /// A plugin succeeded with an answer that cannot be read.
    #[error("cannot {operation}: cannot read the answer of plugin {plugin}: {source}")]
    Answer {
        /// What was being done.
        operation: Box<Operation>,
        /// The plugin at fault.
        plugin: PluginType,
        /// What is wrong with its answer.
        source: ConfError,
    },
    /// A result cannot be said in the network's version.
    #[error("cannot {operation}: {source}")]
    Convert {
        /// What was being done.
        operation: Box<Operation>,
        /// What has no form in that version.
        source: ResultError,
    },
    /// The result in the cache cannot be read.
    #[error("cannot {operation}: cannot read the cached result: {source}")]
    CachedResult {
        /// What was being done.
        operation: Box<Operation>,
        /// What is wrong with it.
        source: ConfError,
    },
    /// CHECK came with version 0.4.0.
    #[error("cannot {operation}: configuration version {version} does not support the CHECK command")]
    CheckUnsupported {
        /// What was being done.
        operation: Box<Operation>,
        /// The network's version.
        version: SpecVersion,
    },
    /// A plugin does not speak the network's version.
    #[error("plugin {plugin} does not support CNI version {version}, only {}", supported.join(", "))]
    VersionUnsupported {
        /// The plugin.
        plugin: PluginType,
        /// The network's version.
        version: SpecVersion,
        /// Those that it speaks.
        supported: Vec<String>,
    },
    /// A plugin folder that cannot be said in `CNI_PATH`.
    #[error("cannot put plugin folder {folder:?} into CNI_PATH: it has a colon in it or is not UTF-8")]
    PluginFolder {
        /// The folder.
        folder: std::path::PathBuf,
    },
    /// Each failed; the rest was done.
    #[error("{}", join(.0))]
    Several(Vec<Error>),
}

impl Error {
    /// The errors that this one is made of: itself, or those of [`Error::Several`].
    pub fn each(&self) -> Box<dyn Iterator<Item = &Error> + '_> {
        match self {
            Error::Several(errors) => Box::new(errors.iter().flat_map(Error::each)),
            one => Box::new(std::iter::once(one)),
        }
    }

    /// The plugin at fault.
    pub fn plugin(&self) -> Option<&PluginType> {
        match self {
            Error::Plugin { plugin, .. }
            | Error::Answer { plugin, .. }
            | Error::VersionUnsupported { plugin, .. } => Some(plugin),
            _ => None,
        }
    }

    /// What the plugin itself said, with the specification's error code.
    pub fn cni_error(&self) -> Option<&CniError> {
        match self {
            Error::Plugin { source: ExecError::Plugin { error, .. }, .. } => Some(error),
            _ => None,
        }
    }

    /// `Ok` for none, the error itself for one.
    pub(crate) fn collect(mut errors: Vec<Error>) -> Result<()> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Error::Several(errors)),
        }
    }
}

fn join(errors: &[Error]) -> String {
    errors.iter().map(Error::to_string).collect::<Vec<_>>().join("; ")
}
