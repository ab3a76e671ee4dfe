//! The allocator on real files, against a model that is a list and a map.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cni_types::GcAttachment;
use proptest::prelude::*;

use super::*;
use crate::boot::Boot;
use crate::config::RangeConf;
use crate::range::Range;
use crate::store::{Folder, Store};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn range(subnet: &str, start: u8, end: u8, gateway: u8) -> Range {
    let base = subnet.rsplit_once('.').map_or(subnet.trim_end_matches("0/120"), |(base, _)| base);
    let separator = if subnet.contains(':') { "" } else { "." };
    let host = |n: u8| if separator.is_empty() { format!("{base}{n:x}") } else { format!("{base}.{n}") };
    let conf = RangeConf {
        subnet: Some(subnet.to_owned()),
        range_start: Some(host(start)),
        range_end: Some(host(end)),
        gateway: Some(host(gateway)),
    };
    Range::new("ipam.ranges".to_owned(), &conf).unwrap()
}

fn plan(sets: Vec<Vec<Range>>, requested: &[IpAddr]) -> Plan {
    let sets = sets.into_iter().map(|ranges| RangeSet::new("ipam.ranges", ranges).unwrap());
    let (sets, requested) = (sets.collect(), requested.to_vec());
    Plan { data_dir: PathBuf::new(), sets, requested, routes: Vec::new(), resolv_conf: None }
}

/// What one ADD does, from opening the store on.
fn add(dir: &Path, boot: &Boot, plan: &Plan, holder: Holder<'_>) -> Result<Vec<IpAddr>, String> {
    let store = Store::create(Folder::new(dir, "net"), boot.clone()).unwrap();
    let mut session = store.lock().unwrap();
    allocate(&mut session, plan, holder).map_err(|error| error.to_string())
}

fn del(dir: &Path, boot: &Boot, holder: Holder<'_>) {
    crate::release(Folder::new(dir, "net"), boot.clone(), holder).unwrap();
}

/// Address and holder of every lease on disk.
fn on_disk(dir: &Path) -> BTreeMap<IpAddr, String> {
    let Ok(entries) = fs::read_dir(dir.join("net")) else { return BTreeMap::new() };
    let leases = entries.filter_map(|entry| {
        let entry = entry.unwrap();
        let address = entry.file_name().to_str().unwrap().parse().ok()?;
        let text = fs::read_to_string(entry.path()).unwrap();
        (!text.is_empty()).then_some((address, text))
    });
    leases.collect()
}

const IDS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

fn holder(n: usize) -> Holder<'static> {
    // Two interfaces of each of four containers.
    Holder { id: IDS[n / 2], ifname: if n.is_multiple_of(2) { "eth0" } else { "eth1" } }
}

#[derive(Clone, Debug)]
enum Op {
    Add(usize),
    /// By name: addresses of the sets, by their places in the list of all.
    AddRequested(usize, Vec<usize>),
    Del(usize),
    /// GC, with these as valid.
    Gc(Vec<usize>),
    /// The reference does an ADD.
    TheirAdd(usize),
    /// Somebody takes or frees an address by hand.
    Foreign(usize),
    /// A crash of the reference leaves an empty file.
    Leftover(usize),
    /// An ADD or a DEL of ours is killed once the first file is there, or gone.
    KilledAdd(usize),
    KilledDel(usize),
    /// What is no lease goes, or is in pieces.
    Damage(Damage),
    Reboot,
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    NoIndex,
    FileForIndex,
    BrokenEntry(usize),
    NoTurn,
    BrokenTurn,
    TemporaryLeft,
}

fn op() -> impl Strategy<Value = Op> {
    let who = || 0..8usize;
    let which = || 0..64usize;
    let damage = prop_oneof![
        Just(Damage::NoIndex),
        Just(Damage::FileForIndex),
        who().prop_map(Damage::BrokenEntry),
        Just(Damage::NoTurn),
        Just(Damage::BrokenTurn),
        Just(Damage::TemporaryLeft),
    ];
    prop_oneof![
        12 => who().prop_map(Op::Add),
        4 => (who(), prop::collection::vec(which(), 1..4)).prop_map(|(who, which)| Op::AddRequested(who, which)),
        8 => who().prop_map(Op::Del),
        1 => prop::collection::vec(who(), 0..6).prop_map(Op::Gc),
        3 => who().prop_map(Op::TheirAdd),
        2 => which().prop_map(Op::Foreign),
        2 => which().prop_map(Op::Leftover),
        1 => who().prop_map(Op::KilledAdd),
        1 => who().prop_map(Op::KilledDel),
        2 => damage.prop_map(Op::Damage),
        2 => Just(Op::Reboot),
    ]
}

/// One or two sets of one or two small ranges each, with gateways within, at the ends and without.
fn sets() -> impl Strategy<Value = Vec<Vec<Range>>> {
    let small = |subnet: &'static str| {
        (1..5u8, 0..4u8, 0..9u8)
            .prop_map(move |(start, more, gateway)| range(subnet, start, start + more, gateway))
    };
    let set = |one: &'static str, two: &'static str| {
        prop_oneof![small(one).prop_map(|r| vec![r]), (small(one), small(two)).prop_map(|(r, s)| vec![r, s])]
    };
    let (v4, v6) = (set("10.1.0.0/24", "10.0.9.0/24"), set("fd00::0/120", "fd00:1::0/120"));
    prop_oneof![
        v4.prop_map(|s| vec![s]),
        (set("10.1.0.0/24", "10.0.9.0/24"), v6).prop_map(|(s, t)| vec![s, t])
    ]
}

/// What should be: who has which address since which boot, and where each set's turn is.
#[derive(Clone, Default)]
struct Model {
    leases: BTreeMap<IpAddr, (String, u32)>,
    last: BTreeMap<usize, IpAddr>,
    boot: u32,
}

/// What a refusal is told by.
const DUPLICATE: &str = "duplicate allocation is not allowed";
const EXHAUSTED: &str = "no IP addresses available in range set";
const GATEWAY: &str = "is subnet's gateway";
const TAKEN: &str = "is not available in range set";
const OUTSIDE: &str = "failed to allocate all requested IPs";

impl Model {
    /// The addresses that a set can hand out, in order, found by trying every host of the subnets.
    fn all(set: &RangeSet) -> Vec<IpAddr> {
        let hosts = set.ranges().iter().flat_map(|range| {
            let (v4, v6) = (["10.1.0", "10.0.9"], ["fd00::", "fd00:1::"]);
            let v4 = v4.iter().flat_map(|net| (0..=255).map(move |n| ip(&format!("{net}.{n}"))));
            let v6 = v6.iter().flat_map(|net| (0..=255).map(move |n| ip(&format!("{net}{n:x}"))));
            v4.chain(v6).filter(|&address| range.contains(address)).collect::<Vec<_>>()
        });
        hosts.filter(|address| set.ranges().iter().all(|range| range.gateway != *address)).collect()
    }

    /// The next free one after the one of last time.
    fn next(&self, index: usize, set: &RangeSet, is_free: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
        let all = Model::all(set);
        let turn = self.last.get(&index).and_then(|last| all.iter().position(|a| a == last));
        let at = turn.map_or(0, |turn| turn + 1);
        (0..all.len()).map(|n| all[(at + n) % all.len()]).find(is_free)
    }

    fn is_free(&self, address: &IpAddr) -> bool {
        !self.leases.contains_key(address)
    }

    fn add(&mut self, plan: &Plan, holder: Holder<'_>) -> Result<Vec<IpAddr>, &'static str> {
        let mut next = self.clone();
        let mut wanted = plan.requested.clone();
        let mut addresses = Vec::new();
        for (index, set) in plan.sets.iter().enumerate() {
            let inside = |address: &IpAddr| set.ranges().iter().any(|range| range.contains(*address));
            let own = self.leases.iter().filter(|(a, (who, _))| inside(a) && *who == holder.text());
            let own: Vec<(IpAddr, u32)> = own.map(|(a, (_, boot))| (*a, *boot)).collect();
            let of_this_boot = |(_, boot): &(IpAddr, u32)| *boot == self.boot;
            let (address, old) = match wanted.iter().position(&inside).map(|at| wanted.remove(at)) {
                Some(address) if !Model::all(set).contains(&address) => return Err(GATEWAY),
                Some(address) => match own.iter().find(|(own, _)| *own == address) {
                    Some(lease) if of_this_boot(lease) => return Err(DUPLICATE),
                    Some(_) => (address, true),
                    None if next.is_free(&address) => (address, false),
                    None => return Err(TAKEN),
                },
                None if own.iter().any(of_this_boot) => return Err(DUPLICATE),
                None if !own.is_empty() => (own[0].0, true),
                None => (next.next(index, set, |a| next.is_free(a)).ok_or(EXHAUSTED)?, false),
            };
            // The turn stays where it went even if a later set fails.
            if !old {
                self.last.insert(index, address);
                next.last.insert(index, address);
            }
            next.leases.insert(address, (holder.text(), self.boot));
            addresses.push(address);
        }
        if !wanted.is_empty() {
            return Err(OUTSIDE);
        }
        *self = next;
        Ok(addresses)
    }
}

/// A network's folder and what should be in it.
struct Scene {
    dir: tempfile::TempDir,
    sets: Vec<Vec<Range>>,
    all: Vec<IpAddr>,
    /// When every boot began: what is written during a test is after it, however long that takes.
    began: SystemTime,
    model: Model,
}

impl Scene {
    fn new(sets: Vec<Vec<Range>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("net")).unwrap();
        let all = plan(sets.clone(), &[]).sets.iter().flat_map(Model::all).collect();
        Scene { dir, sets, all, began: SystemTime::now(), model: Model::default() }
    }

    fn boot(&self) -> Boot {
        Boot::fake(&self.model.boot.to_string(), self.began)
    }

    fn path(&self, name: impl ToString) -> PathBuf {
        self.dir.path().join("net").join(name.to_string())
    }

    fn add(&mut self, who: usize, requested: &[IpAddr]) {
        let plan = plan(self.sets.clone(), requested);
        let got = add(self.dir.path(), &self.boot(), &plan, holder(who));
        match (got, self.model.add(&plan, holder(who))) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected),
            (Err(got), Err(expected)) => assert!(got.contains(expected), "{got}, not {expected}"),
            (got, expected) => panic!("{got:?}, not {expected:?}"),
        }
    }

    fn requested(&self, which: usize) -> IpAddr {
        // One in a few is a gateway, or of no set at all.
        let other = ["10.1.0.1", "fd00::2", "192.0.2.1"][which % 3];
        self.all.get(which).copied().unwrap_or_else(|| ip(other))
    }

    /// As the reference does it: what has a file is taken, and of an index it knows nothing.
    fn their_add(&mut self, who: usize) {
        let mut after = self.model.clone();
        let plan = plan(self.sets.clone(), &[]);
        for (index, set) in plan.sets.iter().enumerate() {
            let held = |address: &IpAddr| {
                self.model.leases.get(address).is_some_and(|(text, _)| *text == holder(who).text())
            };
            if Model::all(set).iter().any(held) {
                return;
            }
            let Some(address) = self.model.next(index, set, |a| !self.path(a).exists()) else { return };
            after.leases.insert(address, (holder(who).text(), self.model.boot));
            after.last.insert(index, address);
        }
        for (address, (text, _)) in after.leases.iter().filter(|(a, _)| self.model.is_free(a)) {
            fs::write(self.path(address), text).unwrap();
        }
        for (index, address) in &after.last {
            fs::write(self.path(format!("last_reserved_ip.{index}")), address.to_string()).unwrap();
        }
        self.model = after;
    }

    fn foreign(&mut self, which: usize) {
        let Some(&address) = self.all.get(which) else { return };
        if self.model.leases.remove(&address).is_some() {
            fs::remove_file(self.path(address)).unwrap();
        } else {
            fs::write(self.path(address), "a\r\neth0").unwrap();
            self.model.leases.insert(address, ("a\r\neth0".to_owned(), self.model.boot));
        }
    }

    fn killed_add(&mut self, who: usize) {
        let sets = plan(self.sets.clone(), &[]).sets;
        let Some(address) = self.model.next(0, &sets[0], |a| self.model.is_free(a)) else { return };
        let store = Store::create(Folder::new(self.dir.path(), "net"), self.boot()).unwrap();
        assert_eq!(store.lock().unwrap().reserve(address, holder(who)).unwrap(), Reserved::Done);
        self.model.leases.insert(address, (holder(who).text(), self.model.boot));
    }

    fn killed_del(&mut self, who: usize) {
        let held = |(_, (text, _)): &(&IpAddr, &(String, u32))| *text == holder(who).text();
        let Some(address) = self.model.leases.iter().find(held).map(|(address, _)| *address) else { return };
        let store = Store::create(Folder::new(self.dir.path(), "net"), self.boot()).unwrap();
        store.lock().unwrap().release(address).unwrap();
        self.model.leases.remove(&address);
    }

    fn gc(&mut self, valid: &[usize]) {
        let valid: Vec<GcAttachment> = valid
            .iter()
            .map(|who| GcAttachment {
                container_id: holder(*who).id.to_owned(),
                ifname: holder(*who).ifname.to_owned(),
            })
            .collect();
        crate::collect(Folder::new(self.dir.path(), "net"), self.boot(), &valid).unwrap();
        let texts: Vec<String> =
            valid.iter().map(|a| format!("{}\r\n{}", a.container_id, a.ifname)).collect();
        self.model.leases.retain(|_, (text, _)| texts.contains(text));
    }

    fn damage(&mut self, damage: Damage) {
        let index = self.dir.path().join(".net.index");
        let temporary = self.dir.path().join(".net.tmp");
        match damage {
            Damage::NoIndex | Damage::FileForIndex => {
                let _ = fs::remove_dir_all(&index).or_else(|_| fs::remove_file(&index));
                if matches!(damage, Damage::FileForIndex) {
                    fs::write(index, "in the way").unwrap();
                }
            }
            Damage::BrokenEntry(who) => {
                // Nothing else knows that a lease is of before the boot, for certain, once the index has been made in this one.
                let old =
                    |(text, boot): &(String, u32)| *text == holder(who).text() && *boot < self.model.boot;
                let entry = index.join(format!("{}:{}", holder(who).id, holder(who).ifname));
                if !self.model.leases.values().any(old) && fs::remove_file(&entry).is_ok() {
                    std::os::unix::fs::symlink("nonsense", entry).unwrap();
                }
            }
            Damage::NoTurn | Damage::BrokenTurn => {
                for set in self.model.last.keys() {
                    let file = self.path(format!("last_reserved_ip.{set}"));
                    let broken = if matches!(damage, Damage::NoTurn) { None } else { Some("") };
                    broken.map_or_else(|| fs::remove_file(&file), |text| fs::write(&file, text)).unwrap();
                }
                self.model.last.clear();
            }
            // As a crash between link and unlink leaves it.
            Damage::TemporaryLeft => {
                if let Some((address, _)) = self.model.leases.first_key_value() {
                    let _ = fs::hard_link(self.path(address), temporary);
                }
            }
        }
    }

    fn reboot(&mut self) {
        self.model.boot += 1;
        for address in self.model.leases.keys() {
            let lease = fs::File::open(self.path(address)).unwrap();
            lease.set_modified(self.began - Duration::from_secs(60)).unwrap();
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Add(who) => self.add(who, &[]),
            Op::AddRequested(who, which) => {
                // The configuration names each once.
                let mut requested: Vec<IpAddr> = Vec::new();
                for address in which.into_iter().map(|which| self.requested(which)) {
                    if !requested.contains(&address) {
                        requested.push(address);
                    }
                }
                self.add(who, &requested);
            }
            Op::Del(who) => {
                del(self.dir.path(), &self.boot(), holder(who));
                self.model.leases.retain(|_, (text, _)| *text != holder(who).text());
            }
            Op::Gc(valid) => self.gc(&valid),
            Op::TheirAdd(who) => self.their_add(who),
            Op::Foreign(which) => self.foreign(which),
            Op::Leftover(which) => {
                if let Some(address) = self.all.get(which).filter(|address| self.model.is_free(address)) {
                    fs::write(self.path(address), "").unwrap();
                }
            }
            Op::KilledAdd(who) => self.killed_add(who),
            Op::KilledDel(who) => self.killed_del(who),
            Op::Damage(damage) => self.damage(damage),
            Op::Reboot => self.reboot(),
        }
        let leases = self.model.leases.iter();
        let expected: BTreeMap<IpAddr, String> =
            leases.map(|(address, (text, _))| (*address, text.clone())).collect();
        assert_eq!(on_disk(self.dir.path()), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_allocator_does_what_a_list_and_a_map_would(sets in sets(), ops in prop::collection::vec(op(), 1..80)) {
        let mut scene = Scene::new(sets);
        ops.into_iter().for_each(|op| scene.run(op));
    }
}

#[test]
fn refusals_name_the_set_the_address_and_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let boot = Boot::current().unwrap();
    let sets = || vec![vec![range("10.1.0.0/24", 1, 3, 1)], vec![range("fd00::0/120", 1, 2, 1)]];
    let try_add = |who: usize, requested: &[&str]| {
        let requested: Vec<IpAddr> = requested.iter().copied().map(ip).collect();
        add(dir.path(), &boot, &plan(sets(), &requested), holder(who))
    };
    assert_eq!(try_add(0, &[]), Ok(vec![ip("10.1.0.2"), ip("fd00::2")]));
    let error = |who, requested: &[&str]| try_add(who, requested).unwrap_err();
    let duplicate = "failed to allocate for range 0: 10.1.0.2 has been allocated to a, duplicate allocation is not allowed";
    assert_eq!(error(0, &[]), duplicate);
    assert_eq!(error(0, &["10.1.0.2"]), duplicate);
    assert_eq!(
        error(2, &[]),
        "failed to allocate for range 1: no IP addresses available in range set: fd00::1-fd00::2"
    );
    assert_eq!(
        error(2, &["10.1.0.2"]),
        "failed to allocate for range 0: requested IP address 10.1.0.2 is not available in range set 10.1.0.1-10.1.0.3: \
         held by eth0 of a"
    );
    assert_eq!(
        error(2, &["10.1.0.1"]),
        "failed to allocate for range 0: requested ip 10.1.0.1 is subnet's gateway"
    );
    del(dir.path(), &boot, holder(0));
    assert_eq!(
        error(2, &["10.1.0.3", "10.1.0.2", "192.0.2.7"]),
        "failed to allocate all requested IPs: 10.1.0.2 192.0.2.7"
    );
    assert!(on_disk(dir.path()).is_empty(), "a failed ADD takes back what it took");
}

#[test]
fn a_nearly_full_large_range_is_not_walked_file_by_file_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let boot = Boot::current().unwrap();
    let whole = RangeConf { subnet: Some("10.1.0.0/22".to_owned()), ..RangeConf::default() };
    let plan = plan(vec![vec![Range::new("ipam".to_owned(), &whole).unwrap()]], &[]);
    fs::create_dir(dir.path().join("net")).unwrap();
    let all: Vec<IpAddr> = plan.sets[0].round_robin(None).collect();
    for address in all.iter().filter(|address| **address != ip("10.1.3.77")) {
        fs::write(dir.path().join("net").join(address.to_string()), "x\r\neth0").unwrap();
    }
    assert_eq!(add(dir.path(), &boot, &plan, holder(0)), Ok(vec![ip("10.1.3.77")]));
    assert_eq!(
        add(dir.path(), &boot, &plan, holder(2)).unwrap_err(),
        "failed to allocate for range 0: no IP addresses available in range set: 10.1.0.1-10.1.3.254"
    );
    // One of them turns out to be a leftover.
    fs::write(dir.path().join("net/10.1.2.2"), "").unwrap();
    assert_eq!(add(dir.path(), &boot, &plan, holder(2)), Ok(vec![ip("10.1.2.2")]));
}
