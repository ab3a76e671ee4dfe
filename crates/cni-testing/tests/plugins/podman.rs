//! The real podman with its CNI backend, over our plugins: Debian's podman 4.3, which speaks up to version 1.0.0 of the
//! specification and has neither GC nor STATUS.
//!
//! These tests are marked as ignored, since they need root and Debian's packages; `cargo xtask test` runs them where both
//! are there, and says so where not. By hand, as root:
//!
//! ```sh
//! apt-get install podman runc conmon busybox-static iptables
//! cargo build --workspace --bins
//! cargo test -p cni-testing --test plugins -- --ignored podman::
//! ```
//!
//! Everything that podman keeps lies in the host's folder; what it insists on, /run and /var/lib, is hidden under empty
//! file systems. It runs the plugins in its own network namespace, which is the private host's.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use cni_host::NetNs;
use cni_testing::{EchoServer, Host, Snapshot};
use serde_json::{Value, json};

use crate::portmap_net::{From, HOST, OUTSIDE, reference, seen};

struct Podman {
    host: Host,
}

impl Podman {
    /// A host with podman, one network on it (`plugins`), and an image with busybox.
    fn new(plugins: &Value) -> Self {
        let host = Host::new();
        host.hide(&["/run", "/var/lib"]);
        let podman = Podman { host };
        // A folder for what is not ours, empty unless a test puts something there.
        fs::create_dir_all(podman.dir("others")).unwrap();
        podman.write("net.d/net.conflist", &conflist(plugins));
        podman.write("containers.conf", &podman.containers_conf());
        podman.write("storage.conf", &podman.storage_conf());
        podman.write("policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
        podman.import_image();
        podman
    }

    fn dir(&self, name: &str) -> PathBuf {
        // Beside the folder of which snapshots are made, or podman's own files would be in them.
        self.host.dir().with_file_name("podman").join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.dir(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// `default_ulimits`, because the defaults are higher than root may have in a container; the cgroup manager, because
    /// there may be no systemd. No `static_dir`: the podman that cleans up after a container is told of its folders on the
    /// command line and would find another one, and give up.
    fn containers_conf(&self) -> String {
        let dir = |name: &str| self.dir(name).display().to_string();
        format!(
            "[containers]\n\
             default_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
             log_driver = \"k8s-file\"\n\
             [network]\n\
             network_backend = \"cni\"\n\
             cni_plugin_dirs = [\"{}\", \"{}\"]\n\
             network_config_dir = \"{}\"\n\
             default_network = \"net\"\n\
             [engine]\n\
             runtime = \"runc\"\n\
             cgroup_manager = \"cgroupfs\"\n\
             events_logger = \"file\"\n\
             tmp_dir = \"{}\"\n",
            self.host.bin_dir().display(),
            dir("others"),
            dir("net.d"),
            dir("tmp"),
        )
    }

    fn storage_conf(&self) -> String {
        let (graph, run) = (self.dir("graph"), self.dir("run"));
        format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            graph.display(),
            run.display()
        )
    }

    /// An image of busybox alone, called by the names that are used here.
    fn import_image(&self) {
        let bin = self.dir("image/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/usr/bin/busybox", bin.join("busybox")).unwrap();
        for name in ["sh", "hostname", "httpd", "wget"] {
            symlink("busybox", bin.join(name)).unwrap();
        }
        fs::set_permissions(self.dir("image"), fs::Permissions::from_mode(0o755)).unwrap();
        let (image, tar) = (self.dir("image"), self.dir("image.tar"));
        run(self.command("tar").arg("-C").arg(image).arg("-cf").arg(&tar).arg("."));
        let policy = self.dir("policy.json");
        run(self
            .command("podman")
            .args(["import", "-q", "--signature-policy"])
            .args([&policy, &tar])
            .arg("busybox"));
    }

    fn command(&self, program: &str) -> Command {
        #[allow(clippy::disallowed_methods, reason = "this test is about another program")]
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.dir(""))
            .env("TMPDIR", self.dir(""))
            .env("CONTAINERS_CONF", self.dir("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.dir("storage.conf"))
            .current_dir(self.dir(""));
        command
    }

    /// Runs podman and returns what it printed.
    #[track_caller]
    fn podman(&self, words: &str) -> String {
        run(self.command("podman").args(words.split(' ')))
    }

    /// Starts a container with a web server, whose page is the container's name.
    #[track_caller]
    fn start_server(&self, name: &str, options: &str) {
        self.start_server_in("net", name, options);
    }

    #[track_caller]
    fn start_server_in(&self, network: &str, name: &str, options: &str) {
        let options = format!(
            "run -d --pull never --name {name} --hostname {name} --network {network}{options} busybox"
        );
        let words = options.split(' ').chain(["sh", "-c", "hostname >/page; exec httpd -f -p 8080 -h /"]);
        run(self.command("podman").args(words));
    }

    /// Fetches a page in a container that runs already.
    #[track_caller]
    fn fetch(&self, name: &str, authority: &str) -> String {
        self.podman(&format!("exec {name} wget -q -O - http://{authority}/page"))
    }

    /// What podman says of a container's network.
    fn settings(&self, name: &str) -> Value {
        let all: Value = serde_json::from_str(&self.podman(&format!("inspect {name}"))).unwrap();
        all[0]["NetworkSettings"].clone()
    }

    /// What podman says of a container's place in the network.
    fn inspect(&self, name: &str) -> Value {
        self.settings(name)["Networks"]["net"].clone()
    }

    /// Answers UDP in a container that runs; the image's programs can only do TCP.
    fn serve_udp(&self, name: &str, port: u16) -> EchoServer {
        let settings = self.settings(name);
        let netns = NetNs::open(Path::new(settings["SandboxKey"].as_str().unwrap())).unwrap();
        netns.run(|| EchoServer::start(SocketAddr::new("0.0.0.0".parse().unwrap(), port))).unwrap()
    }

    /// What a network leaves for its next container, after a first one has come and gone: the bridge and, as the reference
    /// has them, chains for all containers. Of that one itself there is nothing.
    #[track_caller]
    fn after_a_first(&self, network: &str, options: &str) -> Snapshot {
        self.podman(&format!("run --rm --pull never --network {network}{options} busybox sh -c :"));
        let snapshot = self.host.snapshot();
        for own in ["10.99.0.2", "10.98.0.2", "fd00:99::2", "CNI-DN-", "link veth"] {
            let left: Vec<&String> = snapshot.0.iter().filter(|line| line.contains(own)).collect();
            assert!(left.is_empty(), "{left:#?}");
        }
        snapshot
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(Path::new("/var/lib/cni").join(folder)) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with("last_reserved_ip") && name != "lock").collect()
    }

    /// Nothing of any container: no link, no lease, no cached result.
    #[track_caller]
    fn assert_nothing_left(&self, before: &Snapshot, network: &str) {
        self.host.snapshot().assert_same(before);
        assert_eq!(self.files(&format!("networks/{network}")), [""; 0], "leases");
        assert_eq!(self.files("results"), [""; 0], "cached results");
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // A test that fails must not leave containers running whose files are gone.
        let _ = self.command("podman").args(["rm", "-f", "-a", "-t", "0"]).output();
    }
}

/// With host-local's default dataDir, as most networks have it.
fn conflist(plugins: &Value) -> String {
    json!({ "cniVersion": "1.0.0", "name": "net", "plugins": plugins }).to_string()
}

fn bridge() -> Value {
    json!({
        "type": "bridge",
        "bridge": "br-podman",
        "isGateway": true,
        "ipMasq": true,
        "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{ "subnet": "10.99.0.0/24" }], [{ "subnet": "fd00:99::/64" }]],
            "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
        },
    })
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed ({}):\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

#[test]
#[ignore = "needs root, podman, runc, conmon and busybox-static: `cargo xtask test` as root installs and runs it"]
fn containers_of_podman_reach_each_other_and_leave_nothing() {
    let podman = Podman::new(&json!([bridge()]));
    let before = podman.after_a_first("net", "");
    podman.start_server("server", "");
    podman.start_server("client", "");

    // host-local gives out each address of the range once before it begins anew.
    let network = podman.inspect("server");
    assert_eq!((&network["IPAddress"], &network["IPPrefixLen"]), (&json!("10.99.0.3"), &json!(24)));
    assert_eq!(
        (&network["GlobalIPv6Address"], &network["Gateway"]),
        (&json!("fd00:99::3"), &json!("10.99.0.1"))
    );
    assert_eq!(podman.files("networks/net").len(), 4, "one lease a family and container");

    for (from, address, to) in [
        ("client", "10.99.0.3", "server"),
        ("client", "[fd00:99::3]", "server"),
        ("server", "10.99.0.4", "client"),
        ("server", "[fd00:99::4]", "client"),
    ] {
        assert_eq!(podman.fetch(from, &format!("{address}:8080")).trim_end(), to, "{from} to {address}");
    }
    assert!(podman.host.ping("fd00:99::3".parse().unwrap()));
    // The DEL of one that ends by itself comes from another process, conmon's.
    let page =
        podman.podman("run --rm --pull never --network net busybox wget -q -O - http://10.99.0.3:8080/page");
    assert_eq!(page.trim_end(), "server");
    assert_eq!(podman.files("networks/net").len(), 4, "only those of server and client");

    podman.podman("rm -f -t 0 client");
    assert_eq!(podman.files("networks/net").len(), 2, "the server keeps its leases");
    podman.podman("rm -f -t 0 server");
    podman.assert_nothing_left(&before, "net");
}

#[test]
#[ignore = "needs root, podman, runc, conmon and busybox-static: `cargo xtask test` as root installs and runs it"]
fn a_container_of_podman_restarts_and_takes_the_address_it_asks_for() {
    let podman = Podman::new(&json!([bridge()]));
    let before = podman.after_a_first("net", "");
    podman.start_server("server", " --ip 10.99.0.50 --mac-address 02:99:00:00:00:50");
    let network = podman.inspect("server");
    assert_eq!(network["IPAddress"], "10.99.0.50");
    assert_eq!(network["MacAddress"], "02:99:00:00:00:50");
    podman.podman("restart -t 0 server");
    assert_eq!(podman.inspect("server")["IPAddress"], "10.99.0.50");
    podman.start_server("client", "");
    assert_eq!(podman.fetch("client", "10.99.0.50:8080").trim_end(), "server");
    podman.podman("rm -f -t 0 server client");
    podman.assert_nothing_left(&before, "net");
}

/// Ports of TCP and UDP, from this host by way of its loopback and from a machine outside, which sees the host's address
/// when the container asks it something in turn. In the end nothing is left.
fn ports_are_published(podman: &Podman, network: &str) {
    let outside = podman.host.container("outside");
    let ports = " -p 8098:8080 -p 9098:9080/udp";
    podman.host.connect(&outside, "up0", HOST, OUTSIDE);
    let before = podman.after_a_first(network, ports);
    podman.start_server_in(network, "server", ports);
    let udp = podman.serve_udp("server", 9080);

    let tcp = |address: &str| SocketAddr::new(address.parse().unwrap(), 8098);
    let from_localhost = ("127.0.0.1", podman.host.http_get(tcp("127.0.0.1"), "/page"), From::Host);
    let from_outside = (HOST[0], outside.http_get(tcp(HOST[0]), "/page"), From::Inside(&outside));
    for (address, page, from) in [from_localhost, from_outside] {
        assert_eq!(page, Ok(("HTTP/1.1 200 OK".to_owned(), "server\n".to_owned())), "{address}");
        let peer = seen(from, "udp", (address, 9098));
        assert_eq!(peer == OUTSIDE[0], address == HOST[0], "{address}: the container sees {peer}");
    }
    let _page = outside.serve_http(SocketAddr::new(OUTSIDE[0].parse().unwrap(), 80), "outside");
    let answer = podman.fetch("server", &format!("{}:80", OUTSIDE[0]));
    assert_eq!(answer.trim_end(), format!("outside answers {}", HOST[0]), "masquerading");

    drop(udp);
    podman.podman("rm -f -t 0 server");
    podman.assert_nothing_left(&before, network);
}

#[test]
#[ignore = "needs root, podman, runc, conmon, busybox-static and iptables: `cargo xtask test` as root installs and runs it"]
fn ports_of_podman_are_published_by_our_plugins_alone() {
    let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true } });
    let podman = Podman::new(&json!([bridge(), portmap, { "type": "firewall" }]));
    assert_eq!(fs::read_dir(podman.dir("others")).unwrap().count(), 0);
    ports_are_published(&podman, "net");
}

/// The network that `podman network create` writes names `tuning` too, which is not ours yet: the reference's, and it alone,
/// goes on from our result.
#[test]
#[ignore = "needs root, podman, runc, conmon, busybox-static, iptables and the reference's plugins: `cargo xtask test` as root \
            installs and runs it"]
fn a_network_made_by_podman_works_with_its_ports() {
    let podman = Podman::new(&json!([bridge()]));
    symlink(reference("tuning"), podman.dir("others/tuning")).unwrap();
    podman.podman("network create --disable-dns --subnet 10.98.0.0/24 made");
    let made = fs::read_to_string(podman.dir("net.d/made.conflist")).unwrap();
    let made: Value = serde_json::from_str(&made).unwrap();
    let types: Vec<&Value> =
        made["plugins"].as_array().unwrap().iter().map(|plugin| &plugin["type"]).collect();
    assert_eq!(types, ["bridge", "portmap", "firewall", "tuning"]);
    assert_eq!(made["plugins"][0]["ipMasq"], true);
    ports_are_published(&podman, "made");
}
