//! The workers: what each does next is drawn at random, and what it finds is compared with what should be there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::load::node::{Attachment, Kind, Node};
use crate::load::{Random, WORKERS};

/// How many containers may have addresses at a time, of the 59 that there are.
const MOST: usize = 48;

/// Where an attachment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Live,
    /// Its interface and address are gone, its ports and the firewall's elements are not: what an interrupted runtime leaves.
    Half,
    Gone,
    /// A worker has it, and it will be something else then.
    Busy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Add,
    /// A second ADD of what is attached.
    AddAgain,
    Check,
    Del,
    /// DEL by the bridge alone.
    Half,
    /// The rest of such a DEL, or a whole one once more, with a look at whoever has the address by then.
    LateDel,
}

/// How often each step is taken, of a hundred times.
type Odds = [(Step, usize)];

const GROWING: &Odds = &[
    (Step::Add, 40),
    (Step::AddAgain, 8),
    (Step::Check, 8),
    (Step::Del, 20),
    (Step::Half, 8),
    (Step::LateDel, 16),
];
const SHRINKING: &Odds =
    &[(Step::AddAgain, 8), (Step::Check, 8), (Step::Del, 54), (Step::Half, 10), (Step::LateDel, 20)];

/// A step, and all that it needs, taken out of what is shared.
struct Job {
    step: Step,
    index: usize,
    attachment: Option<Attachment>,
    /// Who has its address by now.
    heir: Option<(usize, Attachment)>,
    kind: Kind,
    coin: bool,
}

/// What the workers share.
struct Shared {
    random: Random,
    phases: Vec<Phase>,
    /// Those that have begun and that no worker has.
    idle: BTreeMap<usize, Attachment>,
    /// Who has an address, from the end of its ADD to the beginning of its DEL.
    holders: BTreeMap<IpAddr, usize>,
}

impl Shared {
    fn draw(&mut self, odds: &Odds, kinds: &[Kind]) -> Option<Job> {
        let mut roll = self.random.below(100);
        let (step, _) = *odds.iter().find(|(_, share)| {
            let hit = roll < *share;
            roll = roll.wrapping_sub(*share);
            hit
        })?;
        let attached = |phase: &&Phase| !matches!(phase, Phase::New | Phase::Gone);
        if step == Step::Add && self.phases.iter().filter(attached).count() >= MOST {
            return None;
        }
        let phase = match step {
            Step::Add => Phase::New,
            Step::LateDel if self.random.below(2) == 0 => Phase::Half,
            Step::LateDel => Phase::Gone,
            Step::AddAgain | Step::Check | Step::Del | Step::Half => Phase::Live,
        };
        let is_free = |index: &usize| phase == Phase::New || self.idle.contains_key(index);
        let mut all: Vec<usize> =
            (0..self.phases.len()).filter(|index| self.phases[*index] == phase).filter(is_free).collect();
        if step == Step::LateDel && all.iter().any(|index| self.heir(*index).is_some()) {
            all.retain(|index| self.heir(*index).is_some());
        }
        let index = *all.get(self.random.below(all.len().max(1)))?;
        let heir = if step == Step::LateDel { self.heir(index) } else { None };
        Some(Job {
            step,
            index,
            attachment: self.take(index),
            heir: heir.and_then(|heir| Some((heir, self.take(heir)?))),
            kind: kinds[self.random.below(kinds.len())],
            coin: self.random.below(2) == 0,
        })
    }

    /// The live attachment that has an address of one that is not.
    fn heir(&self, index: usize) -> Option<usize> {
        let addresses = self.idle.get(&index)?.addresses();
        let heir = addresses.iter().find_map(|address| self.holders.get(address)).copied()?;
        (self.phases[heir] == Phase::Live && self.idle.contains_key(&heir)).then_some(heir)
    }

    fn take(&mut self, index: usize) -> Option<Attachment> {
        // One more DEL changes nothing, and is no reason to wait for its end.
        if self.phases[index] != Phase::Gone {
            self.phases[index] = Phase::Busy;
        }
        self.idle.remove(&index)
    }

    fn put(&mut self, index: usize, attachment: Attachment, phase: Phase) {
        self.phases[index] = phase;
        self.idle.insert(index, attachment);
    }

    fn all(&self, phase: Phase) -> Vec<&Attachment> {
        self.idle
            .iter()
            .filter(|(index, _)| self.phases[**index] == phase)
            .map(|(_, attachment)| attachment)
            .collect()
    }
}

/// A number of attachments on a node, and their workers.
pub(crate) struct Work<'n> {
    node: &'n Node,
    shared: Mutex<Shared>,
    failed: AtomicBool,
}

impl<'n> Work<'n> {
    pub(crate) fn new(node: &'n Node, attachments: usize, seed: u64) -> Self {
        let shared = Shared {
            random: Random(seed),
            phases: vec![Phase::New; attachments],
            idle: BTreeMap::new(),
            holders: BTreeMap::new(),
        };
        Work { node, shared: Mutex::new(shared), failed: AtomicBool::new(false) }
    }

    /// Until that many have been added, whatever has become of them.
    pub(crate) fn add_up_to(&self, goal: usize) {
        self.run(GROWING, |phases| phases.iter().filter(|phase| **phase != Phase::New).count() >= goal);
    }

    /// Until all are gone.
    pub(crate) fn delete_all(&self) {
        self.run(SHRINKING, |phases| phases.iter().all(|phase| *phase == Phase::Gone));
    }

    /// Compares the node with what should be there.
    pub(crate) fn verify(&self) {
        let shared = self.shared();
        let live = shared.all(Phase::Live);
        self.node.assert_holds(&live, &shared.all(Phase::Half));
        std::thread::scope(|scope| {
            for part in live.chunks(live.len().div_ceil(WORKERS).max(1)) {
                scope.spawn(move || part.iter().for_each(|attachment| self.node.check(attachment)));
            }
        });
        // The reference's bridge announces addresses before its port forwards, so that for some seconds the host may send to
        // whoever had the address before.
        let announced = live.iter().filter(|attachment| attachment.kind != Kind::TheirBridge);
        announced.take(4).for_each(|attachment| self.node.assert_published(attachment));
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    fn run(&self, odds: &Odds, is_done: impl Fn(&[Phase]) -> bool + Sync) {
        let work = || {
            let _flag = Flag(&self.failed);
            while !self.failed.load(Ordering::Relaxed) {
                let mut shared = self.shared();
                if is_done(&shared.phases) {
                    return;
                }
                let job = shared.draw(odds, self.node.kinds);
                drop(shared);
                match job {
                    Some(job) => self.step(job),
                    // Others have what it would take.
                    None => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(work);
            }
        });
    }

    fn step(&self, job: Job) {
        let node = self.node;
        let Job { step, index, kind, coin, .. } = job;
        let mut attachment =
            job.attachment.unwrap_or_else(|| node.attachment(kind, &format!("load-{index}")));
        let phase = match step {
            Step::Add => {
                attachment.prev = node.attach(kind, &attachment.container).ok();
                self.claim(index, &attachment);
                node.chain(&attachment);
                Phase::Live
            }
            Step::AddAgain => {
                self.add_again(kind, &attachment, coin);
                Phase::Live
            }
            Step::Check => {
                node.check(&attachment);
                Phase::Live
            }
            Step::Del => {
                self.give_up(&attachment);
                if coin {
                    attachment.container.kill();
                }
                node.unchain(&attachment);
                node.detach(kind, &attachment);
                Phase::Gone
            }
            Step::Half => {
                self.give_up(&attachment);
                node.detach(kind, &attachment);
                Phase::Half
            }
            Step::LateDel => {
                node.unchain(&attachment);
                node.detach(kind, &attachment);
                Phase::Gone
            }
        };
        if phase == Phase::Live {
            self.assert_leased(&attachment);
        } else {
            // A file descriptor each.
            attachment.container.kill();
            self.assert_not_leased(&attachment);
        }
        if let Some((index, heir)) = job.heir {
            node.check(&heir);
            self.assert_leased(&heir);
            self.shared().put(index, heir, Phase::Live);
        }
        self.shared().put(index, attachment, phase);
    }

    /// In its namespace or in a new one, as after a crash of the container.
    fn add_again(&self, kind: Kind, attachment: &Attachment, restarted: bool) {
        let again = restarted.then(|| self.node.attachment(kind, attachment.id()).container);
        let refused = self.node.attach(kind, again.as_ref().unwrap_or(&attachment.container));
        // The reference's error has no version, so that `err` would not take it for one.
        let duplicate = ["\"code\": 999", "duplicate allocation is not allowed"];
        let is_meant = !restarted || duplicate.iter().all(|part| refused.stdout.contains(part));
        assert!(refused.code != Some(0) && is_meant, "{refused:?}");
        self.node.check(attachment);
    }

    fn claim(&self, index: usize, attachment: &Attachment) {
        let mut shared = self.shared();
        for address in attachment.addresses() {
            let other = shared.holders.insert(address, index);
            assert_eq!(other, None, "{} was given {address}, which another has", attachment.id());
        }
    }

    fn give_up(&self, attachment: &Attachment) {
        let mut shared = self.shared();
        for address in attachment.addresses() {
            shared.holders.remove(&address);
        }
    }

    fn assert_leased(&self, attachment: &Attachment) {
        for address in attachment.addresses() {
            let lease = self.node.lease(address);
            assert_eq!(lease, Some(format!("{}\r\neth0", attachment.id())), "{address}");
        }
    }

    fn assert_not_leased(&self, attachment: &Attachment) {
        for address in attachment.addresses() {
            let lease = self.node.lease(address);
            assert_ne!(lease, Some(format!("{}\r\neth0", attachment.id())), "{address}");
        }
    }
}

/// Tells the others to stop when its worker panics.
struct Flag<'f>(&'f AtomicBool);

impl Drop for Flag<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
