//! `bench kubelet`: the plugins under Kubernetes' own programs. A cluster of two nodes, one with our plugins and one with the
//! reference's, and what containerd says that it has waited for them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::namespaces::is_root;
use crate::{Result, tools};

mod cluster;
mod image;
mod node;
mod process;
mod programs;
mod timing;

use cluster::Cluster;
use timing::Waits;

pub(crate) use programs::Tools;

/// The scenario's name on the command line.
pub(crate) const SCENARIO: &str = "kubelet";

/// Rounds unless the command line says otherwise.
const ROUNDS: usize = 3;
const SERVICES: usize = 2_000;

/// Which backends the network asks for, and by what kube-proxy works: as they are found together.
const KINDS: [Kind; 2] =
    [Kind { backend: Some("nftables"), proxy: "nftables" }, Kind { backend: None, proxy: "iptables" }];

struct Kind {
    backend: Option<&'static str>,
    proxy: &'static str,
}

/// A line of the table.
struct Row {
    backends: &'static str,
    proxy: &'static str,
    services: usize,
    ours: Waits,
    reference: Waits,
}

/// All programs, before the way to the internet is closed. An error says what is missing.
pub(crate) fn prepare() -> Result<Tools> {
    if !is_root() {
        return Err(
            "a cluster's nodes mount and have control groups: sudo cargo xtask bench kubelet".to_owned()
        );
    }
    Tools::get()
}

/// Measures, in namespaces that this process has entered, and prints. The results lie in `folder`, and logs beside them.
pub(crate) fn run(
    tools: &Tools,
    rounds: Option<usize>,
    ours: &Path,
    reference: &Path,
    folder: &Path,
) -> Result<()> {
    let rounds = rounds.unwrap_or(ROUNDS);
    let logs = folder.join("kubelet-logs");
    fs::create_dir_all(&logs).map_err(|error| tools::cannot("create", &logs, error))?;
    let mut rows = Vec::new();
    for kind in &KINDS {
        let state = State::new()?;
        let measured = measure(tools, kind, rounds, [ours, reference], &state.0, &logs);
        rows.extend(measured.map_err(|error| format!("{error} (logs are in {})", logs.display()))?);
    }
    println!("{}", markdown(&rows));
    let path = folder.join("kubelet.json");
    fs::write(&path, format!("{:#}\n", json(&rows, rounds)))
        .map_err(|error| tools::cannot("write", &path, error))
}

/// One cluster: without services, and with them.
fn measure(
    tools: &Tools,
    kind: &Kind,
    rounds: usize,
    plugins: [&Path; 2],
    state: &Path,
    logs: &Path,
) -> Result<Vec<Row>> {
    let backends = kind.backend.unwrap_or("default");
    println!("a cluster for {backends} backends, kube-proxy by {}", kind.proxy);
    let mut cluster = Cluster::start(tools, state, logs)?;
    for plugins in plugins {
        let plugins = fs::canonicalize(plugins).map_err(|error| tools::cannot("find", plugins, error))?;
        cluster.add_node(&plugins, &network(kind.backend))?;
    }
    cluster.start_proxies(kind.proxy)?;
    timing::prepare(&cluster)?;
    let mut rows = Vec::new();
    for services in [0, SERVICES] {
        if services > 0 {
            timing::add_services(&cluster, services, kind.proxy)?;
        }
        let mut waits = timing::measure(&cluster, rounds)?.into_values();
        let (Some(ours), Some(reference)) = (waits.next(), waits.next()) else {
            return Err("two nodes are measured".to_owned());
        };
        let row = Row { backends, proxy: kind.proxy, services, ours, reference };
        println!("{}", row.markdown());
        rows.push(row);
    }
    Ok(rows)
}

/// The chain of a pod, in both families.
fn network(backend: Option<&str>) -> Value {
    let mut bridge = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "POD_CIDR"}], [{"subnet": "POD_CIDR6"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        },
    });
    let mut portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let mut firewall = json!({"type": "firewall"});
    if let Some(backend) = backend {
        bridge["ipMasqBackend"] = json!(backend);
        portmap["backend"] = json!(backend);
        firewall["backend"] = json!(backend);
    }
    json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, portmap, firewall]})
}

impl Row {
    fn markdown(&self) -> String {
        let pair =
            |ours: f64, reference: f64| format!("{ours:.0} / {reference:.0} | {:.1}", reference / ours);
        format!(
            "| {} | {} | {} | {} | {} |",
            self.backends,
            self.proxy,
            self.services,
            pair(self.ours.set_up, self.reference.set_up),
            pair(self.ours.tear_down, self.reference.tear_down)
        )
    }
}

fn markdown(rows: &[Row]) -> String {
    let mut text = format!(
        "\nReal kubelets, {} pods at once: containerd's waits for the plugins, ms a pod, ours / reference\n\n\
         | backends | kube-proxy | services | set_up_pod | times | tear_down_pod | times |\n\
         |---|---|--:|--:|--:|--:|--:|\n",
        timing::PODS
    );
    for row in rows {
        let _ = writeln!(text, "{}", row.markdown());
    }
    text
}

fn json(rows: &[Row], rounds: usize) -> Value {
    let waits = |waits: &Waits| json!({"setUpPodMs": waits.set_up, "tearDownPodMs": waits.tear_down});
    let row = |row: &Row| {
        json!({
            "backends": row.backends, "kubeProxy": row.proxy, "services": row.services,
            "ours": waits(&row.ours), "reference": waits(&row.reference),
        })
    };
    json!({"rounds": rounds, "rows": rows.iter().map(row).collect::<Vec<_>>()})
}

/// A folder for a cluster's state, with a short name, since there are sockets in it; removed when it is dropped.
struct State(PathBuf);

impl State {
    fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("cni-kubelet-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| tools::cannot("create", &folder, error))?;
        Ok(State(folder))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        remove_cgroups();
    }
}

/// Takes those of pods away that are empty, which runc and containerd leave when they are killed. One in use stays.
fn remove_cgroups() {
    let root = PathBuf::from("/sys/fs/cgroup");
    let folders = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    // Version 1 has a folder for each hierarchy.
    for hierarchy in folders(&root).into_iter().chain([root.clone()]) {
        let pods = hierarchy.join("k8s.io");
        for group in folders(&pods).into_iter().chain([pods]) {
            let _ = fs::remove_dir(group);
        }
    }
}
