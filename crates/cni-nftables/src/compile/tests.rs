use super::*;
use crate::parse_matches;

fn compiled(family: Family, rule: &[Statement]) -> Vec<Expr> {
    compile(family, rule).unwrap().exprs
}

fn refused(family: Family, rule: &[Statement]) -> String {
    compile(family, rule).unwrap_err()
}

fn matching(selector: Selector, op: Op, value: Value) -> Statement {
    Statement::Match { selector, op, value }
}

#[test]
fn reject_is_that_of_the_family() {
    let reject = |family| compiled(family, &[Statement::Reject]);
    assert_eq!(reject(Family::Ip), [Expr::Reject { kind: 0, code: 3 }]);
    assert_eq!(reject(Family::Ip6), [Expr::Reject { kind: 0, code: 4 }]);
    assert_eq!(reject(Family::Inet), [Expr::Reject { kind: 2, code: 1 }]);
    assert_eq!(reject(Family::Bridge), [Expr::Reject { kind: 2, code: 1 }]);
}

#[test]
fn dependency_is_matched_once() {
    let rule = parse_matches("ip saddr 10.0.0.1 ip daddr 10.0.0.2 tcp sport 1 tcp dport 2").unwrap();
    let exprs = compiled(Family::Inet, &rule);
    let count =
        |wanted| exprs.iter().filter(|expr| matches!(expr, Expr::Meta { key, .. } if *key == wanted)).count();
    assert_eq!((count(NFT_META_NFPROTO), count(NFT_META_L4PROTO)), (1, 1));
    let exprs = compiled(Family::Ip, &rule);
    assert!(!exprs.iter().any(|expr| matches!(expr, Expr::Meta { key, .. } if *key == NFT_META_NFPROTO)));
}

/// What is only sometimes so tells nothing about the rest of the rule.
#[test]
fn negation_and_lists_tell_no_protocol() {
    for text in ["meta l4proto != tcp tcp dport 80", "meta l4proto { tcp, udp } tcp dport 80"] {
        let exprs = compiled(Family::Inet, &parse_matches(text).unwrap());
        let reads =
            exprs.iter().filter(|expr| matches!(expr, Expr::Meta { key, .. } if *key == NFT_META_L4PROTO));
        assert_eq!(reads.count(), 2, "{text}");
    }
}

#[test]
fn matches_that_exclude_each_other_are_refused() {
    let needs = |family, text: &str| refused(family, &parse_matches(text).unwrap());
    assert!(needs(Family::Ip, "ip6 saddr ::1").contains("another protocol"));
    assert!(needs(Family::Ip6, "ip protocol tcp").contains("another protocol"));
    assert!(needs(Family::Bridge, "meta nfproto ipv4").contains("inet family"));
}

#[test]
fn key_takes_the_registers_of_its_parts() {
    let key = [Selector::EtherSaddr, Selector::IpSaddr, Selector::Ip6Saddr];
    assert!(refused(Family::Bridge, &[in_set(&key)]).contains("another protocol"));
    let key = [Selector::EtherSaddr, Selector::IpSaddr, Selector::IifName, Selector::Mark];
    let registers: Vec<u32> = compiled(Family::Bridge, &[in_set(&key)])
        .iter()
        .skip(2)
        .filter_map(|expr| match expr {
            Expr::Meta { register, .. } | Expr::Payload { register, .. } => Some(*register),
            _ => None,
        })
        .collect();
    // Eight bytes of register 1, then NFT_REG32_02, NFT_REG32_03 and NFT_REG32_07.
    assert_eq!(registers, [1, 10, 11, 15]);
    let long = [Selector::IifName; 5];
    assert!(refused(Family::Inet, &[in_set(&long)]).contains("64 bytes"));
    assert!(refused(Family::Inet, &[in_set(&[])]).contains("no type"));
}

fn in_set(key: &[Selector]) -> Statement {
    Statement::InSet { key: key.to_vec(), op: Op::Eq, set: "s".into() }
}

#[test]
fn numbers_of_registers_are_those_of_nft() {
    let numbers: Vec<u32> = (0..16).map(register).collect();
    assert_eq!(numbers, [1, 9, 10, 11, 2, 13, 14, 15, 3, 17, 18, 19, 4, 21, 22, 23]);
}

#[test]
fn values_of_other_types_are_refused() {
    let port = Value::Port(80);
    let net = Value::Net("10.0.0.0/8".parse().unwrap());
    let cases = [
        (Selector::IpSaddr, port.clone()),
        (Selector::TcpDport, net.clone()),
        (Selector::Ip6Saddr, net.clone()),
        (Selector::Ip6Saddr, Value::Net("10.0.0.0/32".parse().unwrap())),
        (Selector::TcpDport, Value::IfName("veth*".into())),
        (Selector::TcpDport, Value::MaskedMark { value: 1, mask: 1 }),
        (Selector::CtStatus, port.clone()),
        (Selector::TcpDport, Value::Bits(1)),
        (Selector::TcpDport, Value::AnyOf(vec![port.clone(), net.clone()])),
        (Selector::TcpDport, Value::AnyOf(vec![port.clone(), Value::AnyOf(vec![])])),
        (Selector::TcpDport, Value::AnyOf(vec![])),
        (Selector::Mark, Value::AnyOf(vec![Value::Mark(1), Value::MaskedMark { value: 1, mask: 1 }])),
        (Selector::TcpDport, Value::Range(Box::new(port.clone()), Box::new(net))),
        (Selector::TcpDport, Value::Range(Box::new(port.clone()), Box::new(Value::Port(79)))),
        (Selector::TcpDport, Value::Verdict(Verdict::Accept)),
        (Selector::CtState, Value::Range(Box::new(Value::Bits(1)), Box::new(Value::Bits(2)))),
        (Selector::IifName, Value::IfName("*".into())),
        (Selector::IifName, Value::IfName("a b".into())),
        (Selector::IifName, Value::IfName("a\"b".into())),
        (Selector::IifName, Value::IfName("0123456789abcdef".into())),
    ];
    for (selector, value) in cases {
        for op in [Op::Eq, Op::Ne] {
            refused(Family::Inet, &[matching(selector, op, value.clone())]);
        }
    }
    let several = matching(Selector::CtStatus, Op::Ne, Value::Bits(48));
    assert_eq!(
        refused(Family::Inet, &[several]),
        "ct status != snat,dnat holds always: write != { snat,dnat }"
    );
}

#[test]
fn what_the_kernel_would_cut_or_refuse_is_refused() {
    let comment = || Statement::Comment("x".into());
    assert!(refused(Family::Inet, &[comment(), Statement::Counter]).contains("ends the rule"));
    assert!(refused(Family::Inet, &[comment(), comment()]).contains("ends the rule"));
    assert!(refused(Family::Inet, &[Statement::Comment("a\nb".into())]).contains("control characters"));
    assert!(refused(Family::Inet, &vec![Statement::Counter; 129]).contains("128 expressions"));
    for chain in ["", "a\0b", &"x".repeat(256)] {
        refused(Family::Inet, &[Statement::Verdict(Verdict::Jump(chain.into()))]);
        refused(Family::Inet, &[Statement::VerdictMap { key: vec![Selector::Mark], map: chain.into() }]);
    }
}
