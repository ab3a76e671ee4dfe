//! Running a network's chain of plugins (section 3 of the specification).

use std::path::PathBuf;

use cni_types::{CniResult, ConfError, PluginType, SpecVersion, VersionInfo};
use serde_json::{Map, Value};

use crate::request::{Env, attachment_stdin, status_stdin};
use crate::{Attachment, Cache, CacheEntry, Error, Network, Operation, Plugin, Result};

/// Runs chains of plugins out of some folders, and keeps their results.
#[derive(Clone, Debug)]
pub struct Runtime {
    plugin_dirs: Vec<PathBuf>,
    cache: Cache,
}

/// What an ADD achieved.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Added {
    /// The last plugin's result.
    pub result: CniResult,
    /// The same as JSON, in the network's version.
    pub json: Value,
}

impl Runtime {
    /// Plugins are looked for in `plugin_dirs`, in order (`CNI_PATH`, `/opt/cni/bin`); see [`crate::DEFAULT_CACHE_DIR`]
    /// for the other.
    pub fn new(plugin_dirs: Vec<PathBuf>, cache_dir: impl Into<PathBuf>) -> Self {
        Runtime { plugin_dirs, cache: Cache::new(cache_dir) }
    }

    /// The attachments that were added.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The folders in which plugins are looked for.
    pub fn plugin_dirs(&self) -> &[PathBuf] {
        &self.plugin_dirs
    }

    /// ADD: runs the plugins in order, each with the result of the one before, and keeps the last one's in the cache.
    /// Stops at the first that fails, and leaves it to the caller to [`del`](Runtime::del) what the others made.
    pub fn add(&self, network: &Network, attachment: &Attachment) -> Result<Added> {
        let operation = Operation::Add { attachment: attachment.key(), network: network.name.clone() };
        let env = Env::attachment("ADD", attachment, &self.cni_path()?);
        let mut added: Option<Added> = None;
        for plugin in &network.plugins {
            let previous = added.as_ref().map(|added| &added.json);
            let stdin = attachment_stdin(network, plugin, attachment, previous);
            let stdout = self.exec(&operation, plugin, &env, stdin)?;
            added = Some(read_result(&operation, plugin, &stdout, network.cni_version)?);
        }
        // A network has at least one plugin, so there is always a result.
        let added = added.unwrap_or_else(|| Added { result: CniResult::default(), json: Value::Null });
        self.cache.put(&CacheEntry {
            network: network.name.clone(),
            attachment: attachment.clone(),
            config: network.bytes.clone(),
            result: Some(added.json.clone()).filter(|json| !json.is_null()),
        })?;
        Ok(added)
    }

    /// CHECK: runs the plugins in order with the cached result, and stops at the first that finds a fault. Does nothing
    /// when the network sets `disableCheck`; fails before version 0.4.0.
    pub fn check(&self, network: &Network, attachment: &Attachment) -> Result<()> {
        let operation = Operation::Check { attachment: attachment.key(), network: network.name.clone() };
        let version = network.cni_version;
        if version < SpecVersion::V0_4_0 {
            return Err(Error::CheckUnsupported { operation: operation.into(), version });
        }
        if network.disable_check {
            return Ok(());
        }
        let previous = self.cached_result(&operation, network, attachment)?;
        let env = Env::attachment("CHECK", attachment, &self.cni_path()?);
        for plugin in &network.plugins {
            let stdin = attachment_stdin(network, plugin, attachment, previous.as_ref());
            self.exec(&operation, plugin, &env, stdin)?;
        }
        Ok(())
    }

    /// DEL: runs the plugins from last to first, from version 0.4.0 on with the cached result, and deletes the cache
    /// entry. A plugin that fails does not keep the others from running, but it keeps the entry, so that the caller can
    /// try again.
    pub fn del(&self, network: &Network, attachment: &Attachment) -> Result<()> {
        let operation = Operation::Del { attachment: attachment.key(), network: network.name.clone() };
        let mut previous = None;
        if network.cni_version >= SpecVersion::V0_4_0 {
            // What cannot be read cannot help, and must not keep anything from being deleted.
            previous = self.cached_result(&operation, network, attachment).ok().flatten();
        }
        let env = Env::attachment("DEL", attachment, &self.cni_path()?);
        let mut errors = Vec::new();
        for plugin in network.plugins.iter().rev() {
            let stdin = attachment_stdin(network, plugin, attachment, previous.as_ref());
            errors.extend(self.exec(&operation, plugin, &env, stdin).err());
        }
        if errors.is_empty() {
            errors.extend(self.cache.remove(&network.name, &attachment.key()).err().map(Error::Cache));
        }
        Error::collect(errors)
    }

    /// STATUS: asks each plugin whether it can take an ADD, and returns the first one's error, whose code says why not
    /// (50 not available, 51 limited). Before version 1.1.0 nobody is asked.
    pub fn status(&self, network: &Network) -> Result<()> {
        if network.cni_version < SpecVersion::V1_1_0 {
            return Ok(());
        }
        let operation = Operation::Status { network: network.name.clone() };
        let env = Env::network("STATUS", &self.cni_path()?);
        for plugin in &network.plugins {
            self.exec(&operation, plugin, &env, status_stdin(network, plugin))?;
        }
        Ok(())
    }

    /// VERSION: the versions of the specification that a plugin speaks.
    pub fn version(&self, plugin: &PluginType) -> Result<VersionInfo> {
        let operation = Operation::Version { plugin: plugin.clone() };
        let failed =
            |source| Error::Plugin { operation: operation.clone().into(), plugin: plugin.clone(), source };
        let path = cni_exec::find(plugin, &self.plugin_dirs).map_err(failed)?;
        // Plugins made with an old skel demand these, whatever the command.
        let env = Env {
            netns: "dummy".to_string(),
            ifname: "dummy".to_string(),
            ..Env::network("VERSION", "dummy")
        };
        let newest = SpecVersion::V1_1_0.as_str();
        let stdin = serde_json::json!({ "cniVersion": newest }).to_string();
        let stdout = match cni_exec::run(&path, &env.vars(), stdin.as_bytes()) {
            Ok(stdout) => stdout,
            // What a plugin of version 0.1.0, which has no VERSION, says.
            Err(cni_exec::ExecError::Plugin { error, .. }) if error.msg == "unknown CNI_COMMAND: VERSION" => {
                let oldest = SpecVersion::V0_1_0.to_string();
                return Ok(VersionInfo { cni_version: oldest.clone(), supported_versions: vec![oldest] });
            }
            Err(error) => return Err(failed(error)),
        };
        serde_json::from_slice(&stdout)
            .map_err(ConfError::Syntax)
            .and_then(|value| VersionInfo::from_json(&value))
            .map_err(|source| Error::Answer {
                operation: operation.clone().into(),
                plugin: plugin.clone(),
                source,
            })
    }

    /// Whether a plugin is there and speaks a version.
    pub fn validate_plugin(&self, plugin: &PluginType, version: SpecVersion) -> Result<()> {
        let supported = self.version(plugin)?.supported_versions;
        if supported.iter().any(|supported| supported == version.as_str()) {
            return Ok(());
        }
        Err(Error::VersionUnsupported { plugin: plugin.clone(), version, supported })
    }

    /// Whether every plugin of a network is there and speaks its version. All that fail are reported.
    pub fn validate(&self, network: &Network) -> Result<()> {
        let plugins = network.plugins.iter();
        let errors = plugins.filter_map(|p| self.validate_plugin(&p.plugin_type, network.cni_version).err());
        Error::collect(errors.collect())
    }

    /// Finds and runs one plugin of a chain.
    pub(crate) fn exec(
        &self,
        operation: &Operation,
        plugin: &Plugin,
        env: &Env,
        stdin: Map<String, Value>,
    ) -> Result<Vec<u8>> {
        let stdin = Value::Object(stdin).to_string();
        cni_exec::find(&plugin.plugin_type, &self.plugin_dirs)
            .and_then(|path| cni_exec::run(&path, &env.vars(), stdin.as_bytes()))
            .map_err(|source| Error::Plugin {
                operation: operation.clone().into(),
                plugin: plugin.plugin_type.clone(),
                source,
            })
    }

    /// `CNI_PATH`, for the plugins that look for others.
    pub(crate) fn cni_path(&self) -> Result<String> {
        let mut texts = Vec::with_capacity(self.plugin_dirs.len());
        for folder in &self.plugin_dirs {
            match folder.to_str() {
                Some(text) if !text.contains(':') => texts.push(text),
                _ => return Err(Error::PluginFolder { folder: folder.clone() }),
            }
        }
        Ok(texts.join(":"))
    }

    /// The cached result in the network's version, which differs from its own when the network was edited since.
    pub(crate) fn cached_result(
        &self,
        operation: &Operation,
        network: &Network,
        attachment: &Attachment,
    ) -> Result<Option<Value>> {
        let Some(result) = self.cache.result(&network.name, &attachment.key())? else { return Ok(None) };
        let parsed = CniResult::from_json(&result, SpecVersion::V0_1_0)
            .map_err(|source| Error::CachedResult { operation: operation.clone().into(), source })?;
        in_version(operation, result, &parsed, network.cni_version).map(Some)
    }
}

/// Reads what a plugin answered to ADD. One that leaves out its version means the one it was spoken to in.
fn read_result(operation: &Operation, plugin: &Plugin, stdout: &[u8], version: SpecVersion) -> Result<Added> {
    let unreadable = |source| Error::Answer {
        operation: operation.clone().into(),
        plugin: plugin.plugin_type.clone(),
        source,
    };
    let mut json: Value =
        serde_json::from_slice(stdout).map_err(|error| unreadable(ConfError::Syntax(error)))?;
    // Some plugins print `null` for a result with nothing in it.
    if json.is_null() {
        json = Value::Object(Map::new());
    }
    if let Some(fields) = json.as_object_mut()
        && fields.get("cniVersion").and_then(Value::as_str).is_none_or(str::is_empty)
    {
        fields.insert("cniVersion".to_string(), version.as_str().into());
    }
    let result = CniResult::from_json(&json, version).map_err(unreadable)?;
    let json = in_version(operation, json, &result, version)?;
    Ok(Added { result, json })
}

/// A result's JSON in a version: as it came when it is in that version, so that nothing which this crate does not know
/// is lost on the way to the next plugin.
fn in_version(operation: &Operation, json: Value, result: &CniResult, version: SpecVersion) -> Result<Value> {
    if json.get("cniVersion").and_then(Value::as_str) == Some(version.as_str()) {
        return Ok(json);
    }
    result.to_json(version).map_err(|source| Error::Convert { operation: operation.clone().into(), source })
}
