//! Plugins that are killed after each of their system calls that change something: a DEL finds all that is there, and an ADD
//! works again.
//!
//! Here is what does that to an attachment; the plugins are in the modules beside.

use cni_testing::{Act, Container, Host, Outcome, PluginRun, Snapshot, Syscall};
use serde_json::Value;

/// No plugin has as many moments to be killed at.
const MANY: usize = 1000;

/// An attachment that lives and dies again and again.
pub(crate) struct Life {
    pub(crate) host: Host,
    pub(crate) plugin: String,
    pub(crate) conf: Value,
    pub(crate) container: Container,
    /// Machines outside.
    pub(crate) others: Vec<Container>,
    pub(crate) ifname: &'static str,
    /// What the plugin may change beyond what snapshots tell.
    pub(crate) more: fn(&Life) -> Vec<String>,
}

impl Life {
    /// On a host of which the folder /run is seen too.
    pub(crate) fn new(conf: impl FnOnce(&Host) -> Value) -> Self {
        let host = Host::new();
        host.cover("/run");
        let conf = conf(&host);
        let plugin = conf["type"].as_str().unwrap().to_owned();
        let container = host.container("c1");
        Life { host, plugin, conf, container, others: Vec::new(), ifname: "eth0", more: |_| Vec::new() }
    }

    /// After a plugin that gave the container its interface.
    pub(crate) fn after(mut self, conf: &Value) -> Self {
        let plugin = conf["type"].as_str().unwrap();
        self.conf["prevResult"] = self.host.plugin(plugin).add(&self.container, self.ifname, conf).ok();
        self
    }

    fn start(&self) -> PluginRun<'_> {
        self.host.plugin(&self.plugin)
    }

    fn run(&self, plugin: PluginRun<'_>, command: &str) -> Outcome {
        match command {
            "ADD" => plugin.add(&self.container, self.ifname, &self.conf),
            _ => plugin.del(&self.container, self.ifname, &self.conf),
        }
    }

    /// Runs a command and kills it at the `n`th moment. Says which that was, unless it has fewer.
    fn killed(&self, command: &str, n: usize, act: Act) -> (Outcome, Option<String>) {
        let (mut count, mut at) = (0, None);
        let watch = |call: &Syscall| {
            let done = call.returned.is_some_and(|returned| returned >= 0) && call.changes();
            // Where there is but one process, it is all.
            if at.is_some() || !done || (act == Act::KillOne && call.processes < 2) {
                return Act::Go;
            }
            count += 1;
            if count < n {
                return Act::Go;
            }
            at = Some(format!("{act:?} {command} {n}: {call}"));
            act
        };
        let outcome = self.run(self.start().watch(watch), command);
        (outcome, at)
    }

    /// All but what tells of the addresses that were given before.
    fn seen(&self) -> Snapshot {
        let mut seen = self.host.snapshot().without("last_reserved_ip");
        seen.0.extend(self.container.snapshot().0);
        seen.0.extend((self.more)(self));
        seen
    }

    /// Kills ADD and DEL wherever they change something, all processes or the one that did.
    pub(crate) fn survives(&self) {
        // What is shared and stays is there from now on.
        self.run(self.start(), "ADD").ok();
        self.run(self.start(), "DEL").ok();
        let before = self.seen();
        for (command, act) in [("ADD", Act::KillAll), ("ADD", Act::KillOne), ("DEL", Act::KillAll)] {
            for n in 1.. {
                assert!(n < MANY, "{command} does not come to an end");
                if command == "DEL" {
                    self.run(self.start(), "ADD").ok();
                }
                let (outcome, at) = self.killed(command, n, act);
                eprintln!("{}", at.as_deref().unwrap_or("not killed"));
                if at.is_none() {
                    outcome.ok();
                }
                self.run(self.start(), "DEL").ok();
                self.seen().assert_same(&before);
                if at.is_none() {
                    break;
                }
                if command == "ADD" {
                    // What these leave behind is seen next time.
                    self.run(self.start(), "ADD").ok();
                    self.run(self.start(), "DEL").ok();
                }
            }
        }
    }
}
