//! Networks of the documentation run exactly as they stand on their pages, which those of other pages do in their plugin's own
//! tests.

use cni_testing::Host;
use cni_types::{ContainerId, IfName};
use libcni::{Attachment, Network, Runtime};
use serde_json::{Value, json};

/// ADD, CHECK and DEL of a page's first block of JSON, with what the runtime adds for its capabilities.
fn lives(page: &str, capabilities: &Value) {
    let host = Host::new();
    // Where leases, backups and records are unless the configuration says otherwise.
    host.hide(&["/run", "/var/lib"]);
    let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let network = Network::from_slice(block.as_bytes()).unwrap();
    let runtime = Runtime::new(vec![host.bin_dir()], host.dir().join("cache"));
    let container = host.container("one");
    let id = ContainerId::new(container.id()).unwrap();
    let mut attachment = Attachment::new(id, IfName::new("eth0").unwrap());
    attachment.netns = Some(container.netns().to_owned());
    attachment.capability_args = capabilities.as_object().unwrap().clone().into_iter().collect();
    runtime.add(&network, &attachment).unwrap();
    runtime.check(&network, &attachment).unwrap();
    runtime.del(&network, &attachment).unwrap();
    let left = host.snapshot().to_string();
    assert!(!left.contains("veth") && !left.contains(":one:eth0"), "{left}");
}

macro_rules! page {
    ($name:literal) => {
        include_str!(concat!("../../../../docs/plugins/", $name, ".md"))
    };
}

#[test]
fn bandwidth() {
    let rate = 10_000_000;
    let limits = json!({"ingressRate": rate, "ingressBurst": rate, "egressRate": rate, "egressBurst": rate});
    lives(page!("bandwidth"), &json!({"bandwidth": limits}));
}

#[test]
fn firewall() {
    lives(page!("firewall"), &json!({}));
}

#[test]
fn host_local() {
    lives(page!("host-local"), &json!({}));
    lives(page!("host-local"), &json!({"ips": ["10.88.2.3"]}));
}

#[test]
fn loopback() {
    lives(page!("loopback"), &json!({}));
}

#[test]
fn static_ipam() {
    lives(page!("static"), &json!({}));
}

#[test]
fn tuning() {
    lives(page!("tuning"), &json!({"mac": "02:00:00:00:00:77"}));
}
