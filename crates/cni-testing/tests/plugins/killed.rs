//! Plugins that are killed after each of their system calls that change something: a DEL finds all that is there, and an ADD
//! works again.
//!
//! Here is what does that to an attachment; the plugins are in the modules beside.

use std::sync::Mutex;

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
    pub(crate) ifname: &'static str,
    /// Machines outside.
    pub(crate) others: Vec<Container>,
    /// A plugin that comes before and gives the container its interface.
    below: Option<Value>,
    /// Whether it does so each time anew.
    renewed: bool,
    /// What the plugin may change beyond what snapshots tell.
    pub(crate) more: fn(&Life) -> Vec<String>,
}

impl Life {
    /// On a host of which the folder /run is seen too.
    pub(crate) fn new(conf: impl FnOnce(&Host) -> Value) -> Self {
        let host = Host::new();
        host.cover("/run");
        let conf = conf(&host);
        Life {
            plugin: conf["type"].as_str().unwrap().to_owned(),
            container: host.container("c1"),
            host,
            conf,
            ifname: "eth0",
            others: Vec::new(),
            below: None,
            renewed: false,
            more: |_| Vec::new(),
        }
    }

    /// After a plugin that gives the container its interface: once, and it has to be as it was after each DEL.
    pub(crate) fn after(mut self, below: Value) -> Self {
        self.below = Some(below);
        self.add_below();
        self
    }

    /// The same, each time anew: what the plugin changes about the interface dies with that.
    pub(crate) fn after_each(mut self, below: Value) -> Self {
        self.below = Some(below);
        self.renewed = true;
        self
    }

    fn add_below(&mut self) {
        let below = self.below.as_ref().unwrap();
        let plugin = self.host.plugin(below["type"].as_str().unwrap());
        self.conf["prevResult"] = plugin.add(&self.container, self.ifname, below).ok();
    }

    fn begin(&mut self) {
        if self.renewed {
            self.add_below();
        }
    }

    fn end(&self) {
        if self.renewed {
            let below = self.below.as_ref().unwrap();
            let plugin = self.host.plugin(below["type"].as_str().unwrap());
            plugin.del(&self.container, self.ifname, below).ok();
        }
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

    fn add(&self) {
        self.run(self.start(), "ADD").ok();
    }

    fn del(&self) {
        self.run(self.start(), "DEL").ok();
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

    /// Kills ADD wherever it changes something, all its processes or the one that did, and DEL all its processes.
    pub(crate) fn survives(mut self) {
        // What is shared and stays is there from now on.
        self.begin();
        self.add();
        self.del();
        self.end();
        let before = self.seen();
        for act in [Act::KillAll, Act::KillOne] {
            for n in 1.. {
                self.begin();
                let (outcome, at) = self.killed("ADD", n, act);
                self.del();
                self.end();
                self.compare(&before, &at);
                if at.is_none() {
                    outcome.ok();
                    break;
                }
                assert!(n < MANY, "ADD does not come to an end");
                // What these leave behind is seen next time.
                self.begin();
                self.add();
                self.del();
                self.end();
            }
        }
        for n in 1.. {
            self.begin();
            self.add();
            let (outcome, at) = self.killed("DEL", n, Act::KillAll);
            self.del();
            self.end();
            self.compare(&before, &at);
            if at.is_none() {
                outcome.ok();
                break;
            }
            assert!(n < MANY, "DEL does not come to an end");
        }
    }

    /// The same for ADD on hosts that have nothing yet of what plugins share: bridges, tables, chains, folders. A DEL leaves
    /// of these no more than after an ADD that was not killed.
    pub(crate) fn survives_at_first(make: impl Fn() -> Life + Sync) {
        // Each host is a thread's.
        let on_a_host = |work: &(dyn Fn(Life) -> bool + Sync)| {
            std::thread::scope(|scope| scope.spawn(|| work(make())).join())
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let clean = Mutex::new(None);
        on_a_host(&|life| {
            life.add();
            life.del();
            clean.lock().unwrap().replace(life.seen());
            true
        });
        let clean = clean.into_inner().unwrap().unwrap();
        let was_killed = |n: usize| {
            on_a_host(&|life| {
                let (outcome, at) = life.killed("ADD", n, Act::KillAll);
                life.del();
                let left = life.seen().0.into_iter();
                // A bridge that has just been made; the next ADD sets it up.
                let left = left
                    .map(|line| line.replace("kind \"bridge\" mtu 1500 down", "kind \"bridge\" mtu 1500 up"));
                let left: Vec<String> = left.filter(|line| !clean.0.contains(line)).collect();
                assert_eq!(left, [""; 0], "{at:?}");
                if at.is_none() {
                    outcome.ok();
                }
                life.add();
                life.del();
                life.compare(&clean, &at);
                at.is_some()
            })
        };
        assert!((1..MANY).any(|n| !was_killed(n)), "ADD does not come to an end");
    }

    #[track_caller]
    fn compare(&self, before: &Snapshot, at: &Option<String>) {
        // Shown with a failure.
        eprintln!("{}", at.as_deref().unwrap_or("lived to its end"));
        self.seen().assert_same(before);
    }
}
