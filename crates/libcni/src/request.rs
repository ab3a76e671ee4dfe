//! What each plugin is sent: its standard input and its environment (sections 2 and 3 of the specification).

use cni_types::{ContainerId, GcAttachment, IfName};
use serde_json::{Map, Value, json};

use crate::{Network, Plugin};

/// One interface of one container: what a runtime asks for beside the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    /// `CNI_CONTAINERID`
    pub container_id: ContainerId,
    /// `CNI_IFNAME`
    pub ifname: IfName,
    /// `CNI_NETNS`: the path of the container's namespace; `None` on a DEL when it is gone or was never known.
    pub netns: Option<String>,
    /// `CNI_ARGS`, in order.
    pub args: Vec<(String, String)>,
    /// Values for capabilities (CONVENTIONS.md of the specification), such as `portMappings`. Each plugin gets those
    /// that its configuration asks for.
    pub capability_args: Map<String, Value>,
}

impl Attachment {
    /// An attachment without namespace and arguments.
    pub fn new(container_id: ContainerId, ifname: IfName) -> Self {
        Attachment { container_id, ifname, netns: None, args: Vec::new(), capability_args: Map::new() }
    }

    /// The two names that identify it within its network.
    pub fn key(&self) -> GcAttachment {
        GcAttachment { container_id: self.container_id.to_string(), ifname: self.ifname.to_string() }
    }
}

/// The standard input of ADD, CHECK and DEL.
pub fn attachment_stdin(
    network: &Network,
    plugin: &Plugin,
    attachment: &Attachment,
    prev_result: Option<&Value>,
) -> Map<String, Value> {
    let mut stdin = named(network, plugin);
    if let Some(prev_result) = prev_result {
        stdin.insert("prevResult".to_string(), prev_result.clone());
    }
    let wanted = plugin.capabilities.iter().filter(|(_, wanted)| **wanted).map(|(capability, _)| capability);
    let runtime_config: Map<String, Value> = wanted
        .filter_map(|capability| {
            Some((capability.clone(), attachment.capability_args.get(capability)?.clone()))
        })
        .collect();
    if !runtime_config.is_empty() {
        stdin.insert("runtimeConfig".to_string(), Value::Object(runtime_config));
    }
    stdin
}

/// The standard input of GC. `None` leaves the keys out, by which a plugin knows nothing and keeps everything.
pub fn gc_stdin(network: &Network, plugin: &Plugin, valid: Option<&[GcAttachment]>) -> Map<String, Value> {
    let mut stdin = named(network, plugin);
    if let Some(valid) = valid {
        let valid: Vec<Value> = valid
            .iter()
            .map(|attachment| json!({ "containerID": attachment.container_id, "ifname": attachment.ifname }))
            .collect();
        // The second is the name that the specification gave by mistake (cni#1101); plugins of then read only that.
        stdin.insert("cni.dev/valid-attachments".to_string(), Value::Array(valid.clone()));
        stdin.insert("cni.dev/attachments".to_string(), Value::Array(valid));
    }
    stdin
}

/// The standard input of STATUS.
pub fn status_stdin(network: &Network, plugin: &Plugin) -> Map<String, Value> {
    named(network, plugin)
}

/// A plugin's own object under the network's name and version, which hold for every plugin of the chain.
fn named(network: &Network, plugin: &Plugin) -> Map<String, Value> {
    let mut stdin = plugin.conf.clone();
    stdin.insert("name".to_string(), network.name.as_str().into());
    stdin.insert("cniVersion".to_string(), network.cni_version.as_str().into());
    stdin
}

/// The variables that a plugin is run with. All six are always set, so that nothing of the caller's own environment is
/// taken for part of the request.
pub(crate) struct Env {
    pub(crate) command: &'static str,
    pub(crate) container_id: String,
    pub(crate) netns: String,
    pub(crate) ifname: String,
    pub(crate) args: String,
    pub(crate) path: String,
}

impl Env {
    /// For a command about an attachment.
    pub(crate) fn attachment(command: &'static str, attachment: &Attachment, path: &str) -> Self {
        let args: Vec<String> = attachment.args.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Env {
            command,
            container_id: attachment.container_id.to_string(),
            netns: attachment.netns.clone().unwrap_or_default(),
            ifname: attachment.ifname.to_string(),
            args: args.join(";"),
            path: path.to_string(),
        }
    }

    /// For a command about the whole network.
    pub(crate) fn network(command: &'static str, path: &str) -> Self {
        let empty = String::new;
        Env {
            command,
            container_id: empty(),
            netns: empty(),
            ifname: empty(),
            args: empty(),
            path: path.to_string(),
        }
    }

    pub(crate) fn vars(&self) -> [(&'static str, &str); 6] {
        [
            ("CNI_COMMAND", self.command),
            ("CNI_CONTAINERID", &self.container_id),
            ("CNI_NETNS", &self.netns),
            ("CNI_ARGS", &self.args),
            ("CNI_IFNAME", &self.ifname),
            ("CNI_PATH", &self.path),
        ]
    }
}

#[cfg(test)]
mod tests;
