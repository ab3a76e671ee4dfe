//! The floor: what the kernel takes for the same changes when nobody does anything else. Processes that do nothing stand for
//! the plugins, and one process with open sockets sends the fewest messages that there can be.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cni_netlink::{AddrFlags, LinkChange, MacAddr, NewBridge, NewVeth, NextHop, RouteSpec, Socket};
use cni_testing::Container;

use crate::Result;
use crate::samples::timed;

/// A bridge of its own, and a process that does nothing, where processes count too.
pub(crate) struct Floor {
    host: Socket,
    bridge: u32,
    empty: Option<PathBuf>,
    near: u32,
}

/// Processes of a chain of bridge and host-local.
const PROCESSES: usize = 2;
/// Numbers the near ends, since two floors may be at work at a time.
static NEXT: AtomicU32 = AtomicU32::new(0);

fn make_bridge(host: &mut Socket, name: &str) -> Result<u32> {
    host.link_add_bridge(&NewBridge {
        name,
        mac: Some(MacAddr::random()),
        mtu: None,
        vlan_filtering: false,
    })?;
    let bridge = host.link_by_name(name)?.index;
    host.addr_add(bridge, "10.78.0.1/16".parse()?, AddrFlags { nodad: true })?;
    host.link_change(bridge, &LinkChange { up: Some(true), ..LinkChange::default() })?;
    Ok(bridge)
}

impl Floor {
    /// On this bridge, which is made where there is none of the name.
    pub(crate) fn new(empty: &Path, bridge: &str) -> Result<Self> {
        Ok(Floor { empty: Some(empty.to_owned()), ..Floor::bare(bridge)? })
    }

    /// Likewise, with nothing but messages.
    pub(crate) fn bare(bridge: &str) -> Result<Self> {
        let mut host = Socket::open()?;
        let bridge = match host.link_by_name(bridge) {
            Ok(link) => link.index,
            Err(error) if error.is_not_found() => make_bridge(&mut host, bridge)?,
            Err(error) => return Err(error.into()),
        };
        Ok(Floor { host, bridge, empty: None, near: NEXT.fetch_add(1, Ordering::Relaxed) })
    }

    /// A veth pair, its port up, an address and a route inside.
    pub(crate) fn add(&mut self, container: &Container) -> Result<Duration> {
        let mut inside = container.ns().socket()?;
        let (time, done) = timed(|| {
            self.run_processes()?;
            self.add_pair(&mut inside, container)
        });
        done.map(|()| time)
    }

    /// The messages alone, by sockets that are open.
    pub(crate) fn add_pair(&mut self, inside: &mut Socket, container: &Container) -> Result<()> {
        self.host.link_add_veth(&NewVeth {
            name: &self.near(),
            mac: MacAddr::random(),
            master: Some(self.bridge),
            peer_name: "eth0",
            peer_mac: MacAddr::random(),
            peer_netns: Some(container.ns().as_fd()),
            mtu: None,
        })?;
        let (near, far) = {
            let near = self.host.link_by_name(&self.near())?;
            (near.index, near.peer.ok_or("a veth without a peer")?)
        };
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        self.host.link_change(near, &LinkChange { alias: Some("cni:floor:floor:eth0"), ..up })?;
        inside.addr_add(far, "10.78.0.2/16".parse()?, AddrFlags { nodad: true })?;
        inside.link_change(far, &up)?;
        let gateway = Some("10.78.0.1".parse()?);
        inside.route_add_ecmp(&RouteSpec {
            dst: "0.0.0.0/0".parse()?,
            next_hops: vec![NextHop { index: far, gateway }],
            metric: None,
            table: None,
            scope: None,
            mtu: None,
            advmss: None,
        })?;
        Ok(())
    }

    /// The pair goes.
    pub(crate) fn del(&mut self) -> Result<Duration> {
        let near = self.near_index()?;
        let (time, done) = timed(|| -> Result<()> {
            self.run_processes()?;
            self.del_pair(near)
        });
        done.map(|()| time)
    }

    /// The message alone.
    pub(crate) fn del_pair(&mut self, near: u32) -> Result<()> {
        Ok(self.host.link_del(near)?)
    }

    pub(crate) fn near_index(&mut self) -> Result<u32> {
        Ok(self.host.link_by_name(&self.near())?.index)
    }

    fn near(&self) -> String {
        format!("floor-veth{}", self.near)
    }

    fn run_processes(&self) -> Result<()> {
        let Some(empty) = &self.empty else { return Ok(()) };
        for _ in 0..PROCESSES {
            cni_exec::run(empty, &[], b"{}")?;
        }
        Ok(())
    }
}
