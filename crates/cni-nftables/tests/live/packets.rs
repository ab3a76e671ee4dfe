//! That rules do what they say is proven by the plugins that make them; here only that packets meet them at all.

use std::net::UdpSocket;
use std::time::Duration;

use cni_nftables::{Batch, Chain, DataType, Element, Hook, NatFamily, Nft, Op, Policy, Selector};
use cni_nftables::{Set, Statement, Value, Verdict, parse_matches};

use crate::support::{PORTS, TABLE, in_netns, port, run};

const OUTPUT: Chain<'_> = Chain { name: "out", base: Some((Hook::NatOutput, -100, Policy::Accept)) };
const INPUT: Chain<'_> = Chain { name: "in", base: Some((Hook::FilterInput, 0, Policy::Accept)) };

/// What arrives at `at` of a packet sent to `to`.
fn arrives(at: &UdpSocket, to: (&str, u16)) -> bool {
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    at.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // A reject is an error of the next send; the first is what counts.
    sender.send_to(b"x", to).unwrap();
    at.recv_from(&mut [0; 8]).is_ok()
}

#[test]
fn packet_follows_the_map_and_stops_at_the_drop() {
    in_netns(|| {
        run("ip link set lo up");
        let receiver = UdpSocket::bind("127.0.0.1:8080").unwrap();
        let key = vec![Selector::IpDaddr, Selector::L4Proto, Selector::ThDport];
        let mut element = port(80, [127, 0, 0, 1], "me");
        element.key = vec![Value::Addr([127, 0, 0, 1].into()), Value::Proto(17), Value::Port(80)];
        let mut batch = Batch::default();
        batch.add_table(&TABLE).add_set(&PORTS).add_chain(&TABLE, &OUTPUT).add_chain(&TABLE, &INPUT);
        let mut rule = parse_matches("fib daddr type local meta l4proto { tcp, udp }").unwrap();
        rule.push(Statement::DnatMap { family: NatFamily::Ip, key, map: "ports".into() });
        batch.add_rule(&TABLE, "out", rule);
        let mut nft = Nft::new();
        nft.commit(&batch).unwrap();
        assert!(!arrives(&receiver, ("127.0.0.1", 80)));
        nft.commit(Batch::default().add_element(&PORTS, element)).unwrap();
        assert!(arrives(&receiver, ("127.0.0.1", 80)));
        assert!(!arrives(&receiver, ("127.0.0.1", 81)));

        let mut rule = parse_matches("udp dport 8000-8100 ip saddr { 10.0.0.0/8, 127.0.0.0/8 }").unwrap();
        rule.push(Statement::Verdict(Verdict::Drop));
        nft.commit(Batch::default().add_rule(&TABLE, "in", rule)).unwrap();
        assert!(!arrives(&receiver, ("127.0.0.1", 80)));
    });
}

#[test]
fn interface_wildcard_and_verdict_map_hold_for_packets() {
    static MAP: Set = Set::map(TABLE, "m", &[DataType::IfName, DataType::Ipv4Addr], &[DataType::Verdict]);
    in_netns(|| {
        run("ip link set lo up");
        let receiver = UdpSocket::bind("127.0.0.1:8080").unwrap();
        let mut nft = Nft::new();
        let mut batch = Batch::default();
        batch.add_table(&TABLE).add_chain(&TABLE, &INPUT);
        for text in ["iifname \"l*\"", "iifname { \"l*\", \"eth0\" }", "meta mark 0-5"] {
            let mut rule = parse_matches(text).unwrap();
            rule.push(Statement::Verdict(Verdict::Drop));
            let mut batch = batch.clone();
            batch.flush_chain(&TABLE, "in").add_rule(&TABLE, "in", rule);
            nft.commit(&batch).unwrap();
            assert!(!arrives(&receiver, ("127.0.0.1", 8080)), "{text}");
            nft.commit(Batch::default().flush_chain(&TABLE, "in")).unwrap();
            assert!(arrives(&receiver, ("127.0.0.1", 8080)), "{text}");
        }

        batch.add_set(&MAP);
        let key = vec![Selector::IifName, Selector::IpSaddr];
        batch.add_rule(&TABLE, "in", vec![Statement::VerdictMap { key, map: "m".into() }]);
        nft.commit(&batch).unwrap();
        assert!(arrives(&receiver, ("127.0.0.1", 8080)));
        let key = vec![Value::IfName("lo".into()), Value::Addr([127, 0, 0, 1].into())];
        let drop = Element { key, data: vec![Value::Verdict(Verdict::Drop)], comment: None };
        nft.commit(Batch::default().add_element(&MAP, drop)).unwrap();
        assert!(!arrives(&receiver, ("127.0.0.1", 8080)));
        let mark = Statement::Match { selector: Selector::Mark, op: Op::Eq, value: Value::Mark(0) };
        let rule = vec![mark, Statement::Verdict(Verdict::Accept)];
        nft.commit(Batch::default().flush_chain(&TABLE, "in").add_rule(&TABLE, "in", rule)).unwrap();
        assert!(arrives(&receiver, ("127.0.0.1", 8080)));
    });
}
