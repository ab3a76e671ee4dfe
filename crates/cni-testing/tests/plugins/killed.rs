//! Every plugin, killed after each of its system calls that change something: a DEL finds all that is there, and an ADD works
//! again.

use std::sync::Mutex;

use cni_testing::{Act, Outcome, Snapshot, Syscall};

use crate::life::{self, LEGACY, Life, MANY, fixed, leases};

/// Runs a command and kills it at the `n`th moment. Says which that was, unless it has fewer.
fn killed(life: &Life, command: &str, n: usize, act: Act) -> (Outcome, Option<String>) {
    let (mut count, mut at) = (0, None);
    let watch = |call: &Syscall| {
        let done = call.returned.is_some_and(|returned| returned >= 0) && call.changes();
        // Where there is but one process, it is all.
        if at.is_some() || !done || (act == Act::KillOne && call.processes < 2) {
            return Act::Go;
        }
        count += 1;
        if count < n {
            return Act::Go;
        }
        at = Some(format!("{act:?} {command} {n}: {call}"));
        act
    };
    let outcome = life.watched(command, watch);
    assert!(n < MANY, "{command} does not come to an end");
    (outcome, at)
}

/// Kills ADD wherever it changes something, all its processes or, where that takes no minutes, the one that did; and DEL all
/// its processes.
fn survives(mut life: Life) {
    life.once();
    let before = life.seen();
    let acts: &[Act] = if life.links_alone { &[Act::KillAll] } else { &[Act::KillAll, Act::KillOne] };
    for &act in acts {
        for n in 1.. {
            life.begin();
            let (outcome, at) = killed(&life, "ADD", n, act);
            life.del();
            life.end();
            compare(&life, &before, &at);
            if at.is_none() {
                outcome.ok();
                break;
            }
            // What this leaves behind is seen next time.
            life.once();
        }
    }
    for n in 1.. {
        life.begin();
        life.add();
        let (outcome, at) = killed(&life, "DEL", n, Act::KillAll);
        life.del();
        life.end();
        compare(&life, &before, &at);
        if at.is_none() {
            outcome.ok();
            break;
        }
    }
}

/// Kills ADD wherever it changes something, and has GC in the place of DEL, which finds all but what contains one of these: that
/// does not tell yet whose it is.
fn collected(mut life: Life, unknown: &[&str]) {
    life.once();
    let before = loop {
        life.gc();
        let seen = life.seen();
        // What DEL has removed from masquerading's map keeps the subnet's chain until the kernel frees it, which it does once a
        // second.
        if !seen.0.iter().any(|line| line.contains("chain subnet-")) {
            break seen;
        }
    };
    for n in 1.. {
        let (outcome, at) = killed(&life, "ADD", n, Act::KillAll);
        life.gc();
        let is_known = |line: &String| !unknown.iter().any(|part| line.contains(part));
        let left = life.seen().0.into_iter().filter(|line| !before.0.contains(line));
        let left: Vec<String> = left.filter(is_known).collect();
        assert_eq!(left, [""; 0], "{at:?}");
        life.del();
        compare(&life, &before, &at);
        if at.is_none() {
            outcome.ok();
            break;
        }
    }
}

#[track_caller]
fn compare(life: &Life, before: &Snapshot, at: &Option<String>) {
    // Shown with a failure.
    eprintln!("{}", at.as_deref().unwrap_or("lived to its end"));
    life.seen().assert_same(before);
}

/// Kills ADD on hosts that have nothing yet of what plugins share: bridges, tables, chains, folders. A DEL leaves of these no
/// more than after an ADD that was not killed.
fn survives_at_first(make: impl Fn() -> Life + Sync) {
    // Each host is a thread's.
    let on_a_host = |work: &(dyn Fn(Life) -> bool + Sync)| {
        std::thread::scope(|scope| scope.spawn(|| work(make())).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    };
    let clean = Mutex::new(None);
    on_a_host(&|life| {
        life.add();
        life.del();
        clean.lock().unwrap().replace(life.seen()).is_none()
    });
    let clean = clean.into_inner().unwrap().unwrap();
    let was_killed = |n: usize| {
        on_a_host(&|life| {
            let (outcome, at) = killed(&life, "ADD", n, Act::KillAll);
            life.del();
            let left = life.seen().0.into_iter();
            // A bridge that has just been made; the next ADD sets it up.
            let [down, up] = ["down", "up"].map(|state| format!("kind \"bridge\" mtu 1500 {state}"));
            let left: Vec<String> =
                left.map(|line| line.replace(&down, &up)).filter(|line| !clean.0.contains(line)).collect();
            assert_eq!(left, [""; 0], "{at:?}");
            if at.is_none() {
                outcome.ok();
            }
            life.add();
            life.del();
            compare(&life, &clean, &at);
            at.is_some()
        })
    };
    let mut moments = 1..;
    moments.find(|&n| !was_killed(n));
}

#[test]
fn bridge_killed_anywhere() {
    survives(life::bridge("nftables", leases));
}

#[test]
#[ignore = "needs iptables"]
fn bridge_that_masquerades_by_iptables_killed_anywhere() {
    survives(life::bridge("iptables", fixed));
}

#[test]
fn ptp_killed_anywhere() {
    survives(life::ptp("nftables", leases));
}

#[test]
fn bridge_and_ptp_killed_anywhere_on_a_host_without_anything() {
    survives_at_first(|| life::bridge("nftables", fixed));
    survives_at_first(|| life::ptp("nftables", fixed));
}

#[test]
#[ignore = "needs iptables"]
fn ptp_that_masquerades_by_iptables_killed_anywhere_on_a_host_without_anything() {
    survives_at_first(|| life::ptp("iptables", fixed));
}

#[test]
fn macvlan_killed_anywhere() {
    survives(life::on_master("macvlan"));
}

#[test]
#[ignore = "needs a kernel with ipvlan"]
fn ipvlan_killed_anywhere() {
    survives(life::on_master("ipvlan"));
}

#[test]
#[ignore = "needs a kernel with vlan"]
fn vlan_killed_anywhere() {
    survives(life::on_master("vlan"));
}

#[test]
#[ignore = "needs a kernel with dummy"]
fn dummy_killed_anywhere() {
    survives(life::dummy());
}

#[test]
fn tap_killed_anywhere() {
    survives(life::tap());
}

#[test]
fn host_device_killed_anywhere() {
    survives(life::host_device());
}

#[test]
fn b_host_device_with_its_network_killed_anywhere() {
    survives(life::host_device_with_network());
}

#[test]
fn loopback_killed_anywhere() {
    survives(life::loopback());
}

#[test]
fn host_local_killed_anywhere() {
    survives(life::host_local());
}

#[test]
fn host_local_killed_anywhere_on_a_host_without_anything() {
    survives_at_first(life::host_local);
}

#[test]
fn portmap_killed_anywhere() {
    survives(life::portmap("nftables"));
}

#[test]
#[ignore = "needs iptables"]
fn portmap_with_iptables_killed_anywhere() {
    survives(life::portmap("iptables"));
}

#[test]
fn firewall_killed_anywhere() {
    survives(life::firewall("nftables"));
}

#[test]
#[ignore = "needs iptables"]
fn firewall_with_iptables_killed_anywhere() {
    survives(life::firewall("iptables"));
}

#[test]
#[ignore = "needs iptables-nft and iptables-legacy"]
fn portmap_with_iptables_legacy_killed_anywhere() {
    survives(life::portmap(LEGACY));
}

#[test]
#[ignore = "needs iptables-nft and iptables-legacy"]
fn firewall_with_iptables_legacy_killed_anywhere() {
    survives(life::firewall(LEGACY));
}

#[test]
fn portmap_and_firewall_killed_anywhere_on_a_host_without_anything() {
    survives_at_first(|| life::portmap("nftables"));
    survives_at_first(|| life::firewall("nftables"));
}

#[test]
#[ignore = "needs iptables"]
fn portmap_and_firewall_with_iptables_killed_anywhere_on_a_host_without_anything() {
    survives_at_first(|| life::portmap("iptables"));
    survives_at_first(|| life::firewall("iptables"));
}

#[test]
fn bandwidth_killed_anywhere() {
    survives(life::bandwidth());
}

#[test]
fn tuning_killed_anywhere() {
    survives(life::tuning());
}

#[test]
fn sbr_killed_anywhere() {
    survives(life::sbr());
}

#[test]
#[ignore = "needs a kernel with vrf"]
fn vrf_killed_anywhere() {
    survives(life::vrf());
}

/// A veth pair between its birth and its alias: it goes with the container's namespace.
const PAIR: [&str; 2] = ["kind \"veth\" mtu 1500 down", "link eth0 kind"];

/// A record while it is being written.
const UNFINISHED: &[&str] = &[".new 0600"];

#[test]
fn gc_finds_what_killed_adds_left() {
    collected_on_a_host(life::host_local, &[]);
    collected_on_a_host(|| life::bridge("nftables", fixed), &PAIR);
    collected_on_a_host(|| life::ptp("nftables", fixed), &PAIR);
    collected_on_a_host(|| life::portmap("nftables"), UNFINISHED);
    collected_on_a_host(|| life::firewall("nftables"), &[]);
    collected_on_a_host(life::host_device, UNFINISHED);
}

#[test]
#[ignore = "needs iptables"]
fn gc_finds_what_killed_adds_left_with_iptables() {
    // The last is a record while it is being written.
    collected_on_a_host(|| life::bridge("iptables", fixed), &[PAIR[0], PAIR[1], ".new 0600"]);
    collected_on_a_host(|| life::portmap("iptables"), UNFINISHED);
    collected_on_a_host(|| life::firewall("iptables"), &[]);
}

/// Each host is a thread's.
fn collected_on_a_host(make: impl FnOnce() -> Life + Send, unknown: &[&str]) {
    std::thread::scope(|scope| scope.spawn(|| collected(make(), unknown)).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
