//! A conflist's chain run as a runtime runs it: each plugin an executable of its own, the result of one the prevResult of
//! the next. Without a cache and without reading a conflist, which cost the same whosever the plugins are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cni_testing::Container;
use serde_json::{Map, Value, json};

use crate::Result;
use crate::samples::timed;

/// The name of the plugins that ours are measured against.
pub(crate) const REFERENCE: &str = "reference";

/// Whose plugins.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) dir: PathBuf,
}

impl Peer {
    pub(crate) fn is_reference(&self) -> bool {
        self.name == REFERENCE
    }

    pub(crate) fn program(&self, plugin: &str) -> PathBuf {
        self.dir.join(plugin)
    }
}

/// A network's plugins, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) network: String,
    pub(crate) plugins: Vec<Value>,
    /// `runtimeConfig`, for every plugin.
    pub(crate) runtime_config: Value,
}

impl Chain {
    pub(crate) fn new(network: &str, plugins: Vec<Value>) -> Self {
        Chain { network: network.to_owned(), plugins, runtime_config: json!({}) }
    }

    /// ADD of the whole chain: how long it took, and the last result.
    pub(crate) fn add(&self, peer: &Peer, container: &Container) -> Result<(Duration, Value)> {
        let (time, result) = timed(|| {
            self.plugins.iter().try_fold(Value::Null, |prev, plugin| {
                let output = self.run(peer, "ADD", container, plugin, &prev)?;
                serde_json::from_slice(&output)
                    .map_err(|error| format!("cannot read the result of {}: {error}", plugin["type"]).into())
            })
        });
        result.map(|result| (time, result))
    }

    /// DEL of the whole chain, last plugin first. It goes on after an error, as runtimes do; the reference's bridge (before 1.10.0)
    /// answers one after masquerading by nftables, where the iptables chain that it looks for as well has never been.
    pub(crate) fn del(&self, peer: &Peer, container: &Container, prev: &Value) -> Result<Duration> {
        let run = |plugin: &Value| self.run(peer, "DEL", container, plugin, prev).err();
        let (time, errors) = timed(|| self.plugins.iter().rev().filter_map(run).collect::<Vec<_>>());
        match errors.into_iter().next() {
            Some(error) if !peer.is_reference() => Err(error),
            _ => Ok(time),
        }
    }

    /// CHECK of the whole chain.
    pub(crate) fn check(&self, peer: &Peer, container: &Container, prev: &Value) -> Result<Duration> {
        let (time, result) = timed(|| {
            self.plugins
                .iter()
                .try_for_each(|plugin| self.run(peer, "CHECK", container, plugin, prev).map(drop))
        });
        result.map(|()| time)
    }

    /// What one plugin of the chain gets on standard input.
    pub(crate) fn stdin(&self, plugin: &Value, prev: &Value) -> Vec<u8> {
        let mut conf: Map<String, Value> = plugin.as_object().cloned().unwrap_or_default();
        conf.insert("cniVersion".to_owned(), json!("1.0.0"));
        conf.insert("name".to_owned(), json!(self.network));
        conf.insert("runtimeConfig".to_owned(), self.runtime_config.clone());
        if !prev.is_null() {
            conf.insert("prevResult".to_owned(), prev.clone());
        }
        Value::Object(conf).to_string().into_bytes()
    }

    fn run(
        &self,
        peer: &Peer,
        command: &str,
        container: &Container,
        plugin: &Value,
        prev: &Value,
    ) -> Result<Vec<u8>> {
        let program = peer.program(plugin["type"].as_str().unwrap_or_default());
        let dir = path(&peer.dir)?;
        let env = [
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", container.id()),
            ("CNI_NETNS", container.netns()),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", dir),
        ];
        cni_exec::run(&program, &env, &self.stdin(plugin, prev))
            .map_err(|error| format!("{command} by the {} plugins: {error}", peer.name).into())
    }
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| format!("{} has a name that is not UTF-8", path.display()).into())
}
