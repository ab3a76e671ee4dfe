//! What this crate sends and what nft sends for the text that this crate prints are the same to the kernel, and nft lists it
//! as that text.

use cni_nftables::DataType::{
    CtState, CtStatus, EtherAddr, FibAddrType, IfName, InetProto, InetService, Ipv4Addr, Ipv6Addr, Mark,
    NfProto,
};
use cni_nftables::{Batch, Chain, DataType, Element, Family, Hook, NatFamily, Nft, Op, Policy, Selector};
use cni_nftables::{Set, Statement, Table, Value, Verdict, parse_matches};

use crate::dumps::dump;
use crate::support::{PORTS, TABLE, chain, in_netns_with_nft, listed, nft, port, run, words};

/// Fails unless nft, given the batch's text, makes the same of it in the kernel. The ruleset stays that of the batch.
#[track_caller]
fn agree(table: &Table, family: u8, batch: &Batch) {
    nft(&batch.to_string());
    let theirs = dump(table, family);
    run("nft flush ruleset");
    Nft::new().commit(batch).unwrap();
    assert_eq!(dump(table, family), theirs, "{batch}");
}

/// Matches alone, in their listed form.
const MATCHES: &[&str] = &[
    "iifname \"eth0\"",
    "iifname != \"eth*\"",
    "iifname \"eth\\*\"",
    "oifname { \"eth0\", \"eth1\" }",
    "oifname != { \"eth0\", \"veth*\" }",
    "meta mark 0x00002000",
    "meta mark != 0x00002000",
    "meta mark & 0x00002000 == 0x00002000",
    "meta mark & 0x00002000 != 0x00002000",
    "meta mark & 0x00000ff0 == 0x00000000",
    "meta mark { 0x00000001, 0x00000002 }",
    "meta mark { 0x00000001, 0x00000005-0xffffffff }",
    "meta mark 0x00000001-0x00000005",
    "meta mark != 0x00000001-0x00000005",
    "meta nfproto ipv4",
    "meta nfproto { ipv4, ipv6 }",
    "meta nfproto != ipv4 ip6 saddr ::1",
    "meta l4proto { icmp, tcp, udp, ipv6-icmp, sctp, 200 }",
    "meta l4proto != tcp",
    "meta l4proto 1-6",
    "ip protocol tcp",
    "ip protocol { tcp, udp }",
    "ip protocol tcp tcp dport 80",
    "ip saddr 10.0.0.5",
    "ip saddr 0.0.0.0/0",
    "ip saddr 10.0.0.0/8",
    "ip saddr != 10.0.0.0/8",
    "ip saddr 10.1.0.0/16",
    "ip saddr 10.1.2.0/24",
    "ip saddr 10.0.0.0/9",
    "ip saddr != 10.0.0.0/9",
    "ip daddr 10.0.0.1-10.0.0.9",
    "ip daddr != 10.0.0.1-10.0.0.9",
    "ip daddr { 10.0.0.1, 10.0.0.9 }",
    "ip daddr != { 10.0.0.1, 10.0.0.9 }",
    "ip daddr { 1.2.3.4, 10.0.0.0/8, 192.168.0.0/16, 224.0.0.1-224.0.0.9 }",
    "ip daddr { 0.0.0.0/8, 255.255.255.255 }",
    "ip6 saddr fd00::5",
    "ip6 saddr ::/0",
    "ip6 saddr != ::/0",
    "ip6 saddr fd00::/64",
    "ip6 saddr != fd00::/64",
    "ip6 saddr fd00::/61",
    "ip6 daddr != fd00::/61",
    "ip6 daddr fd00::1-fd00::9",
    "ip6 daddr { fd00::/61, fd01::1 }",
    "ip6 daddr { fd00::/64, ff00::/8 }",
    "ether saddr 02:42:ac:11:00:02",
    "ether saddr != { 02:42:ac:11:00:02, 02:42:ac:11:00:03 }",
    "ether saddr { 02:42:ac:11:00:02-02:42:ac:11:00:09, 02:42:ac:11:00:19 }",
    "tcp dport 80",
    "tcp dport != 80",
    "tcp sport 1024-65535",
    "tcp sport != 1024-65535",
    "udp dport { 80, 443 }",
    "udp sport { 80, 443-446, 1024-65535 }",
    "sctp dport 80",
    "sctp sport 80",
    "th dport 80",
    "meta l4proto { tcp, udp, sctp } th sport 80",
    "ip saddr 1.2.3.4 ip daddr 1.2.3.5 tcp dport 80 iifname \"a\"",
    "fib daddr type local",
    "fib daddr type != local",
    "fib daddr type { local, broadcast }",
    "ct state established,related",
    "ct state new",
    "ct state invalid,established,related,new,untracked",
    "ct state != established",
    "ct state { established, new }",
    "ct state != { established, related }",
    "ct status dnat",
    "ct status snat,dnat",
    "ct status != dnat",
];

#[test]
fn matches_are_those_of_nft() {
    in_netns_with_nft(|| {
        for text in MATCHES {
            let mut batch = Batch::default();
            batch.add_table(&TABLE).add_chain(&TABLE, &chain("x"));
            batch.add_rule(&TABLE, "x", parse_matches(text).unwrap());
            agree(&TABLE, 1, &batch);
            assert_eq!(listed(), format!("table inet t {{ chain x {{ {text} }} }}"));
            run("nft flush ruleset");
        }
    });
}

#[test]
fn every_family_has_its_own_dependencies() {
    in_netns_with_nft(|| {
        let cases = [
            (Family::Ip, 2, "ip saddr 10.0.0.1 tcp dport 80 ether saddr 02:42:ac:11:00:02"),
            (Family::Ip, 2, "ip protocol icmp ip saddr 10.0.0.0/9"),
            (Family::Ip6, 10, "ip6 saddr fd00::1 udp dport 53"),
            (Family::Bridge, 7, "ip saddr 10.0.0.1 tcp dport 80"),
            (Family::Bridge, 7, "ip6 saddr fd00::1 iifname \"veth0\""),
            (Family::Bridge, 7, "ether saddr != 02:42:ac:11:00:02"),
            (Family::Bridge, 7, "ether saddr 02:42:ac:11:00:02 ip saddr 10.0.0.1"),
            (Family::Bridge, 7, "meta l4proto tcp"),
        ];
        for (family, number, text) in cases {
            let table = Table::new(family, "t");
            let mut batch = Batch::default();
            batch.add_table(&table).add_chain(&table, &chain("x"));
            batch.add_rule(&table, "x", parse_matches(text).unwrap());
            agree(&table, number, &batch);
            assert_eq!(listed(), format!("table {family} t {{ chain x {{ {text} }} }}"));
            run("nft flush ruleset");
        }
    });
}

/// nft reads a field of the link header and what follows it at once; this crate in two steps.
#[test]
fn network_behind_a_hardware_address_is_listed_alike() {
    in_netns_with_nft(|| {
        let text = "ether saddr 02:42:ac:11:00:02 ip saddr 10.0.0.1";
        let mut batch = Batch::default();
        batch.add_table(&TABLE).add_chain(&TABLE, &chain("x"));
        batch.add_rule(&TABLE, "x", parse_matches(text).unwrap());
        Nft::new().commit(&batch).unwrap();
        assert_eq!(listed(), format!("table inet t {{ chain x {{ {text} }} }}"));
    });
}

static HAIRPIN: Set = Set::new(TABLE, "hairpin", &[DataType::Ipv4Addr, DataType::Ipv4Addr]);
static SPOOF: Set = Set::new(TABLE, "spoof", &[DataType::IfName, DataType::EtherAddr]);
static MASQ: Set = Set::map(TABLE, "masq", &[DataType::Ipv6Addr], &[DataType::Verdict]);
static PORTS6: Set = Set::map(
    TABLE,
    "ports6",
    &[DataType::Ipv6Addr, DataType::InetProto, DataType::InetService],
    &[DataType::Ipv6Addr, DataType::InetService],
);

fn set_of(key: &'static [DataType], data: &'static [DataType]) -> Set {
    Set::map(TABLE, "s", key, data)
}

#[test]
fn statements_are_those_of_nft() {
    in_netns_with_nft(|| {
        let parts = |parts: &[Selector]| parts.to_vec();
        let verdict = |verdict| vec![Statement::Verdict(verdict)];
        let port_key = |addr| parts(&[addr, Selector::L4Proto, Selector::ThDport]);
        let rules = [
            verdict(Verdict::Accept),
            verdict(Verdict::Drop),
            verdict(Verdict::Return),
            verdict(Verdict::Jump("y".into())),
            verdict(Verdict::Goto("y".into())),
            vec![Statement::Reject],
            vec![Statement::Counter, Statement::Comment("of \u{e9} a net / id:eth0".into())],
            vec![Statement::OrMark(0x2000), Statement::Verdict(Verdict::Accept)],
            vec![
                Statement::InSet {
                    key: parts(&[Selector::IpSaddr, Selector::IpDaddr]),
                    op: Op::Eq,
                    set: "hairpin".into(),
                },
                Statement::Masquerade,
            ],
            vec![Statement::InSet {
                key: parts(&[Selector::IifName, Selector::EtherSaddr]),
                op: Op::Ne,
                set: "spoof".into(),
            }],
            vec![Statement::VerdictMap { key: parts(&[Selector::Ip6Saddr]), map: "masq".into() }],
            vec![Statement::DnatMap {
                family: NatFamily::Ip,
                key: port_key(Selector::IpDaddr),
                map: "ports".into(),
            }],
            vec![Statement::DnatMap {
                family: NatFamily::Ip6,
                key: port_key(Selector::Ip6Daddr),
                map: "ports6".into(),
            }],
        ];
        for rule in rules {
            let mut batch = Batch::default();
            batch.add_table(&TABLE);
            for set in [&HAIRPIN, &SPOOF, &MASQ, &PORTS, &PORTS6] {
                batch.add_set(set);
            }
            batch.add_chain(&TABLE, &chain("y")).add_chain(&TABLE, &chain("x"));
            batch.add_rule(&TABLE, "x", rule.clone());
            agree(&TABLE, 1, &batch);
            let text = rule.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            let listed = listed();
            assert!(listed.ends_with(&format!(" chain x {{ {text} }} }}")), "{listed}");
            run("nft flush ruleset");
        }
    });
}

#[test]
fn reject_is_plain_in_each_family() {
    in_netns_with_nft(|| {
        for (family, number) in [(Family::Ip, 2), (Family::Ip6, 10), (Family::Inet, 1)] {
            let table = Table::new(family, "t");
            let mut batch = Batch::default();
            batch.add_table(&table).add_chain(&table, &chain("x"));
            batch.add_rule(&table, "x", vec![Statement::Reject]);
            agree(&table, number, &batch);
            assert_eq!(listed(), format!("table {family} t {{ chain x {{ reject }} }}"));
            run("nft flush ruleset");
        }
    });
}

#[test]
fn base_chains_are_those_of_nft() {
    in_netns_with_nft(|| {
        let hooks = [
            (Hook::NatPrerouting, -110, Policy::Accept),
            (Hook::NatOutput, -100, Policy::Accept),
            (Hook::NatPostrouting, 100, Policy::Accept),
            (Hook::FilterPrerouting, -300, Policy::Accept),
            (Hook::FilterInput, 0, Policy::Drop),
            (Hook::FilterForward, 10, Policy::Drop),
            (Hook::FilterOutput, i32::MAX, Policy::Accept),
        ];
        let mut batch = Batch::default();
        batch.add_table(&TABLE);
        let mut text = String::new();
        for (number, base) in hooks.into_iter().enumerate() {
            let name = format!("c{number}");
            let chain = Chain { name: &name, base: Some(base) };
            batch.add_chain(&TABLE, &chain);
            text += &format!("chain {chain} ");
        }
        agree(&TABLE, 1, &batch);
        assert_eq!(listed(), format!("table inet t {{ {text}}}"));
    });
}

/// Sets of each type, with the elements' text in the order that nft lists them.
fn sets() -> Vec<(Set, Vec<Element>)> {
    let addr = |text: &str| Value::Addr(text.parse().unwrap());
    let plain = |key| Element { key, data: Vec::new(), comment: None };
    let owned = |key, data, comment: &str| Element { key, data, comment: Some(comment.into()) };
    let jump = |chain: &str| vec![Value::Verdict(Verdict::Jump(chain.into()))];
    let name = |name: &str| Value::IfName(name.into());
    let mac = |last| Value::Mac([2, 0x42, 0xac, 0x11, 0, last]);
    vec![
        (set_of(&[Ipv4Addr], &[]), vec![plain(vec![addr("10.0.0.1")]), plain(vec![addr("10.0.0.2")])]),
        (set_of(&[Ipv6Addr], &[]), vec![plain(vec![addr("fd00::1")])]),
        (set_of(&[EtherAddr], &[]), vec![plain(vec![mac(2)]), plain(vec![mac(3)])]),
        (set_of(&[InetProto], &[]), vec![plain(vec![Value::Proto(6)])]),
        (set_of(&[InetService], &[]), vec![plain(vec![Value::Port(80)]), plain(vec![Value::Port(443)])]),
        (set_of(&[Mark], &[]), vec![owned(vec![Value::Mark(0x2000)], vec![], "m")]),
        (set_of(&[IfName], &[]), vec![owned(vec![name("eth0")], vec![], "a/b"), plain(vec![name("eth1")])]),
        (set_of(&[IfName, EtherAddr], &[]), vec![plain(vec![name("veth0123456789a"), mac(2)])]),
        (
            set_of(&[EtherAddr, Ipv4Addr, Ipv6Addr, IfName], &[]),
            vec![plain(vec![mac(9), addr("10.0.0.1"), addr("fd00::1"), name("x")])],
        ),
        (
            set_of(&[Ipv4Addr, InetProto, InetService], &[Ipv4Addr, InetService]),
            vec![port(80, [10, 1, 0, 2], "one"), port(443, [10, 1, 0, 2], "two")],
        ),
        (
            set_of(&[Ipv6Addr, InetProto, InetService], &[Ipv6Addr, InetService]),
            vec![owned(
                vec![addr("fd00::1"), Value::Proto(17), Value::Port(53)],
                vec![addr("fd01::1"), Value::Port(5353)],
                "dns",
            )],
        ),
        (set_of(&[InetProto, InetService], &[Ipv4Addr, InetService]), Vec::new()),
        (set_of(&[Ipv4Addr], &[DataType::Verdict]), vec![owned(vec![addr("10.0.0.1")], jump("y"), "me")]),
        (
            set_of(&[IfName, Ipv4Addr], &[DataType::Verdict]),
            vec![
                owned(vec![name("a"), addr("10.0.0.1")], vec![Value::Verdict(Verdict::Accept)], "x"),
                owned(
                    vec![name("b"), addr("10.0.0.1")],
                    vec![Value::Verdict(Verdict::Goto("y".into()))],
                    "x",
                ),
            ],
        ),
        (set_of(&[InetService], &[Mark]), vec![owned(vec![Value::Port(80)], vec![Value::Mark(5)], "c")]),
        (set_of(&[Mark], &[InetProto]), vec![owned(vec![Value::Mark(5)], vec![Value::Proto(6)], "c")]),
        (set_of(&[EtherAddr], &[EtherAddr]), vec![owned(vec![mac(1)], vec![mac(2)], "c")]),
        (set_of(&[NfProto], &[IfName]), vec![owned(vec![Value::Proto(2)], vec![name("e")], "c")]),
        (set_of(&[FibAddrType], &[]), vec![plain(vec![Value::AddrType(2)])]),
        (set_of(&[CtState, CtStatus], &[]), vec![plain(vec![Value::Bits(2), Value::Bits(32)])]),
    ]
}

#[test]
fn sets_and_elements_are_those_of_nft() {
    in_netns_with_nft(|| {
        for (set, elements) in sets() {
            let mut batch = Batch::default();
            batch.add_table(&TABLE).add_chain(&TABLE, &chain("y")).add_set(&set);
            for element in &elements {
                batch.add_element(&set, element.clone());
            }
            agree(&TABLE, 1, &batch);

            // What was printed as commands is what nft lists.
            let script = batch.to_string();
            let texts: Vec<&str> = script
                .lines()
                .filter_map(|line| line.strip_prefix("add element inet t s { ")?.strip_suffix(" }"))
                .collect();
            assert_eq!(texts.len(), elements.len());
            let declared = script.lines().find_map(|line| line.split_once("{ type ")).unwrap();
            let (types, kind) =
                (declared.1.strip_suffix("; }").unwrap(), declared.0.split(' ').nth(1).unwrap());
            let types = types.replace(';', " ");
            let list = if texts.is_empty() {
                String::new()
            } else {
                format!(" elements = {{ {} }}", texts.join(", "))
            };
            let expected = format!("table inet t {{ {kind} s {{ type {types}{list} }} chain y {{ }} }}");
            assert_eq!(listed(), words(&expected));

            let mut read = Nft::new().elements(&set).unwrap();
            read.sort_by_key(|element| format!("{:?}", element.key));
            let mut sent = elements;
            sent.sort_by_key(|element| format!("{:?}", element.key));
            assert_eq!(read, sent);
            run("nft flush ruleset");
        }
    });
}

#[test]
fn deletions_are_those_of_nft() {
    in_netns_with_nft(|| {
        let mut setup = Batch::default();
        setup.add_table(&TABLE).add_set(&PORTS).add_chain(&TABLE, &chain("x")).add_chain(&TABLE, &chain("y"));
        setup.add_rule(&TABLE, "x", vec![Statement::Reject]).add_rule(&TABLE, "x", vec![Statement::Counter]);
        setup
            .add_element(&PORTS, port(80, [10, 1, 0, 2], "a"))
            .add_element(&PORTS, port(81, [10, 1, 0, 2], "b"));
        let mut socket = Nft::new();
        socket.commit(&setup).unwrap();
        let rules = socket.rules(&TABLE, "x").unwrap();

        let mut batch = Batch::default();
        batch.delete_rule(&TABLE, "x", rules[0].handle).delete_chain(&TABLE, "y");
        batch.delete_element(&PORTS, port(80, [0; 4], "").key);
        socket.commit(&batch).unwrap();
        let left = listed();
        assert!(
            left.contains("chain x { counter packets 0 bytes 0 } }") && !left.contains("chain y"),
            "{left}"
        );
        assert!(
            left.contains("elements = { 10.0.0.1 . tcp . 81 comment \"b\" : 10.1.0.2 . 8080 }"),
            "{left}"
        );

        // The text of each deletion does the same in nft.
        run("nft flush ruleset");
        socket.commit(&setup).unwrap();
        let handle = socket.rules(&TABLE, "x").unwrap()[0].handle;
        nft(&batch.to_string().replace(&format!("handle {}", rules[0].handle), &format!("handle {handle}")));
        assert_eq!(listed(), left);

        let mut flush = Batch::default();
        flush.flush_chain(&TABLE, "x");
        socket.commit(&flush).unwrap();
        assert!(listed().contains("chain x { } }"));
        let mut delete = Batch::default();
        delete.delete_table(&TABLE);
        socket.commit(&delete).unwrap();
        assert_eq!(listed(), "");
    });
}
