//! Against the kernel: every test on a thread of its own in a fresh network namespace, which ends with it.
//!
//! Needs CAP_SYS_ADMIN (root, or the user namespace that `cargo xtask test` enters). Without it a test says on standard
//! error that it was skipped.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers too")]

mod announce;
mod iface;
mod masquerade;
mod masquerade_del;
mod netns;
mod nft;
mod spoof_check;
mod sysctl;
mod tap;
mod veth;

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use cni_host::NetNs;
use cni_netlink::{AddrFlags, Link, LinkChange, MacAddr, NewBridge, NewVeth, Socket};
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;

/// Runs a test on a thread with a network namespace of its own, its "host".
fn on_private_host(test: impl FnOnce() + Send) {
    let caller = thread::current();
    thread::scope(|scope| {
        let thread = scope.spawn(|| match unshare(CloneFlags::CLONE_NEWNET) {
            Ok(()) => test(),
            Err(error) => skipped(caller.name().unwrap_or("a test"), error),
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn skipped(test: &str, error: nix::Error) {
    // Not eprintln: the harness swallows that of a test that passes.
    let mut stderr = io::stderr();
    let hint = "run it by `cargo xtask test`, or as root";
    writeln!(stderr, "SKIPPED {test}: cannot make a network namespace: {error}; {hint}").unwrap();
}

#[allow(clippy::disallowed_methods, reason = "a private host for a test")]
fn unshare(flags: CloneFlags) -> nix::Result<()> {
    nix::sched::unshare(flags)
}

/// Gives the calling thread mounts of its own, seen by nobody else.
fn with_own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).unwrap();
}

/// Gives the calling thread a /run of its own, where the locks are.
fn with_own_run() {
    hide("/run");
}

/// Puts an empty file system over a folder, for the calling thread and those it starts.
fn hide(folder: &str) {
    with_own_mounts();
    mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), NONE).unwrap();
}

const NONE: Option<&str> = None;

/// Makes /proc/sys read-only for the calling thread and those it starts, as in hardened hosts and containers.
fn make_proc_sys_read_only() {
    with_own_mounts();
    mount(Some("/proc/sys"), "/proc/sys", NONE, MsFlags::MS_BIND, NONE).unwrap();
    let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(NONE, "/proc/sys", NONE, read_only, NONE).unwrap();
}

/// What the calling thread and those it starts see of a kernel without IPv6: no settings of it.
fn hide_ipv6_settings() {
    with_own_mounts();
    mount(Some("tmpfs"), "/proc/sys/net", Some("tmpfs"), MsFlags::empty(), NONE).unwrap();
}

/// A fresh network namespace, held open.
fn fresh_file() -> File {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    };
    thread::spawn(make).join().unwrap()
}

/// A fresh network namespace, a "container".
fn fresh_netns() -> NetNs {
    let file = fresh_file();
    NetNs::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

fn set_up(socket: &mut Socket, name: &str) -> Link {
    let link = socket.link_by_name(name).unwrap();
    socket.link_change(link.index, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
    socket.link_by_index(link.index).unwrap()
}

/// A bridge on the calling thread's host, up.
fn bridge(host: &mut Socket) -> Link {
    host.link_add_bridge(&NewBridge { name: "br0", mac: None, mtu: None, vlan_filtering: false }).unwrap();
    set_up(host, "br0")
}

/// A container whose eth0 leads to the bridge, both ends up, without addresses yet. The near end is called `port`.
fn plug(host: &mut Socket, bridge: &Link, port: &str) -> (NetNs, Link) {
    let netns = fresh_netns();
    let veth = NewVeth {
        name: port,
        mac: MacAddr::random(),
        master: Some(bridge.index),
        peer_name: "eth0",
        peer_mac: MacAddr::random(),
        peer_netns: Some(std::os::fd::AsFd::as_fd(&netns)),
        mtu: None,
    };
    host.link_add_veth(&veth).unwrap();
    set_up(host, port);
    let eth0 = netns.socket().unwrap().link_by_name("eth0").unwrap();
    (netns, eth0)
}

/// A neighbour with a socket of its own: eth0 up with these addresses, no duplicate address detection.
fn give_addresses(netns: &NetNs, addresses: &[&str]) {
    let mut socket = netns.socket().unwrap();
    let eth0 = set_up(&mut socket, "eth0");
    for address in addresses {
        socket.addr_add(eth0.index, address.parse().unwrap(), AddrFlags { nodad: true }).unwrap();
    }
}

/// A UDP socket inside, bound to the address.
fn udp(netns: &NetNs, address: IpAddr) -> UdpSocket {
    netns.run(|| UdpSocket::bind(SocketAddr::new(address, 5000))).unwrap().unwrap()
}

/// Whether a datagram from one socket reaches the other within the time.
fn reaches(from: &UdpSocket, to: &UdpSocket, within: Duration) -> bool {
    let mut buffer = [0; 16];
    to.set_read_timeout(Some(within)).unwrap();
    // A neighbour that cannot be found makes a later send fail; the datagram did not arrive either way.
    from.send_to(b"hello", to.local_addr().unwrap()).is_ok() && to.recv_from(&mut buffer).is_ok()
}
