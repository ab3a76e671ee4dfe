//! What iptables-legacy makes is read as what it was told, in private network namespaces.

use std::collections::BTreeMap;

use cni_testing::Host;

use super::tests::{is, is_not, jump, masked};
use super::*;
use crate::change::{Command, script};
use crate::entry::{Extension, Masked, Target};
use crate::programs::Programs;
use crate::{Rule, Variant, words};

/// A private host whose iptables-legacy keeps its lock to itself.
fn host(family: Family) -> (Host, Programs) {
    let host = Host::new();
    host.hide(&["/run"]);
    (host, Programs::new(family, Variant::Legacy, "/usr/sbin:/sbin"))
}

/// Makes chains, or empties them, and gives them these rules.
fn replace(programs: &Programs, table: &str, chains: &[(&str, Vec<Rule>)]) {
    let commands = chains.iter().flat_map(|(chain, rules)| {
        let append = |rule: &Rule| Command::Append((*chain).to_owned(), rule.clone());
        [Command::Replace((*chain).to_owned())].into_iter().chain(rules.iter().map(append))
    });
    programs.restore(table, &script(table, &commands.collect::<Vec<_>>()).unwrap()).unwrap();
}

/// A chain, a rule of it as iptables is told it, and what is read of it.
type Case = (&'static str, String, Entry);

/// Makes these rules, all chains before what leads to them, and reads the table.
fn made(family: Family, programs: &Programs, table: &str, cases: &[Case]) -> Table {
    let mut chains = BTreeMap::<&str, Vec<Rule>>::new();
    for (chain, rule, _) in cases {
        chains.entry(chain).or_default().push(Rule(words::split(rule)));
    }
    for fill in [false, true] {
        let filled: Vec<(&str, Vec<Rule>)> = chains
            .iter()
            .map(|(chain, rules)| (*chain, if fill { rules.clone() } else { Vec::new() }))
            .collect();
        replace(programs, table, &filled);
    }
    Table::read(family, table).unwrap().unwrap()
}

/// Makes these rules and compares with what is read, and how much with what iptables-legacy reads.
fn check(family: Family, table: &str, cases: &[Case]) -> Table {
    let (_host, programs) = host(family);
    let read = made(family, &programs, table, cases);
    let mut chains = BTreeMap::<&str, Vec<(&str, &Entry)>>::new();
    for (chain, rule, entry) in cases {
        chains.entry(chain).or_default().push((rule, entry));
    }
    for (chain, expected) in chains {
        let entries = read.entries(chain).unwrap();
        assert_eq!(entries.len(), expected.len(), "{chain}");
        for (found, (rule, expected)) in entries.into_iter().map(plain).zip(expected) {
            assert_eq!(found, *expected, "{rule}");
        }
    }
    let saved = programs.save(table).unwrap();
    assert_eq!(saved.chains().count(), read.chains().count());
    for chain in saved.chains() {
        assert_eq!(saved.rules(chain).len(), read.entries(chain).unwrap().len(), "{chain}");
    }
    read
}

/// An entry without the revisions and structures of modules, which versions of iptables choose.
fn plain(mut entry: Entry) -> Entry {
    for extension in &mut entry.matches {
        *extension = module(&extension.name);
    }
    if let Target::Extension(extension) = &mut entry.target {
        *extension = module(&extension.name);
    }
    entry
}

fn module(name: &str) -> Extension {
    Extension { name: name.to_owned(), revision: 0, info: Vec::new() }
}

fn modules(names: &[&str]) -> Vec<Extension> {
    names.iter().map(|name| module(name)).collect()
}

fn case(chain: &'static str, rule: impl Into<String>, edit: impl FnOnce(&mut Entry)) -> Case {
    let mut entry = Entry::default();
    edit(&mut entry);
    (chain, rule.into(), entry)
}

fn text(comment: &str) -> Option<String> {
    Some(comment.to_owned())
}

/// The addresses of a family with which rules are made, as text and as they are read.
struct Addresses {
    pod: &'static str,
    pod_read: Masked,
    net: &'static str,
    net_read: Masked,
    multicast: &'static str,
    multicast_read: Masked,
    /// Under a mask that is no prefix.
    odd: &'static str,
    odd_read: Masked,
    any: &'static str,
    any_read: Masked,
}

fn addresses(family: Family) -> Addresses {
    match family {
        Family::Ipv4 => Addresses {
            pod: "10.1.0.5",
            pod_read: masked("10.1.0.5", "255.255.255.255"),
            net: "10.1.0.5/16",
            net_read: masked("10.1.0.0", "255.255.0.0"),
            multicast: "224.0.0.0/4",
            multicast_read: masked("224.0.0.0", "240.0.0.0"),
            odd: "10.1.0.5/255.0.255.0",
            odd_read: masked("10.0.0.0", "255.0.255.0"),
            any: "0.0.0.0/0",
            any_read: masked("0.0.0.0", "0.0.0.0"),
        },
        Family::Ipv6 => Addresses {
            pod: "fd00:1::5",
            pod_read: masked("fd00:1::5", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            net: "fd00:1::5/64",
            net_read: masked("fd00:1::", "ffff:ffff:ffff:ffff::"),
            multicast: "ff00::/8",
            multicast_read: masked("ff00::", "ff00::"),
            odd: "fd00:1::5/ffff::ffff",
            odd_read: masked("fd00::5", "ffff::ffff"),
            any: "::/0",
            any_read: masked("::", "::"),
        },
    }
}

/// What portmap writes (plugins/portmap/src/iptables.rs).
fn ports(a: &Addresses, port: &str) -> Vec<Case> {
    let (net, dnat) = (a.net, format!("-p tcp -m tcp --dport 80 -j DNAT --to-destination {port}"));
    let leads =
        r#"-m comment --comment "dnat \"n\" 'c'" -p tcp -m multiport --destination-ports 80,81 -j CNI-DN-a"#;
    vec![
        case("OUTPUT", "-m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT", |e| {
            e.matches = modules(&["addrtype"]);
            e.target = jump("CNI-HOSTPORT-DNAT");
        }),
        case("CNI-HOSTPORT-DNAT", leads, |e| {
            e.comment = text("dnat \"n\" 'c'");
            e.protocol = is(6);
            e.matches = modules(&["multiport"]);
            e.target = jump("CNI-DN-a");
        }),
        case("CNI-DN-a", format!("-p udp -m udp --dport 53 -s {net} -j CNI-HOSTPORT-SETMARK"), |e| {
            e.source = is(a.net_read);
            e.protocol = is(17);
            e.matches = modules(&["udp"]);
            e.target = jump("CNI-HOSTPORT-SETMARK");
        }),
        case("CNI-DN-a", dnat, |e| {
            e.protocol = is(6);
            e.matches = modules(&["tcp"]);
            e.target = Target::Extension(module("DNAT"));
        }),
        case("CNI-HOSTPORT-SETMARK", "-m comment --comment m -j MARK --set-xmark 0x2000/0x2000", |e| {
            e.comment = text("m");
            e.target = Target::Extension(module("MARK"));
        }),
        case("CNI-HOSTPORT-MASQ", "-m mark --mark 0x2000/0x2000 -j MASQUERADE", |e| {
            e.matches = modules(&["mark"]);
            e.target = Target::Extension(module("MASQUERADE"));
        }),
        case("POSTROUTING", "-m comment --comment x -j CNI-HOSTPORT-MASQ", |e| {
            e.comment = text("x");
            e.target = jump("CNI-HOSTPORT-MASQ");
        }),
    ]
}

/// What masquerading writes (crates/cni-host/src/masquerade/iptables.rs).
fn masquerading(a: &Addresses) -> Vec<Case> {
    let comment = r#"-m comment --comment "name: \"n\" id: \"c\"""#;
    vec![
        case("POSTROUTING", format!("-s {} {comment} -j CNI-a", a.pod), |e| {
            e.source = is(a.pod_read);
            e.comment = text(r#"name: "n" id: "c""#);
            e.target = jump("CNI-a");
        }),
        case("CNI-a", format!("-d {} {comment} -j ACCEPT", a.net), |e| {
            e.destination = is(a.net_read);
            e.comment = text(r#"name: "n" id: "c""#);
            e.target = Target::Accept;
        }),
        case("CNI-a", format!("! -d {} -j MASQUERADE", a.multicast), |e| {
            e.destination = is_not(a.multicast_read);
            e.target = Target::Extension(module("MASQUERADE"));
        }),
    ]
}

/// What the firewall writes (plugins/firewall/src/iptables.rs).
fn firewall(a: &Addresses) -> Vec<Case> {
    vec![
        case("FORWARD", "-m comment --comment \"CNI firewall plugin rules\" -j CNI-FORWARD", |e| {
            e.comment = text("CNI firewall plugin rules");
            e.target = jump("CNI-FORWARD");
        }),
        case(
            "CNI-FORWARD",
            format!("-d {} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", a.pod),
            |e| {
                e.destination = is(a.pod_read);
                e.matches = modules(&["conntrack"]);
                e.target = Target::Accept;
            },
        ),
        case("CNI-FORWARD", format!("-s {} -j ACCEPT", a.pod), |e| {
            e.source = is(a.pod_read);
            e.target = Target::Accept;
        }),
        case("CNI-FORWARD", format!("-d {} -m conntrack --ctstate DNAT -j ACCEPT", a.pod), |e| {
            e.destination = is(a.pod_read);
            e.matches = modules(&["conntrack"]);
            e.target = Target::Accept;
        }),
        case("CNI-ISOLATION-STAGE-1", "-i br0 ! -o br0 -j CNI-ISOLATION-STAGE-2", |e| {
            e.in_interface = is("br0".to_owned());
            e.out_interface = is_not("br0".to_owned());
            e.target = jump("CNI-ISOLATION-STAGE-2");
        }),
        case("CNI-ISOLATION-STAGE-2", "-o br0 -j DROP", |e| {
            e.out_interface = is("br0".to_owned());
            e.target = Target::Drop;
        }),
        case("CNI-ISOLATION-STAGE-2", "-j RETURN", |e| e.target = Target::Return),
    ]
}

/// What only others write.
fn others(a: &Addresses) -> Vec<Case> {
    let everything = format!("-s {} ! -d {} -i + ! -o + -p all", a.any, a.any);
    vec![
        case("FORWARD", "-i eth+ ! -o a23456789012345 -g CNI-a", |e| {
            e.in_interface = is("eth+".to_owned());
            e.out_interface = is_not("a23456789012345".to_owned());
            e.target = Target::Goto("CNI-a".to_owned());
        }),
        case("FORWARD", format!("! -s {} ! -p icmp -j DROP", a.odd), |e| {
            e.source = is_not(a.odd_read);
            e.protocol = is_not(1);
            e.target = Target::Drop;
        }),
        case("FORWARD", everything, |e| {
            e.destination = is_not(a.any_read);
            e.out_interface = is_not("+".to_owned());
        }),
        case("CNI-a", "-m limit --limit 5/min -m string --string abc --algo bm -j RETURN", |e| {
            e.matches = modules(&["limit", "string"]);
            e.target = Target::Return;
        }),
        case("CNI-a", "-m comment --comment a -m comment --comment b", |e| {
            e.comment = text("a");
            e.matches = modules(&["comment"]);
        }),
        case("CNI-a", "-j QUEUE", |e| e.unknown = true),
        case("CNI-a", "-p tcp -j REJECT --reject-with tcp-reset", |e| {
            e.protocol = is(6);
            e.target = Target::Extension(module("REJECT"));
        }),
    ]
}

fn rules_of_plugins_are_read(family: Family) {
    let a = addresses(family);
    let port = match family {
        Family::Ipv4 => "10.1.0.5:80",
        Family::Ipv6 => "[fd00:1::5]:80",
    };
    let nat = check(family, "nat", &[ports(&a, port), masquerading(&a)].concat());
    let mark = nat.entries("CNI-HOSTPORT-SETMARK").unwrap().remove(0).target;
    let info = [0x2000_u32.to_ne_bytes(), 0x2000_u32.to_ne_bytes()].concat();
    assert_eq!(mark, Target::Extension(Extension { revision: 2, info, ..module("MARK") }));
    check(family, "filter", &firewall(&a));
}

fn rules_of_others_are_read(family: Family) {
    let mut cases = others(&addresses(family));
    if family == Family::Ipv4 {
        let later = case("CNI-a", "! -f -j ACCEPT", |e| {
            e.target = Target::Accept;
            e.unknown = true;
        });
        cases.push(later);
    }
    let table = check(family, "filter", &cases);
    assert!(!table.has_chain("CNI-c") && table.entries("CNI-c").is_none());
}

#[test]
#[ignore = "needs iptables-legacy: add -- --ignored legacy"]
fn rules_of_plugins_are_read_ipv4() {
    rules_of_plugins_are_read(Family::Ipv4);
}

#[test]
#[ignore = "needs iptables-legacy: add -- --ignored legacy"]
fn rules_of_plugins_are_read_ipv6() {
    rules_of_plugins_are_read(Family::Ipv6);
}

#[test]
#[ignore = "needs iptables-legacy: add -- --ignored legacy"]
fn rules_of_others_are_read_ipv4() {
    rules_of_others_are_read(Family::Ipv4);
}

#[test]
#[ignore = "needs iptables-legacy: add -- --ignored legacy"]
fn rules_of_others_are_read_ipv6() {
    rules_of_others_are_read(Family::Ipv6);
}

#[test]
fn a_table_that_is_not_in_use_is_not_made() {
    let _host = Host::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        for table in ["nat", "filter", "a name that is longer than a table's can be"] {
            assert!(Table::read(family, table).unwrap().is_none());
        }
        assert!(!is_in_use(family, "nat").unwrap());
    }
}

#[test]
#[ignore = "needs iptables-legacy: add -- --ignored legacy"]
fn a_table_that_changes_all_the_time_is_read_as_it_was_at_one_time() {
    let (_host, programs) = host(Family::Ipv4);
    let rules = |count: usize| {
        let [b, a] = ["ACCEPT", "CNI-b"].map(|target| vec![Rule::new(&["-j", target]); count]);
        [("CNI-b", b), ("CNI-a", a)]
    };
    replace(&programs, "nat", &rules(1));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for count in 1..30 {
                replace(&programs, "nat", &rules(count % 7 + 1));
            }
        });
        while !writer.is_finished() {
            let table = Table::read(Family::Ipv4, "nat").unwrap().unwrap();
            let (a, b) = (table.entries("CNI-a").unwrap(), table.entries("CNI-b").unwrap());
            assert_eq!(a.len(), b.len());
            assert!(a.iter().all(|entry| entry.target == jump("CNI-b")), "{a:?}");
        }
    });
}
