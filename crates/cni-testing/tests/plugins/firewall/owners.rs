//! The firewall plugin's nftables backend: what is of an attachment goes, all of it, and nothing else is looked at where the
//! request tells of all.

use cni_nftables::{
    Batch, Chain, DataType, Element, Family, Hook, Nft, Op, Policy, Selector, Set, Statement, Table, Value,
    Verdict,
};
use cni_testing::{Container, Outcome};
use serde_json::{Value as Json, json};

use crate::bridge::net::{make_bridge, set};
use crate::firewall::net::Site;

const TABLE: Table = Table::new(Family::Inet, "cni_firewall");
static PODS4: Set = Set::new(TABLE, "pods4", &[DataType::Ipv4Addr]);
static PODS6: Set = Set::new(TABLE, "pods6", &[DataType::Ipv6Addr]);
static OWNERS: Set = Set::map(TABLE, "owners", &[DataType::IfName], &[DataType::Mark]);
static PORTS: Set = Set::new(Table::new(Family::Bridge, "cni_firewall"), "ports", &[DataType::IfName]);

/// A host with bridge br0.
fn site() -> Site {
    let site = Site::new("nftables");
    make_bridge("br0");
    site
}

/// A configuration without a port of the bridge's, for the other container.
fn portless(address: &str) -> Json {
    conf(&[], json!({"prevResult": {"interfaces": [{"name": "br0"}], "ips": [{"address": address}]}}))
}

/// A container of network blue behind br0.
fn conf(addresses: &[&str], keys: Json) -> Json {
    let ips: Vec<Json> = addresses.iter().map(|address| json!({"address": address})).collect();
    let mut conf = json!({
        "cniVersion": "1.1.0", "name": "blue", "type": "firewall", "backend": "nftables",
        "prevResult": {
            "cniVersion": "1.1.0", "ips": ips,
            "interfaces": [{"name": "br0"}, {"name": "veth5"}, {"name": "eth0", "sandbox": "/run/netns/x"}],
        },
    });
    set(&mut conf, &keys);
    conf
}

fn isolated(addresses: &[&str]) -> Json {
    conf(addresses, json!({"ingressPolicy": "isolated"}))
}

fn add(site: &Site, container: &Container, conf: &Json) {
    site.host.plugin("firewall").add(container, "eth0", conf).ok();
    site.host.plugin("firewall").check(container, "eth0", conf).ok();
}

fn del(site: &Site, container: &Container, conf: &Json) -> Outcome {
    site.host.plugin("firewall").del(container, "eth0", conf)
}

fn gc(site: &Site, valid: &[&str]) {
    let attachments: Vec<Json> =
        valid.iter().map(|id| json!({"containerID": id, "ifname": "eth0"})).collect();
    let mut conf = conf(&[], json!({"cni.dev/valid-attachments": attachments}));
    conf.as_object_mut().unwrap().remove("prevResult");
    site.host.plugin("firewall").command("GC", &conf).ok();
}

/// What a container has, set by set, each element by its key; of the map of owners what it counts.
fn has(id: &str) -> Vec<String> {
    let comment = format!("cni:blue:{id}:eth0");
    let mut all = Vec::new();
    for set in [&PODS4, &PODS6, &PORTS, &OWNERS] {
        for element in Nft::new().elements(set).unwrap() {
            if element.comment.as_ref() != Some(&comment) {
                continue;
            }
            all.push(match (&element.key[..], &element.data[..]) {
                (_, [Value::Mark(count)]) => format!("{count} counted"),
                ([Value::Addr(address)], _) => address.to_string(),
                ([Value::IfName(name)], _) => name.clone(),
                other => panic!("{other:?}"),
            });
        }
    }
    all
}

/// How often a DEL or an ADD lists a set.
#[cfg(target_arch = "x86_64")]
fn lists(site: &Site, command: &str, container: &Container, conf: &Json) -> usize {
    use cni_testing::{Act, Syscall};
    use nix::libc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let lists = AtomicUsize::new(0);
    let watch = |call: &Syscall| {
        if call.number == libc::SYS_sendto && call.returned.is_none() {
            let header = call.memory(call.args[1] + 4, 4);
            // NFT_MSG_GETSETELEM of nf_tables, with NLM_F_DUMP.
            let is_list = header[..2] == [13, 10] && header[3] & 3 == 3;
            lists.fetch_add(usize::from(is_list), Ordering::Relaxed);
        }
        Act::Go
    };
    let run = site.host.plugin("firewall").watch(watch);
    match command {
        "ADD" => run.add(container, "eth0", conf).ok(),
        _ => run.del(container, "eth0", conf).ok(),
    };
    lists.into_inner()
}

/// The table as releases made it that did not count, with these addresses of container c1.
fn earlier_release(addresses: &[&str], others_rules: usize) {
    let mut batch = Batch::default();
    batch.add_table(&TABLE).add_set(&PODS4).add_set(&PODS6);
    let base = Some((Hook::FilterForward, 0, Policy::Drop));
    batch.add_chain(&TABLE, &Chain { name: "forward", base });
    for (family, to, from, set) in [
        (2, Selector::IpDaddr, Selector::IpSaddr, "pods4"),
        (10, Selector::Ip6Daddr, Selector::Ip6Saddr, "pods6"),
    ] {
        let is = |selector, value| Statement::Match { selector, op: Op::Eq, value };
        let family = is(Selector::NfProto, Value::Proto(family));
        let within = |selector| Statement::InSet { key: vec![selector], op: Op::Eq, set: String::from(set) };
        let accept = Statement::Verdict(Verdict::Accept);
        let answers = is(Selector::CtState, Value::Bits(6));
        batch.add_rule(&TABLE, "forward", vec![family.clone(), within(to), answers, accept.clone()]);
        batch.add_rule(&TABLE, "forward", vec![family, within(from), accept]);
    }
    // The two that came first, and what the owner of the host may have put there beside.
    for _ in 0..2 + others_rules {
        batch.add_rule(&TABLE, "forward", vec![Statement::Counter]);
    }
    for address in addresses {
        let address: std::net::IpAddr = address.parse().unwrap();
        let set = if address.is_ipv4() { &PODS4 } else { &PODS6 };
        let comment = Some("cni:blue:c1:eth0".to_owned());
        batch.add_element(set, Element { key: vec![Value::Addr(address)], data: vec![], comment });
    }
    Nft::new().commit(&batch).unwrap();
}

#[test]
fn f5_a_second_add_with_another_address_takes_the_first() {
    let site = site();
    let [one, two] = ["c1", "c2"].map(|id| site.host.container(id));
    add(&site, &two, &portless("10.11.0.9/24"));
    add(&site, &one, &conf(&["10.11.0.5/24", "fd00:11::5/64"], json!({})));
    assert_eq!(has("c1"), ["10.11.0.5", "fd00:11::5", "2 counted"]);
    add(&site, &one, &conf(&["10.11.0.6/24", "fd00:11::5/64"], json!({})));
    assert_eq!(has("c1"), ["10.11.0.6", "fd00:11::5", "2 counted"]);
    add(&site, &one, &conf(&["10.11.0.7/24"], json!({})));
    assert_eq!(has("c1"), ["10.11.0.7", "1 counted"]);
    assert_eq!(has("c2"), ["10.11.0.9", "1 counted"]);
    add(&site, &one, &conf(&[], json!({})));
    assert_eq!(has("c1"), [""; 0]);
    assert_eq!(has("c2"), ["10.11.0.9", "1 counted"]);
}

#[test]
fn f5_a_second_add_with_another_policy_or_port_takes_the_port() {
    let site = site();
    let one = site.host.container("c1");
    add(&site, &one, &isolated(&["10.11.0.5/24"]));
    assert_eq!(has("c1"), ["10.11.0.5", "veth5", "2 counted"]);
    let mut moved = isolated(&["10.11.0.5/24"]);
    moved["prevResult"]["interfaces"][1]["name"] = "veth6".into();
    add(&site, &one, &moved);
    assert_eq!(has("c1"), ["10.11.0.5", "veth6", "2 counted"]);
    add(&site, &one, &conf(&["10.11.0.5/24"], json!({"ingressPolicy": "same-bridge"})));
    assert_eq!(has("c1"), ["10.11.0.5", "1 counted"]);
    // Without a bridge in the result there is nothing to isolate it from.
    add(&site, &one, &isolated(&["10.11.0.5/24"]));
    add(&site, &one, &conf(&[], json!({"prevResult": {"ips": [{"address": "10.11.0.5/24"}]}})));
    assert_eq!(has("c1"), ["10.11.0.5", "1 counted"]);
}

#[test]
fn f5_del_removes_what_its_prev_result_does_not_tell_of() {
    let site = site();
    let [one, two] = ["c1", "c2"].map(|id| site.host.container(id));
    let all = isolated(&["10.11.0.5/24", "fd00:11::5/64"]);
    add(&site, &two, &portless("10.11.0.9/24"));
    for keys in [
        json!({"prevResult": {"ips": [{"address": "fd00:11::5/64"}]}}),
        json!({"prevResult": {"interfaces": []}}),
        json!({"prevResult": {"ips": []}}),
        json!({"prevResult": {"ips": [{"address": "10.11.0.9/24"}]}}),
        json!({"prevResult": {"ips": [{"address": "10.11.0.5/24"}, {"address": "10.11.0.8/24"}], "interfaces": []}}),
        json!({"ingressPolicy": "open", "backend": null}),
        json!({"prevResult": null}),
    ] {
        add(&site, &one, &all);
        assert_eq!(has("c1"), ["10.11.0.5", "fd00:11::5", "veth5", "3 counted"]);
        let mut asked = all.clone();
        set(&mut asked, &keys);
        del(&site, &one, &asked).ok();
        assert_eq!(has("c1"), [""; 0], "{keys}");
        assert_eq!(has("c2"), ["10.11.0.9", "1 counted"], "{keys}");
    }
}

/// Two ADDs of a release that left the first one's address, and a DEL that knows of the second alone.
#[test]
fn f5_del_removes_all_that_an_earlier_release_added() {
    for told in [&["10.11.0.6/24"][..], &["10.11.0.7/24"], &["10.11.0.5/24", "10.11.0.6/24"], &[]] {
        let site = site();
        let one = site.host.container("c1");
        earlier_release(&["10.11.0.5", "10.11.0.6", "fd00:11::5"], 0);
        assert_eq!(has("c1").len(), 3);
        del(&site, &one, &conf(told, json!({}))).ok();
        assert_eq!(has("c1"), [""; 0], "{told:?}");
    }
}

#[test]
fn f5_an_add_takes_the_other_addresses_that_an_earlier_release_left() {
    let site = site();
    let one = site.host.container("c1");
    earlier_release(&["10.11.0.5", "10.11.0.6"], 0);
    add(&site, &one, &conf(&["10.11.0.6/24"], json!({})));
    assert_eq!(has("c1"), ["10.11.0.6", "1 counted"]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn f5_del_and_add_list_nothing_where_the_count_is_that_of_the_request() {
    let site = site();
    let [one, two] = ["c1", "c2"].map(|id| site.host.container(id));
    let all = isolated(&["10.11.0.5/24", "fd00:11::5/64"]);
    assert_eq!(lists(&site, "ADD", &one, &all), 0, "the first");
    assert_eq!(lists(&site, "ADD", &one, &all), 0, "once more");
    assert_eq!(lists(&site, "ADD", &two, &portless("10.11.0.9/24")), 0);
    assert_eq!(lists(&site, "DEL", &one, &all), 0);
    assert_eq!((has("c1").len(), has("c2").len()), (0, 2));
    // The watcher sees one that does.
    assert!(lists(&site, "DEL", &two, &conf(&[], json!({}))) > 0);
    assert_eq!(has("c2"), [""; 0]);
}

#[test]
fn f5_an_address_that_went_to_another_container_is_not_taken_and_the_rest_goes() {
    let site = site();
    let [one, two] = ["c1", "c2"].map(|id| site.host.container(id));
    let all = isolated(&["10.11.0.5/24", "10.11.0.6/24"]);
    add(&site, &one, &all);
    add(&site, &two, &portless("10.11.0.5/24"));
    assert_eq!(has("c1"), ["10.11.0.6", "veth5", "3 counted"]);
    del(&site, &one, &all).ok();
    assert_eq!(has("c1"), [""; 0]);
    assert_eq!(has("c2"), ["10.11.0.5", "1 counted"]);
}

#[test]
fn f5_gc_takes_the_count_along_and_leaves_that_of_the_valid() {
    let site = site();
    let [one, two] = ["c1", "c2"].map(|id| site.host.container(id));
    add(&site, &one, &isolated(&["10.11.0.5/24"]));
    add(&site, &two, &conf(&["10.11.0.9/24", "fd00:11::9/64"], json!({})));
    gc(&site, &["c2"]);
    assert_eq!(has("c1"), [""; 0]);
    assert_eq!(has("c2"), ["10.11.0.9", "fd00:11::9", "2 counted"]);
    gc(&site, &[]);
    assert_eq!(has("c2"), [""; 0]);
    assert!(Nft::new().elements(&OWNERS).unwrap().is_empty());
}

/// Four rules accept where six do now, and there is no map that counts.
#[test]
fn f8_the_table_of_an_earlier_release_is_completed_by_the_next_add() {
    for others_rules in [0, 2] {
        let site = site();
        earlier_release(&["10.11.0.5"], others_rules);
        let [one, two] = ["c1", "c2"].map(|id| site.host.container(id));
        let check = || site.host.plugin("firewall").check(&one, "eth0", &conf(&["10.11.0.5/24"], json!({})));
        // What is there is none the worse for the new release.
        site.host.plugin("firewall").command("STATUS", &conf(&[], json!({}))).ok();
        check().ok();
        add(&site, &two, &portless("10.11.0.9/24"));
        assert_eq!(Nft::new().rules(&TABLE, "forward").unwrap().len(), 8);
        assert_eq!((has("c1").len(), has("c2").len()), (1, 2));
        let rules = site.rules().to_string();
        assert!(rules.contains("ip daddr @pods4 ct status dnat accept"), "{rules}");
        assert!(rules.contains("ip6 daddr @pods6 ct status dnat accept"), "{rules}");
        assert!(rules.contains("policy drop"), "the owner's policy is kept: {rules}");
        check().ok();
    }
}
