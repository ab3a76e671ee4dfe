//! A real cluster on one machine: etcd and the control plane in this process's own network, whose bridge is what lies between
//! the nodes.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::node::Node;
use super::process::{Process, ask, bound, wait_for};
use super::programs::Tools;
use super::{image, node};
use crate::cargo::run;
use crate::{Result, tools};

/// The control plane's address, and the API server's.
const ADDRESS: &str = "10.99.0.1";
const SERVER: &str = "https://10.99.0.1:6443";
const SERVICES: &str = "10.96.0.0/16,fd00:96::/112";
pub(super) const PODS: &str = "10.244.0.0/16,fd00:10:244::/56";
/// The bridge.
const UNDERLAY: &str = "under";

/// What the control plane needs to be there, and a node to be ready.
const STARTING: Duration = Duration::from_secs(90);

/// Everything ends when this is dropped: the nodes first.
pub(super) struct Cluster<'a> {
    pub(super) nodes: Vec<Node>,
    tools: &'a Tools,
    folder: PathBuf,
    logs: PathBuf,
    image: PathBuf,
    control: Vec<Process>,
}

impl<'a> Cluster<'a> {
    /// Starts a control plane without nodes. The folder must be empty.
    pub(super) fn start(tools: &'a Tools, folder: &Path, logs: &Path) -> Result<Self> {
        make_underlay()?;
        let mut cluster = Cluster {
            nodes: Vec::new(),
            tools,
            folder: folder.to_owned(),
            logs: logs.to_owned(),
            image: image::make(folder)?,
            control: Vec::new(),
        };
        cluster.write("tokens.csv", "secret,admin,admin,\"system:masters\"\n")?;
        cluster.start_etcd()?;
        cluster.start_api_server()?;
        let ready = || Ok((cluster.kubectl(&["get", "--raw", "/readyz"])? == "ok").then_some(()));
        wait_for("the API server", STARTING, ready)?;
        cluster.startcontrollers()?;
        Ok(cluster)
    }

    fn start_etcd(&mut self) -> Result<()> {
        let mut etcd = bound(&self.tools.path("etcd"));
        let client = "http://127.0.0.1:2379";
        etcd.args(["--listen-client-urls", client, "--advertise-client-urls", client]);
        etcd.arg("--data-dir").arg(self.folder.join("etcd")).arg("--unsafe-no-fsync");
        self.run("etcd", &mut etcd)
    }

    /// Whoever knows the token may do everything: nobody else is on this network.
    fn start_api_server(&mut self) -> Result<()> {
        let certificates = self.folder.join("certificates");
        // The server makes itself a certificate, whose key signs the tokens of service accounts too.
        let key = certificates.join("apiserver.key");
        let mut server = bound(&self.tools.path("kube-apiserver"));
        server.args(["--etcd-servers=http://127.0.0.1:2379", "--authorization-mode=AlwaysAllow"]);
        server.args([format!("--bind-address={ADDRESS}"), format!("--advertise-address={ADDRESS}")]);
        server.arg(format!("--service-cluster-ip-range={SERVICES}"));
        server.args(["--secure-port=6443", "--service-account-issuer=https://kubernetes.default.svc"]);
        server.arg(format!("--cert-dir={}", certificates.display()));
        server.arg(format!("--token-auth-file={}", self.folder.join("tokens.csv").display()));
        server.arg(format!("--service-account-key-file={}", key.display()));
        server.arg(format!("--service-account-signing-key-file={}", key.display()));
        self.run("kube-apiserver", &mut server)?;
        let certificate = certificates.join("apiserver.crt");
        wait_for("the API server's certificate", STARTING, || Ok(certificate.exists().then_some(())))?;
        let config = kubeconfig(&certificate);
        self.write("kubeconfig", &config.to_string())
    }

    fn startcontrollers(&mut self) -> Result<()> {
        let config = format!("--kubeconfig={}", self.kubeconfig().display());
        let mut manager = bound(&self.tools.path("kube-controller-manager"));
        manager.args([&config, "--leader-elect=false", "--bind-address=127.0.0.1", "--allocate-node-cidrs"]);
        manager.args([format!("--cluster-cidr={PODS}"), format!("--service-cluster-ip-range={SERVICES}")]);
        manager.args(["--node-cidr-mask-size-ipv4=24", "--node-cidr-mask-size-ipv6=64"]);
        // It makes the folder, which would otherwise be in /usr.
        manager.arg(format!("--flex-volume-plugin-dir={}", self.folder.join("volumes").display()));
        self.run("kube-controller-manager", &mut manager)?;
        let mut scheduler = bound(&self.tools.path("kube-scheduler"));
        scheduler.args([&config, "--leader-elect=false", "--bind-address=127.0.0.1"]);
        self.run("kube-scheduler", &mut scheduler)
    }

    fn run(&mut self, name: &str, command: &mut Command) -> Result<()> {
        self.control.push(Process::start(command, &self.logs.join(format!("{name}.log")))?);
        Ok(())
    }

    /// One more node, with these plugins. `plugins` of the network have `POD_CIDR` and `POD_CIDR6` for the node's addresses.
    pub(super) fn add_node(&mut self, plugins: &Path, network: &Value) -> Result<()> {
        let number = self.nodes.len() + 1;
        let mut node = Node::new(number, &self.logs)?;
        node.connect(UNDERLAY)?;
        let start = node::Start { kubeconfig: &self.kubeconfig(), image: &self.image, plugins };
        node.start(self.tools, &start)?;
        let name = node.name().to_owned();
        let ranges = wait_for("the node's addresses", STARTING, || {
            let ranges = self.kubectl(&["get", "node", &name, "-o", "jsonpath={.spec.podCIDRs[*]}"])?;
            Ok(ranges.split_once(' ').map(|(v4, v6)| [v4.to_owned(), v6.to_owned()]))
        })?;
        let network = network.to_string().replace("POD_CIDR6", &ranges[1]).replace("POD_CIDR", &ranges[0]);
        node.put_network(&network)?;
        self.kubectl(&["wait", "--for=condition=Ready", &format!("node/{name}"), "--timeout=60s"])?;
        self.nodes.push(node);
        Ok(())
    }

    /// kube-proxy on every node.
    pub(super) fn start_proxies(&mut self, mode: &str) -> Result<()> {
        let kubeconfig = self.kubeconfig();
        self.nodes.iter_mut().try_for_each(|node| node.start_proxy(self.tools, &kubeconfig, mode))
    }

    pub(super) fn kubectl(&self, words: &[&str]) -> Result<String> {
        ask(self.kubectl_command().args(words))
    }

    /// Makes or changes objects.
    pub(super) fn apply(&self, objects: Vec<Value>) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let mut command = self.kubectl_command();
        command.args(["apply", "--server-side", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let cannot = |error| format!("cannot run kubectl apply: {error}");
        let mut child = command.spawn().map_err(cannot)?;
        let mut stdin = child.stdin.take().ok_or("kubectl's standard input is piped")?;
        stdin.write_all(list.to_string().as_bytes()).map_err(cannot)?;
        drop(stdin);
        let status = child.wait().map_err(cannot)?;
        if status.success() { Ok(()) } else { Err(format!("kubectl apply failed ({status})")) }
    }

    fn kubectl_command(&self) -> Command {
        let mut command = bound(&self.tools.path("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig());
        // Where it would keep what it has learnt of the server.
        command.arg("--cache-dir").arg(self.folder.join("kubectl"));
        command
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    fn write(&self, name: &str, content: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, content).map_err(|error| tools::cannot("write", &path, error))
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        self.nodes.clear();
        // Else a next cluster could not make it. Where it fails there is none.
        let _ = ask(Command::new("ip").args(["link", "del", UNDERLAY]));
    }
}

fn make_underlay() -> Result<()> {
    for words in [
        "link set lo up",
        "link add under type bridge",
        "addr add 10.99.0.1/24 dev under",
        "addr add fd99::1/64 dev under nodad",
        "link set under up",
    ] {
        run(Command::new("ip").args(words.split(' ')))?;
    }
    Ok(())
}

/// JSON is YAML.
fn kubeconfig(certificate: &Path) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "all",
        "clusters": [{"name": "all", "cluster": {"server": SERVER, "certificate-authority": certificate}}],
        "users": [{"name": "all", "user": {"token": "secret"}}],
        "contexts": [{"name": "all", "context": {"cluster": "all", "user": "all"}}],
    })
}
