//! What a pod costs on a node as users have it: beside kube-proxy's rules, with as many pods there as a kubelet allows, and many
//! pods coming and going at once, as after a node's start or a rollout.
//!
//! Each cell of the table has three nodes, private hosts alike to the last rule: ours holds its pods by our plugins, the
//! reference's by its own, and on the third only the floor is measured, whose bare rules no iptables could read back.

use cni_testing::{Container, Host};

use crate::Result;
use crate::chain::{Chain, Peer};
use crate::networks;
use crate::report::{Limit, Report};
use crate::scenarios::{Setting, host, on_own_thread};

mod bare;
mod cell;
mod commits;
mod kube_proxy;
mod machine;
mod many;
mod table;

use bare::Bare;
use cell::Cell;
use machine::Node;
use many::{Mode, Times, each};
use table::Row;

pub(crate) use cell::PARTS;

/// Rounds unless the command line says otherwise: what is measured is a sum over twenty containers already.
pub(crate) const ROUNDS: usize = 3;
/// Containers that come and go, the kubelet's default of pods on a node, and how many of those are made at once.
const PODS: usize = 20;
const HELD: usize = 110;

/// Every cell that the command line wants, each row shown as soon as it is there.
pub(crate) fn measure(setting: &Setting<'_>, report: &mut Report) -> Result<()> {
    let mut rows = Vec::new();
    for cell in cell::all().into_iter().filter(|cell| cell.is_wanted(&setting.parts)) {
        match on_own_thread(|| measure_cell(setting, cell)) {
            Ok(row) => {
                eprintln!("  {cell}: {}", row.times().join(", "));
                rows.push(row);
            }
            // What is too slow for a plugin's own patience says so, and the other cells say how slow.
            Err(error) => {
                eprintln!("  {cell}: {error}");
                report.target(format!("node, {cell}: measured ({error})"), 0.0, Limit::AtLeast(1.0));
            }
        }
    }
    table::add(report, &rows);
    Ok(())
}

fn measure_cell(setting: &Setting<'_>, cell: Cell) -> Result<Row> {
    let host = host();
    let mut kept = Vec::new();
    let mut ours = Pods::new(&host, setting.ours, cell)?;
    let compared = cell.rounds_of_reference(setting.few_rounds);
    let mut reference = (compared > 0).then(|| Pods::new(&host, setting.reference, cell)).transpose()?;
    let mut bare = Bare::new(&host, setting.empty, cell)?;
    for pods in std::iter::once(&mut ours).chain(&mut reference) {
        kept.extend(pods.hold(&host)?);
    }
    let mut row = Row::new(cell);
    for round in 0..setting.few_rounds {
        for (mode, turn) in Mode::BOTH.iter().flat_map(|mode| (0..3).map(move |turn| (*mode, turn))) {
            match ((turn + round) % 3, &mut reference) {
                (0, _) => row.ours.push(mode, ours.come_and_go(&host, mode, &mut kept)?),
                (1, Some(reference)) if round < compared => {
                    let times = reference.come_and_go(&host, mode, &mut kept)?;
                    row.reference.get_or_insert_default().push(mode, times);
                }
                (1, _) => {}
                _ => {
                    let floor = bare.come_and_go(&host, mode, &mut kept)?;
                    row.links.push(mode, floor.links);
                    row.commits.push(mode, floor.commits);
                }
            }
        }
        row.by_processes.push(bare.delete_by_processes(&host, &mut kept)?);
        row.legacy.extend(&bare.replace_legacy_table()?);
    }
    // All containers until now, since the kernel would take their namespaces down beside what is measured.
    machine::drop_and_wait(&host, (ours.node, reference.map(|pods| pods.node), bare.node, kept))?;
    Ok(row)
}

/// The pods of one set of plugins, on a node of their own.
struct Pods<'a> {
    peer: &'a Peer,
    node: Node,
    chain: Chain,
    publishes_ports: bool,
    count: u16,
}

struct Pod {
    container: Container,
    chain: Chain,
    result: serde_json::Value,
}

impl<'a> Pods<'a> {
    fn new(host: &Host, peer: &'a Peer, cell: Cell) -> Result<Self> {
        let leases = host.dir().join(peer.name).join("leases");
        let chain = networks::node(&leases, cell.backend, cell.publishes_ports);
        let node = Node::new(host, peer.name, cell.rules)?;
        Ok(Pods { peer, node, chain, publishes_ports: cell.publishes_ports, count: 0 })
    }

    fn pods(&mut self, host: &Host, count: usize) -> Vec<Pod> {
        let pod = |number: u16| {
            let mut chain = self.chain.clone();
            if self.publishes_ports {
                chain.runtime_config = networks::ports(10_000 + 2 * number);
            }
            let container = host.container(&format!("{}-{number}", self.peer.name));
            Pod { container, chain, result: serde_json::Value::Null }
        };
        let first = self.count;
        let pods: Vec<Pod> = (first..).take(count).map(pod).collect();
        self.count += u16::try_from(count).unwrap_or(u16::MAX);
        pods
    }

    /// Pods that stay. Bridge, tables and chains are there afterwards.
    fn hold(&mut self, host: &Host) -> Result<Vec<Container>> {
        let mut pods = self.pods(host, HELD);
        // The first alone: of two that make the same chain at the same time the reference fails one.
        let (first, others) = pods.split_at_mut(1);
        self.add(Mode::OneByOne, first)?;
        // No more than keep the machine busy: the more are at it, the longer the reference takes for each.
        for some in others.chunks_mut(std::thread::available_parallelism()?.get()) {
            self.add(Mode::AtOnce, some)?;
        }
        Ok(pods.into_iter().map(|pod| pod.container).collect())
    }

    fn come_and_go(&mut self, host: &Host, mode: Mode, kept: &mut Vec<Container>) -> Result<Times> {
        let mut pods = self.pods(host, PODS);
        let add = self.add(mode, &mut pods)?;
        let del = self.node.run(|| {
            each(mode, &mut pods, |pod| pod.chain.del(self.peer, &pod.container, &pod.result).map(drop))
        })?;
        kept.extend(pods.into_iter().map(|pod| pod.container));
        Ok(Times { add, del })
    }

    fn add(&self, mode: Mode, pods: &mut [Pod]) -> Result<std::time::Duration> {
        self.node.run(|| {
            each(mode, pods, |pod| {
                (_, pod.result) = pod.chain.add(self.peer, &pod.container)?;
                Ok(())
            })
        })
    }
}
