//! What is measured. Each scenario is a private host of its own, and each round has a fresh container; whose turn comes first
//! changes from round to round.

use std::path::Path;

use cni_testing::{Container, Host};

use crate::Result;
use crate::chain::{Chain, Peer};
use crate::floor::Floor;
use crate::networks::{self, Backend};
use crate::report::{Limit, Report};
use crate::samples::Samples;

/// What every scenario gets.
pub(crate) struct Setting<'a> {
    /// An executable each.
    pub(crate) ours: &'a Peer,
    /// The same as links to one executable, within which a plugin runs its delegate.
    pub(crate) linked: &'a Peer,
    pub(crate) reference: &'a Peer,
    /// The program that does nothing.
    pub(crate) empty: &'a Path,
    pub(crate) rounds: usize,
    /// For what takes seconds in each round.
    pub(crate) few_rounds: usize,
    /// Parts of scenarios, where not all of them are wanted.
    pub(crate) parts: Vec<String>,
}

/// ADD and DEL of one chain by one peer.
#[derive(Default)]
struct Pair {
    add: Samples,
    del: Samples,
}

/// A private host whose records and locks are its own too.
pub(crate) fn host() -> Host {
    let host = Host::new();
    host.hide(&["/run"]);
    host
}

/// Runs scenarios on a thread of their own, since a private host is one for good.
pub(crate) fn on_own_thread<T: Send>(scenario: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| scope.spawn(scenario).join().map_err(|_| "it panicked")?)
}

/// The chains side by side: each with its own leases, so that nobody reads what the other wrote.
///
/// All containers are kept until the end of the scenario: the kernel takes a namespace down some time after it was given up, and
/// whoever is being measured then would wait for it.
fn side_by_side(
    host: &Host,
    runs: &[(&Peer, Chain)],
    rounds: usize,
    containers: &mut Vec<Container>,
) -> Result<Vec<Pair>> {
    let mut pairs: Vec<Pair> = runs.iter().map(|_| Pair::default()).collect();
    // The first of each makes the bridge and the tables, and is not counted.
    for round in 0..=rounds {
        for turn in 0..runs.len() {
            let which = (turn + round) % runs.len();
            let (peer, chain) = &runs[which];
            let container = host.container(&format!("c{round}-{which}"));
            let (add, result) = chain.add(peer, &container)?;
            let del = chain.del(peer, &container, &result)?;
            containers.push(container);
            if round > 0 {
                pairs[which].add.push(add);
                pairs[which].del.push(del);
            }
        }
    }
    Ok(pairs)
}

fn leases(host: &Host, peer: &Peer) -> std::path::PathBuf {
    host.dir().join(peer.name).join("leases")
}

/// bridge and host-local, with the floor.
pub(crate) fn bridge(setting: &Setting<'_>, report: &mut Report) -> Result<()> {
    let host = host();
    let peers = [setting.ours, setting.linked, setting.reference];
    let runs = peers.map(|peer| (peer, networks::bridge(&leases(&host, peer))));
    let mut floor = Floor::new(setting.empty, "floor0")?;
    let mut containers = Vec::new();
    let mut sums = [Pair::default(), Pair::default(), Pair::default()];
    let mut least = Pair::default();
    for round in 0..=setting.rounds {
        let pairs = side_by_side(&host, &runs, 1, &mut containers)?;
        let container = host.container(&format!("floor{round}"));
        let (add, del) = (floor.add(&container)?, floor.del()?);
        containers.push(container);
        if round == 0 {
            continue;
        }
        least.add.push(add);
        least.del.push(del);
        for (sum, one) in sums.iter_mut().zip(&pairs) {
            sum.add.extend(&one.add);
            sum.del.extend(&one.del);
        }
    }
    let [ours, linked, reference] = sums;
    for (name, own) in [("ours", &ours), (setting.linked.name, &linked)] {
        let what = format!("bridge + host-local ADD: reference / {name}");
        report.target(what, reference.add.median() / own.add.median(), Limit::AtLeast(6.0));
        let what = format!("bridge + host-local ADD: {name} / floor");
        report.target(what, own.add.median() / least.add.median(), Limit::AtMost(1.5));
        let what = format!("bridge + host-local DEL: {name} / floor");
        report.target(what, own.del.median() / least.del.median(), Limit::AtMost(1.2));
    }
    let names = ["ours", setting.linked.name, "reference", "floor"];
    add_figures(report, "bridge + host-local", &names, vec![ours, linked, reference, least]);
    Ok(())
}

/// ptp with masquerading.
pub(crate) fn ptp(setting: &Setting<'_>, report: &mut Report) -> Result<()> {
    let host = host();
    let peers = [setting.ours, setting.linked, setting.reference];
    let runs = peers.map(|peer| (peer, networks::ptp(&leases(&host, peer))));
    let pairs = side_by_side(&host, &runs, setting.rounds, &mut Vec::new())?;
    add_figures(report, "ptp, masquerading", &peers.map(|peer| peer.name), pairs);
    Ok(())
}

/// The chain that a pod of Kubernetes has, with either backend.
pub(crate) fn full(setting: &Setting<'_>, report: &mut Report) -> Result<()> {
    use Backend::{Iptables, Nftables};
    let host = host();
    let Setting { ours, reference, .. } = *setting;
    let runs = [
        (ours, networks::full(&leases(&host, ours), Nftables, Nftables)),
        (reference, networks::full(&leases(&host, reference), Nftables, Iptables)),
        (ours, networks::full(&leases(&host, ours), Iptables, Iptables)),
        (reference, networks::full(&leases(&host, reference), Iptables, Iptables)),
    ];
    let names = ["ours, nftables", "reference, nftables", "ours, iptables", "reference, iptables"];
    let pairs = side_by_side(&host, &runs, setting.rounds, &mut Vec::new())?;
    let medians = |of: fn(&Pair) -> &Samples| pairs.iter().map(|pair| of(pair).median()).collect::<Vec<_>>();
    for (command, medians, least) in
        [("ADD", medians(|pair| &pair.add), 12.0), ("DEL", medians(|pair| &pair.del), 6.0)]
    {
        let what = format!("full chain {command}, nftables: the faster reference / ours");
        report.target(what, medians[1].min(medians[3]) / medians[0], Limit::AtLeast(least));
        let what = format!("full chain {command}, iptables: reference / ours");
        report.target(what, medians[3] / medians[2], Limit::AtLeast(3.0));
    }
    add_figures(report, "full chain", &names, pairs);
    Ok(())
}

fn add_figures(report: &mut Report, what: &str, names: &[&'static str], pairs: Vec<Pair>) {
    let (add, del): (Vec<_>, Vec<_>) =
        names.iter().zip(pairs).map(|(name, pair)| ((*name, pair.add), (*name, pair.del))).unzip();
    report.figure(format!("{what} ADD"), add);
    report.figure(format!("{what} DEL"), del);
}

/// Two chains at a time: how many more get done than one at a time, and how many more the kernel's changes alone.
pub(crate) fn concurrency(setting: &Setting<'_>, report: &mut Report) -> Result<()> {
    let host = host();
    let chain = networks::bridge(&leases(&host, setting.ours));
    let chains = || {
        Ok(|container: &Container| {
            let (_, result) = chain.add(setting.ours, container)?;
            chain.del(setting.ours, container, &result).map(drop)
        })
    };
    let floors = || {
        let mut floor = Floor::new(setting.empty, "floor0")?;
        Ok(move |container: &Container| {
            floor.add(container)?;
            floor.del().map(drop)
        })
    };
    // Makes the bridge.
    Floor::new(setting.empty, "floor0")?;
    let rounds = setting.rounds;
    let ours = throughput(&host, 2, rounds, chains)? / throughput(&host, 1, rounds, chains)?;
    let floor = throughput(&host, 2, rounds, floors)? / throughput(&host, 1, rounds, floors)?;
    let what = "bridge + host-local, two at a time: throughput / one at a time";
    report.target(what, ours, Limit::AtLeast(1.7));
    report.target("the same of the floor", floor, Limit::AtLeast(1.7));
    report.target("two at a time: ours / floor", ours / floor, Limit::AtLeast(0.95));
    Ok(())
}

/// How many attachments come and go in a second. Each thread has a worker of its own.
fn throughput<W: FnMut(&Container) -> Result<()>>(
    host: &Host,
    threads: usize,
    rounds: usize,
    worker: impl Fn() -> Result<W> + Sync,
) -> Result<f64> {
    let own = |thread| (0..rounds).map(move |round| host.container(&format!("p{thread}-{round}")));
    let containers: Vec<Vec<Container>> = (0..threads).map(|thread| own(thread).collect()).collect();
    let work = |own: &Vec<Container>| {
        let mut worker = worker()?;
        own.iter().try_for_each(&mut worker)
    };
    let (time, outcomes) = crate::samples::timed(|| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = containers.iter().map(|own| scope.spawn(|| work(own))).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|_| Err("it panicked".into()))
            };
            threads.into_iter().map(join).collect::<Vec<Result<()>>>()
        })
    });
    outcomes.into_iter().collect::<Result<()>>()?;
    Ok((threads * rounds) as f64 / time.as_secs_f64())
}
