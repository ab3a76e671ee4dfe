//! Networks as they lie on disk: `.conflist` files, the older `.conf` and `.json` files of one plugin, and the folder
//! of plugins beside a list.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cni_types::{ConfError, NetworkConfigList, NetworkName, PluginType, SpecVersion, json};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Why a network could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file or folder that is there could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system call answered.
        source: io::Error,
    },
    /// The file says something that cannot be.
    #[error("cannot load {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: ConfError,
    },
    /// The same for bytes that come from no file.
    #[error("cannot load the network configuration: {0}")]
    Bytes(#[source] ConfError),
    /// No plugin, neither in the list nor in the folder beside it.
    #[error("cannot load {}: no plugins in it, and none in {}/*.conf", path.display(), folder.display())]
    NoPlugins {
        /// The list.
        path: PathBuf,
        /// The folder beside it.
        folder: PathBuf,
    },
    /// There are configurations, but none has the name.
    #[error("cannot find network {name:?}: no file in {} has that name", dir.display())]
    NotFound {
        /// The folder looked in.
        dir: PathBuf,
        /// The network's name.
        name: String,
    },
    /// There is nothing that could be loaded.
    #[error("cannot find network {name:?}: no .conflist, .conf or .json file in {}", dir.display())]
    NoConfigs {
        /// The folder looked in.
        dir: PathBuf,
        /// The network's name.
        name: String,
    },
}

/// One plugin of a chain.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plugin {
    /// The executable's name.
    pub plugin_type: PluginType,
    /// The capabilities that its configuration declares, with `true` for those that it wants.
    pub capabilities: BTreeMap<String, bool>,
    /// Its own object, unknown fields included.
    pub conf: Map<String, Value>,
}

/// A network that can be run: its plugins in order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Network {
    /// The network's name.
    pub name: NetworkName,
    /// The version that every plugin is spoken to in.
    pub cni_version: SpecVersion,
    /// CHECK is not to be run.
    pub disable_check: bool,
    /// GC is not to be run.
    pub disable_gc: bool,
    /// In the order of ADD; at least one.
    pub plugins: Vec<Plugin>,
    /// The list as it lies on disk, which is what the cache keeps. A single plugin's configuration is made a list of
    /// one first; plugins from the folder beside the list are not in it.
    pub bytes: Vec<u8>,
}

impl Network {
    /// Finds a network by name in a folder such as `/etc/cni/net.d`: the first of its `.conflist` files, in the order
    /// of their names, that has the name, else the first of its `.conf` and `.json` files.
    ///
    /// A file that is no JSON is an error when it is met on the way, since it may be the one that is meant; a faulty
    /// configuration of another name is not.
    pub fn find(dir: &Path, name: &NetworkName) -> Result<Self, ConfigError> {
        Self::from_file(&Self::find_file(dir, name)?)
    }

    /// The file in which [`find`](Network::find) finds a network.
    pub fn find_file(dir: &Path, name: &NetworkName) -> Result<PathBuf, ConfigError> {
        let lists = files_with_extension(dir, &["conflist"])?;
        let singles = files_with_extension(dir, &["conf", "json"])?;
        for path in lists.iter().chain(&singles) {
            if name_in_file(path)?.as_deref() == Some(name.as_str()) {
                return Ok(path.clone());
            }
        }
        let (dir, name) = (dir.to_path_buf(), name.to_string());
        if lists.is_empty() && singles.is_empty() {
            return Err(ConfigError::NoConfigs { dir, name });
        }
        Err(ConfigError::NotFound { dir, name })
    }

    /// Loads one file: a list when it is called `.conflist`, a single plugin otherwise. Plugins in
    /// `<folder of the file>/<network name>/*.conf` are appended to a list, unless it sets `loadOnlyInlinedPlugins`.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read(path)?;
        let at = |source| ConfigError::File { path: path.to_path_buf(), source };
        if extension(path) != Some(OsStr::new("conflist")) {
            refuse_list(&bytes).map_err(at)?;
            return Self::single(&bytes).map_err(at);
        }

        let list = NetworkConfigList::from_slice(&bytes).map_err(at)?;
        let load_folder = !list.load_only_inlined_plugins;
        let mut network = Self::from_list(list, bytes).map_err(at)?;
        let folder = Self::plugin_folder(path, &network.name);
        if load_folder {
            for path in Self::plugin_files(path, &network.name)? {
                let plugin = Plugin::from_slice(&read(&path)?);
                network.plugins.push(plugin.map_err(|source| ConfigError::File { path, source })?);
            }
        }
        if network.plugins.is_empty() {
            return Err(ConfigError::NoPlugins { path: path.to_path_buf(), folder });
        }
        Ok(network)
    }

    /// The files of the plugins that are not in a list itself, in the order in which they are appended.
    pub fn plugin_files(list: &Path, name: &NetworkName) -> Result<Vec<PathBuf>, ConfigError> {
        files_with_extension(&Self::plugin_folder(list, name), &["conf"])
    }

    fn plugin_folder(list: &Path, name: &NetworkName) -> PathBuf {
        list.with_file_name(name.as_str())
    }

    /// Loads a configuration from bytes, such as those of a cache entry: a list, or a single plugin. No folder is looked
    /// at.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, ConfigError> {
        let raw: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|error| ConfigError::Bytes(ConfError::Syntax(error)))?;
        if raw.contains_key("plugins") {
            return NetworkConfigList::from_slice(bytes)
                .and_then(|list| Self::from_list(list, bytes.to_vec()))
                .map_err(ConfigError::Bytes);
        }
        Self::single(bytes).map_err(ConfigError::Bytes)
    }

    fn single(bytes: &[u8]) -> Result<Self, ConfError> {
        let list = NetworkConfigList::from_single(bytes)?;
        // What is cached must be a list, since that is what a later DEL by either libcni reads.
        let upconverted = Value::Object(list.raw.clone()).to_string().into_bytes();
        Self::from_list(list, upconverted)
    }

    fn from_list(list: NetworkConfigList, bytes: Vec<u8>) -> Result<Self, ConfError> {
        let plugins = list.plugins.into_iter().map(Plugin::new).collect::<Result<_, _>>()?;
        Ok(Network {
            name: list.name,
            cni_version: list.cni_version,
            disable_check: list.disable_check,
            disable_gc: list.disable_gc,
            plugins,
            bytes,
        })
    }

    /// The capabilities that some plugin of the chain wants.
    pub fn capabilities(&self) -> BTreeSet<&str> {
        let wanted = self.plugins.iter().flat_map(|plugin| &plugin.capabilities);
        wanted.filter(|(_, wanted)| **wanted).map(|(capability, _)| capability.as_str()).collect()
    }
}

impl Plugin {
    fn from_slice(bytes: &[u8]) -> Result<Self, ConfError> {
        Self::new(serde_json::from_slice(bytes).map_err(ConfError::Syntax)?)
    }

    fn new(conf: Map<String, Value>) -> Result<Self, ConfError> {
        let conf = Value::Object(conf);
        let header: PluginHeader = json::from_value(&conf)?;
        let Value::Object(conf) = conf else { unreachable!("it was made one above") };
        if header.plugin_type.is_empty() {
            return Err(ConfError::Field { path: "type".to_string(), reason: "missing".to_string() });
        }
        let plugin_type = PluginType::new(header.plugin_type)?;
        Ok(Plugin { plugin_type, capabilities: header.capabilities, conf })
    }
}

/// What of a plugin's object is for the runtime.
#[derive(Deserialize)]
struct PluginHeader {
    #[serde(rename = "type", default)]
    plugin_type: String,
    #[serde(default)]
    capabilities: BTreeMap<String, bool>,
}

/// A list in a `.conf` or `.json` file would otherwise be reported as a plugin without a type.
fn refuse_list(bytes: &[u8]) -> Result<(), ConfError> {
    let raw: Map<String, Value> = serde_json::from_slice(bytes).map_err(ConfError::Syntax)?;
    if raw.contains_key("plugins") && json::get(&raw, "type").is_none() {
        let reason = "only a file that is called .conflist may hold a list of plugins".to_string();
        return Err(ConfError::Field { path: "plugins".to_string(), reason });
    }
    Ok(())
}

/// The `name` in a file, when it has one that is a string.
fn name_in_file(path: &Path) -> Result<Option<String>, ConfigError> {
    let raw: Map<String, Value> = serde_json::from_slice(&read(path)?).map_err(|source| {
        ConfigError::File { path: path.to_path_buf(), source: ConfError::Syntax(source) }
    })?;
    Ok(json::get(&raw, "name").and_then(Value::as_str).map(str::to_string))
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })
}

/// The files of a folder that end in one of the extensions, ordered by name; none when there is no such folder.
fn files_with_extension(dir: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, ConfigError> {
    let unreadable = |source| ConfigError::Read { path: dir.to_path_buf(), source };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        let wanted = extension(&path).is_some_and(|found| extensions.iter().any(|wanted| found == *wanted));
        if wanted && !entry.file_type().map_err(unreadable)?.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What follows the last dot of a file's name, also in a name such as `.conflist`, which for [`Path::extension`] has
/// none but for the reference has.
fn extension(path: &Path) -> Option<&OsStr> {
    let name = path.file_name()?.as_bytes();
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    Some(OsStr::from_bytes(&name[dot + 1..]))
}

#[cfg(test)]
mod tests;
