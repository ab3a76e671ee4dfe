//! What the tests of podman share: the real one with its CNI backend, Debian's podman 4.3, which speaks up to version 1.0.0
//! of the specification and has neither GC nor STATUS.
//!
//! These tests are marked as ignored, since they need root and Debian's packages; `cargo xtask test` runs them where both
//! are there, and says so where not. By hand, as root:
//!
//! ```sh
//! apt-get install podman runc conmon busybox-static iptables
//! cargo build --workspace --bins
//! cargo test -p cni-testing --test plugins -- --ignored podman
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
use cni_testing::{Container, EchoServer, Host, HttpServer, Snapshot};
use libcni::{Attachment, CacheEntry, DEFAULT_CACHE_DIR, Network, Runtime};
use serde_json::{Value, json};

use crate::portmap::net::{From, HOST, OUTSIDE, reference, seen};

/// The first container's addresses in the networks that are made here.
const FIRST: [&str; 6] = ["10.99.0.2", "10.98.0.2", "10.97.0.2", "192.0.2.129", "fd00:99::2", "fd00:98::2"];

pub(crate) struct Podman {
    pub(crate) host: Host,
}

impl Podman {
    /// A host with podman, one network on it (`plugins`), and an image with busybox.
    pub(crate) fn new(plugins: &Value) -> Self {
        let host = Host::new();
        host.hide(&["/run", "/var/lib"]);
        let podman = Podman { host };
        // Looked in before ours; empty unless a test puts there what is not ours.
        fs::create_dir_all(podman.dir("others")).unwrap();
        podman.write("net.d/net.conflist", &conflist(plugins));
        podman.write("containers.conf", &podman.containers_conf());
        podman.write("storage.conf", &podman.storage_conf());
        podman.write("policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
        podman.import_image();
        podman
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
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
            dir("others"),
            self.host.bin_dir().display(),
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

    pub(crate) fn command(&self, program: &str) -> Command {
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
    pub(crate) fn podman(&self, words: &str) -> String {
        run(self.command("podman").args(words.split(' ')))
    }

    /// Starts a container with a web server, whose page is the container's name.
    #[track_caller]
    pub(crate) fn start_server(&self, name: &str, options: &str) {
        self.start_server_in("net", name, options);
    }

    #[track_caller]
    pub(crate) fn start_server_in(&self, network: &str, name: &str, options: &str) {
        let options = format!(
            "run -d --pull never --name {name} --hostname {name} --network {network}{options} busybox"
        );
        let words = options.split(' ').chain(["sh", "-c", "hostname >/page; exec httpd -f -p 8080 -h /"]);
        run(self.command("podman").args(words));
    }

    /// Fetches a page in a container that runs already.
    #[track_caller]
    pub(crate) fn fetch(&self, name: &str, authority: &str) -> String {
        self.podman(&format!("exec {name} wget -q -O - http://{authority}/page"))
    }

    /// What podman says of a container's network.
    pub(crate) fn settings(&self, name: &str) -> Value {
        let all: Value = serde_json::from_str(&self.podman(&format!("inspect {name}"))).unwrap();
        all[0]["NetworkSettings"].clone()
    }

    /// What podman says of a container's place in a network.
    pub(crate) fn inspect(&self, name: &str, network: &str) -> Value {
        self.settings(name)["Networks"][network].clone()
    }

    /// A container's IPv4 address in a network.
    pub(crate) fn address(&self, name: &str, network: &str) -> String {
        self.inspect(name, network)["IPAddress"].as_str().unwrap().to_owned()
    }

    /// The network namespace of a container that runs.
    pub(crate) fn netns(&self, name: &str) -> NetNs {
        NetNs::open(Path::new(self.settings(name)["SandboxKey"].as_str().unwrap())).unwrap()
    }

    /// Makes a network, whose name comes last, and returns the plugins that podman writes into it.
    #[track_caller]
    pub(crate) fn create(&self, options: &str) -> Vec<String> {
        self.podman(&format!("network create --disable-dns {options}"));
        let name = options.split(' ').next_back().unwrap();
        let list = fs::read_to_string(self.dir(&format!("net.d/{name}.conflist"))).unwrap();
        let list: Value = serde_json::from_str(&list).unwrap();
        let plugins = list["plugins"].as_array().unwrap().iter();
        plugins.map(|plugin| plugin["type"].as_str().unwrap().to_owned()).collect()
    }

    /// Takes these plugins from the reference.
    pub(crate) fn borrow(&self, plugins: &[&str]) {
        for plugin in plugins {
            symlink(reference(plugin), self.dir("others").join(plugin)).unwrap();
        }
    }

    /// A machine on the host's up0, which serves a page to both families.
    pub(crate) fn outside(&self) -> (Container, [HttpServer; 2]) {
        let outside = self.host.container("outside");
        self.host.connect(&outside, "up0", HOST, OUTSIDE);
        let serve =
            |address: &str| outside.serve_http(SocketAddr::new(address.parse().unwrap(), 80), "outside");
        let pages = OUTSIDE.map(serve);
        (outside, pages)
    }

    /// The host's links, addresses and routes, without rules and files.
    pub(crate) fn links(&self) -> Snapshot {
        let mut links = self.host.snapshot();
        links.0.retain(|line| ["link ", "address ", "route "].iter().any(|kind| line.starts_with(kind)));
        links
    }

    /// All that is there, with the files that plugins keep below /run.
    fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.host.snapshot();
        snapshot.0.extend(run_files());
        snapshot
    }

    /// Answers UDP at a container's addresses while it runs; the image's programs can only do TCP.
    fn serve_udp(&self, name: &str, network: &str, port: u16) -> Vec<EchoServer> {
        let place = self.inspect(name, network);
        // What is not there is empty.
        let addresses = ["IPAddress", "GlobalIPv6Address"]
            .into_iter()
            .filter_map(|key| place[key].as_str()?.parse().ok());
        let serve = |address| EchoServer::start(SocketAddr::new(address, port));
        self.netns(name).run(|| addresses.map(serve).collect()).unwrap()
    }

    /// What a network leaves for its next container, after a first one has come and gone: the bridge and, as the reference
    /// has them, chains for all containers. Of that one itself there is nothing.
    #[track_caller]
    pub(crate) fn after_a_first(&self, network: &str, options: &str) -> Snapshot {
        self.podman(&format!("run --rm --pull never --network {network}{options} busybox sh -c :"));
        let snapshot = self.snapshot();
        for own in FIRST.iter().chain(&["CNI-DN-", "link veth"]) {
            let left: Vec<&String> = snapshot.0.iter().filter(|line| line.contains(own)).collect();
            assert!(left.is_empty(), "{left:#?}");
        }
        snapshot
    }

    /// Our libcni over our plugins, and what podman's cache has of the server, which is there alone. The libcni of podman 4.3
    /// does not write down the namespace; it is filled in.
    pub(crate) fn cached_server(&self) -> (Runtime, Network, Attachment) {
        let runtime = Runtime::new(vec![self.host.bin_dir()], DEFAULT_CACHE_DIR);
        let mut entries = runtime.cache().entries().unwrap();
        assert_eq!(entries.len(), 1, "{entries:?}");
        let CacheEntry { mut attachment, config, .. } = entries.remove(0).unwrap();
        assert_eq!(attachment.netns, None);
        attachment.netns = self.settings("server")["SandboxKey"].as_str().map(str::to_owned);
        (runtime, Network::from_slice(&config).unwrap(), attachment)
    }

    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(Path::new("/var/lib/cni").join(folder)) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with("last_reserved_ip") && name != "lock").collect()
    }

    /// Nothing of any container: no link, no lease, no cached result.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self, before: &Snapshot, network: &str) {
        self.snapshot().assert_same(before);
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
pub(crate) fn conflist(plugins: &Value) -> String {
    json!({ "cniVersion": "1.0.0", "name": "net", "plugins": plugins }).to_string()
}

pub(crate) fn bridge() -> Value {
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
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed ({}):\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

/// The files that plugins keep below /run, by name, without locks, which are nobody's.
pub(crate) fn run_files() -> Vec<String> {
    let mut folders: Vec<PathBuf> = ["/run/cni", "/run/cni-plugins-rs"].map(PathBuf::from).into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let name = path.display().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if !name.ends_with(".lock") {
                files.push(name);
            }
        }
    }
    files.sort();
    files
}

/// Ports of TCP and UDP over the network's families, from this host by way of its loopback and from a machine outside, which
/// sees the host's address when the container asks it something in turn. In the end nothing is left.
pub(crate) fn ports_are_published(podman: &Podman, outside: &Container, network: &str) {
    let ports = " -p 8098:8080 -p 9098:9080/udp";
    let before = podman.after_a_first(network, ports);
    podman.start_server_in(network, "server", ports);
    assert_published(podman, outside, network);
    podman.podman("restart -t 0 server");
    assert_published(podman, outside, network);
    podman.podman("rm -f -t 0 server");
    podman.assert_nothing_left(&before, network);
}

/// That of a server that runs.
pub(crate) fn assert_published(podman: &Podman, outside: &Container, network: &str) {
    let _udp = podman.serve_udp("server", network, 9080);
    let page = Ok(("HTTP/1.1 200 OK".to_owned(), "server\n".to_owned()));
    let both = podman.inspect("server", network)["GlobalIPv6Address"] != "";
    for (host, beyond) in HOST.into_iter().zip(OUTSIDE).take(if both { 2 } else { 1 }) {
        let to = SocketAddr::new(host.parse().unwrap(), 8098);
        assert_eq!(outside.http_get(to, "/page"), page, "from outside to {to}");
        let peer = seen(From::Inside(outside), "udp", (host, 9098));
        assert_eq!(peer, beyond, "whom the container sees");
        let to = SocketAddr::new(beyond.parse().unwrap(), 80);
        assert_eq!(podman.fetch("server", &to.to_string()).trim_end(), format!("outside answers {host}"));
    }
    let to: SocketAddr = "127.0.0.1:8098".parse().unwrap();
    assert_eq!(podman.host.http_get(to, "/page"), page, "from the host to {to}");
    assert_ne!(seen(From::Host, "udp", ("127.0.0.1", 9098)), OUTSIDE[0]);
}
