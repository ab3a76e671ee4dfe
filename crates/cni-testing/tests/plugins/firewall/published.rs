//! Ports published by portmap on a host that drops what it forwards, by packets: what the firewall lets through reaches the
//! container, and nothing else does.

use cni_nftables::{Batch, Chain, Family, Hook, Nft, Policy, Table};
use cni_testing::Outcome;
use serde_json::{Value, json};

use crate::portmap::net::{From, HOST, OUTSIDE, PORT, Pod, Site, assert_unanswered, run, seen};

fn conf(site: &Site, pod: &Pod) -> Value {
    let backend = site.backend.split('-').next().unwrap();
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "firewall", "backend": backend,
        "ingressPolicy": "same-bridge", "prevResult": pod.result,
    })
}

fn firewall(site: &Site, command: &str, pod: &Pod) -> Outcome {
    let (run, conf) = (site.host.plugin("firewall").env("PATH", &site.path()), conf(site, pod));
    match command {
        "ADD" => run.add(&pod.container, "eth0", &conf),
        "CHECK" => run.check(&pod.container, "eth0", &conf),
        _ => run.del(&pod.container, "eth0", &conf),
    }
}

/// As docker and ufw leave it, or the owner.
fn drop_what_is_forwarded(backend: &str) {
    if backend == "nftables" {
        let table = Table::new(Family::Inet, "cni_firewall");
        let chain = Chain { name: "forward", base: Some((Hook::FilterForward, 0, Policy::Drop)) };
        Nft::new().commit(Batch::default().add_table(&table).add_chain(&table, &chain)).unwrap();
        return;
    }
    for program in [backend, &backend.replacen("ip", "ip6", 1)] {
        run(program, &["-P", "FORWARD", "DROP"]);
    }
}

fn published(backend: &'static str) {
    let site = Site::new(backend);
    drop_what_is_forwarded(backend);
    let (pod, other) = (site.pod("c1", 5), site.pod("c2", 6));
    site.map(&pod, &["8080/tcp", "8081/udp"]);
    site.map(&other, &["9090/tcp"]);
    let outside = From::Inside(&site.outside);
    for host in HOST {
        assert_unanswered(outside, "tcp", (host, 8080));
    }

    firewall(&site, "ADD", &pod).ok();
    firewall(&site, "CHECK", &pod).ok();
    for (host, caller) in HOST.into_iter().zip(OUTSIDE) {
        assert_eq!(seen(outside, "tcp", (host, 8080)), caller);
        assert_eq!(seen(outside, "udp", (host, 8081)), caller);
        assert_unanswered(outside, "tcp", (host, 9090));
    }
    for address in pod.addresses() {
        assert_unanswered(outside, "tcp", (&address.to_string(), PORT));
    }

    firewall(&site, "DEL", &pod).ok();
    for host in HOST {
        assert_unanswered(outside, "tcp", (host, 8080));
    }
}

#[test]
fn f8_a_published_port_works_where_the_chain_drops_with_nftables() {
    published("nftables");
}

#[test]
#[ignore = "needs iptables: add -- --ignored firewall::published"]
fn f8_a_published_port_works_where_forward_drops_with_iptables_nft() {
    published("iptables");
}

#[test]
#[ignore = "needs iptables-legacy: add -- --ignored firewall::published"]
fn f8_a_published_port_works_where_forward_drops_with_iptables_legacy() {
    published("iptables-legacy");
}
