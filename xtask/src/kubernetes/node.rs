//! A node: a process namespace with a network and files of its own, in which containerd, kubelet and kube-proxy run. When its
//! first process is killed the kernel kills all others, pods and shims among them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::process::{Process, ask, bound, wait_for};
use super::programs::Tools;
use super::{cluster, image};
use crate::Result;
use crate::cargo::run;

const STARTING: Duration = Duration::from_secs(30);

/// Where state lies that nobody can be told to keep elsewhere: libcni's cache and leases, containerd's shims, namespaces, logs.
/// Of settings of the whole machine that kubelet makes, the node sees copies.
const FILES: &str = "set -e
for folder in /run /var/lib /var/log; do mount -t tmpfs tmpfs $folder; done
mkdir -p /run/netns /run/settings /var/lib/net.d /var/lib/kubelet
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
  kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  copy=/run/settings/${setting##*/}
  cat /proc/sys/$setting > $copy
  mount --bind $copy /proc/sys/$setting
done
mkdir /run/ready
exec sleep infinity
";

pub(super) struct Node {
    name: String,
    number: usize,
    /// Its first process, in this one's process namespace.
    id: u32,
    logs: PathBuf,
    programs: Vec<Process>,
    /// By whose death all else on the node dies.
    _first: Process,
}

/// What a node is started with.
pub(super) struct Start<'a> {
    pub(super) kubeconfig: &'a Path,
    pub(super) image: &'a Path,
    pub(super) plugins: &'a Path,
}

impl Node {
    /// The namespaces, and nothing in them.
    pub(super) fn new(number: usize, logs: &Path) -> Result<Self> {
        let name = format!("n{number}");
        let mut unshare = bound(Path::new("unshare"));
        unshare.args(["--net", "--mount", "--propagation", "private", "--pid", "--mount-proc"]);
        unshare.args(["--fork", "--kill-child", "sh", "-c", FILES]);
        let first = Process::start(&mut unshare, &logs.join(format!("{name}.log")))?;
        let children = format!("/proc/{id}/task/{id}/children", id = first.id());
        let id = wait_for("the node's first process", STARTING, || {
            let children = fs::read_to_string(&children).map_err(|error| format!("{children}: {error}"))?;
            Ok(children.trim().parse().ok())
        })?;
        let ready = format!("/proc/{id}/root/run/ready");
        wait_for("the node's files", STARTING, || Ok(Path::new(&ready).exists().then_some(())))?;
        let logs = logs.to_owned();
        Ok(Node { name, number, id, logs, programs: Vec::new(), _first: first })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A link to the bridge between nodes, and the way out.
    pub(super) fn connect(&self, bridge: &str) -> Result<()> {
        let (name, id) = (self.link(), self.id);
        let ip = |words: String| run(Command::new("ip").args(words.split(' ')));
        ip(format!("link add {name} type veth peer name eth0 netns {id}"))?;
        ip(format!("link set {name} master {bridge} up"))?;
        let [v4, v6] = self.addresses();
        for words in [
            "link set lo up".to_owned(),
            format!("addr add {v4}/24 dev eth0"),
            format!("addr add {v6}/64 dev eth0 nodad"),
            "link set eth0 up".to_owned(),
            "route add default via 10.99.0.1".to_owned(),
            "-6 route add default via fd99::1".to_owned(),
        ] {
            run(self.command("ip").args(words.split(' ')))?;
        }
        Ok(())
    }

    /// The near end of its link.
    fn link(&self) -> String {
        format!("to-{}", self.name)
    }

    fn addresses(&self) -> [String; 2] {
        let last = 10 + self.number;
        [format!("10.99.0.{last}"), format!("fd99::{last}")]
    }

    /// Where containerd tells how long it has waited for plugins.
    pub(super) fn metrics(&self) -> String {
        format!("{}:1338", self.addresses()[0])
    }

    /// containerd, the image, kubelet.
    pub(super) fn start(&mut self, tools: &Tools, start: &Start<'_>) -> Result<()> {
        self.put("/var/lib/containerd.toml", &self.containerd_config(start.plugins))?;
        self.put("/var/lib/kubelet.json", &kubelet_config().to_string())?;
        self.run("containerd", &["--config", "/var/lib/containerd.toml"])?;
        wait_for("containerd", STARTING, || ask(self.command("ctr").arg("version")).map(Some))?;
        ask(self.command("ctr").args(["-n", "k8s.io", "image", "import"]).arg(start.image))?;
        let kubelet = tools.path("kubelet");
        let options = [
            "--config=/var/lib/kubelet.json".to_owned(),
            format!("--kubeconfig={}", start.kubeconfig.display()),
            format!("--hostname-override={}", self.name),
            format!("--node-ip={}", self.addresses().join(",")),
            "--root-dir=/var/lib/kubelet".to_owned(),
            "--cert-dir=/var/lib/kubelet/pki".to_owned(),
        ];
        self.run(&kubelet.display().to_string(), &options.each_ref().map(String::as_str))
    }

    pub(super) fn start_proxy(&mut self, tools: &Tools, kubeconfig: &Path, mode: &str) -> Result<()> {
        let config = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
            "mode": mode, "clusterCIDR": cluster::PODS, "hostnameOverride": self.name,
            "clientConnection": {"kubeconfig": kubeconfig},
            // The machine's settings, which are not a node's.
            "conntrack": {
                "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
            },
        });
        self.put("/var/lib/kube-proxy.json", &config.to_string())?;
        let proxy = tools.path("kube-proxy").display().to_string();
        self.run(&proxy, &["--config", "/var/lib/kube-proxy.json"])
    }

    /// The node is ready for pods from then on.
    pub(super) fn put_network(&self, conflist: &str) -> Result<()> {
        self.put("/var/lib/net.d/10-pods.conflist", conflist)
    }

    /// How many attachments there are in libcni's cache, from which DEL of the chain removes one last of all.
    pub(super) fn attachments(&self) -> Result<usize> {
        let folder = self.path("/var/lib/cni/results");
        let files = fs::read_dir(&folder).map_err(|error| format!("cannot read {folder}: {error}"))?;
        let names = files.filter_map(|file| Some(file.ok()?.file_name().to_string_lossy().into_owned()));
        Ok(names.filter(|name| name.starts_with("pods-")).count())
    }

    /// A command on the node.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = bound(Path::new("nsenter"));
        command.arg(format!("--target={}", self.id)).args(["--net", "--mount", "--pid", program]);
        command
    }

    fn run(&mut self, program: &str, words: &[&str]) -> Result<()> {
        let name = program.rsplit('/').next().unwrap_or(program);
        let log = self.logs.join(format!("{}-{name}.log", self.name));
        self.programs.push(Process::start(self.command(program).args(words), &log)?);
        Ok(())
    }

    /// Writes a file of the node.
    fn put(&self, path: &str, content: &str) -> Result<()> {
        let path = self.path(path);
        fs::write(&path, content).map_err(|error| format!("cannot write {path}: {error}"))
    }

    /// Where a file of the node is for this process.
    fn path(&self, path: &str) -> String {
        format!("/proc/{}/root{path}", self.id)
    }

    /// `opt` would make a folder in /opt. Lower scores for the out-of-memory killer than one's own are not for everybody to give,
    /// and neither AppArmor nor overlayfs is everywhere.
    fn containerd_config(&self, plugins: &Path) -> String {
        format!(
            r#"
            version = 2
            disabled_plugins = ["io.containerd.internal.v1.opt"]
            [metrics]
              address = "{metrics}"
            [plugins."io.containerd.grpc.v1.cri"]
              sandbox_image = "{image}"
              disable_apparmor = true
              restrict_oom_score_adj = true
              [plugins."io.containerd.grpc.v1.cri".cni]
                bin_dir = "{plugins}"
                conf_dir = "/var/lib/net.d"
              [plugins."io.containerd.grpc.v1.cri".containerd]
                snapshotter = "native"
            "#,
            metrics = self.metrics(),
            image = image::NAME,
            plugins = plugins.display(),
        )
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The kernel takes the node down later, and a next one of the name may come sooner.
        let _ = ask(Command::new("ip").args(["link", "del", &self.link()]));
    }
}

/// Without control groups for pods, which are the whole machine's, and without a look at its disks.
fn kubelet_config() -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "failCgroupV1": false, "cgroupDriver": "cgroupfs", "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [], "failSwapOn": false, "evictionHard": {},
        "localStorageCapacityIsolation": false, "resolvConf": "",
        "volumePluginDir": "/var/lib/kubelet/volumes", "podLogsDir": "/var/log/pods",
    })
}
