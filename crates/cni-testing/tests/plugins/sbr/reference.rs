//! The reference's sbr and ours: the same configuration makes the same rules and tables, and what either made the other checks and
//! deletes.

use std::io::Write;
use std::process::{Command, Stdio};

use cni_testing::{Container, Host, Outcome};
use serde_json::{Value, json};

use crate::portmap::net::reference;
use crate::reference::is_1_10_or_skip;
use crate::sbr::net::{FAR, IFNAMES, Site, address, conf, network, routing, rules, ways};

/// Runs the reference's sbr.
fn theirs(command: &str, container: &Container, ifname: &str, conf: &Value) -> Outcome {
    #[allow(clippy::disallowed_methods, reason = "the plugin to be compared with")]
    let mut child = Command::new(reference("sbr"))
        .env_clear()
        .envs([("CNI_COMMAND", command), ("CNI_CONTAINERID", container.id()), ("CNI_IFNAME", ifname)])
        .envs([("CNI_NETNS", container.netns()), ("CNI_PATH", "/nonexistent")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(conf.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A version that Debian's release speaks too.
fn of_version(prev: &Value, keys: &Value) -> Value {
    let mut conf = conf(prev, keys);
    conf["cniVersion"] = "1.0.0".into();
    conf["prevResult"]["cniVersion"] = "1.0.0".into();
    conf
}

#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored sbr::reference`"]
fn the_same_configuration_makes_the_same_rules_and_tables() {
    for (keys, ipam) in [
        (json!({}), json!({})),
        (
            json!({}),
            json!({"routes": [
                {"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "10.7.0.0/16", "gw": "10.89.0.9", "mtu": 1400},
                {"dst": "10.8.0.0/16", "scope": 253}, {"dst": "fd07::/64", "gw": "fd00:89::9"},
            ]}),
        ),
        (
            json!({}),
            json!({"addresses": [
                {"address": "10.89.0.5/24", "gateway": "10.89.0.254"}, {"address": "10.89.0.6/24"},
                {"address": "10.90.0.6/24", "gateway": "10.90.0.1"}, {"address": "fd00:90::5/64", "gateway": "fd00:90::1"},
            ]}),
        ),
        (json!({"table": 500}), json!({"routes": [{"dst": "10.7.0.0/16"}]})),
    ] {
        assert_same(&keys, &ipam);
    }
}

/// What came with 1.10.0; A9 among it.
#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored sbr::reference`"]
fn a9_gateways_and_source_hints_make_the_same_rules_and_tables() {
    let test = "sbr::reference::a9_gateways_and_source_hints_make_the_same_rules_and_tables";
    if !is_1_10_or_skip(&Host::new(), test) {
        return;
    }
    let on_link =
        json!({"routes": [{"dst": "10.7.0.0/16", "scope": 253}, {"dst": "10.8.0.0/16", "gw": "10.89.0.9"}]});
    let by_metric = json!({"routes": [{"dst": "10.89.0.0/24", "scope": 253, "priority": 7}]});
    for (keys, ipam) in [
        (json!({"gateways": ["fd00:89::78", "10.89.0.78"]}), json!({})),
        (json!({"addSourceHints": true}), json!({})),
        (json!({"addSourceHints": true, "gateways": ["::ffff:10.89.0.78"]}), on_link),
        (json!({"addSourceHints": true}), by_metric.clone()),
        (json!({}), by_metric),
    ] {
        assert_same(&keys, &ipam);
    }
}

/// The reference's sbr and ours in containers of their own, after a bridge plugin with this `ipam`.
#[track_caller]
fn assert_same(keys: &Value, ipam: &Value) {
    let [theirs, ours] = [true, false].map(|is_theirs| {
        let host = Host::new();
        let container = host.container("one");
        let mut bridge = network(1, 5);
        crate::bridge::net::set(&mut bridge["ipam"], ipam);
        let prev = host.plugin("bridge").add(&container, IFNAMES[1], &bridge).ok();
        let conf = of_version(&prev, keys);
        let mut result = match is_theirs {
            true => theirs("ADD", &container, IFNAMES[1], &conf).ok(),
            false => host.plugin("sbr").add(&container, IFNAMES[1], &conf).ok(),
        };
        for interface in result["interfaces"].as_array_mut().unwrap() {
            *interface = json!(null);
        }
        (result, routing(&container))
    });
    assert_eq!(ours, theirs, "{keys} {ipam}");
}

#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored sbr::reference`"]
fn what_either_made_the_other_checks_and_deletes() {
    let site = Site::new();
    let [(one, of_one), (two, of_two)] = ["one", "two"].map(|id| site.container(id));
    let far = FAR[0].parse().unwrap();

    let conf = of_version(&of_one, &json!({}));
    theirs("ADD", &one, IFNAMES[1], &conf).ok();
    assert_eq!(ways(&one, Some(address(1, true, 5)), far), [1]);
    site.sbr("CHECK", &one, &conf).ok();
    site.sbr("DEL", &one, &conf).ok();
    assert_eq!(rules(&one), []);
    for (n, ifname) in IFNAMES.into_iter().enumerate() {
        site.host.plugin("bridge").del(&one, ifname, &network(n, 5)).ok();
    }

    let conf = of_version(&of_two, &json!({}));
    site.sbr("ADD", &two, &conf).ok();
    theirs("CHECK", &two, IFNAMES[1], &conf).ok();
    theirs("DEL", &two, IFNAMES[1], &conf).ok();
    assert_eq!(rules(&two), []);
    site.sbr("DEL", &two, &conf).ok();
}

/// The lock is the same.
#[test]
#[ignore = "needs the reference's plugins in /usr/lib/cni or $CNI_REFERENCE_DIR: \
            `cargo test -p cni-testing --test plugins -- --ignored sbr::reference`"]
fn adds_of_both_at_one_time_get_tables_of_their_own() {
    const COUNT: usize = 8;
    let host = Host::new();
    let container = host.container("one");
    let ifname = |n: usize| format!("net{n}");
    let confs: Vec<Value> = (0..COUNT)
        .map(|n| {
            of_version(&host.plugin("bridge").add(&container, &ifname(n), &network(n, 5)).ok(), &json!({}))
        })
        .collect();
    let (host, container) = (&host, &container);
    std::thread::scope(|scope| {
        for (n, conf) in confs.iter().enumerate() {
            scope.spawn(move || match n % 2 {
                0 => theirs("ADD", container, &ifname(n), conf).ok(),
                _ => host.plugin("sbr").add(container, &ifname(n), conf).ok(),
            });
        }
    });
    let mut tables: Vec<u32> = rules(container).iter().map(|rule| rule.table).collect();
    tables.sort_unstable();
    tables.dedup();
    assert_eq!(tables.len(), 2 * COUNT, "{tables:?}");
}
