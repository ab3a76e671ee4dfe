//! The commands that run a network's chain of plugins: add, check, del, status, version.

use std::path::{Path, PathBuf};

use cni_types::{ContainerId, IfName, NetworkName, SpecVersion};
use libcni::{Attachment, Error, Network, Runtime};
use serde_json::{Value, json};

use crate::attachment::{absolute, container_id};
use crate::cli::{Cli, Target};
use crate::environment::Environment;
use crate::outcome::{Failure, Outcome, pretty};

/// What every command needs.
pub(crate) struct Tool {
    pub(crate) runtime: Runtime,
    pub(crate) environment: Environment,
    ifname: Option<String>,
}

/// A command's answer; its failures, when there is none.
pub(crate) type Answer = Result<Outcome, Vec<Failure>>;

impl From<Failure> for Vec<Failure> {
    fn from(failure: Failure) -> Self {
        vec![failure]
    }
}

impl Tool {
    pub(crate) fn new(cli: &Cli, environment: Environment) -> Self {
        let runtime = Runtime::new(environment.plugin_dirs(), &cli.cache_dir);
        Tool { runtime, environment, ifname: cli.ifname.clone() }
    }

    pub(crate) fn add(&self, target: &Target) -> Answer {
        let (network, attachment) = self.load(target)?;
        let added = self.runtime.add(&network, &attachment).map_err(|error| self.failures(&error))?;
        Ok(Outcome::both(pretty(&added.json), added.json))
    }

    pub(crate) fn check(&self, target: &Target) -> Answer {
        let (network, attachment) = self.load(target)?;
        self.runtime.check(&network, &attachment).map_err(|error| self.failures(&error))?;
        let mut outcome = Outcome::quiet(about(&network, &attachment));
        outcome.json.insert("checked".to_string(), (!network.disable_check).into());
        if network.disable_check {
            outcome.notes.push(format!("network {} sets disableCheck, so nothing was checked", network.name));
        }
        Ok(outcome)
    }

    pub(crate) fn del(&self, target: &Target) -> Answer {
        let (network, attachment) = self.load(target)?;
        self.runtime.del(&network, &attachment).map_err(|error| self.failures(&error))?;
        Ok(Outcome::quiet(about(&network, &attachment)))
    }

    pub(crate) fn status(&self, name: &str) -> Answer {
        let network = self.network(name)?;
        self.runtime.status(&network).map_err(|error| self.failures(&error))?;
        let asked = network.cni_version >= SpecVersion::V1_1_0;
        let text = match asked {
            true => format!("{name}: ready\n"),
            false => format!("{name}: not asked, since CNI {} has no STATUS\n", network.cni_version),
        };
        Ok(Outcome::both(text, json!({ "network": name, "asked": asked })))
    }

    pub(crate) fn version(&self, network: Option<&str>) -> Answer {
        let Some(name) = network else { return Ok(own_version()) };
        let network = self.network(name)?;
        let mut text = String::new();
        let mut plugins = Vec::new();
        let mut failures = Vec::new();
        for plugin in &network.plugins {
            match self.runtime.version(&plugin.plugin_type) {
                Ok(info) => {
                    text += &format!("{}: CNI {}\n", plugin.plugin_type, info.supported_versions.join(", "));
                    plugins.push(json!({
                        "type": plugin.plugin_type.as_str(),
                        "supportedVersions": info.supported_versions,
                    }));
                }
                Err(error) => failures.extend(self.failures(&error)),
            }
        }
        let json = json!({ "network": name, "cniVersion": network.cni_version.as_str(), "plugins": plugins });
        Ok(Outcome { failures, ..Outcome::both(text, json) })
    }

    /// The network of that name.
    pub(crate) fn network(&self, name: &str) -> Result<Network, Vec<Failure>> {
        let name = network_name(name)?;
        Network::find(&self.environment.net_dir(), &name)
            .map_err(|error| Failure::new(error.to_string()).into())
    }

    /// What failed, with a word on `CNI_PATH` where that may be why.
    pub(crate) fn failures(&self, error: &Error) -> Vec<Failure> {
        let mut failures = Failure::each(error);
        if self.runtime.plugin_dirs().is_empty() {
            failures.iter_mut().for_each(|failure| failure.hint("CNI_PATH is not set"));
        }
        failures
    }

    fn load(&self, target: &Target) -> Result<(Network, Attachment), Vec<Failure>> {
        let attachment = self.attachment(&target.netns)?;
        Ok((self.network(&target.network)?, attachment))
    }

    fn attachment(&self, netns: &Path) -> Result<Attachment, Failure> {
        let netns = absolute(netns, &current_dir()?);
        let Some(netns) = netns.to_str() else {
            return Err(Failure::usage(format!("cannot use namespace {}: it is not UTF-8", netns.display())));
        };
        let ifname = match &self.ifname {
            Some(ifname) => ifname.clone(),
            None => self.environment.ifname()?,
        };
        let ifname = IfName::new(ifname).map_err(|error| Failure::usage(error.to_string()))?;
        let container_id = ContainerId::new(container_id(netns)).expect("letters, a dash and digits");
        Ok(Attachment {
            netns: Some(netns.to_string()),
            args: self.environment.cni_args()?,
            capability_args: self.environment.capability_args()?,
            ..Attachment::new(container_id, ifname)
        })
    }
}

/// A network's name from the command line.
pub(crate) fn network_name(name: &str) -> Result<NetworkName, Failure> {
    NetworkName::new(name).map_err(|error| Failure::usage(error.to_string()))
}

fn current_dir() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|error| Failure::new(format!("cannot tell the current folder: {error}")))
}

fn about(network: &Network, attachment: &Attachment) -> Value {
    json!({
        "network": network.name.as_str(),
        "containerID": attachment.container_id.as_str(),
        "ifname": attachment.ifname.as_str(),
    })
}

fn own_version() -> Outcome {
    let own = env!("CARGO_PKG_VERSION");
    let supported: Vec<&str> = SpecVersion::ALL.iter().map(|version| version.as_str()).collect();
    let text = format!("cnitool {own}, CNI {}\n", supported.join(", "));
    Outcome::both(text, json!({ "cnitool": own, "supportedVersions": supported }))
}
