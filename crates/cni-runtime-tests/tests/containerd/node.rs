//! A node: a private host with containerd on it, a network, and a machine outside.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cni_host::NetNs;
use cni_testing::{Container, EchoServer, Host, Snapshot};
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cri::{Cri, LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, PodSandboxState};
use crate::cri::{PortMapping, Protocol};
use crate::shell::Shell;

/// The node's and the outside machine's addresses, IPv4 and IPv6.
pub(crate) const HOST: [&str; 2] = ["192.0.2.1", "2001:db8:1::1"];
pub(crate) const OUTSIDE: [&str; 2] = ["192.0.2.9", "2001:db8:1::9"];

/// The network's name.
pub(crate) const NETWORK: &str = "net";

/// The port on which pods answer TCP and UDP.
const PORT: u16 = 80;

const SOCKET: &str = "/run/containerd/containerd.sock";
const IMAGE: &str = "localhost/pause:1";

/// Where the plugins and libcni keep state, unless they are told otherwise; as on a node, they are not.
const STATE: [&str; 4] = ["/var/lib/cni", "/run/cni", "/run/cni-plugins-rs", "/run/netns"];

pub(crate) struct Node {
    shell: Mutex<Shell>,
    pub(crate) outside: Container,
    pub(crate) host: Host,
}

/// A pod's sandbox that runs.
pub(crate) struct Pod {
    /// CNI_CONTAINERID
    pub(crate) id: String,
    /// As PodSandboxStatus tells them.
    pub(crate) addresses: Vec<IpAddr>,
    netns: NetNs,
}

impl Node {
    /// A host with containerd running, and one network on it, of these plugins.
    pub(crate) fn new(plugins: &Value) -> Self {
        let host = Host::new();
        host.hide(&["/run", "/var/lib"]);
        // containerd has mounts of its own, for the sake of /proc. The namespaces that it makes are mounts in /run/netns.
        let none = None::<&str>;
        mount(none, "/run", none, MsFlags::MS_SHARED, none).unwrap();
        let outside = host.container("outside");
        host.connect(&outside, "up0", HOST, OUTSIDE);
        let node = Node { shell: Mutex::new(Shell::start()), outside, host };
        let conflist = json!({ "cniVersion": "1.0.0", "name": NETWORK, "plugins": plugins });
        node.write("net.d/net.conflist", &conflist.to_string());
        node.write("config.toml", &node.config());
        node.start();
        node.import_image();
        node
    }

    /// Runs a script where containerd runs.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> String {
        self.shell.lock().unwrap().run(script)
    }

    /// For what is containerd's: beside the folder of which snapshots are made.
    fn dir(&self, name: &str) -> PathBuf {
        self.host.dir().with_file_name("containerd").join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.dir(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The state's folder is the usual one, /run/containerd, since that of the shims' sockets cannot be told. `opt` would make
    /// a folder in /opt. Lower scores for the out-of-memory killer than one's own are not for everybody to give, and neither
    /// AppArmor nor overlayfs is everywhere.
    fn config(&self) -> String {
        format!(
            r#"
            version = 2
            root = "{root}"
            disabled_plugins = ["io.containerd.internal.v1.opt"]
            [plugins."io.containerd.grpc.v1.cri"]
              sandbox_image = "{IMAGE}"
              disable_apparmor = true
              restrict_oom_score_adj = true
              [plugins."io.containerd.grpc.v1.cri".cni]
                bin_dir = "{bin}"
                conf_dir = "{conf}"
              [plugins."io.containerd.grpc.v1.cri".containerd]
                snapshotter = "native"
            "#,
            root = self.dir("root").display(),
            bin = self.host.bin_dir().display(),
            conf = self.dir("net.d").display(),
        )
    }

    /// Starts containerd and waits until it has read the network.
    pub(crate) fn start(&self) {
        let (config, log) = (self.dir("config.toml"), self.dir("log"));
        let (config, log) = (config.display(), log.display());
        self.run(&format!("containerd --config {config} >>{log} 2>&1 &"));
        self.wait_for("containerd", || {
            let mut cri = Cri::connect(Path::new(SOCKET))?;
            cri.network_is_ready().map_err(|status| status.to_string())
        });
    }

    /// Kills containerd and nothing else, as the kernel does that has run out of memory. Waits for the plugins that run at
    /// that moment: they are not told, and go on.
    pub(crate) fn kill(&self) {
        self.run("{ kill -KILL $!; wait $!; } 2>/dev/null || :");
        let bin = self.host.bin_dir();
        let running = format!("ls -l /proc/[0-9]*/exe 2>/dev/null | grep -e '-> {}/' || :", bin.display());
        self.wait_for("the end of the plugins", || Ok(self.run(&running).is_empty()));
    }

    /// A program's first process sleeps for ever. Docker's format of images, since that takes one hash where OCI's takes three.
    fn import_image(&self) {
        self.write("image/layer/.keep", "");
        fs::copy("/usr/bin/busybox", self.dir("image/layer/busybox")).unwrap();
        let image = self.dir("image");
        let image = image.display();
        self.run(&format!("tar -C {image}/layer -cf {image}/layer.tar ."));
        let layer = Sha256::digest(fs::read(self.dir("image/layer.tar")).unwrap());
        let layer: String = layer.iter().map(|byte| format!("{byte:02x}")).collect();
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": { "Entrypoint": ["/busybox", "sleep", "1000000"] },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
        });
        let manifest = json!([{ "Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"] }]);
        self.write("image/config.json", &config.to_string());
        self.write("image/manifest.json", &manifest.to_string());
        self.run(&format!("tar -C {image} -cf {image}.tar manifest.json config.json layer.tar"));
        self.run(&format!("ctr -n k8s.io image import --snapshotter native {image}.tar"));
        // The part of containerd that serves CRI is told by an event.
        let mut cri = self.cri();
        self.wait_for("the image", || cri.has_image(IMAGE).map_err(|status| status.to_string()));
    }

    #[track_caller]
    fn wait_for(&self, what: &str, mut is_there: impl FnMut() -> Result<bool, String>) {
        let since = Instant::now();
        loop {
            let answer = is_there();
            if answer == Ok(true) {
                return;
            }
            assert!(
                since.elapsed() < Duration::from_secs(60),
                "{what} is not there after a minute: {answer:?}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A connection to containerd, which a kill breaks.
    pub(crate) fn cri(&self) -> Cri {
        Cri::connect(Path::new(SOCKET)).unwrap()
    }

    /// A pod as kubelet asks for one.
    pub(crate) fn pod(&self, name: &str) -> PodSandboxConfig {
        let text = |text: &str| text.to_owned();
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: text(name),
                uid: format!("uid-of-{name}"),
                namespace: text("default"),
            }),
            hostname: text(name),
            port_mappings: Vec::new(),
            annotations: BTreeMap::new(),
            linux: Some(LinuxPodSandboxConfig { cgroup_parent: self.cgroup() }),
        }
    }

    /// The name of a control group of this node's own, below which containerd makes one a sandbox.
    fn cgroup(&self) -> String {
        let root = self.host.dir().parent().unwrap();
        format!("/{}", root.file_name().unwrap().to_str().unwrap())
    }

    /// What a network leaves for its next pod, after a first one has come and gone: a bridge, tables, chains for all. Of that
    /// one itself there is nothing.
    #[track_caller]
    pub(crate) fn after_a_first(&self, pod: &PodSandboxConfig) -> Snapshot {
        let mut cri = self.cri();
        let first = Pod::run(&mut cri, pod);
        first.remove(&mut cri);
        let snapshot = self.snapshot();
        let addresses = first.addresses.iter().map(ToString::to_string);
        let own = addresses.chain([first.id, "link veth".to_owned(), "/run/netns/".to_owned()]);
        for own in own {
            let left: Vec<&String> = snapshot.0.iter().filter(|line| line.contains(&own)).collect();
            assert!(left.is_empty(), "{left:#?}");
        }
        snapshot
    }

    /// The host's links, addresses, routes and rules; and by their names the leases, cached results, namespaces and the
    /// plugins' own records.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.host.snapshot();
        for folder in STATE {
            add_names(Path::new(folder), &mut snapshot.0);
        }
        // Which address was given last.
        snapshot.without("last_reserved_ip")
    }

    /// The container IDs of the network's leases, one a lease.
    pub(crate) fn leases(&self) -> Vec<String> {
        let folder = Path::new("/var/lib/cni/networks").join(NETWORK);
        let names = names(&folder).into_iter().filter(|name| name.parse::<IpAddr>().is_ok());
        // One that is gone since was being released.
        let leases = names.filter_map(|name| fs::read_to_string(folder.join(name)).ok());
        leases.map(|lease| lease.lines().next().unwrap_or_default().to_owned()).collect()
    }

    /// The container IDs of the network's cached results. Not of those that are being written: a containerd that is killed then
    /// cannot read them and refuses to delete the pod.
    pub(crate) fn results(&self) -> Vec<String> {
        let folder = Path::new("/var/lib/cni/results");
        let ids = names(folder).into_iter().filter_map(|name| {
            let id = name.strip_prefix(&format!("{NETWORK}-"))?.strip_suffix("-eth0")?;
            let entry = fs::read(folder.join(&name)).ok()?;
            serde_json::from_slice::<Value>(&entry).ok().map(|_| id.to_owned())
        });
        ids.collect()
    }

    /// What the node's owner does about pods that containerd has forgotten: `cnitool gc` with those that it knows. GC exists
    /// from version 1.1.0 of the specification on, so the owner's copy of the list says that; and the loopback interface is
    /// a network to containerd, for which there is no file.
    pub(crate) fn collect_garbage(&self, alive: &[String]) {
        let list = fs::read_to_string(self.dir("net.d/net.conflist")).unwrap();
        let mut list: Value = serde_json::from_str(&list).unwrap();
        list["cniVersion"] = json!("1.1.0");
        let loopback = json!({
            "cniVersion": "1.1.0", "name": "cni-loopback", "plugins": [{ "type": "loopback" }],
        });
        self.write("gc.d/net.conflist", &list.to_string());
        self.write("gc.d/loopback.conflist", &loopback.to_string());
        let (conf, bin) = (self.dir("gc.d"), self.host.bin_dir());
        for (network, ifname) in [(NETWORK, "eth0"), ("cni-loopback", "lo")] {
            let valid: String = alive.iter().map(|id| format!(" --valid {id}/{ifname}")).collect();
            let (conf, bin) = (conf.display(), bin.display());
            self.run(&format!("NETCONFPATH={conf} CNI_PATH={bin} {bin}/cnitool gc {network}{valid}"));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shell.get_mut().unwrap_or_else(PoisonError::into_inner).end();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir("log")).unwrap_or_default();
            let bad =
                log.lines().filter(|line| !line.contains("level=info") && !line.contains("level=debug"));
            eprintln!("containerd's log:\n{}", bad.collect::<Vec<_>>().join("\n"));
        }
        remove_cgroups(&self.cgroup());
    }
}

impl Pod {
    /// Runs a sandbox, and sees that it is up and has an address.
    #[track_caller]
    pub(crate) fn run(cri: &mut Cri, config: &PodSandboxConfig) -> Self {
        let id = cri.run_pod_sandbox(config).unwrap();
        Pod::find(cri, &id)
    }

    /// One that containerd knows.
    #[track_caller]
    pub(crate) fn find(cri: &mut Cri, id: &str) -> Self {
        let answer = cri.pod_sandbox_status(id).unwrap();
        let status = answer.status.unwrap();
        assert_eq!(status.state(), PodSandboxState::Ready);
        let network = status.network.unwrap();
        let more = network.additional_ips.iter().map(|more| more.ip.as_str());
        let addresses = std::iter::once(network.ip.as_str()).chain(more);
        let addresses = addresses.map(|address| address.parse().unwrap()).collect();
        let info: Value = serde_json::from_str(&answer.info["info"]).unwrap();
        let namespaces = info["runtimeSpec"]["linux"]["namespaces"].as_array().unwrap();
        let network = namespaces.iter().find(|namespace| namespace["type"] == "network").unwrap();
        let netns = NetNs::open(network["path"].as_str().unwrap()).unwrap();
        Pod { id: id.to_owned(), addresses, netns }
    }

    /// Answers TCP and UDP on the pod's port, at all of its addresses.
    pub(crate) fn serve(&self) -> Vec<EchoServer> {
        let sockets = self.addresses.iter().map(|address| SocketAddr::new(*address, PORT));
        sockets.map(|socket| self.netns.run(|| EchoServer::start(socket)).unwrap()).collect()
    }

    /// Stops and removes it.
    #[track_caller]
    pub(crate) fn remove(&self, cri: &mut Cri) {
        cri.stop_pod_sandbox(&self.id).unwrap();
        cri.remove_pod_sandbox(&self.id).unwrap();
    }
}

/// A port of the node that leads to [`PORT`].
pub(crate) fn port(host_port: u16, protocol: Protocol) -> PortMapping {
    PortMapping {
        protocol: protocol.into(),
        container_port: i32::from(PORT),
        host_port: i32::from(host_port),
    }
}

pub(crate) fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

/// The names in a folder; none when it is not there.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn add_names(folder: &Path, lines: &mut Vec<String>) {
    let mut names = names(folder);
    names.sort();
    for path in names.iter().map(|name| folder.join(name)) {
        lines.push(format!("state {}", path.display()));
        add_names(&path, lines);
    }
}

/// runc removes a container's control group and leaves the one around it, which would stay on the machine. In version 2 there
/// is one hierarchy, in version 1 one a controller.
fn remove_cgroups(name: &str) {
    let root = PathBuf::from("/sys/fs/cgroup");
    let hierarchies = names(&root).into_iter().map(|name| root.join(name)).chain([root.clone()]);
    for hierarchy in hierarchies {
        let group = hierarchy.join(name.trim_start_matches('/'));
        for sandbox in names(&group).into_iter().map(|name| group.join(name)).filter(|path| path.is_dir()) {
            let _ = fs::remove_dir(sandbox);
        }
        let _ = fs::remove_dir(group);
    }
}
