//! The node as a machine: a private host with an uplink, a default route and the rules of others.

use std::io::Write as _;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cni_netlink::{LinkChange, MacAddr, NewVeth, NextHop, RouteSpec, Socket};
use cni_testing::{Container, Host};

use super::cell::{Program, Rules};
use super::kube_proxy;
use crate::Result;

/// How long the kernel may take to clear a node away.
const CLEARING: Duration = Duration::from_secs(120);

/// A network namespace beside others that share the host's files, so that one thread can be on each in turn.
pub(super) struct Node {
    machine: Container,
    /// At the uplink's other end.
    router: Container,
}

impl Node {
    pub(super) fn new(host: &Host, name: &str, rules: Rules) -> Result<Self> {
        let machine = host.container(&format!("node-{name}"));
        let router = host.container(&format!("router-{name}"));
        let node = Node { machine, router };
        node.run(|| {
            let mut socket = Socket::open()?;
            let lo = socket.link_by_name("lo")?.index;
            socket.link_change(lo, &LinkChange { up: Some(true), ..LinkChange::default() })?;
            host.connect(&node.router, "uplink0", ["192.0.2.1", "2001:db8::1"], ["192.0.2.2", "2001:db8::2"]);
            let index = socket.link_by_name("uplink0")?.index;
            socket.route_add_ecmp(&default_route(index)?)?;
            match rules {
                Rules::None => Ok(()),
                Rules::KubeProxy { services, program } => {
                    restore(program, &["-w"], &kube_proxy::rules(services))
                }
            }
        })?;
        Ok(node)
    }

    /// On the node; threads and processes that are started meanwhile are on it too.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.machine.ns().run(work)?
    }
}

fn default_route(index: u32) -> Result<RouteSpec> {
    Ok(RouteSpec {
        dst: "0.0.0.0/0".parse()?,
        next_hops: vec![NextHop { index, gateway: Some("192.0.2.2".parse()?) }],
        metric: None,
        table: None,
        scope: None,
        mtu: None,
        advmss: None,
    })
}

/// One run of `iptables-nft-restore` or `iptables-legacy-restore`.
pub(super) fn restore(program: Program, options: &[&str], text: &str) -> Result<()> {
    let name = program.restore();
    let mut command = Command::new(name);
    let mut child = command
        .args(options)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run {name} (Debian's package iptables): {error}"))?;
    child.stdin.take().ok_or("standard input is piped")?.write_all(text.as_bytes())?;
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("{name} failed ({status})").into()) }
}

/// Gives namespaces up and waits until the kernel has taken them down, so that what is measured next has the machine to itself.
pub(super) fn drop_and_wait<T>(host: &Host, namespaces: T) -> Result<()> {
    // The kernel takes namespaces down in the order in which they were given up (net/core/net_namespace.c, cleanup_net): when this
    // link is gone, so are the others.
    const LAST: &str = "last0";
    let last = host.container("last");
    let mut socket = Socket::open()?;
    socket.link_add_veth(&NewVeth {
        name: LAST,
        mac: MacAddr::random(),
        master: None,
        peer_name: "eth0",
        peer_mac: MacAddr::random(),
        peer_netns: Some(last.ns().as_fd()),
        mtu: None,
    })?;
    drop(namespaces);
    drop(last);
    let start = Instant::now();
    loop {
        match socket.link_by_name(LAST) {
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(_) if start.elapsed() > CLEARING => {
                return Err(format!("the kernel has not cleared the nodes away in {CLEARING:?}").into());
            }
            Ok(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
