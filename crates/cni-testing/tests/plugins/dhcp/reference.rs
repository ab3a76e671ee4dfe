//! Addresses by the reference's dhcp, whose daemon asks a real server through the container's interface: the link has to be there
//! when IPAM is asked.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cni_netlink::{AddrFlags, Socket};
use cni_testing::{Container, Host};
use serde_json::{Value, json};

use crate::bridge::net::{Net, addresses, link, make_bridge};
use crate::host_device::net as host_device_net;
use crate::portmap::net::reference;
use crate::reference::is_1_10;
use crate::uplink::{Uplink, has};

/// A program that runs beside the test, until dropped.
struct Running(Child);

impl Running {
    fn start(program: &str, args: &[String]) -> Self {
        #[allow(clippy::disallowed_methods, reason = "the DHCP server, and the daemon that asks it")]
        let mut command = Command::new(program);
        command.args(args).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().unwrap_or_else(|error| panic!("cannot run {program}: {error}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A network whose addresses come from a server, with both programs.
struct Network {
    net: Net,
    server: IpAddr,
    daemon: Running,
    dnsmasq: Running,
    _outside: Option<Container>,
}

impl Network {
    /// The server is a machine outside, or for bridge the host itself.
    fn new(plugin: &str) -> Self {
        let (mut net, outside, interface, server) = match plugin {
            "bridge" => {
                let net = Net::layer2(json!({}));
                let br0 = make_bridge("br0");
                let address = "10.88.0.1/24".parse().unwrap();
                Socket::open().unwrap().addr_add(br0.index, address, AddrFlags::default()).unwrap();
                (net, None, "br0", "10.88.0.1")
            }
            "host-device" => {
                let host_device_net::Net { host, conf, outside } = host_device_net::Net::new(json!({}));
                (Net { host, conf }, Some(outside), "wire", "10.88.0.9")
            }
            on_master => {
                let Uplink { net, outside } = Uplink::v4(on_master, &json!({}));
                (net, Some(outside), "eth0", "10.88.0.254")
            }
        };
        let socket = beside(&net.host, "dhcp.sock");
        net.conf["ipam"] = json!({"type": "dhcp", "daemonSocketPath": socket});
        let dnsmasq = dnsmasq(&net.host, outside.as_ref(), interface);
        let args = ["daemon".to_owned(), "-socketpath".to_owned(), socket.display().to_string()];
        let daemon = Running::start(reference("dhcp").to_str().unwrap(), &args);
        wait_for("the daemon's socket", || socket.exists());
        Network { net, server: server.parse().unwrap(), daemon, dnsmasq, _outside: outside }
    }

    fn run(&self, command: &str, container: &Container, conf: &Value) -> cni_testing::Outcome {
        let folder = reference("dhcp");
        let path = folder.parent().unwrap().to_str().unwrap();
        let run = self.net.host.plugin(self.net.plugin()).env("CNI_PATH", path);
        match command {
            "ADD" => run.add(container, "eth0", conf),
            "CHECK" => run.check(container, "eth0", conf),
            _ => run.del(container, "eth0", conf),
        }
    }
}

/// Beside what snapshots see.
fn beside(host: &Host, name: &str) -> PathBuf {
    host.dir().with_file_name(name)
}

/// Debian's server on one interface of the host or of a machine outside.
fn dnsmasq(host: &Host, outside: Option<&Container>, interface: &str) -> Running {
    let options = [
        "--keep-in-foreground --conf-file=/dev/null --port=0 --bind-interfaces --except-interface=lo --user=root".to_owned(),
        "--no-ping --dhcp-authoritative --dhcp-range=10.88.0.50,10.88.0.60,255.255.255.0,1h".to_owned(),
        format!("--interface={interface} --pid-file={}", beside(host, "dnsmasq.pid").display()),
        format!("--dhcp-leasefile={}", beside(host, "dnsmasq.leases").display()),
    ];
    let enter = outside.map(|outside| format!("--net={} /usr/sbin/dnsmasq", outside.netns()));
    let program = if enter.is_some() { "/usr/bin/nsenter" } else { "/usr/sbin/dnsmasq" };
    let words = enter.into_iter().chain(options).collect::<Vec<_>>().join(" ");
    let server = Running::start(program, &words.split(' ').map(str::to_owned).collect::<Vec<_>>());
    wait_for("the server", || beside(host, "dnsmasq.pid").exists());
    server
}

#[track_caller]
fn wait_for(what: &str, there: impl Fn() -> bool) {
    let start = Instant::now();
    while !there() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what} does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn gets_an_address(plugin: &str) {
    let network = Network::new(plugin);
    let net = &network.net;
    let container = net.host.container("one");
    let start = Instant::now();
    let result = network.run("ADD", &container, &net.conf).ok();
    let took = start.elapsed();
    let [IpAddr::V4(address)] = addresses(&result)[..] else { panic!("one address: {result}") };
    assert!((50..=60).contains(&address.octets()[3]), "{address} is not of the server's");
    // A first packet that is lost is repeated after seconds.
    assert!(took < Duration::from_secs(3), "ADD of {plugin} took {took:?}");
    assert!(container.ping(network.server), "{plugin}");
    network.run("CHECK", &container, &net.with_prev(&result)).ok();
    network.run("DEL", &container, &net.with_prev(&result)).ok();
    // The server has been told, unless the daemon is one before 1.10.0, whose word goes to everybody, which servers do not hear.
    if is_1_10(&net.host) {
        let leases = beside(&net.host, "dnsmasq.leases");
        wait_for("the end of the lease", || std::fs::read_to_string(&leases).unwrap().is_empty());
    }
    assert!(!has(&container, "eth0"));
    if plugin == "host-device" {
        assert_eq!(link("uplink").alias.as_deref(), Some(host_device_net::ALIAS));
    }
}

#[test]
#[ignore = "needs the reference's dhcp in $CNI_REFERENCE_DIR and dnsmasq and root: \
            `cargo test -p cni-testing --test plugins -- --ignored dhcp::reference`"]
fn issue_14_bridge_gets_an_address_by_dhcp() {
    gets_an_address("bridge");
}

#[test]
#[ignore = "needs the reference's dhcp in $CNI_REFERENCE_DIR and dnsmasq and root: \
            `cargo test -p cni-testing --test plugins -- --ignored dhcp::reference`"]
fn issue_14_macvlan_gets_an_address_by_dhcp() {
    gets_an_address("macvlan");
}

#[test]
#[ignore = "needs the reference's dhcp in $CNI_REFERENCE_DIR and dnsmasq and root: \
            `cargo test -p cni-testing --test plugins -- --ignored dhcp::reference`"]
fn issue_14_host_device_gets_an_address_by_dhcp() {
    gets_an_address("host-device");
}

/// The server does not answer: nothing is left, and a device is at home again.
#[test]
#[ignore = "needs the reference's dhcp in $CNI_REFERENCE_DIR and dnsmasq and root: \
            `cargo test -p cni-testing --test plugins -- --ignored dhcp::reference`"]
fn issue_14_without_a_daemon_nothing_is_left() {
    for plugin in ["bridge", "macvlan", "host-device"] {
        let work = || {
            let mut network = Network::new(plugin);
            let container = network.net.host.container("one");
            let _ = network.daemon.0.kill();
            let _ = network.daemon.0.wait();
            let _ = network.dnsmasq.0.kill();
            let before = (network.net.host.snapshot(), container.snapshot());
            let (_, msg) = network.run("ADD", &container, &network.net.conf).err();
            assert!(msg.contains("dhcp"), "{msg}");
            network.net.host.snapshot().assert_same(&before.0);
            container.snapshot().assert_same(&before.1);
        };
        std::thread::scope(|scope| scope.spawn(work).join()).unwrap();
    }
}
