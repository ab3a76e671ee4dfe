//! The floor of a node: the changes that somebody has to make, by open sockets and without a process. Links alone, and the
//! commits to nf_tables beside the same rules of others, since the kernel walks all chains of a namespace in each.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use cni_netlink::Socket;
use cni_nftables::Nft;
use cni_testing::{Container, Host};

use super::PODS;
use super::cell::{Cell, Program};
use super::commits::{Commits, setup};
use super::machine::{Node, restore};
use super::many::{Mode, Times, each};
use crate::Result;
use crate::floor::Floor as Links;
use crate::samples::{Samples, timed};

/// A node on which nothing but this is measured.
pub(super) struct Bare<'a> {
    pub(super) node: Node,
    /// The program that does nothing.
    empty: &'a Path,
    cell: Cell,
    count: u32,
}

/// What one round took.
pub(super) struct Floor {
    pub(super) links: Times,
    pub(super) commits: Times,
}

impl<'a> Bare<'a> {
    pub(super) fn new(host: &Host, empty: &'a Path, cell: Cell) -> Result<Self> {
        let node = Node::new(host, "floor", cell.rules)?;
        node.run(|| Ok(Nft::new().commit(&setup(cell))?))?;
        Ok(Bare { node, empty, cell, count: 0 })
    }

    pub(super) fn come_and_go(
        &mut self,
        host: &Host,
        mode: Mode,
        kept: &mut Vec<Container>,
    ) -> Result<Floor> {
        let (numbers, containers) = self.containers(host)?;
        let floor = self.node.run(|| {
            let mut links = containers.iter().map(Pair::new).collect::<Result<Vec<_>>>()?;
            let mut commits =
                numbers.map(|number| Commits::new(self.cell, number)).collect::<Result<Vec<_>>>()?;
            Ok(Floor { links: of_links(mode, &mut links)?, commits: of_commits(mode, &mut commits)? })
        });
        kept.extend(containers);
        floor
    }

    /// Links deleted at once by a process each, as `ip link del` is one: nobody deletes a container's link without.
    pub(super) fn delete_by_processes(&mut self, host: &Host, kept: &mut Vec<Container>) -> Result<Duration> {
        let (_, containers) = self.containers(host)?;
        let time = self.node.run(|| {
            let mut links = containers.iter().map(Pair::new).collect::<Result<Vec<_>>>()?;
            links.iter_mut().try_for_each(|pair| pair.add().and_then(|()| pair.find()))?;
            each(Mode::AtOnce, &mut links, |pair| {
                cni_exec::run(self.empty, &[], b"{}")?;
                pair.del()
            })
        });
        kept.extend(containers);
        time
    }

    fn containers(&mut self, host: &Host) -> Result<(Range<u32>, Vec<Container>)> {
        let first = self.count;
        self.count += u32::try_from(PODS)?;
        let numbers = first..self.count;
        let container = |number| host.container(&format!("floor-{number}"));
        Ok((numbers.clone(), numbers.map(container).collect()))
    }

    /// What iptables-legacy takes for one rule, where its rules are those of others: it reads the table and writes it anew.
    pub(super) fn replace_legacy_table(&self) -> Result<Samples> {
        let mut samples = Samples::default();
        if self.cell.has_legacy_rules() {
            let rule = "*nat\n-A POSTROUTING -s 10.78.0.1/32 -j ACCEPT\nCOMMIT\n";
            let (time, done) =
                timed(|| self.node.run(|| restore(Program::Legacy, &["-w", "--noflush"], rule)));
            done?;
            samples.push(time);
        }
        Ok(samples)
    }
}

fn of_links(mode: Mode, links: &mut [Pair<'_>]) -> Result<Times> {
    let add = each(mode, links, Pair::add)?;
    links.iter_mut().try_for_each(Pair::find)?;
    let del = each(mode, links, Pair::del)?;
    Ok(Times { add, del })
}

fn of_commits(mode: Mode, commits: &mut [Commits]) -> Result<Times> {
    let add = each(mode, commits, Commits::add)?;
    commits.iter_mut().try_for_each(Commits::find)?;
    let del = each(mode, commits, Commits::del)?;
    Ok(Times { add, del })
}

/// A container's veth pair, and the sockets for it.
struct Pair<'a> {
    links: Links,
    inside: Socket,
    container: &'a Container,
    index: u32,
}

impl<'a> Pair<'a> {
    fn new(container: &'a Container) -> Result<Self> {
        let (links, inside) = (Links::bare("floor0")?, container.ns().socket()?);
        Ok(Pair { links, inside, container, index: 0 })
    }

    fn add(&mut self) -> Result<()> {
        self.links.add_pair(&mut self.inside, self.container)
    }

    fn find(&mut self) -> Result<()> {
        self.index = self.links.near_index()?;
        Ok(())
    }

    fn del(&mut self) -> Result<()> {
        self.links.del_pair(self.index)
    }
}
