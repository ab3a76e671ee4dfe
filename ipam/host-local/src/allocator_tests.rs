//! The allocator on real files, against a model that is a list and a map.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

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
    Plan { sets: sets.collect(), requested: requested.to_vec(), routes: Vec::new(), resolv_conf: None }
}

/// What one ADD does, from opening the store on.
fn add(dir: &Path, boot: &Boot, plan: &Plan, holder: Holder<'_>) -> Result<Vec<IpAddr>, String> {
    let store = Store::create(Folder::new(dir, "net"), boot.clone()).unwrap();
    let mut session = store.lock().unwrap();
    allocate(&mut session, plan, holder).map_err(|error| error.to_string())
}

fn del(dir: &Path, boot: &Boot, holder: Holder<'_>) {
    let store = Store::create(Folder::new(dir, "net"), boot.clone()).unwrap();
    let mut session = store.lock().unwrap();
    for lease in session.held(holder, Miss::Doubted).unwrap() {
        session.release(lease.address).unwrap();
    }
    session.note(holder, &[]);
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
    /// By name: an address of a set, by its place in the list of all.
    AddRequested(usize, usize),
    Del(usize),
    /// The reference takes or frees an address behind our back.
    Foreign(usize),
    /// A crash of the reference leaves an empty file.
    Leftover(usize),
    Reboot,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..8usize).prop_map(Op::Add),
        2 => (0..8usize, 0..64usize).prop_map(|(who, which)| Op::AddRequested(who, which)),
        4 => (0..8usize).prop_map(Op::Del),
        1 => (0..64usize).prop_map(Op::Foreign),
        1 => (0..64usize).prop_map(Op::Leftover),
        1 => Just(Op::Reboot),
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

    fn add(&mut self, plan: &Plan, holder: Holder<'_>) -> Option<Vec<IpAddr>> {
        let mut next = self.clone();
        let mut wanted = plan.requested.clone();
        let mut addresses = Vec::new();
        for (index, set) in plan.sets.iter().enumerate() {
            let all = Model::all(set);
            let inside = |address: &IpAddr| set.ranges().iter().any(|range| range.contains(*address));
            let own = self.leases.iter().filter(|(a, (who, _))| inside(a) && *who == holder.text());
            let own: Vec<(IpAddr, u32)> = own.map(|(a, (_, boot))| (*a, *boot)).collect();
            let choice = match wanted.iter().position(&inside).map(|at| wanted.remove(at)) {
                Some(address) => {
                    let old = own.iter().any(|&(a, boot)| a == address && boot < self.boot);
                    (all.contains(&address) && (old || !self.leases.contains_key(&address)))
                        .then_some((address, old))
                }
                None if own.iter().any(|&(_, boot)| boot == self.boot) => None,
                None if !own.is_empty() => Some((own[0].0, true)),
                None => {
                    let turn = next.last.get(&index).and_then(|last| all.iter().position(|a| a == last));
                    let at = turn.map_or(0, |turn| turn + 1);
                    let mut cycle = (0..all.len()).map(|n| all[(at + n) % all.len()]);
                    cycle.find(|address| !self.leases.contains_key(address)).map(|address| (address, false))
                }
            };
            let (address, old) = choice?;
            // The turn stays where it went even if a later set fails.
            if !old {
                self.last.insert(index, address);
                next.last.insert(index, address);
            }
            next.leases.insert(address, (holder.text(), self.boot));
            addresses.push(address);
        }
        if !wanted.is_empty() {
            return None;
        }
        *self = next;
        Some(addresses)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_allocator_does_what_a_list_and_a_map_would(sets in sets(), ops in prop::collection::vec(op(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::default();
        let boot = |n: u32| Boot::fake(&n.to_string(), SystemTime::now());
        let all: Vec<IpAddr> = plan(sets.clone(), &[]).sets.iter().flat_map(Model::all).collect();

        for op in ops {
            match op {
                Op::Add(who) => {
                    let plan = plan(sets.clone(), &[]);
                    let got = add(dir.path(), &boot(model.boot), &plan, holder(who));
                    prop_assert_eq!(got.clone().ok(), model.add(&plan, holder(who)), "{:?}", got);
                }
                Op::AddRequested(who, which) => {
                    // One in a few is a gateway, or of no set at all.
                    let address = all.get(which).copied().unwrap_or_else(|| ip(["10.1.0.1", "fd00::2", "192.0.2.1"][which % 3]));
                    let plan = plan(sets.clone(), &[address]);
                    let got = add(dir.path(), &boot(model.boot), &plan, holder(who));
                    prop_assert_eq!(got.clone().ok(), model.add(&plan, holder(who)), "{:?}", got);
                }
                Op::Del(who) => {
                    del(dir.path(), &boot(model.boot), holder(who));
                    model.leases.retain(|_, (text, _)| *text != holder(who).text());
                }
                Op::Foreign(which) => {
                    let Some(&address) = all.get(which) else { continue };
                    let path = dir.path().join("net").join(address.to_string());
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    if model.leases.remove(&address).is_some() {
                        fs::remove_file(path).unwrap();
                    } else {
                        fs::write(path, "a\r\neth0").unwrap();
                        model.leases.insert(address, ("a\r\neth0".to_owned(), model.boot));
                    }
                }
                Op::Leftover(which) => {
                    let Some(&address) = all.get(which) else { continue };
                    if !model.leases.contains_key(&address) {
                        let path = dir.path().join("net").join(address.to_string());
                        fs::create_dir_all(path.parent().unwrap()).unwrap();
                        fs::write(path, "").unwrap();
                    }
                }
                Op::Reboot => {
                    model.boot += 1;
                    for address in model.leases.keys() {
                        let lease = fs::File::open(dir.path().join("net").join(address.to_string())).unwrap();
                        lease.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
                    }
                }
            }
            let expected: BTreeMap<IpAddr, String> =
                model.leases.iter().map(|(address, (text, _))| (*address, text.clone())).collect();
            prop_assert_eq!(on_disk(dir.path()), expected);
        }
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
