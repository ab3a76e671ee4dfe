//! Several at once.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use cni_iptables::{Result, Table, Variant};
use cni_nftables::Nft;
use nix::fcntl::{Flock, FlockArg};

use crate::{each, rule};

/// The chain that all share, the jump to it, and one rule of one's own.
fn share(table: &mut Table<'_>, own: &str) -> Result<()> {
    table.ensure_chain("CNI-shared")?;
    table.insert_unique("POSTROUTING", rule(&["-j", "CNI-shared"]))?;
    table.append_unique("CNI-shared", rule(&["-m", "comment", "--comment", own, "-j", "RETURN"]))
}

#[test]
fn plugins_that_make_the_same_chain_at_once_make_it_once_and_lose_nothing() {
    each(|programs| {
        thread::scope(|scope| {
            for worker in 0..4 {
                scope.spawn(move || {
                    for round in 0..5 {
                        let own = format!("{worker}-{round}");
                        programs.update(|table| share(table, &own));
                    }
                });
            }
        });
        let rules = programs.rules("nat");
        let count = |part: &str| rules.iter().filter(|rule| rule.contains(part)).count();
        assert_eq!((count("-A POSTROUTING -j CNI-shared"), count("-A CNI-shared")), (1, 20), "{rules:#?}");
    });
}

/// The reference's plugin, say: between our reading and our change.
#[test]
fn somebody_who_takes_no_turn_and_makes_the_chain_in_between_loses_nothing() {
    each(|programs| {
        let mut plans = 0;
        programs.update(|table| {
            plans += 1;
            share(table, "ours")?;
            if plans == 1 {
                programs.run("", &["-t", "nat", "-N", "CNI-shared"], "");
                programs.run("", &["-t", "nat", "-I", "POSTROUTING", "-j", "CNI-shared"], "");
                programs.run("", &["-t", "nat", "-A", "CNI-shared", "-j", "ACCEPT"], "");
            }
            Ok(())
        });
        let ours = "-A CNI-shared -m comment --comment ours -j RETURN";
        let wanted = ["-N CNI-shared", "-A POSTROUTING -j CNI-shared", "-A CNI-shared -j ACCEPT", ours];
        assert_eq!(programs.rules("nat"), wanted);
        assert_eq!(plans, 2);
    });
}

#[test]
fn a_rule_that_somebody_deletes_in_between_is_no_failure() {
    each(|programs| {
        programs.update(|table| share(table, "x"));
        let mut plans = 0;
        programs.update(|table| {
            plans += 1;
            table.delete("POSTROUTING", &rule(&["-j", "CNI-shared"]))?;
            table.delete_chain("CNI-shared")?;
            if plans == 1 {
                programs.run("", &["-t", "nat", "-D", "POSTROUTING", "-j", "CNI-shared"], "");
            }
            Ok(())
        });
        assert_eq!(programs.rules("nat"), [""; 0]);
    });
}

#[test]
fn a_change_that_fails_for_good_is_not_tried_for_ever() {
    each(|programs| {
        let mut plans = 0;
        let change = programs.iptables.update(&mut Nft::new(), "nat", |table| {
            plans += 1;
            table.append_unique("POSTROUTING", rule(&["-j", "CNI-nowhere"]))
        });
        let text = change.unwrap_err().to_string();
        assert!(text.contains("CNI-nowhere"), "{text}");
        assert!(plans <= 2, "{plans}");
        assert_eq!(programs.rules("nat"), [""; 0]);
    });
}

/// What is waited for is not waited for with a turn in hand: others who have nothing to change there go on.
#[test]
fn somebody_elses_xtables_lock_is_waited_for_with_nothing_of_ours_held() {
    each(|programs| {
        let held = Flock::lock(File::create("/run/xtables.lock").unwrap(), FlockArg::LockExclusive).unwrap();
        let start = Instant::now();
        thread::scope(|scope| {
            let change = scope.spawn(|| programs.update(|table| share(table, "x")));
            thread::sleep(Duration::from_millis(300));
            if programs.variant == Variant::Legacy {
                assert!(!change.is_finished());
                // Whoever looks now and then sees it free.
                let mut turns = 0;
                for _ in 0..50 {
                    let turn = File::create("/run/cni-plugins-rs/iptables.lock").unwrap();
                    turns += usize::from(turn.try_lock().is_ok());
                    thread::sleep(Duration::from_millis(1));
                }
                assert!(turns > 25, "{turns}");
            }
            drop(held);
            change.join().unwrap();
        });
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        assert_eq!(programs.rules("nat").len(), 3);
    });
}
