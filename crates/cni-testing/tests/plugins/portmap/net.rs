//! What the tests of the portmap plugin share: a node with a bridge of containers, a machine outside, and one beyond.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use cni_host::sysctl_write;
use cni_testing::{Container, EchoServer, Host, Outcome, Snapshot};
use serde_json::{Value, json};

use crate::bridge::net::set;

/// The backends, and for iptables both programs of that name.
pub(crate) const BACKENDS: [&str; 3] = ["nftables", "iptables", "iptables-legacy"];

/// How long an answer is waited for that should not come.
const SHORT: Duration = Duration::from_millis(400);
/// And one that should. The kernel repeats a lost neighbour solicitation after a second.
const LONG: Duration = Duration::from_millis(2500);

/// The container's port that answers.
pub(crate) const PORT: u16 = 80;

/// The host's and the others' addresses, IPv4 and IPv6.
pub(crate) const GATEWAY: [&str; 2] = ["10.88.0.1", "fd00:88::1"];
pub(crate) const HOST: [&str; 2] = ["192.0.2.1", "2001:db8:1::1"];
pub(crate) const OUTSIDE: [&str; 2] = ["192.0.2.9", "2001:db8:1::9"];
pub(crate) const BEYOND: [&str; 2] = ["198.51.100.9", "2001:db8:2::9"];

/// A private host that forwards between its containers, a machine outside and one beyond.
pub(crate) struct Site {
    pub(crate) host: Host,
    pub(crate) outside: Container,
    pub(crate) beyond: Container,
    pub(crate) backend: &'static str,
}

/// A container behind the bridge plugin, answering on [`PORT`].
pub(crate) struct Pod {
    pub(crate) container: Container,
    /// The bridge plugin's.
    pub(crate) result: Value,
    servers: Vec<EchoServer>,
}

impl Site {
    pub(crate) fn new(backend: &'static str) -> Self {
        let host = Host::new();
        // Locks of iptables.
        host.hide(&["/run"]);
        let (outside, beyond) = (host.container("outside"), host.container("beyond"));
        host.connect(&outside, "up0", HOST, OUTSIDE);
        host.connect(&beyond, "up1", ["198.51.100.1", "2001:db8:2::1"], BEYOND);
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            sysctl_write(key, "1").unwrap();
        }
        // Without this an answer that a bridge switches is translated back all the same, and nothing shows that it has to
        // come through the host. Kernels without br_netfilter have no such setting.
        for key in ["iptables", "ip6tables"] {
            let _ = sysctl_write(&format!("net/bridge/bridge-nf-call-{key}"), "0");
        }
        if backend == "iptables-legacy" {
            std::fs::create_dir(programs(&host)).unwrap();
            for name in ["iptables", "ip6tables"] {
                symlink("/usr/sbin/xtables-legacy-multi", programs(&host).join(name)).unwrap();
            }
        }
        Site { host, outside, beyond, backend }
    }

    /// The container 10.88.0.`n` and fd00:88::`n`.
    pub(crate) fn pod(&self, id: &str, n: u8) -> Pod {
        self.pod_with(
            id,
            json!([
                {"address": format!("10.88.0.{n}/24"), "gateway": GATEWAY[0]},
                {"address": format!("fd00:88::{n}/64"), "gateway": GATEWAY[1]},
            ]),
        )
    }

    /// A container with addresses as the static plugin takes them.
    pub(crate) fn pod_with(&self, id: &str, addresses: Value) -> Pod {
        let container = self.host.container(id);
        let bridge = json!({
            "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "isDefaultGateway": true,
            "ipam": {"type": "static", "addresses": addresses},
        });
        let result = self.host.plugin("bridge").add(&container, "eth0", &bridge).ok();
        let addresses = crate::bridge::net::addresses(&result).into_iter();
        let servers = addresses.map(|ip| container.serve(SocketAddr::new(ip, PORT))).collect();
        Pod { container, result, servers }
    }

    /// The plugin's configuration with these mappings and keys; `"HOST/PROTOCOL"` or `"IP HOST/PROTOCOL"`, all to [`PORT`].
    pub(crate) fn conf(&self, pod: &Pod, mappings: &[&str], keys: Value) -> Value {
        let mapping = |text: &&str| {
            let (host, protocol) = text.split_once('/').unwrap();
            let (ip, port) = host.split_once(' ').unwrap_or(("", host));
            let port: u16 = port.parse().unwrap();
            json!({"hostPort": port, "containerPort": PORT, "protocol": protocol, "hostIP": ip})
        };
        let mappings: Vec<Value> = mappings.iter().map(mapping).collect();
        let backend = self.backend.split('-').next().unwrap();
        let mut conf = json!({
            "cniVersion": "1.1.0", "name": "net", "type": "portmap", "backend": backend,
            "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": mappings},
            "prevResult": pod.result,
        });
        set(&mut conf, &keys);
        conf
    }

    pub(crate) fn run(&self, command: &str, pod: &Pod, conf: &Value) -> Outcome {
        let run = self.host.plugin("portmap").env("PATH", &self.path());
        match command {
            "ADD" => run.add(&pod.container, "eth0", conf),
            "CHECK" => run.check(&pod.container, "eth0", conf),
            "DEL" => run.del(&pod.container, "eth0", conf),
            _ => run.command(command, conf),
        }
    }

    /// ADD and CHECK, both well.
    pub(crate) fn map(&self, pod: &Pod, mappings: &[&str]) -> Value {
        let conf = self.conf(pod, mappings, json!({}));
        assert_eq!(self.run("ADD", pod, &conf).ok(), pod.result, "the result is passed on");
        self.run("CHECK", pod, &conf).ok();
        conf
    }

    /// `PATH`, by which the plugin finds the backend's iptables first.
    pub(crate) fn path(&self) -> String {
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs(&self.host).display())
    }

    /// The rules alone, with those of iptables-legacy too.
    pub(crate) fn rules(&self) -> Snapshot {
        let mut rules = self.host.snapshot();
        rules.0.retain(|line| line.starts_with("nft ") || line.contains("tables-save "));
        for program in ["iptables-legacy-save", "ip6tables-legacy-save"] {
            let text = run(program, &[]);
            let lines = text.lines().filter(|line| line.starts_with("-A"));
            rules.0.extend(lines.map(|line| format!("{program} {line}")));
        }
        rules
    }
}

impl Pod {
    /// IPv4, then IPv6.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        crate::bridge::net::addresses(&self.result)
    }

    pub(crate) fn id(&self) -> &str {
        self.container.id()
    }

    /// Its entry among the valid attachments.
    pub(crate) fn valid(&self) -> Value {
        json!({"containerID": self.id(), "ifname": "eth0"})
    }

    /// Closes its namespace.
    pub(crate) fn kill(&mut self) {
        self.servers.clear();
        self.container.kill();
    }
}

/// The folder that comes first in `PATH`.
fn programs(host: &Host) -> PathBuf {
    host.dir().parent().unwrap().join("programs")
}

/// Who asks: the host, or a container or machine.
#[derive(Clone, Copy)]
pub(crate) enum From<'c> {
    Host,
    Inside(&'c Container),
}

/// The address that the answering container saw the question come from.
#[track_caller]
pub(crate) fn seen(from: From<'_>, protocol: &str, to: (&str, u16)) -> String {
    match ask(from, protocol, to, LONG) {
        Ok(seen) => seen,
        Err(error) => panic!("no answer from {protocol} {to:?}: {error}"),
    }
}

#[track_caller]
pub(crate) fn assert_unanswered(from: From<'_>, protocol: &str, to: (&str, u16)) {
    if let Ok(seen) = ask(from, protocol, to, SHORT) {
        panic!("{protocol} {to:?} was answered to {seen}");
    }
}

fn ask(from: From<'_>, protocol: &str, to: (&str, u16), timeout: Duration) -> io::Result<String> {
    let to = SocketAddr::new(to.0.parse().unwrap(), to.1);
    let ask = || if protocol == "tcp" { ask_tcp(to, timeout) } else { ask_udp(to, timeout) };
    let answer = match from {
        From::Host => ask(),
        From::Inside(container) => container.ns().run(ask).unwrap(),
    }?;
    let peer: SocketAddr = answer.split(' ').next().unwrap().parse().unwrap();
    Ok(peer.ip().to_string())
}

fn ask_tcp(to: SocketAddr, timeout: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"hello")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn ask_udp(to: SocketAddr, timeout: Duration) -> io::Result<String> {
    let socket = udp_socket(to.is_ipv4());
    socket.set_read_timeout(Some(timeout))?;
    socket.connect(to)?;
    exchange(&socket)
}

fn udp_socket(v4: bool) -> UdpSocket {
    let any: IpAddr = if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).unwrap()
}

fn exchange(socket: &UdpSocket) -> io::Result<String> {
    socket.send(b"hello")?;
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// A UDP client that keeps its port.
pub(crate) struct Client(UdpSocket);

impl Client {
    pub(crate) fn new(from: From<'_>, to: (&str, u16)) -> Self {
        let to = SocketAddr::new(to.0.parse().unwrap(), to.1);
        let open = || udp_socket(to.is_ipv4());
        let socket = match from {
            From::Host => open(),
            From::Inside(container) => container.ns().run(open).unwrap(),
        };
        socket.connect(to).unwrap();
        Client(socket)
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.is_answered_within(LONG)
    }

    pub(crate) fn is_answered_soon(&self) -> bool {
        self.is_answered_within(SHORT)
    }

    fn is_answered_within(&self, timeout: Duration) -> bool {
        self.0.set_read_timeout(Some(timeout)).unwrap();
        exchange(&self.0).is_ok()
    }
}

/// A plugin of the reference.
pub(crate) fn reference(name: &str) -> PathBuf {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests themselves, not CNI's")]
    let folder = std::env::var_os("CNI_REFERENCE_DIR").unwrap_or_else(|| OsString::from("/usr/lib/cni"));
    let program = PathBuf::from(folder).join(name);
    assert!(program.is_file(), "there is no {}", program.display());
    program
}

/// Runs the reference's portmap.
pub(crate) fn run_reference(command: &str, pod: &Pod, conf: &Value) -> Outcome {
    #[allow(clippy::disallowed_methods, reason = "the plugin to be compared with")]
    let mut child = Command::new(reference("portmap"))
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs([("CNI_COMMAND", command), ("CNI_CONTAINERID", pod.id()), ("CNI_IFNAME", "eth0")])
        .envs([("CNI_NETNS", pod.container.netns()), ("CNI_PATH", "/nonexistent")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(conf.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// What a program prints.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    #[allow(clippy::disallowed_methods, reason = "a second opinion on what the plugins told the kernel")]
    let output =
        Command::new(program).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
