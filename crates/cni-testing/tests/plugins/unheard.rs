//! Issue 14, part 3: an answer that cannot be written, a /run that cannot be, a lock that the container holds.

use std::fs::File;
use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::life::{self, Life, fixed, leases};

/// Whoever asked knows of no attachment, and a failed ADD leaves nothing.
fn taken_back(life: fn() -> Life) {
    let check = || {
        let mut life = life();
        life.once();
        let before = life.seen();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (_, nobody) = io::pipe().unwrap();
        for stdout in [Stdio::from(full), Stdio::from(nobody)] {
            life.begin();
            let outcome = life.add_answering_to(stdout);
            assert_eq!(outcome.code, Some(1), "{outcome:?}");
            assert!(outcome.stderr.contains("cannot write the answer"), "{outcome:?}");
            life.end();
            life.seen().assert_same(&before);
        }
    };
    // Each host is a thread's.
    std::thread::scope(|scope| scope.spawn(check).join()).unwrap();
}

#[test]
fn an_add_whose_answer_cannot_be_written_is_taken_back() {
    let all: [fn() -> Life; 11] = [
        || life::bridge("nftables", leases),
        || life::ptp("nftables", leases),
        || life::on_master("macvlan"),
        life::tap,
        life::host_device,
        life::loopback,
        life::host_local,
        || life::portmap("nftables"),
        || life::firewall("nftables"),
        life::tuning,
        life::sbr,
    ];
    all.into_iter().for_each(taken_back);
}

/// What needs no lock or record there works.
fn lives(life: fn() -> Life) {
    let check = || {
        let mut life = life();
        life.once();
        // Without what the plugins have there already.
        for entry in std::fs::read_dir("/run").unwrap() {
            std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        life.host.seal("/run");
        // What is not recorded is not turned off again.
        life.once();
        let before = life.seen();
        life.begin();
        let result = life.try_add().ok();
        if life.conf["prevResult"].is_null() {
            life.conf["prevResult"] = result;
        }
        life.check();
        life.del();
        life.end();
        life.gc();
        life.seen().assert_same(&before);
    };
    std::thread::scope(|scope| scope.spawn(check).join()).unwrap();
}

#[test]
fn plugins_work_where_run_is_read_only() {
    let all: [fn() -> Life; 10] = [
        || life::bridge("nftables", fixed),
        || life::ptp("nftables", fixed),
        || life::on_master("macvlan"),
        life::tap,
        life::loopback,
        life::host_local,
        || life::portmap("nftables"),
        || life::firewall("nftables"),
        life::tuning,
        life::sbr,
    ];
    all.into_iter().for_each(lives);
}

#[test]
fn bandwidth_works_where_run_is_read_only() {
    lives(life::bandwidth);
}

#[test]
#[ignore = "needs iptables"]
fn plugins_that_run_iptables_work_where_run_is_read_only() {
    lives(|| life::bridge("iptables", fixed));
    lives(|| life::portmap("iptables"));
    lives(|| life::firewall("iptables"));
}

/// There is no record then, so that a link that anybody can make stays in the container.
#[test]
fn host_device_adds_where_run_is_read_only_and_says_what_is_lost() {
    let life = life::host_device();
    life.host.seal("/run");
    let outcome = life.try_add();
    outcome.ok();
    assert!(outcome.stderr.contains("uplink is not recorded"), "{outcome:?}");
    let outcome = life.try_del();
    outcome.ok();
    assert!(outcome.stderr.contains("is left in the container"), "{outcome:?}");
}

/// The container holds the lock of its own namespace, by which plugins keep order among each other.
#[test]
fn a_lock_that_the_container_holds_keeps_no_removal() {
    let mut life = life::sbr();
    life.once();
    let before = life.seen();
    life.begin();
    life.add();
    let held = File::open(life.container.netns()).unwrap();
    held.lock().unwrap();
    let start = Instant::now();
    let outcome = life.try_del();
    outcome.ok();
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert!(outcome.stderr.contains("going on without"), "{outcome:?}");
    drop(held);
    life.end();
    life.seen().assert_same(&before);
}

/// docs/errors.md: a namespace that is none is code 8 to ADD and CHECK, and nothing to DEL.
#[test]
fn a_namespace_that_is_none_has_its_code_whatever_the_plugin() {
    let all: [fn() -> Life; 9] = [
        || life::bridge("nftables", fixed),
        || life::ptp("nftables", fixed),
        || life::on_master("macvlan"),
        life::tap,
        life::host_device,
        life::loopback,
        life::tuning,
        life::sbr,
        life::bandwidth,
    ];
    for life in all {
        let check = || {
            let mut life = life();
            life.begin();
            life.container.kill();
            let (code, msg) = life.try_add().err();
            assert_eq!(code, 8, "{}: {msg}", life.conf["type"]);
            life.del();
        };
        std::thread::scope(|scope| scope.spawn(check).join()).unwrap();
    }
}
