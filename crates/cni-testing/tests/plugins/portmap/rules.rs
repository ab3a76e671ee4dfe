//! The portmap plugin's table in nf_tables, compared with what `nft` lists.

use std::path::Path;

use serde_json::{Value, json};

use crate::portmap::net::{Pod, Site, run};

/// Compares with `testdata/portmap/<case>.nft`, or writes it when `UPDATE_GOLDEN` is set.
#[track_caller]
fn assert_golden(case: &str, text: &str) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/portmap").join(format!("{case}.nft"));
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests themselves, not CNI's")]
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert!(text == golden, "{case}: expected\n{golden}\nfound\n{text}");
}

/// The table, its elements in the order of their text: that of a hash is another each time.
fn table() -> String {
    let text = run("nft", &["--stateless", "list", "table", "inet", "cni_portmap"]);
    let mut lines: Vec<String> = Vec::new();
    let mut elements: Vec<String> = Vec::new();
    for line in text.lines() {
        let (start, element) = match line.split_once("elements = {") {
            Some((_, rest)) => (true, rest),
            None => (false, line),
        };
        if start || !elements.is_empty() {
            elements.push(element.trim().trim_end_matches(['}', ',', ' ']).to_owned());
            if line.ends_with('}') {
                // nft puts as many on a line as fit.
                let mut all: Vec<String> = elements.join(", ").split(", ").map(str::to_owned).collect();
                all.sort();
                lines.push("\t\telements = {".to_owned());
                lines.extend(all.into_iter().map(|element| format!("\t\t\t{element},")));
                lines.push("\t\t}".to_owned());
                elements.clear();
            }
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n") + "\n"
}

fn add(site: &Site, pod: &Pod, mappings: &[&str], keys: Value) {
    site.run("ADD", pod, &site.conf(pod, mappings, keys)).ok();
}

/// What nft does not print as it reads it would be lost to whoever saves the ruleset and loads it at boot.
fn assert_loads_again() {
    let before = table();
    let saved = run("nft", &["list", "ruleset"]);
    let file = tempfile();
    std::fs::write(&file, format!("flush ruleset\n{saved}")).unwrap();
    run("nft", &["-f", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(table(), before);
}

fn tempfile() -> std::path::PathBuf {
    std::env::temp_dir().join(format!(
        "cni-portmap-{}-{:?}.nft",
        std::process::id(),
        std::thread::current().id()
    ))
}

#[test]
fn two_containers_of_both_families() {
    let site = Site::new("nftables");
    let (one, two) = (site.pod("c1", 5), site.pod("c2", 6));
    add(&site, &one, &["8080/tcp", "53/udp", "192.0.2.1 8081/sctp"], json!({}));
    add(&site, &two, &["8080/udp", "2001:db8:1::1 8081/tcp"], json!({"masqAll": true}));
    assert_golden("two-containers", &table());
    assert_loads_again();
}

#[test]
fn one_family_and_no_masquerading() {
    let site = Site::new("nftables");
    let pod = site.pod_with("c1", json!([{"address": "10.88.0.5/24", "gateway": "10.88.0.1"}]));
    add(&site, &pod, &["8080/tcp"], json!({"snat": false}));
    assert_golden("without-snat", &table());
    assert_loads_again();
}

#[test]
fn a_network_with_conditions_and_a_container_that_is_its_subnet() {
    let site = Site::new("nftables");
    let mut pod = site.pod("c1", 5);
    pod.result["ips"][0]["address"] = "10.88.0.5/32".into();
    pod.result["ips"][1]["address"] = "fd00:88::5/128".into();
    let conditions = json!({
        "conditionsV4": ["ip", "saddr", "!=", "{ 10.0.0.0/8, 192.168.0.0/16 }"],
        "conditionsV6": ["iifname \"up*\" tcp dport 1024-65535"],
    });
    add(&site, &pod, &["8080/tcp"], conditions);
    assert_golden("conditions", &table());
    assert_loads_again();
}

#[test]
fn a_condition_that_is_not_understood_is_named() {
    let site = Site::new("nftables");
    let pod = site.pod("c1", 5);
    let before = site.rules();
    let conf = site.conf(&pod, &["8080/tcp"], json!({"conditionsV6": ["ip6 saddr fd00::/8 accept"]}));
    let (code, text) = site.run("ADD", &pod, &conf).err();
    assert!(code == 7 && text.starts_with("conditionsV6: cannot understand \"accept\""), "{text}");
    // Before anything is set.
    site.rules().assert_same(&before);
    assert_eq!(cni_host::sysctl_read("net/ipv4/conf/br0/route_localnet").unwrap(), "0");
}

/// A node's owner who saves and loads rules, or a firewall that flushes all, must not end up with half of ours.
#[test]
fn the_next_add_makes_a_flushed_table_anew() {
    let site = Site::new("nftables");
    let (one, two) = (site.pod("c1", 5), site.pod("c2", 6));
    site.map(&one, &["8080/tcp"]);
    run("nft", &["flush", "ruleset"]);
    site.map(&two, &["8081/tcp"]);
    crate::portmap::net::seen(crate::portmap::net::From::Host, "tcp", ("127.0.0.1", 8081));
}
