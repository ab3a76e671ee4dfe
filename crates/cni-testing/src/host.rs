//! The private host.

use std::path::{Path, PathBuf};

use crate::{Container, Outcome, Snapshot};

/// A private host: the calling thread's network namespace from here on, and a folder of its own for state.
pub struct Host {}

/// One execution of a plugin, being prepared.
pub struct PluginRun<'h> {
    #[allow(dead_code)]
    host: &'h Host,
}

impl Host {
    /// Moves the calling thread into a fresh network namespace (lo up) and makes a temporary folder.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        todo!()
    }
    /// The temporary folder, removed with the host: for dataDir, conflists, caches.
    pub fn dir(&self) -> &Path {
        todo!()
    }
    /// A container with a namespace of its own. `id` becomes CNI_CONTAINERID.
    pub fn container(&self, id: &str) -> Container {
        let _ = id;
        todo!()
    }
    /// The folder of the executables under test: beside the test's own, or `CNI_TESTING_BIN` when set.
    pub fn bin_dir(&self) -> PathBuf {
        todo!()
    }
    /// Prepares a run of a plugin. CNI_PATH is [`Host::bin_dir`] unless changed.
    pub fn plugin(&self, name: &str) -> PluginRun<'_> {
        let _ = name;
        todo!()
    }
    /// Links, addresses, routes, rules (nft when installed) of the host's namespace and the files under [`Host::dir`], to be
    /// compared before and after.
    pub fn snapshot(&self) -> Snapshot {
        todo!()
    }
}

impl PluginRun<'_> {
    /// Sets an environment variable above the usual ones.
    #[must_use]
    pub fn env(self, key: &str, value: &str) -> Self {
        let _ = (key, value);
        todo!()
    }
    /// ADD of `container`'s `ifname` with this configuration on standard input.
    pub fn add(self, container: &Container, ifname: &str, conf: &serde_json::Value) -> Outcome {
        let _ = (container, ifname, conf);
        todo!()
    }
    /// CHECK
    pub fn check(self, container: &Container, ifname: &str, conf: &serde_json::Value) -> Outcome {
        let _ = (container, ifname, conf);
        todo!()
    }
    /// DEL
    pub fn del(self, container: &Container, ifname: &str, conf: &serde_json::Value) -> Outcome {
        let _ = (container, ifname, conf);
        todo!()
    }
    /// GC, STATUS or VERSION.
    pub fn command(self, command: &str, conf: &serde_json::Value) -> Outcome {
        let _ = (command, conf);
        todo!()
    }
    /// Nothing but what [`PluginRun::env`] set, and these bytes on standard input.
    pub fn raw(self, stdin: &[u8]) -> Outcome {
        let _ = stdin;
        todo!()
    }
}
