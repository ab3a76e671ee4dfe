//! Messages byte for byte as nft sends them, next to the command that makes them.

use crate::encode::Removal;
use crate::request::Request;
use crate::{Batch, Chain, DataType, Element, Family, Hook, NatFamily, Op, Policy, Selector, Set, Statement};
use crate::{Table, Value, Verdict, parse_matches};

const TABLE: Table = Table::new(Family::Inet, "t");
static PORTS: Set = Set::map(
    TABLE,
    "ports",
    &[DataType::Ipv4Addr, DataType::InetProto, DataType::InetService],
    &[DataType::Ipv4Addr, DataType::InetService],
);
static SPOOF: Set = Set::new(TABLE, "spoof", &[DataType::IfName, DataType::EtherAddr]);
static MASQ: Set = Set::map(TABLE, "masq", &[DataType::Ipv6Addr], &[DataType::Verdict]);
static ADDRS: Set = Set::new(TABLE, "addrs", &[DataType::Ipv4Addr]);

fn one(make: impl FnOnce(&mut Batch)) -> Batch {
    let mut batch = Batch::default();
    make(&mut batch);
    batch
}

fn chain(name: &str, base: Option<(Hook, i32, Policy)>) -> Batch {
    one(|batch| _ = batch.add_chain(&TABLE, &Chain { name, base }))
}

fn rule(matches: &str, more: Vec<Statement>) -> Batch {
    let mut rule = if matches.is_empty() { Vec::new() } else { parse_matches(matches).unwrap() };
    rule.extend(more);
    one(|batch| _ = batch.add_rule(&TABLE, "x", rule))
}

fn in_set(key: &[Selector], op: Op, set: &str) -> Statement {
    Statement::InSet { key: key.to_vec(), op, set: set.into() }
}

fn element(set: &Set, key: Vec<Value>, data: Vec<Value>, comment: Option<&str>) -> Batch {
    let element = Element { key, data, comment: comment.map(Into::into) };
    one(|batch| _ = batch.add_element(set, element))
}

fn port_key(port: u16) -> Vec<Value> {
    vec![Value::Addr([10, 0, 0, 1].into()), Value::Proto(6), Value::Port(port)]
}

/// The commands of testdata/commands.hex.
fn commands() -> Vec<Batch> {
    let target = vec![Value::Addr([10, 1, 0, 2].into()), Value::Port(8080)];
    let jump = vec![Value::Verdict(Verdict::Jump("y".into()))];
    let veth = vec![Value::IfName("veth0".into()), Value::Mac([2, 0x42, 0xac, 0x11, 0, 2])];
    let pod = vec![Value::Addr("fd00::1".parse().unwrap())];
    vec![
        chain("fresh", None),
        chain("out", Some((Hook::NatOutput, -100, Policy::Accept))),
        chain("forward", Some((Hook::FilterForward, 10, Policy::Drop))),
        one(|batch| _ = batch.flush_chain(&TABLE, "x")),
        one(|batch| _ = batch.delete_chain(&TABLE, "y")),
        one(|batch| _ = batch.add_set(&ADDRS)),
        element(&PORTS, port_key(80), target, Some("net/0123/eth0")),
        element(&SPOOF, veth, vec![], None),
        element(&MASQ, pod, jump, Some("me")),
        one(|batch| _ = batch.delete_element(&PORTS, port_key(81))),
        rule(
            "ip saddr 10.0.0.0/8 tcp dport 1024-65535 ct state established,related",
            vec![Statement::Verdict(Verdict::Accept)],
        ),
        rule("iifname \"veth*\" oifname != \"lo\" meta mark & 0x2000 == 0x2000", vec![]),
        rule("ip6 daddr != fd00::/61 meta mark 1-5 udp sport != 1-5", vec![]),
        rule(
            "",
            vec![in_set(&[Selector::IpSaddr, Selector::IpDaddr], Op::Eq, "hairpin"), Statement::Masquerade],
        ),
        rule(
            "",
            vec![
                in_set(&[Selector::IifName, Selector::EtherSaddr], Op::Ne, "spoof"),
                Statement::Verdict(Verdict::Drop),
            ],
        ),
        rule("", vec![Statement::VerdictMap { key: vec![Selector::Ip6Saddr], map: "masq".into() }]),
        rule(
            "fib daddr type local meta l4proto tcp",
            vec![Statement::Counter, Statement::Reject, Statement::Comment("why".into())],
        ),
        rule(
            "",
            vec![Statement::DnatMap {
                family: NatFamily::Ip6,
                key: vec![Selector::Ip6Daddr, Selector::L4Proto, Selector::ThDport],
                map: "ports6".into(),
            }],
        ),
        one(|batch| _ = batch.delete_rule(&TABLE, "x", 77)),
        one(|batch| _ = batch.delete_table(&TABLE)),
    ]
}

/// The bytes between the frame of a batch, as words of four in hexadecimal digits, without sequence numbers and the flag that asks
/// for an acknowledgement.
fn words(batch: &Batch) -> String {
    let request = Request::new(&[batch], 0, None, Removal::Expiry).unwrap();
    let mut text = String::new();
    for number in 1..=request.last() {
        let mut message = request.message(number).to_vec();
        message[6] &= !4;
        message[8..12].fill(0);
        for word in message.chunks(4) {
            text += &word.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            text.push(' ');
        }
    }
    text.trim_end().to_string()
}

#[test]
#[cfg(target_endian = "little")]
fn messages_are_those_of_nft() {
    let golden = include_str!("../testdata/commands.hex");
    let mut cases: Vec<(&str, String)> = golden
        .split("\n\n# ")
        .skip(1)
        .map(|case| {
            let (command, bytes) = case.split_once('\n').unwrap();
            (command, bytes.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect();
    for batch in commands() {
        let text = batch.to_string();
        let at = cases.iter().position(|(command, _)| *command == text.trim_end());
        let (command, bytes) = cases.remove(at.unwrap_or_else(|| panic!("no bytes for {text}")));
        assert_eq!(words(&batch), bytes, "{command}");
    }
    assert!(cases.is_empty(), "{cases:?}");
}
