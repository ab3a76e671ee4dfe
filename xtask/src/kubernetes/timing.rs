//! What containerd waits for the plugins, by its own account, while twenty pods at a time come and go on each node in turn.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::image;
use super::node::Node;
use super::process::{ask, wait_for};
use crate::Result;

/// Pods that come and go together.
pub(super) const PODS: usize = 20;
/// In which they come, or go, or services get their rules.
const LIMIT: Duration = Duration::from_secs(300);

/// After which nothing more is coming.
const QUIET: Duration = Duration::from_secs(3);

/// Milliseconds a pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Waits {
    pub(super) set_up: f64,
    pub(super) tear_down: f64,
}

/// A pod on each node that stays, which services lead to and with which each node's bridge, tables and chains are made.
pub(super) fn prepare(cluster: &Cluster<'_>) -> Result<()> {
    let mut objects = Vec::new();
    for node in &cluster.nodes {
        objects.push(deployment(&format!("stay-{}", node.name()), "web", node.name(), 1));
        objects.push(deployment(&format!("go-{}", node.name()), "go", node.name(), 0));
    }
    cluster.apply(objects)?;
    for node in &cluster.nodes {
        rollout(cluster, &format!("stay-{}", node.name()))?;
    }
    Ok(())
}

/// Services with two endpoints each, and the wait until both nodes have their rules.
pub(super) fn add_services(cluster: &Cluster<'_>, count: usize, mode: &str) -> Result<()> {
    let service = |number: usize| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": format!("service-{number}"), "namespace": "default"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
        })
    };
    cluster.apply((0..count).map(service).collect())?;
    for node in &cluster.nodes {
        let what = format!("the rules of {count} services on {}", node.name());
        wait_for(&what, LIMIT, || Ok((services_with_rules(node, mode)? >= count).then_some(())))?;
    }
    Ok(())
}

/// For how many services kube-proxy has made rules.
fn services_with_rules(node: &Node, mode: &str) -> Result<usize> {
    if mode == "nftables" {
        let map = ask(node.command("nft").args(["list", "map", "ip", "kube-proxy", "service-ips"]))?;
        Ok(map.matches(" goto service-").count())
    } else {
        let rules = ask(node.command("iptables-save").args(["-t", "nat"]))?;
        Ok(rules.lines().filter(|line| line.starts_with(":KUBE-SVC-")).count())
    }
}

/// By the names of nodes.
pub(super) fn measure(cluster: &Cluster<'_>, rounds: usize) -> Result<BTreeMap<String, Waits>> {
    let mut sums = BTreeMap::new();
    for _ in 0..rounds {
        for node in &cluster.nodes {
            let before = waits(node)?;
            come_and_go(cluster, node)?;
            let after = waits(node)?;
            let sum = sums.entry(node.name().to_owned()).or_insert(Waits { set_up: 0.0, tear_down: 0.0 });
            let pods = (rounds * PODS) as f64;
            sum.set_up += (after.set_up - before.set_up) / pods;
            sum.tear_down += (after.tear_down - before.tear_down) / pods;
        }
    }
    Ok(sums)
}

fn come_and_go(cluster: &Cluster<'_>, node: &Node) -> Result<()> {
    let (name, staying) = (format!("go-{}", node.name()), node.attachments()?);
    let scale = |count: usize| {
        cluster.kubectl(&["scale", &format!("deployment/{name}"), &format!("--replicas={count}")])
    };
    scale(PODS)?;
    rollout(cluster, &name)?;
    scale(0)?;
    wait_for("the end of the pods", LIMIT, || Ok((node.attachments()? <= staying).then_some(())))?;
    // containerd calls DEL of one pod more than once, and not all of them before the pod is gone.
    let mut last = waits(node)?;
    wait_for("the last DEL", LIMIT, || {
        std::thread::sleep(QUIET);
        let now = waits(node)?;
        Ok((std::mem::replace(&mut last, now) == now).then_some(()))
    })
}

fn rollout(cluster: &Cluster<'_>, name: &str) -> Result<()> {
    let limit = format!("--timeout={}s", LIMIT.as_secs());
    cluster.kubectl(&["rollout", "status", &format!("deployment/{name}"), &limit]).map(drop)
}

fn deployment(name: &str, app: &str, node: &str, replicas: usize) -> Value {
    let labels = json!({"deployment": name, "app": app});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "nodeSelector": {"kubernetes.io/hostname": node},
                    "terminationGracePeriodSeconds": 0,
                    "automountServiceAccountToken": false,
                    "containers": [{"name": "c", "image": image::NAME, "imagePullPolicy": "Never"}],
                },
            },
        },
    })
}

/// The sums of all waits of a node's containerd, in milliseconds. A pod's deletion may take several calls of DEL.
fn waits(node: &Node) -> Result<Waits> {
    let address = node.metrics();
    let cannot = |error| format!("cannot read containerd's metrics at {address}: {error}");
    let mut stream = TcpStream::connect(&address).map_err(cannot)?;
    // By this version the answer ends where the connection does.
    let request = format!("GET /v1/metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(cannot)?;
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).map_err(cannot)?;
    Ok(Waits { set_up: sum(&metrics, "set_up_pod"), tear_down: sum(&metrics, "tear_down_pod") })
}

/// None where there was no such call yet.
fn sum(metrics: &str, operation: &str) -> f64 {
    let start = format!(
        "containerd_cri_network_plugin_operations_duration_seconds_seconds_sum{{operation_type=\"{operation}\"}} "
    );
    let seconds = metrics.lines().find_map(|line| line.strip_prefix(&start)?.trim().parse::<f64>().ok());
    seconds.unwrap_or_default() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operations_sum_is_found_among_the_metrics() {
        let name = "containerd_cri_network_plugin_operations_duration_seconds_seconds";
        let metrics = format!(
            "# TYPE {name} histogram\n{name}_sum{{operation_type=\"status\"}} 3\n\
             {name}_sum{{operation_type=\"set_up_pod\"}} 1.5\n{name}_count{{operation_type=\"set_up_pod\"}} 2\n"
        );
        assert!((sum(&metrics, "set_up_pod") - 1500.0).abs() < 1e-6);
        assert!(sum(&metrics, "tear_down_pod").abs() < 1e-6);
    }
}
