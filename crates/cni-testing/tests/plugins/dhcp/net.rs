//! What the tests of dhcp share: a network whose addresses come from a server, with that server and the daemon.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cni_netlink::{AddrFlags, LinkChange, Socket};
use cni_testing::{Container, Host, Outcome};
use serde_json::{Value, json};

use crate::bridge::net::{Net, addresses, link, make_bridge};
use crate::host_device::net as host_device_net;
use crate::portmap::net::reference;
use crate::uplink::Uplink;

/// A program that runs beside the test, until dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(program: &str, args: &[String], env: &[(&str, &str)]) -> Self {
        #[allow(clippy::disallowed_methods, reason = "the DHCP server, and the daemon that asks it")]
        let mut command = Command::new(program);
        command.args(args).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(env.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().unwrap_or_else(|error| panic!("cannot run {program}: {error}")))
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server of Debian's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Server {
    /// Its leases are of two minutes at least.
    Dnsmasq,
    Isc,
    Kea,
}

/// The first and the last address, by their last bytes.
pub(crate) const RANGE: (u8, u8) = (50, 60);

/// A network whose addresses come from a server. The server is a machine outside, or for bridge the host itself.
pub(crate) struct Network {
    pub(crate) net: Net,
    pub(crate) server: IpAddr,
    pub(crate) outside: Option<Container>,
    interface: &'static str,
    /// Where plugins are.
    pub(crate) plugins: PathBuf,
}

impl Network {
    pub(crate) fn new(plugin: &str) -> Self {
        let (mut net, outside, interface, server) = match plugin {
            "bridge" | "ptp" => {
                let net = Net::layer2(json!({"type": plugin}));
                let br0 = make_bridge("br0");
                let address = "10.88.0.1/24".parse().unwrap();
                Socket::open().unwrap().addr_add(br0.index, address, AddrFlags::default()).unwrap();
                (net, None, "br0", "10.88.0.1")
            }
            "host-device" => {
                let host_device_net::Net { host, conf, outside } = host_device_net::Net::new(json!({}));
                // Kea serves no interface that has no carrier when it starts.
                set_up("uplink");
                (Net { host, conf }, Some(outside), "wire", "10.88.0.9")
            }
            on_master => {
                let Uplink { net, outside } = Uplink::v4(on_master, &json!({}));
                (net, Some(outside), "eth0", "10.88.0.254")
            }
        };
        // Leases are where nobody can tell the daemon otherwise.
        net.host.hide(&["/var/lib"]);
        let socket = beside(&net.host, "dhcp.sock");
        net.conf["ipam"] = json!({"type": "dhcp", "daemonSocketPath": socket});
        let plugins = net.host.bin_dir();
        Network { net, server: server.parse().unwrap(), outside, interface, plugins }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        beside(&self.net.host, "dhcp.sock")
    }

    /// This project's daemon.
    pub(crate) fn daemon(&self, flags: &[&str]) -> Running {
        self.start(&self.net.host.bin_dir().join("dhcp"), flags)
    }

    /// The reference's.
    pub(crate) fn reference_daemon(&self) -> Running {
        self.start(&reference("dhcp"), &[])
    }

    fn start(&self, program: &Path, flags: &[&str]) -> Running {
        let socket = self.socket();
        let args = ["daemon", "-socketpath", socket.to_str().unwrap()];
        let args: Vec<String> = args.iter().chain(flags).map(|arg| (*arg).to_owned()).collect();
        let daemon = Running::start(program.to_str().unwrap(), &args, &[]);
        wait_for("the daemon", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        daemon
    }

    /// A server with addresses of this range.
    pub(crate) fn serve(&self, server: Server) -> Running {
        let host = &self.net.host;
        let enter = self.outside.as_ref().map(|outside| format!("--net={}", outside.netns()));
        let run = |words: &str, env: &[(&str, &str)]| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            match &enter {
                Some(enter) => {
                    Running::start("/usr/bin/nsenter", &[vec![enter.clone()], words].concat(), env)
                }
                None => Running::start(&words[0], &words[1..], env),
            }
        };
        let path = |name: &str| beside(host, name).display().to_string();
        let (first, last) = RANGE;
        match server {
            Server::Dnsmasq => {
                // What a container of ptp asks comes by its own veth pair, and is answered as if it came by the bridge.
                let pairs = self.net.plugin() == "ptp";
                let binding = if pairs { "--bridge-interface=br0,veth*" } else { "--bind-interfaces" };
                let running = run(
                    &format!(
                        "/usr/sbin/dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 {binding} \
                         --except-interface=lo --user=root --no-ping --dhcp-authoritative --interface={} \
                         --dhcp-range=10.88.0.{first},10.88.0.{last},255.255.255.0,2m --pid-file={} --dhcp-leasefile={}",
                        self.interface,
                        path("dnsmasq.pid"),
                        self.leases(server).display()
                    ),
                    &[],
                );
                wait_for("dnsmasq", || beside(host, "dnsmasq.pid").exists());
                running
            }
            Server::Isc => {
                let conf = format!(
                    "authoritative; ping-check false; default-lease-time 20; max-lease-time 20; \
                     subnet 10.88.0.0 netmask 255.255.255.0 {{ range 10.88.0.{first} 10.88.0.{last}; \
                     option routers {}; option domain-name-servers 10.88.0.53; }}",
                    self.server
                );
                std::fs::write(path("dhcpd.conf"), conf).unwrap();
                let leases = self.leases(server);
                std::fs::OpenOptions::new().create(true).append(true).open(&leases).unwrap();
                let _ = std::fs::remove_file(path("dhcpd.pid"));
                let words = format!(
                    "/usr/sbin/dhcpd -4 -f -q -cf {} -lf {} -pf {} {}",
                    path("dhcpd.conf"),
                    leases.display(),
                    path("dhcpd.pid"),
                    self.interface
                );
                let running = run(&words, &[]);
                wait_for("dhcpd", || beside(host, "dhcpd.pid").exists());
                running
            }
            Server::Kea => {
                let conf = json!({"Dhcp4": {
                    "interfaces-config": {"interfaces": [self.interface], "dhcp-socket-type": "raw"},
                    "lease-database": {"type": "memfile", "persist": true, "name": self.leases(server), "lfc-interval": 0},
                    "valid-lifetime": 20,
                    "subnet4": [{
                        "id": 1,
                        "subnet": "10.88.0.0/24",
                        "pools": [{"pool": format!("10.88.0.{first} - 10.88.0.{last}")}],
                        "option-data": [{"name": "routers", "data": self.server.to_string()}],
                    }],
                }});
                std::fs::write(path("kea.conf"), conf.to_string()).unwrap();
                let folder = beside(host, "kea");
                std::fs::create_dir_all(&folder).unwrap();
                let folder = folder.to_str().unwrap();
                let env = [("KEA_PIDFILE_DIR", folder), ("KEA_LOCKFILE_DIR", folder)];
                let running = run(&format!("/usr/sbin/kea-dhcp4 -c {}", path("kea.conf")), &env);
                wait_for("kea", || self.leases(server).exists());
                running
            }
        }
    }

    /// Where the server writes them.
    pub(crate) fn leases(&self, server: Server) -> PathBuf {
        let name = match server {
            Server::Dnsmasq => "dnsmasq.leases",
            Server::Isc => "dhcpd.leases",
            Server::Kea => "kea.leases",
        };
        beside(&self.net.host, name)
    }

    /// Whether the server's own records say that nobody has this address.
    pub(crate) fn is_free(&self, server: Server, address: IpAddr) -> bool {
        let text = std::fs::read_to_string(self.leases(server)).unwrap_or_default();
        match server {
            Server::Dnsmasq => !text.contains(&address.to_string()),
            Server::Isc => {
                let last = text.rsplit_once(&format!("lease {address} {{")).map(|(_, last)| last);
                last.is_none_or(|last| last.split('}').next().unwrap().contains("  binding state free"))
            }
            // A lifetime of 0.
            Server::Kea => {
                let last = text.lines().rfind(|line| line.starts_with(&format!("{address},")));
                last.is_none_or(|last| last.split(',').nth(3) == Some("0"))
            }
        }
    }

    pub(crate) fn run(&self, command: &str, container: &Container, conf: &Value) -> Outcome {
        let run = self.net.host.plugin(self.net.plugin()).env("CNI_PATH", self.plugins.to_str().unwrap());
        match command {
            "ADD" => run.add(container, "eth0", conf),
            "CHECK" => run.check(container, "eth0", conf),
            "DEL" => run.del(container, "eth0", conf),
            other => run.command(other, conf),
        }
    }

    pub(crate) fn add(&self, container: &Container) -> (Value, IpAddr) {
        let result = self.run("ADD", container, &self.net.conf).ok();
        let [address] = addresses(&result)[..] else { panic!("one address: {result}") };
        (result, address)
    }

    pub(crate) fn check(&self, container: &Container, result: &Value) -> Outcome {
        self.run("CHECK", container, &self.net.with_prev(result))
    }

    pub(crate) fn del(&self, container: &Container) -> Outcome {
        self.run("DEL", container, &self.net.conf)
    }
}

fn set_up(name: &str) {
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    Socket::open().unwrap().link_change(link(name).index, &up).unwrap();
}

/// Beside what snapshots see.
pub(crate) fn beside(host: &Host, name: &str) -> PathBuf {
    host.dir().with_file_name(name)
}

#[track_caller]
pub(crate) fn wait_for(what: &str, there: impl FnMut() -> bool) {
    wait_long_for(Duration::from_secs(10), what, there);
}

#[track_caller]
pub(crate) fn wait_long_for(patience: Duration, what: &str, mut there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !there() {
        assert!(start.elapsed() < patience, "{what} does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The IPv4 addresses that an interface of the container has.
pub(crate) fn addresses_of(container: &Container) -> Vec<IpAddr> {
    let mut socket = container.ns().socket().unwrap();
    let Ok(link) = socket.link_by_name("eth0") else { return Vec::new() };
    let all = socket.addr_dump(link.index).unwrap().into_iter().map(|addr| addr.address.addr());
    all.filter(IpAddr::is_ipv4).collect()
}
