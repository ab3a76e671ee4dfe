//! Every plugin's ADD, in which the kernel refuses one system call after the other of those that would change something: there is
//! a clear error and nothing is left, without a DEL.

use cni_testing::{Act, Outcome, Syscall};
use nix::errno::Errno;

use crate::life::{self, LEGACY, Life, MANY, fixed, leases};

/// What an ADD can do without, and says nothing of it.
const DISPENSABLE: &[&str] = &[
    // host-local writes a lease in its place at once, and its index is a hint.
    "/.net.tmp",
    "/.net.index",
    "utimensat of host-local",
    "symlink of host-local",
    "pwrite64 of host-local",
    // The same where bridge runs it in its own process, as a link to the one executable: itself it makes none of these calls.
    "utimensat of bridge",
    "symlink of bridge",
    "pwrite64 of bridge",
    // What is to be removed is not there.
    "/.new)",
    // Unlocking, which the end of the process does too.
    "flock of",
    // Telling the neighbours, who find out by themselves.
    "/arp_notify",
    "/ndisc_notify",
    // An address is given without duplicate address detection itself.
    "/accept_dad",
    // A bridge takes its ports' packets before IPv6 sees them.
    "/accept_ra",
    // For iptables-legacy its lock is held by others then, and it is run again.
    "(/run/xtables.lock)",
    // Only where SELinux is.
    "execve of tap",
];

/// Runs ADD and refuses the `n`th call. Says which that was, unless it has fewer.
fn refused(life: &Life, n: usize) -> (Outcome, Option<String>) {
    let (mut count, mut at) = (0, None);
    let watch = |call: &Syscall| {
        if at.is_some() || call.returned.is_some() || !call.changes() {
            return Act::Go;
        }
        count += 1;
        if count < n {
            return Act::Go;
        }
        at = Some(format!("refused ADD {n}: {call}"));
        Act::Fail(Errno::ENOSPC)
    };
    let outcome = life.watched("ADD", watch);
    assert!(n < MANY, "ADD does not come to an end");
    (outcome, at)
}

fn takes_back(mut life: Life) {
    life.once();
    let before = life.seen();
    for n in 1.. {
        life.begin();
        let (outcome, at) = refused(&life, n);
        // Shown with a failure.
        eprintln!("{}: {} {}", at.as_deref().unwrap_or("lived to its end"), outcome.stdout, outcome.stderr);
        if outcome.code == Some(0) {
            let dispensable = |at: &String| DISPENSABLE.iter().any(|part| at.contains(part));
            assert!(
                at.as_ref().is_none_or(dispensable) || !outcome.stderr.is_empty(),
                "{at:?} is not missed"
            );
            life.del();
        } else {
            let (_, msg) = outcome.err();
            assert!(msg.contains("cannot ") && msg.contains("No space left on device"), "{msg}");
        }
        life.end();
        life.seen().assert_same(&before);
        if at.is_none() {
            break;
        }
    }
}

#[test]
fn bridge_takes_back() {
    takes_back(life::bridge("nftables", leases));
}

#[test]
#[ignore = "needs iptables"]
fn bridge_that_masquerades_by_iptables_takes_back() {
    takes_back(life::bridge("iptables", fixed));
}

#[test]
fn ptp_takes_back() {
    takes_back(life::ptp("nftables", leases));
}

/// ipvlan, vlan and dummy do it as macvlan does, by cni-interface.
#[test]
fn macvlan_takes_back() {
    takes_back(life::on_master("macvlan"));
}

#[test]
fn tap_takes_back() {
    takes_back(life::tap());
}

#[test]
fn host_device_takes_back() {
    takes_back(life::host_device());
}

#[test]
fn b_host_device_with_its_network_takes_back() {
    takes_back(life::host_device_with_network());
}

#[test]
fn loopback_takes_back() {
    takes_back(life::loopback());
}

#[test]
fn host_local_takes_back() {
    takes_back(life::host_local());
}

#[test]
fn portmap_takes_back() {
    takes_back(life::portmap("nftables"));
}

#[test]
#[ignore = "needs iptables"]
fn portmap_with_iptables_takes_back() {
    takes_back(life::portmap("iptables"));
}

#[test]
fn firewall_takes_back() {
    takes_back(life::firewall("nftables"));
}

#[test]
#[ignore = "needs iptables"]
fn firewall_with_iptables_takes_back() {
    takes_back(life::firewall("iptables"));
}

#[test]
#[ignore = "needs iptables-nft and iptables-legacy"]
fn portmap_with_iptables_legacy_takes_back() {
    takes_back(life::portmap(LEGACY));
}

#[test]
#[ignore = "needs iptables-nft and iptables-legacy"]
fn firewall_with_iptables_legacy_takes_back() {
    takes_back(life::firewall(LEGACY));
}

#[test]
fn bandwidth_takes_back() {
    takes_back(life::bandwidth());
}

#[test]
fn tuning_takes_back() {
    takes_back(life::tuning());
}

#[test]
fn sbr_takes_back() {
    takes_back(life::sbr());
}

#[test]
#[ignore = "needs a kernel with vrf"]
fn vrf_takes_back() {
    takes_back(life::vrf());
}
