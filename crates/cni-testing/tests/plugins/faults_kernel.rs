//! Kernels that lack something, and users who may not do something: each plugin says what, and leaves nothing.
//!
//! What is lacking is played at the system calls, where a kernel without it would answer so.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, PermissionsExt};

use cni_testing::{Act, Snapshot, Syscall};
use nix::errno::Errno;
use nix::libc;
use serde_json::{Value, json};

use crate::life::{self, Life, fixed, leases};

const NETLINK_NETFILTER: u64 = 12;
const AF_NETLINK: u64 = 16;
const AF_INET6: u8 = 10;
/// NFNL_SUBSYS_NFTABLES, and NFNL_SUBSYS_CTHELPER, which stands for one that this kernel does not have.
const NFTABLES: u8 = 10;
const NO_SUBSYSTEM: u8 = 9;
/// A family that has no routes or addresses.
const NO_FAMILY: u8 = 40;

/// CONFIG_NETFILTER_NETLINK is not set.
fn without_nfnetlink(call: &Syscall) -> Act {
    let is_socket = call.returned.is_none() && call.number == libc::SYS_socket;
    if is_socket && call.args[0] == AF_NETLINK && call.args[2] == NETLINK_NETFILTER {
        return Act::Fail(Errno::EPROTONOSUPPORT);
    }
    Act::Go
}

/// CONFIG_NF_TABLES is not set, and others use nfnetlink: its requests go to a subsystem that is not there.
fn without_nf_tables(call: &Syscall) -> Act {
    let Some(header) = request(call) else { return Act::Go };
    if header[5] == NFTABLES {
        poke(call, 5, NO_SUBSYSTEM);
    } else if header[4..6] == [libc::NFNL_MSG_BATCH_BEGIN as u8, 0] && header[18..20] == [0, NFTABLES] {
        poke(call, 19, NO_SUBSYSTEM);
    }
    Act::Go
}

/// Booted with ipv6.disable=1: nobody has registered the family (net/ipv6/af_inet6.c, inet6_init).
fn without_ipv6(call: &Syscall) -> Act {
    let is_socket = call.returned.is_none() && call.number == libc::SYS_socket;
    if is_socket && call.args[0] == u64::from(AF_INET6) {
        return Act::Fail(Errno::EAFNOSUPPORT);
    }
    let Some(header) = request(call) else { return Act::Go };
    // Those of addresses, routes, neighbours and rules begin with the family.
    if (libc::RTM_NEWADDR as u8..=libc::RTM_GETRULE as u8).contains(&header[4])
        && header[5] == 0
        && header[16] == AF_INET6
    {
        poke(call, 16, NO_FAMILY);
    }
    Act::Go
}

/// The headers of a netlink request that is about to be sent.
fn request(call: &Syscall) -> Option<[u8; 20]> {
    let sends = call.returned.is_none() && call.number == libc::SYS_sendto;
    sends.then(|| call.memory(call.args[1], 20).try_into().ok())?
}

fn poke(call: &Syscall, at: u64, byte: u8) {
    let memory = OpenOptions::new().write(true).open(format!("/proc/{}/mem", call.task)).unwrap();
    memory.write_all_at(&[byte], call.args[1] + at).unwrap();
}

/// An ADD that fails for one of these reasons and leaves everything as it is.
#[track_caller]
fn is_refused(life: &mut Life, reasons: &[&str], watch: fn(&Syscall) -> Act) {
    life.begin();
    let before = life.seen();
    let (_, msg) = life.watched("ADD", watch).err();
    assert!(msg.contains("cannot ") && reasons.iter().any(|reason| msg.contains(reason)), "{msg}");
    life.seen().assert_same(&before);
    life.end();
}

#[test]
fn without_nf_tables_whoever_needs_it_says_so_and_del_goes_on() {
    for (watch, reason) in [
        (without_nfnetlink as fn(&Syscall) -> Act, "Protocol not supported"),
        (without_nf_tables, "Operation not supported"),
    ] {
        let lives: [fn() -> Life; 4] = [
            || life::bridge("nftables", fixed),
            || life::ptp("nftables", fixed),
            || life::portmap("nftables"),
            || life::firewall("nftables"),
        ];
        for make in lives {
            on_a_host(|| {
                let mut life = make();
                life.once();
                is_refused(&mut life, &[reason], watch);
                assert_eq!(life.watched("STATUS", watch).err().0, 50);
                life.watched("DEL", watch).ok();
                life.once();
            });
        }
        on_a_host(|| {
            let mut life = life::bridge("nftables", fixed);
            for key in ["ipMasq", "macspoofchk"] {
                life.conf[key] = false.into();
            }
            works(life, watch);
        });
    }
}

/// Each host is a thread's.
fn on_a_host(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// ADD, CHECK and DEL.
fn works(mut life: Life, watch: fn(&Syscall) -> Act) {
    life.watched("ADD", watch).ok();
    life.watched("DEL", watch).ok();
    let before = life.seen();
    let result = life.watched("ADD", watch).ok();
    if !result["interfaces"].is_null() {
        let prev = life.conf["prevResult"].clone();
        life.conf["prevResult"] = result;
        life.watched("CHECK", watch).ok();
        life.conf["prevResult"] = prev;
    }
    life.watched("STATUS", watch).ok();
    life.watched("DEL", watch).ok();
    life.seen().assert_same(&before);
}

/// Nothing of IPv6 on host and container, as far as it can be switched off, and none of its settings.
fn switch_ipv6_off(life: &Life) {
    let off = || {
        for key in ["all", "default", "lo"] {
            cni_host::sysctl_write(&format!("net/ipv6/conf/{key}/disable_ipv6"), "1").unwrap();
        }
    };
    off();
    life.container.ns().run(off).unwrap();
    life.host.hide(&["/proc/sys/net/ipv6"]);
}

fn ipv4_alone(life: &mut Life) {
    life.conf["ipam"]["ranges"] = json!([[{"subnet": "10.88.0.0/24"}]]);
    life.conf["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}]);
}

#[test]
fn a_kernel_without_ipv6_gives_ipv4_to_every_plugin() {
    let lives: [fn() -> Life; 11] = [
        || life::bridge("nftables", fixed),
        || life::ptp("nftables", fixed),
        || life::on_master("macvlan"),
        life::tap,
        life::host_device,
        life::loopback,
        || life::portmap("nftables"),
        || life::firewall("nftables"),
        life::bandwidth,
        life::tuning,
        life::host_local,
    ];
    for make in lives {
        on_a_host(|| {
            let mut life = make();
            switch_ipv6_off(&life);
            if life.conf["ipam"]["ranges"].is_array() {
                ipv4_alone(&mut life);
            }
            if let Value::Array(ips) = &mut life.conf["prevResult"]["ips"] {
                ips.truncate(1);
            } else {
                life.conf.as_object_mut().unwrap().remove("prevResult");
            }
            works(life, without_ipv6);
        });
    }
}

#[test]
fn a_kernel_without_ipv6_refuses_ipv6_addresses_by_name() {
    let lives: [fn() -> Life; 4] =
        [|| life::bridge("nftables", leases), || life::ptp("nftables", leases), life::tap, life::host_device];
    for make in lives {
        on_a_host(|| {
            let mut life = make();
            switch_ipv6_off(&life);
            let ipam = life.conf["ipam"].clone();
            ipv4_alone(&mut life);
            life.watched("ADD", without_ipv6).ok();
            life.watched("DEL", without_ipv6).ok();
            life.conf["ipam"] = ipam;
            is_refused(&mut life, &["fd00:88::", "/proc/sys/net/ipv6/"], without_ipv6);
        });
    }
}

/// Somebody who is not root, on files that everybody may read.
#[test]
#[ignore = "needs root: sudo cargo xtask test"]
fn a_user_without_rights_is_told_what_is_not_permitted_and_changes_nothing() {
    let lives: [fn() -> Life; 9] = [
        life::host_local,
        || life::bridge("nftables", fixed),
        || life::on_master("macvlan"),
        life::host_device,
        life::loopback,
        || life::portmap("nftables"),
        || life::firewall("nftables"),
        life::bandwidth,
        life::tuning,
    ];
    for make in lives {
        on_a_host(|| {
            let mut life = make();
            life.once();
            for folder in [life.host.dir(), life.host.dir().parent().unwrap()] {
                std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
            }
            let same = |before: &Snapshot| life.seen().assert_same(before);
            let before = life.seen();
            refused(&life, "ADD");
            same(&before);
            life.add();
            let with = life.seen();
            refused(&life, "DEL");
            same(&with);
            life.del();
            same(&before);
        });
    }
}

#[track_caller]
fn refused(life: &Life, command: &str) {
    let outcome = life.unprivileged(command);
    // tuning's DEL only tells, as what it cannot give back is no reason to keep the interface.
    let told =
        if life.conf["type"] == "tuning" && command == "DEL" { outcome.stderr } else { outcome.err().1 };
    assert!(told.contains("Permission denied") || told.contains("Operation not permitted"), "{told}");
    assert!(told.contains("cannot "), "{told}");
    // Shown with a failure.
    eprintln!("{command}: {told}");
}
