//! Every end that a container's source-based routing can come to.

use cni_netlink::{NextHop, RouteSpec, Rule};
use cni_testing::{Container, Host};
use serde_json::{Value, json};

use crate::bridge::net::{link_in, set};
use crate::sbr::net::{IFNAMES, Site, conf, network, routing, rules};

/// A private host, and a container that has `net1` with an address of each family and routes by it.
fn alone() -> (Host, Container, Value) {
    let host = Host::new();
    let container = host.container("one");
    let mut bridge = network(1, 5);
    bridge["ipam"]["routes"] =
        json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "10.7.0.0/16", "gw": "10.89.0.9"}]);
    let result = host.plugin("bridge").add(&container, IFNAMES[1], &bridge).ok();
    (host, container, result)
}

fn add(host: &Host, container: &Container, conf: &Value) -> cni_testing::Outcome {
    host.plugin("sbr").add(container, IFNAMES[1], conf)
}

fn del(host: &Host, container: &Container, conf: &Value) {
    host.plugin("sbr").del(container, IFNAMES[1], conf).ok();
}

/// Of before an ADD, what is left after its DEL: no routes by net1 in the main table, which go with the interface.
fn without_net1(before: &[String]) -> Vec<String> {
    before.iter().filter(|line| line.starts_with("rule")).cloned().collect()
}

#[test]
fn every_version_lives_and_leaves_nothing() {
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let (host, container, result) = alone();
        let before = (routing(&container), host.snapshot());
        let mut conf = conf(&result, &json!({}));
        conf["cniVersion"] = version.into();
        conf["prevResult"]["cniVersion"] = version.into();
        for (n, family) in ["4", "6"].into_iter().enumerate() {
            if version < "1.0.0" {
                conf["prevResult"]["ips"][n]["version"] = family.into();
            }
        }
        let passed = add(&host, &container, &conf).ok();
        assert_eq!(passed["cniVersion"], version);
        assert_eq!(passed["ips"][1]["address"], "fd00:89::5/64");
        assert_eq!(rules(&container).len(), 2);
        if version >= "0.4.0" {
            host.plugin("sbr").check(&container, IFNAMES[1], &conf).ok();
        }
        for _ in 0..2 {
            del(&host, &container, &conf);
            assert_eq!(routing(&container), without_net1(&before.0));
        }
        host.snapshot().assert_same(&before.1);
    }
}

#[test]
fn del_without_the_result_finds_the_rules_by_the_interfaces_addresses() {
    let (host, container, result) = alone();
    let before = routing(&container);
    let mut conf = conf(&result, &json!({}));
    add(&host, &container, &conf).ok();
    set(&mut conf, &json!({ "prevResult": null }));
    del(&host, &container, &conf);
    assert_eq!(routing(&container), without_net1(&before));
}

#[test]
fn del_without_the_interface_finds_the_rules_by_the_result() {
    let (host, container, result) = alone();
    let before = routing(&container);
    let conf = conf(&result, &json!({}));
    add(&host, &container, &conf).ok();
    let index = link_in(&container, IFNAMES[1]).index;
    container.ns().socket().unwrap().link_del(index).unwrap();
    assert_eq!(rules(&container).len(), 2);
    for _ in 0..2 {
        del(&host, &container, &conf);
        assert_eq!(routing(&container), without_net1(&before));
    }
}

#[test]
fn del_is_done_when_the_namespace_is_gone_or_not_named() {
    let (host, mut container, result) = alone();
    let conf = conf(&result, &json!({}));
    add(&host, &container, &conf).ok();
    host.plugin("sbr").env("CNI_NETNS", "").del(&container, IFNAMES[1], &conf).ok();
    container.kill();
    let path = container.netns().to_owned();
    del(&host, &container, &conf);
    assert!(!std::path::Path::new(&path).exists(), "no file is made for the lock");
}

/// Rules that look at more than the source, or lead elsewhere than the given table, and other addresses'.
#[test]
fn del_takes_only_what_is_its_own() {
    let (host, container, result) = alone();
    let rule = |src: &str, table| Rule { src: src.parse().unwrap(), table, priority: None };
    let mut inside = container.ns().socket().unwrap();
    for rule in [rule("10.89.0.0/24", 300), rule("10.89.0.6/32", 300)] {
        inside.rule_add(&rule).unwrap();
    }
    let before = rules(&container);
    let table = conf(&result, &json!({"table": 300}));
    add(&host, &container, &table).ok();
    add(&host, &container, &conf(&result, &json!({"table": 301}))).ok();
    del(&host, &container, &table);
    let mut left = rules(&container);
    left.retain(|rule| rule.table != 301);
    assert_eq!((left, rules(&container).len()), (before.clone(), before.len() + 2));
    del(&host, &container, &conf(&result, &json!({})));
    assert_eq!(rules(&container), before);
}

#[test]
fn a_table_with_a_rule_or_a_route_is_not_free() {
    let (host, container, result) = alone();
    let mut inside = container.ns().socket().unwrap();
    inside.rule_add(&Rule { src: "192.0.2.1/32".parse().unwrap(), table: 100, priority: None }).unwrap();
    let index = link_in(&container, IFNAMES[1]).index;
    let on_link = RouteSpec {
        dst: "192.0.2.0/24".parse().unwrap(),
        next_hops: vec![NextHop { index, gateway: None }],
        metric: None,
        table: Some(102),
        scope: None,
        mtu: None,
        advmss: None,
    };
    inside.route_add(&on_link).unwrap();
    add(&host, &container, &conf(&result, &json!({}))).ok();
    let mut tables: Vec<u32> = rules(&container).iter().map(|rule| rule.table).collect();
    tables.sort_unstable();
    assert_eq!(tables, [100, 101, 103]);
    let left = inside.route_dump(index, Some(102)).unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
}

/// plugins of one container at one time, as runtimes with several networks may run them.
#[test]
fn adds_at_one_time_get_tables_of_their_own() {
    const COUNT: usize = 8;
    let host = Host::new();
    let container = host.container("one");
    let ifname = |n: usize| format!("net{n}");
    let confs: Vec<Value> = (0..COUNT)
        .map(|n| {
            let bridge = network(n, 5);
            conf(&host.plugin("bridge").add(&container, &ifname(n), &bridge).ok(), &json!({}))
        })
        .collect();
    let (host, container) = (&host, &container);
    std::thread::scope(|scope| {
        for (n, conf) in confs.iter().enumerate() {
            scope.spawn(move || host.plugin("sbr").add(container, &ifname(n), conf).ok());
        }
    });
    let mut tables: Vec<u32> = rules(container).iter().map(|rule| rule.table).collect();
    tables.sort_unstable();
    assert_eq!(tables, (100..100 + 2 * COUNT as u32).collect::<Vec<_>>());
    for (n, conf) in confs.iter().enumerate() {
        host.plugin("sbr").check(container, &ifname(n), conf).ok();
    }
}

/// The default routes of both interfaces are one route to the kernel.
#[test]
fn a_failing_add_gives_a_shared_default_route_its_part_back() {
    let site = Site::new();
    let container = site.host.container("one");
    let mut result = Value::Null;
    for n in 0..2 {
        let mut bridge = network(n, 5);
        bridge["ipam"]["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
        result = site.attach(&container, n, &bridge);
    }
    let before = routing(&container);
    assert!(before.iter().any(|line| line.contains("via fd00:88::254") && line.contains("via fd00:89::254")));
    let mut foreign = result.clone();
    foreign["ips"].as_array_mut().unwrap().push(json!({"address": "10.99.0.5/24"}));
    let (_, msg) = site.sbr("ADD", &container, &conf(&foreign, &json!({"addSourceHints": true}))).err();
    assert!(msg.contains("10.99.0.5"), "{msg}");
    assert_eq!(routing(&container), before);
    site.sbr("ADD", &container, &conf(&result, &json!({}))).ok();
    assert!(
        !routing(&container)
            .iter()
            .any(|line| line.contains("via fd00:89::254") && line.contains("254 scope"))
    );
}

/// At each of its steps: nothing done yet; some tables filled; the main table's routes about to go.
#[test]
fn a_failing_add_leaves_nothing() {
    let (host, container, result) = alone();
    let before = (routing(&container), container.snapshot(), host.snapshot());
    let mut unreachable = result.clone();
    unreachable["ips"][1]["gateway"] = "2001:db8:77::1".into();
    let mut foreign = result.clone();
    foreign["ips"].as_array_mut().unwrap().push(json!({"address": "10.99.0.5/24"}));
    let mut elsewhere = result.clone();
    elsewhere["ips"] = json!([]);
    for (prev, keys, part) in [
        (&result, json!({"gateways": ["203.0.113.1"]}), "via 203.0.113.1"),
        (&unreachable, json!({}), "via 2001:db8:77::1"),
        (&foreign, json!({"addSourceHints": true}), "10.99.0.5"),
        (&elsewhere, json!({}), "prevResult has no address on net1"),
        (
            &result,
            json!({"gateways": ["10.89.0.254", "10.89.0.253"]}),
            "gateways: both 10.89.0.254 and 10.89.0.253",
        ),
        (&result, json!({"gateways": ["router"]}), "gateways: \"router\" is not an IP address"),
        (&result, json!({"table": 0}), "table: 0 is not a routing table"),
        (&result, json!({"table": "main"}), "table"),
        (&result, json!({"prevResult": null}), "prevResult is missing"),
    ] {
        let (_, msg) = add(&host, &container, &conf(prev, &keys)).err();
        assert!(msg.contains(part), "{msg}");
        assert_eq!(routing(&container), before.0, "{part}");
        container.snapshot().assert_same(&before.1);
    }
    let (_, msg) = host.plugin("sbr").add(&container, "net9", &conf(&result, &json!({"table": null}))).err();
    assert!(msg.contains("prevResult has no address on net9"), "{msg}");
    for netns in ["/nonexistent/netns", "/dev/null"] {
        let run = host.plugin("sbr").env("CNI_NETNS", netns);
        assert!(run.add(&container, IFNAMES[1], &conf(&result, &json!({}))).err().1.contains(netns));
    }
    host.snapshot().assert_same(&before.2);
}

#[test]
fn check_finds_what_was_changed() {
    let (host, container, result) = alone();
    let own = conf(&result, &json!({}));
    let fault = |conf: &Value, part: &str| {
        let (code, msg) = host.plugin("sbr").check(&container, IFNAMES[1], conf).err();
        assert!(code == 999 && msg.contains(part), "{code}: {msg}");
    };
    fault(&own, "no rule leads from 10.89.0.5 to a table");
    add(&host, &container, &own).ok();
    fault(&conf(&result, &json!({"table": 300})), "no rule leads from 10.89.0.5 to table 300");
    let mut inside = container.ns().socket().unwrap();
    let index = link_in(&container, IFNAMES[1]).index;
    let of_v6 = rules(&container).into_iter().find(|rule| rule.src.addr().is_ipv6()).unwrap();
    inside.rule_del(&of_v6).unwrap();
    fault(&own, "no rule leads from fd00:89::5 to a table");
    inside.rule_add(&Rule { priority: None, ..of_v6 }).unwrap();
    host.plugin("sbr").check(&container, IFNAMES[1], &own).ok();
    let routes = inside.route_dump_found(index, Some(of_v6.table)).unwrap();
    let default = routes.iter().find(|found| found.spec.dst.prefix_len() == 0).unwrap();
    inside.route_take(default).unwrap();
    fault(&own, "table 101 has no default route by net1");
    inside.link_del(index).unwrap();
    fault(&own, "cannot find net1");
}

#[test]
fn gc_leaves_containers_alone_and_status_judges_the_keys() {
    let (host, container, result) = alone();
    let mut conf = conf(&result, &json!({}));
    add(&host, &container, &conf).ok();
    let before = (routing(&container), host.snapshot());
    set(&mut conf, &json!({"prevResult": null, "cni.dev/valid-attachments": []}));
    host.plugin("sbr").command("GC", &conf).ok();
    host.plugin("sbr").command("STATUS", &conf).ok();
    conf["table"] = (-1).into();
    let (code, msg) = host.plugin("sbr").command("STATUS", &conf).err();
    assert!(code == 7 && msg.contains("table: -1"), "{code}: {msg}");
    assert_eq!(routing(&container), before.0);
    host.snapshot().assert_same(&before.1);
}

/// Routes of other interfaces are not touched, and one that leaves by several stays where it is.
#[test]
fn routes_of_other_interfaces_stay() {
    let site = Site::new();
    let (container, result) = site.container("one");
    let [first, second] = IFNAMES.map(|name| link_in(&container, name).index);
    let mut inside = container.ns().socket().unwrap();
    let hop = |index, gateway: &str| NextHop { index, gateway: Some(gateway.parse().unwrap()) };
    let both = RouteSpec {
        dst: "10.6.0.0/16".parse().unwrap(),
        next_hops: vec![hop(first, "10.88.0.9"), hop(second, "10.89.0.9")],
        metric: None,
        table: None,
        scope: None,
        mtu: None,
        advmss: None,
    };
    inside.route_add(&both).unwrap();
    let mut of_first = inside.route_dump(first, None).unwrap();
    site.sbr("ADD", &container, &conf(&result, &json!({}))).ok();
    let mut now = inside.route_dump(first, None).unwrap();
    for routes in [&mut of_first, &mut now] {
        routes.sort_by_key(ToString::to_string);
    }
    assert_eq!(now, of_first);
}

#[test]
fn the_conflist_of_the_documentation_works_when_pasted() {
    let page = include_str!("../../../../../docs/plugins/sbr.md");
    let block = page.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let list: Value = serde_json::from_str(block).unwrap();
    let host = Host::new();
    let container = host.container("one");
    let mut prev = Value::Null;
    for plugin in list["plugins"].as_array().unwrap() {
        // As a runtime makes a plugin's configuration.
        let mut conf = plugin.clone();
        set(&mut conf, &json!({"cniVersion": list["cniVersion"], "name": list["name"], "prevResult": prev}));
        if conf["ipam"]["type"] == "host-local" {
            conf["ipam"]["dataDir"] = host.dir().join("leases").to_str().unwrap().into();
        }
        prev = host.plugin(plugin["type"].as_str().unwrap()).add(&container, IFNAMES[1], &conf).ok();
    }
    let last = &list["plugins"].as_array().unwrap().last().unwrap()["type"];
    assert_eq!(last, "sbr");
    assert_eq!(rules(&container).len(), prev["ips"].as_array().unwrap().len());
}
