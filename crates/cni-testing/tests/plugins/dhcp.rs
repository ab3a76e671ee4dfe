//! dhcp, this project's plugin and daemon, against the servers that Debian has.

mod lease;
pub(crate) mod net;
mod reference;
mod server;

use std::time::{Duration, Instant};

use cni_testing::Container;
use serde_json::json;

use crate::dhcp::net::{Network, RANGE, Running, Server, addresses_of, beside, wait_for};
use crate::uplink::has;

const PROGRAMS: [(&str, Server); 3] = [
    ("/usr/sbin/dnsmasq", Server::Dnsmasq),
    ("/usr/sbin/dhcpd", Server::Isc),
    ("/usr/sbin/kea-dhcp4", Server::Kea),
];

/// ADD, CHECK and DEL: the address is the server's, packets get through, and the server hears of the end.
fn lives(plugin: &str, server: Server) {
    let network = Network::new(plugin);
    let (_server, _daemon) = (network.serve(server), network.daemon(&[]));
    let container = network.net.host.container("one");
    let start = Instant::now();
    let (result, address) = network.add(&container);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "ADD of {plugin} with {server:?} took {took:?}");
    assert_eq!(addresses_of(&container), [address]);
    let last = address.to_string().rsplit('.').next().unwrap().parse::<u8>().unwrap();
    assert!((RANGE.0..=RANGE.1).contains(&last), "{address}");
    assert!(container.ping(network.server), "{plugin} {server:?}");
    wait_for("the lease in the server's records", || !network.is_free(server, address));
    network.check(&container, &result).ok();
    // Again, for who has it already.
    let mut other = result.clone();
    other["ips"][0]["address"] = "10.88.0.99/24".into();
    let (_, msg) = network.check(&container, &other).err();
    assert!(msg.contains("10.88.0.99"), "{msg}");
    for _ in 0..2 {
        network.del(&container).ok();
    }
    wait_for("the end of the lease", || network.is_free(server, address));
    assert!(!has(&container, "eth0"));
}

/// Each in a namespace of its own.
fn with_each_server(plugin: &'static str) {
    for (program, server) in PROGRAMS {
        assert!(std::path::Path::new(program).exists(), "there is no {program}");
        std::thread::scope(|scope| scope.spawn(move || lives(plugin, server)).join()).unwrap();
    }
}

macro_rules! needs_servers {
    ($($name:ident: $body:expr;)*) => {$(
        #[test]
        #[ignore = "needs dnsmasq, isc-dhcp-server and kea-dhcp4-server and root: \
                    `cargo test -p cni-testing --test plugins -- --ignored dhcp`"]
        fn $name() {
            $body
        }
    )*};
}

needs_servers! {
    issue_16_bridge_lives_by_dhcp: with_each_server("bridge");
    issue_16_macvlan_lives_by_dhcp: with_each_server("macvlan");
    issue_16_host_device_lives_by_dhcp: with_each_server("host-device");
    issue_16_ptp_lives_by_dhcp: lives("ptp", Server::Dnsmasq);
    issue_16_a_daemon_that_is_killed_forgets_no_lease: killed_and_restarted();
    issue_16_a_lease_of_twenty_seconds_is_renewed: renewed_for_long();
    issue_16_many_adds_at_once: many_at_once();
    issue_16_the_page_of_dhcp_has_a_network_that_works: page_lives();
}

/// Ten containers; the daemon is killed between their lives.
fn killed_and_restarted() {
    let network = Network::new("macvlan");
    let _server = network.serve(Server::Isc);
    let mut daemon = network.daemon(&[]);
    let host = &network.net.host;
    let containers: Vec<Container> = (0..5).map(|i| host.container(&format!("c{i}"))).collect();
    let mut had = Vec::new();
    for container in &containers {
        had.push(network.add(container));
        daemon.kill();
        daemon = network.daemon(&[]);
    }
    // Past the end of the first leases, which the daemon that was started last has renewed.
    std::thread::sleep(Duration::from_secs(21));
    for (container, (result, address)) in containers.iter().zip(&had) {
        network.check(container, result).ok();
        assert_eq!(addresses_of(container), [*address]);
        assert!(!network.is_free(Server::Isc, *address));
        assert!(container.ping(network.server));
    }
    daemon.kill();
    let _daemon = network.daemon(&[]);
    for (container, (_, address)) in containers.iter().zip(&had) {
        network.del(container).ok();
        wait_for("the end of the lease", || network.is_free(Server::Isc, *address));
    }
}

fn renewed_for_long() {
    let network = Network::new("bridge");
    let (_server, daemon) = (network.serve(Server::Isc), network.daemon(&[]));
    let container = network.net.host.container("one");
    let (result, address) = network.add(&container);
    std::thread::sleep(Duration::from_secs(25));
    network.check(&container, &result).ok();
    assert!(!network.is_free(Server::Isc, address));
    assert_eq!(sockets(&daemon), 1, "the one where it listens");
}

/// Open sockets and namespaces.
fn sockets(daemon: &Running) -> usize {
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.0.id())).unwrap();
    let target = |fd: std::io::Result<std::fs::DirEntry>| std::fs::read_link(fd.ok()?.path()).ok();
    let held = |target: &std::path::PathBuf| {
        let target = target.to_string_lossy();
        target.starts_with("socket:") || target.starts_with("net:")
    };
    open.filter_map(target).filter(held).count()
}

/// Its first block of JSON, and a daemon without flags.
fn page_lives() {
    let mut network = Network::new("macvlan");
    network.net.host.hide(&["/run"]);
    let _server = network.serve(Server::Isc);
    let bin = network.net.host.bin_dir().join("dhcp");
    let _daemon = Running::start(bin.to_str().unwrap(), &["daemon".to_owned()], &[]);
    wait_for("the daemon", || std::path::Path::new("/run/cni/dhcp.sock").exists());
    let page = include_str!("../../../../docs/plugins/dhcp.md");
    let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let list: serde_json::Value = serde_json::from_str(block).unwrap();
    network.net.conf = list["plugins"][0].clone();
    for key in ["cniVersion", "name"] {
        network.net.conf[key] = list[key].clone();
    }
    let container = network.net.host.container("one");
    let (result, _) = network.add(&container);
    network.check(&container, &result).ok();
    network.del(&container).ok();
}

fn many_at_once() {
    let network = Network::new("bridge");
    let network = &network;
    let dnsmasq = network.serve(Server::Dnsmasq);
    let daemon = network.daemon(&[]);
    let containers: Vec<Container> = (0..8).map(|i| network.net.host.container(&format!("c{i}"))).collect();
    let start = Instant::now();
    let added: Vec<_> = std::thread::scope(|scope| {
        let add = |container| scope.spawn(move || network.add(container).1);
        containers.iter().map(add).collect::<Vec<_>>().into_iter().map(|add| add.join().unwrap()).collect()
    });
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let mut once = added.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), 8, "{added:?}");
    // Nothing is held between exchanges.
    wait_for("the end of the sockets", || sockets(&daemon) == 1);
    // GC of all but one.
    let mut conf = network.net.conf.clone();
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "c3", "ifname": "eth0"}]);
    network.run("GC", &containers[0], &conf).ok();
    for (index, address) in added.iter().enumerate() {
        if index != 3 {
            wait_for("the end of a lease", || network.is_free(Server::Dnsmasq, *address));
        }
    }
    assert!(!network.is_free(Server::Dnsmasq, added[3]));
    drop(dnsmasq);
}

/// A daemon's files: what SIGTERM removes, and what a second one does not take.
#[test]
fn issue_16_a_daemons_socket_and_pidfile_come_and_go() {
    use std::os::unix::fs::PermissionsExt;
    let network = Network::new("bridge");
    let pidfile = beside(&network.net.host, "dhcp.pid");
    let flags = ["-pidfile", pidfile.to_str().unwrap()];
    let mut daemon = network.daemon(&flags);
    assert_eq!(std::fs::read_to_string(&pidfile).unwrap(), daemon.0.id().to_string());
    assert_eq!(pidfile.metadata().unwrap().permissions().mode() & 0o777, 0o644);

    let socket = network.socket();
    let bin = network.net.host.bin_dir().join("dhcp");
    let args = ["daemon", "-socketpath", socket.to_str().unwrap()].map(str::to_owned);
    let mut second = Running::start(bin.to_str().unwrap(), &args, &[]);
    assert_eq!(second.0.wait().unwrap().code(), Some(1));
    network.run("STATUS", &network.net.host.container("any"), &network.net.conf).ok();

    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.0.wait().unwrap().success());
    assert!(!socket.exists() && !pidfile.exists());
    let (code, msg) = network.run("STATUS", &network.net.host.container("any"), &network.net.conf).err();
    assert!(code == 50 && msg.contains("dhcp.sock"), "{code} {msg}");

    // One that was killed leaves its socket, which the next replaces.
    network.daemon(&[]).kill();
    assert!(socket.exists());
    let daemon = network.daemon(&["--timeout=1s", "-broadcast"]);
    daemon.signal(nix::sys::signal::Signal::SIGINT);
    wait_for("the end", || !socket.exists());
}

/// Without a server or a daemon an ADD fails with a reason, and leaves nothing.
#[test]
fn issue_16_an_add_that_fails_leaves_nothing() {
    let network = Network::new("bridge");
    let container = network.net.host.container("one");
    let before = (network.net.host.snapshot(), container.snapshot());
    let (_, msg) = network.run("ADD", &container, &network.net.conf).err();
    assert!(msg.contains("cannot get a lease for eth0: cannot connect to the DHCP daemon at"), "{msg}");
    let _daemon = network.daemon(&["-resendtimeout", "1s"]);
    let (_, msg) = network.run("ADD", &container, &network.net.conf).err();
    assert!(msg.contains("no lease within 1 seconds: no server made an offer"), "{msg}");
    network.net.host.snapshot().assert_same(&before.0);
    container.snapshot().assert_same(&before.1);
}

/// As systemd starts it: the socket is the third descriptor, and stays when the daemon ends.
#[test]
fn issue_16_a_socket_of_systemd_is_listened_on_and_left() {
    let network = Network::new("bridge");
    let listener = std::os::unix::net::UnixListener::bind(network.socket()).unwrap();
    let bin = network.net.host.bin_dir().join("dhcp");
    let script = format!("exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec {} daemon", bin.display());
    #[allow(clippy::disallowed_methods, reason = "plays systemd")]
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", &script]).stdin(std::os::fd::OwnedFd::from(listener.try_clone().unwrap()));
    let mut daemon = Running(command.stderr(std::process::Stdio::null()).spawn().unwrap());
    // A GC is answered, by the daemon and not by the queue of the socket.
    let mut conf = network.net.conf.clone();
    conf["cni.dev/valid-attachments"] = json!([]);
    network.net.host.plugin("dhcp").command("GC", &conf).ok();
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.0.wait().unwrap().success());
    assert!(network.socket().exists());
    drop(listener);
}
