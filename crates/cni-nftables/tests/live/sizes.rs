//! Batches larger than a message, an attribute and the socket's send buffer.

use cni_nftables::{Batch, Op, Selector, Statement, Value};

use crate::support::{PORTS, TABLE, chain, in_netns, in_netns_with_nft, listed, port, port_key, with_ports};

#[test]
fn ten_thousand_elements_go_in_one_batch() {
    in_netns(|| {
        let mut nft = with_ports();
        let mut batch = Batch::default();
        for number in 1..=10_000 {
            batch.add_element(&PORTS, port(number, [10, 1, 0, 2], &"o".repeat(200)));
        }
        nft.commit(&batch).unwrap();
        assert_eq!(nft.elements(&PORTS).unwrap().len(), 10_000);

        // The one that fails is named even behind thousands in other messages.
        let mut batch = Batch::default();
        for number in (1..=10_000).chain([10_001]) {
            batch.delete_element(&PORTS, port_key(number));
        }
        let error = nft.commit(&batch).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot delete element inet t ports { 10.0.0.1 . tcp . 10001 }: No such"),
            "{error}"
        );
        assert_eq!(nft.elements(&PORTS).unwrap().len(), 10_000);

        let mut batch = Batch::default();
        (1..=10_000).for_each(|number| _ = batch.delete_element(&PORTS, port_key(number)));
        nft.commit(&batch).unwrap();
        assert_eq!(nft.elements(&PORTS).unwrap(), []);
    });
}

#[test]
fn list_of_thousands_in_one_rule() {
    in_netns_with_nft(|| {
        let mut nft = with_ports();
        let ports: Vec<Value> = (1..20_000).step_by(2).map(Value::Port).collect();
        let mut ranges = ports.clone();
        ranges.push(Value::Range(Box::new(Value::Port(30_000)), Box::new(Value::Port(40_000))));
        let mut batch = Batch::default();
        batch.add_chain(&TABLE, &chain("x"));
        for values in [ports, ranges] {
            let value = Value::AnyOf(values);
            batch.add_rule(
                &TABLE,
                "x",
                vec![Statement::Match { selector: Selector::TcpDport, op: Op::Eq, value }],
            );
        }
        nft.commit(&batch).unwrap();
        let listed = listed();
        assert!(listed.contains("{ 1, 3, 5,") && listed.contains(" 19997, 19999 }"), "{}", &listed[..200]);
        assert!(listed.contains(" 19999, 30000-40000 }"));
    });
}

#[test]
fn thousand_rules_go_in_one_batch() {
    in_netns(|| {
        let mut nft = with_ports();
        let mut batch = Batch::default();
        batch.add_chain(&TABLE, &chain("x"));
        for number in 0..1000 {
            batch.add_rule(
                &TABLE,
                "x",
                vec![Statement::Counter, Statement::Comment(format!("rule {number}"))],
            );
        }
        nft.commit(&batch).unwrap();
        let rules = nft.rules(&TABLE, "x").unwrap();
        assert_eq!(rules.len(), 1000);
        assert_eq!(rules[999].comment.as_deref(), Some("rule 999"));
    });
}
