//! The firewall plugin's iptables backend: packets, the reference's rules to the letter, whose is what.
//!
//! Marked as ignored, since they need iptables: `cargo test -p cni-testing --test plugins -- --ignored firewall::iptables`

use std::path::Path;
use std::process::Command;

use cni_testing::Snapshot;
use serde_json::{Value, json};

use crate::firewall::net::{Site, assert_reach};
use crate::firewall::policy;
use crate::firewall::reference::{Plugin, golden, scene};

pub(crate) const PROGRAMS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// In the rule by which published ports are let through, which the reference does not have.
pub(crate) const PUBLISHED: &str = "-m conntrack --ctstate DNAT";

pub(crate) fn site() -> Site {
    Site::new("iptables")
}

/// Runs a program of the owner's.
#[allow(clippy::disallowed_methods, reason = "the node's owner runs iptables too")]
fn owner_runs(words: &str) {
    let mut words = words.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).env("PATH", PROGRAMS).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn drop_what_is_not_let_through() {
    owner_runs("iptables -P FORWARD DROP");
    owner_runs("ip6tables -P FORWARD DROP");
}

/// What both families' filter tables hold, as iptables-save prints it.
pub(crate) fn filter(site: &Site) -> Vec<String> {
    let mut lines = site.host.snapshot().0;
    lines.retain(|line| line.contains("tables-save ") && (line.contains("CNI") || line.contains(":FORWARD")));
    lines
}

pub(crate) fn lines_with(site: &Site, part: &str) -> usize {
    filter(site).iter().filter(|line| line.contains(part)).count()
}

#[test]
#[ignore = "needs iptables: add -- --ignored firewall::iptables"]
fn without_a_policy_everything_passes() {
    policy::open("iptables");
}

#[test]
#[ignore = "needs iptables: add -- --ignored firewall::iptables"]
fn same_bridge_keeps_bridges_apart() {
    policy::same_bridge("iptables", false);
}

#[test]
#[ignore = "needs iptables and br_netfilter: add -- --ignored firewall::iptables"]
fn same_bridge_lets_bridged_packets_pass() {
    policy::same_bridge("iptables", true);
}

#[test]
#[ignore = "needs iptables and br_netfilter: add -- --ignored firewall::iptables"]
fn isolated_holds_within_a_bridge() {
    policy::isolated("iptables", true);
}

/// As docker and ufw leave it.
#[test]
#[ignore = "needs iptables and br_netfilter: add -- --ignored firewall::iptables"]
fn where_forward_drops_containers_are_let_through_and_the_outside_is_not() {
    let site = site();
    site.filter_bridged(true);
    drop_what_is_not_let_through();
    let (blue, green) = (site.network("blue", 11, json!({})), site.network("green", 12, json!({})));
    let stranger = site.network("out", 13, json!({})).join_bridge("stranger");
    let (one, two, three) = (blue.join("one"), blue.join("two"), green.join("three"));
    let answers = one.flows_to(&stranger);
    assert_reach(&[
        (&one, &two, true),
        (&one, &three, true),
        (&three, &one, true),
        (&one, &stranger, true),
        (&stranger, &one, false),
    ]);
    assert!(answers.iter().all(|flow| flow.passes()));
    blue.del(&one).ok();
    assert!(answers.iter().all(|flow| !flow.passes()), "without its rules nothing of it passes");
    assert_reach(&[(&two, &three, true)]);
}

#[test]
#[ignore = "needs iptables and br_netfilter: add -- --ignored firewall::iptables"]
fn where_forward_drops_policies_still_keep_apart() {
    let site = site();
    site.filter_bridged(true);
    drop_what_is_not_let_through();
    let blue = site.network("blue", 11, json!({"ingressPolicy": "isolated"}));
    let green = site.network("green", 12, json!({"ingressPolicy": "same-bridge"}));
    let stranger = site.network("out", 13, json!({})).join_bridge("stranger");
    let (one, two) = (blue.join("one"), blue.join("two"));
    let (three, four) = (green.join("three"), green.join("four"));
    assert_reach(&[
        (&one, &two, false),
        (&one, &three, false),
        (&three, &one, false),
        (&three, &four, true),
        (&one, &stranger, true),
        (&stranger, &one, false),
    ]);
}

#[test]
#[ignore = "needs iptables: add -- --ignored firewall::iptables"]
fn the_admin_chain_is_honoured_and_kept() {
    let site = site();
    let net = site.network("blue", 11, json!({"iptablesAdminChainName": "MY-RULES"}));
    let outside = site.network("out", 13, json!({})).join_bridge("outside");
    let one = net.join("one");
    let established = outside.flows_to(&one);
    for program in ["iptables", "ip6tables"] {
        owner_runs(&format!("{program} -A MY-RULES -o br-blue -m conntrack --ctstate NEW -j DROP"));
    }
    assert_reach(&[(&outside, &one, false), (&one, &outside, true)]);
    assert!(established.iter().all(|flow| flow.passes()));

    net.del(&one).ok();
    net.gc(json!([]));
    net.add(&one).ok();
    net.check(&one).ok();
    assert_reach(&[(&outside, &one, false)]);
    assert_eq!(lines_with(&site, "-A MY-RULES"), 0, "it is not called CNI");
    assert_eq!(lines_with(&site, "-j MY-RULES"), 2);
}

#[test]
#[ignore = "needs iptables: add -- --ignored firewall::iptables"]
fn only_families_in_use_are_touched() {
    let site = site();
    let container = site.host.container("c1");
    let conf = scene("blue", json!({"ips": [{"address": "10.11.0.5/24"}]}), json!({}));
    site.host.plugin("firewall").add(&container, "eth0", &conf).ok();
    assert!(filter(&site).iter().all(|line| !line.starts_with("ip6tables") || line.contains(":FORWARD")));
    site.host.plugin("firewall").check(&container, "eth0", &conf).ok();
}

#[test]
#[ignore = "needs iptables: add -- --ignored firewall::iptables"]
fn del_removes_the_containers_rules_with_and_without_prev_result_and_namespace() {
    let site = site();
    let net = site.network("blue", 11, json!({}));
    let (one, mut two, three) = (net.join("one"), net.join("two"), net.join("three"));
    assert_eq!(lines_with(&site, "-j ACCEPT"), 18);
    for _ in 0..2 {
        net.del(&one).ok();
    }
    two.kill();
    net.del_without_prev(&two).ok();
    assert_eq!(lines_with(&site, "-j ACCEPT"), 6);
    net.check(&three).ok();
    let (_, msg) = net.check(&one).err();
    assert!(
        msg.starts_with("chain CNI-FORWARD of iptables table filter has no rule -d 10.11.0.2/32"),
        "{msg}"
    );
}

#[test]
#[ignore = "needs iptables: add -- --ignored firewall::iptables"]
fn a_late_del_leaves_a_reused_address_alone() {
    let site = site();
    let net = site.network("blue", 11, json!({}));
    let old = net.join("old");
    let new = site.host.container("new");
    site.host.plugin("firewall").add(&new, "eth0", &net.conf(&old.result)).ok();
    net.del(&old).ok();
    net.del_without_prev(&old).ok();
    site.host.plugin("firewall").check(&new, "eth0", &net.conf(&old.result)).ok();
    site.host.plugin("firewall").del(&new, "eth0", &net.conf(&old.result)).ok();
    assert_eq!(lines_with(&site, "-j ACCEPT"), 0);
}

#[test]
#[ignore = "needs iptables: add -- --ignored firewall::iptables"]
fn gc_removes_what_is_of_no_valid_attachment_of_this_network() {
    let site = site();
    let (blue, green) = (site.network("blue", 11, json!({})), site.network("green", 12, json!({})));
    let (one, _two, _other) = (blue.join("one"), blue.join("two"), green.join("other"));
    owner_runs("iptables -A CNI-FORWARD -s 10.11.0.77/32 -j ACCEPT");
    let all = filter(&site);
    blue.gc(Value::Null);
    assert_eq!(filter(&site), all, "without a list everything is kept");
    blue.gc(json!([one.valid()]));
    assert_eq!((lines_with(&site, "-j ACCEPT"), lines_with(&site, "10.11.0.3/32")), (13, 0));
    blue.gc(json!([]));
    assert_eq!((lines_with(&site, "-j ACCEPT"), lines_with(&site, "10.12.0.2/32")), (7, 3));
    assert_eq!(lines_with(&site, "10.11.0.77/32"), 1, "whose it is nobody knows");
}

#[test]
#[ignore = "needs iptables: add -- --ignored firewall::iptables"]
fn a_flushed_filter_table_is_made_again_by_add() {
    let site = site();
    let net = site.network("blue", 11, json!({"ingressPolicy": "same-bridge"}));
    let (one, two) = (net.join("one"), net.join("two"));
    let before = filter(&site);
    for program in ["iptables", "ip6tables"] {
        owner_runs(&format!("{program} -F"));
        owner_runs(&format!("{program} -X"));
    }
    net.check(&one).err();
    for pod in [&one, &two] {
        net.add(pod).ok();
        net.check(pod).ok();
    }
    assert_eq!(filter(&site), before);
}

#[test]
#[ignore = "needs iptables: add -- --ignored firewall::iptables"]
fn first_adds_at_once_put_each_rule_once() {
    let site = site();
    let net = site.network("blue", 11, json!({"ingressPolicy": "same-bridge"}));
    let pods: Vec<_> = (0..6).map(|number| net.join_bridge(&format!("c{number}"))).collect();
    std::thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| net.add(pod).ok());
        }
    });
    assert_eq!(lines_with(&site, "-A FORWARD"), 4, "{:#?}", filter(&site));
    assert_eq!(lines_with(&site, "-j ACCEPT"), 36);
    std::thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| net.del(pod).ok());
        }
    });
    assert_eq!(lines_with(&site, "-j ACCEPT"), 0);
}

/// A node whose iptables is the older one; what DEL finds there it finds whatever `iptables` is by then.
#[test]
#[ignore = "needs iptables-nft and iptables-legacy: add -- --ignored firewall::iptables"]
fn iptables_legacy_does_as_well() {
    let site = site();
    let folder = site.host.dir().with_file_name("legacy");
    std::fs::create_dir(&folder).unwrap();
    for program in ["iptables", "ip6tables"] {
        let legacy = format!("/usr/sbin/{program}-legacy");
        assert!(Path::new(&legacy).exists(), "{legacy} is not installed");
        std::os::unix::fs::symlink(legacy, folder.join(program)).unwrap();
    }
    let path = format!("{}:{PROGRAMS}", folder.display());
    let net = site.network("blue", 11, json!({"ingressPolicy": "same-bridge"}));
    let one = net.join_bridge("one");
    let run = || site.host.plugin("firewall").env("PATH", &path);
    run().add(&one.container, "eth0", &net.conf(&one.result)).ok();
    run().check(&one.container, "eth0", &net.conf(&one.result)).ok();
    assert_eq!(lines_with(&site, "CNI-FORWARD"), 0, "not in iptables-nft");
    net.check(&one).ok();
    net.del(&one).ok();
    let (_, msg) = run().check(&one.container, "eth0", &net.conf(&one.result)).err();
    assert!(msg.contains("has no rule -d 10.11.0.2/32"), "{msg}");
}

/// The golden file is what the reference's 1.9.1 makes of the same scenes; a test of firewall_reference makes sure of that.
/// Left out is the one rule for each address that the reference does not have, without which a published port ends at a FORWARD
/// that drops.
#[test]
#[ignore = "needs iptables: add -- --ignored firewall::iptables"]
fn rules_comments_and_their_order_are_the_references() {
    let site = site();
    Plugin::ours(&site).play(&site);
    assert_eq!(lines_with(&site, PUBLISHED), 8);
    let mut rules = filter(&site);
    rules.retain(|line| !line.contains(PUBLISHED));
    assert_eq!(Snapshot(rules).to_string(), golden());
}

/// Those of an earlier release of ours, as the reference's: two rules for each address, and nothing noted.
#[test]
#[ignore = "needs iptables: add -- --ignored firewall::iptables"]
fn f8_what_an_earlier_release_added_passes_check_until_an_add_and_is_deleted() {
    let site = site();
    let net = site.network("blue", 11, json!({}));
    let one = net.join("one");
    let all = filter(&site);
    let without = |program: &str, address: &str| {
        owner_runs(&format!("{program} -D CNI-FORWARD -d {address} {PUBLISHED} -j ACCEPT"));
    };
    let as_before = || {
        without("iptables", "10.11.0.2/32");
        without("ip6tables", "fd00:11::2/128");
        for address in one.addresses() {
            let record = format!("/run/cni-plugins-rs/firewall/iptables/{address}");
            std::fs::write(record, "cni:blue:one:eth0\n\n").unwrap();
        }
    };
    as_before();
    net.check(&one).ok();
    net.add(&one).ok();
    assert_eq!(filter(&site), all, "it has all its rules now");
    // From now on they are missed.
    without("iptables", "10.11.0.2/32");
    let (_, msg) = net.check(&one).err();
    assert!(msg.contains("has no rule -d 10.11.0.2/32") && msg.contains("DNAT"), "{msg}");
    net.add(&one).ok();
    as_before();
    net.del(&one).ok();
    assert_eq!(lines_with(&site, "-j ACCEPT"), 0);
}

/// A node whose owner changed `backend` while containers run.
#[test]
#[ignore = "needs iptables: add -- --ignored firewall::iptables"]
fn del_finds_the_rules_of_another_backend_than_the_configured_one() {
    let site = site();
    let net = site.network("blue", 11, json!({}));
    let one = net.join("one");
    net.with(json!({"backend": "nftables"})).del(&one).ok();
    assert_eq!(lines_with(&site, "-j ACCEPT"), 0);
    let native = net.with(json!({"backend": "nftables"}));
    native.add(&one).ok();
    // CHECK asks the one that was taken, if the configuration leaves it open.
    net.with(json!({"backend": null})).check(&one).ok();
    net.del(&one).ok();
    assert!(!site.rules().to_string().contains("cni:blue:one"), "{}", site.rules());
}
