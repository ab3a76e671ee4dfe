//! Several at once.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use cni_iptables::{Change, Rule, Saved};
use nix::fcntl::{Flock, FlockArg};

use crate::each;

/// The chain that all share, the jump to it, and one rule of one's own.
fn share(saved: &Saved, own: &str) -> Change {
    let mut change = Change::default();
    change.ensure_chain(saved, "CNI-shared");
    change.insert_unique(saved, "POSTROUTING", Rule::new(&["-j", "CNI-shared"]));
    change.append_unique(
        saved,
        "CNI-shared",
        Rule::new(&["-m", "comment", "--comment", own, "-j", "RETURN"]),
    );
    change
}

#[test]
fn plugins_that_make_the_same_chain_at_once_make_it_once_and_lose_nothing() {
    each(|programs| {
        thread::scope(|scope| {
            for worker in 0..4 {
                scope.spawn(move || {
                    for round in 0..5 {
                        let own = format!("{worker}-{round}");
                        programs.iptables.update("nat", |saved| share(saved, &own)).unwrap();
                    }
                });
            }
        });
        let saved = programs.nat();
        assert_eq!(saved.rules("POSTROUTING"), [Rule::new(&["-j", "CNI-shared"])]);
        assert_eq!(saved.rules("CNI-shared").len(), 20);
    });
}

#[test]
fn somebody_who_takes_no_turn_and_makes_the_chain_in_between_loses_nothing() {
    each(|programs| {
        let mut plans = 0;
        let plan = |saved: &Saved| {
            plans += 1;
            if plans == 1 {
                // The reference's plugin, say: between our reading and our change.
                programs.iptables.restore("nat", &share(saved, "theirs")).unwrap();
            }
            share(saved, "ours")
        };
        programs.iptables.update("nat", plan).unwrap();
        let saved = programs.nat();
        let comments: Vec<_> = saved.rules("CNI-shared").iter().map(|rule| rule.comment().unwrap()).collect();
        assert_eq!(comments, ["theirs", "ours"]);
        assert_eq!(saved.rules("POSTROUTING").len(), 1);
        assert_eq!(plans, 2);
    });
}

#[test]
fn a_rule_that_somebody_deletes_in_between_is_no_failure() {
    each(|programs| {
        programs.iptables.update("nat", |saved| share(saved, "x")).unwrap();
        let delete = |saved: &Saved| {
            let mut change = Change::default();
            change.delete(saved, "POSTROUTING", &Rule::new(&["-j", "CNI-shared"]));
            change.delete_chain(saved, "CNI-shared");
            change
        };
        let mut plans = 0;
        let plan = |saved: &Saved| {
            plans += 1;
            if plans == 1 {
                programs.iptables.restore("nat", &delete(saved)).unwrap();
            }
            delete(saved)
        };
        programs.iptables.update("nat", plan).unwrap();
        assert!(!programs.nat().has_chain("CNI-shared"));
    });
}

#[test]
fn a_change_that_fails_for_good_is_not_tried_for_ever() {
    each(|programs| {
        let mut plans = 0;
        let plan = |saved: &Saved| {
            plans += 1;
            let mut change = Change::default();
            change.append_unique(saved, "POSTROUTING", Rule::new(&["-j", "CNI-nowhere"]));
            change
        };
        assert!(programs.iptables.update("nat", plan).is_err());
        assert_eq!(plans, 1);
    });
}

/// iptables-nft takes no such lock, so that nothing is waited for there.
#[test]
fn somebody_elses_xtables_lock_is_waited_for_but_not_for_ever() {
    each(|programs| {
        let hold = || {
            let file = File::create("/run/xtables.lock").unwrap();
            Flock::lock(file, FlockArg::LockExclusive).unwrap()
        };
        let held = hold();
        let start = Instant::now();
        thread::scope(|scope| {
            let change = scope.spawn(|| programs.iptables.update("nat", |saved| share(saved, "x")));
            thread::sleep(Duration::from_millis(300));
            drop(held);
            change.join().unwrap().unwrap();
        });
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());

        let _held = hold();
        let start = Instant::now();
        let outcome = programs.iptables.update("nat", |saved| share(saved, "y"));
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
        if programs.variant == cni_iptables::Variant::Legacy {
            assert!(outcome.unwrap_err().to_string().contains("lock"));
        } else {
            outcome.unwrap();
        }
    });
}
