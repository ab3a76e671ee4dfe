//! Errors name the command that caused them, and leave everything as it was.

use cni_nftables::{Batch, Chain, Hook, Nft, Policy, Selector, Statement, Value, Verdict};

use crate::support::{PORTS, TABLE, chain, in_netns, port, port_key, with_ports};

/// Commits a batch that must fail; the error's text. The ruleset's elements stay as they are.
#[track_caller]
fn refused(nft: &mut Nft, batch: &Batch) -> String {
    let before = nft.elements(&PORTS).unwrap().len();
    let error = nft.commit(batch).unwrap_err();
    assert_eq!(nft.elements(&PORTS).unwrap().len(), before);
    error.to_string()
}

#[test]
fn error_names_the_command_among_others() {
    in_netns(|| {
        let mut nft = with_ports();
        let mut batch = Batch::default();
        batch
            .add_table(&TABLE)
            .add_chain(&TABLE, &chain("a"))
            .add_element(&PORTS, port(80, [10, 1, 0, 2], "x"));
        batch.delete_chain(&TABLE, "nowhere").add_chain(&TABLE, &chain("b"));
        let text = refused(&mut nft, &batch);
        assert_eq!(text, "cannot delete chain inet t nowhere: No such file or directory (os error 2)");
        assert!(nft.chains(&TABLE).unwrap().is_empty(), "the batch is applied whole or not at all");
    });
}

#[test]
fn error_names_the_rule_and_not_its_anonymous_set() {
    in_netns(|| {
        let mut nft = with_ports();
        let mut batch = Batch::default();
        batch.add_chain(&TABLE, &chain("a"));
        let ports = Value::AnyOf(vec![Value::Port(80), Value::Port(443)]);
        let selector = Selector::TcpDport;
        let ports = Statement::Match { selector, op: cni_nftables::Op::Eq, value: ports };
        batch.add_rule(&TABLE, "a", vec![ports.clone(), Statement::Verdict(Verdict::Accept)]);
        batch.add_rule(&TABLE, "a", vec![ports, Statement::Verdict(Verdict::Jump("nowhere".into()))]);
        let text = refused(&mut nft, &batch);
        assert!(
            text.starts_with("cannot add rule inet t a tcp dport { 80, 443 } jump nowhere: No such file"),
            "{text}"
        );
    });
}

/// They travel in one message; the kernel names the place in it.
#[test]
fn error_names_the_element_among_those_of_a_message() {
    in_netns(|| {
        let mut nft = with_ports();
        let mut batch = Batch::default();
        batch.add_element(&PORTS, port(80, [10, 1, 0, 2], "x"));
        nft.commit(&batch).unwrap();

        let mut batch = Batch::default();
        batch
            .add_element(&PORTS, port(79, [10, 1, 0, 2], "y"))
            .add_element(&PORTS, port(80, [10, 1, 0, 3], "y"));
        batch.add_element(&PORTS, port(81, [10, 1, 0, 2], "y"));
        let error = nft.commit(&batch).unwrap_err();
        assert!(error.is_exists() || error.is_busy(), "{error}");
        let text = error.to_string();
        let op = "cannot add element inet t ports { 10.0.0.1 . tcp . 80 comment \"y\" : 10.1.0.3 . 8080 }: ";
        assert!(text.starts_with(op), "{text}");

        let mut batch = Batch::default();
        for number in [80, 81, 82] {
            batch.delete_element(&PORTS, port_key(number));
        }
        let text = refused(&mut nft, &batch);
        assert!(text.starts_with("cannot delete element inet t ports { 10.0.0.1 . tcp . 81 }: "), "{text}");
    });
}

#[test]
fn each_refusal_can_be_asked_for() {
    in_netns(|| {
        let mut nft = with_ports();
        let mut again = Batch::default();
        let other = cni_nftables::Set::new(TABLE, "ports", PORTS.key);
        again.add_set(&other);
        assert!(nft.commit(&again).unwrap_err().is_exists());

        let mut batch = Batch::default();
        batch.add_chain(&TABLE, &chain("a")).add_chain(&TABLE, &chain("b"));
        batch.add_rule(&TABLE, "b", vec![Statement::Verdict(Verdict::Jump("a".into()))]);
        nft.commit(&batch).unwrap();
        let mut delete = Batch::default();
        delete.delete_chain(&TABLE, "a");
        assert!(nft.commit(&delete).unwrap_err().is_busy());

        let base = |hook| Chain { name: "c", base: Some((hook, 0, Policy::Accept)) };
        let mut batch = Batch::default();
        batch.add_chain(&TABLE, &base(Hook::FilterInput));
        nft.commit(&batch).unwrap();
        let mut batch = Batch::default();
        batch.add_chain(&TABLE, &base(Hook::FilterForward));
        let error = nft.commit(&batch).unwrap_err();
        assert!(error.is_exists() && !error.is_unsupported(), "{error}");

        let mut delete = Batch::default();
        delete.delete_rule(&TABLE, "b", 12345);
        assert!(nft.commit(&delete).unwrap_err().is_not_found());
        let mut delete = Batch::default();
        delete.delete_element(&PORTS, port_key(1));
        assert!(nft.commit(&delete).unwrap_err().is_not_found());
        let mut delete = Batch::default();
        delete.delete_table(&cni_nftables::Table::new(cni_nftables::Family::Inet, "nowhere"));
        let error = nft.commit(&delete).unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(
            error.to_string(),
            "cannot delete table inet nowhere: No such file or directory (os error 2): there is no such table"
        );

        let mut late = Batch::default();
        late.add_chain(&TABLE, &Chain { name: "d", base: Some((Hook::NatOutput, -200, Policy::Accept)) });
        let error = nft.commit(&late).unwrap_err().to_string();
        assert!(error.ends_with("policy accept; }: a nat chain has a priority above -200"), "{error}");
    });
}

/// Hundreds of errors are more than the socket holds; the first still counts.
#[test]
fn first_of_very_many_errors_is_told() {
    in_netns(|| {
        let mut nft = with_ports();
        let mut batch = Batch::default();
        for number in 0..5000 {
            batch.delete_chain(&TABLE, &format!("c{number}"));
        }
        let error = nft.commit(&batch).unwrap_err();
        assert!(error.to_string().starts_with("cannot delete chain inet t c0: No such file"), "{error}");
        // And nothing of it is left over for the next.
        nft.commit(Batch::default().add_chain(&TABLE, &chain("a"))).unwrap();
        assert_eq!(nft.chains(&TABLE).unwrap(), ["a"]);
    });
}

#[test]
fn what_cannot_be_sent_is_named_and_nothing_is_sent() {
    in_netns(|| {
        let mut nft = with_ports();
        let mut element = port(80, [10, 1, 0, 2], "x");
        element.key[0] = Value::Mac([0; 6]);
        let mut batch = Batch::default();
        batch.add_element(&PORTS, port(79, [10, 1, 0, 2], "x")).add_element(&PORTS, element);
        assert_eq!(
            refused(&mut nft, &batch),
            "cannot add element inet t ports { 00:00:00:00:00:00 . tcp . 80 comment \"x\" : 10.1.0.2 . 8080 }: \
             00:00:00:00:00:00 is not a single ipv4_addr"
        );
        let quoted = port(80, [10, 1, 0, 2], "a \"b\"");
        assert!(refused(&mut nft, Batch::default().add_element(&PORTS, quoted)).contains("quotes"));
        let long = port(80, [10, 1, 0, 2], &"x".repeat(251));
        assert!(
            refused(&mut nft, Batch::default().add_element(&PORTS, long)).contains("more than 250 bytes")
        );
        nft.commit(Batch::default().add_element(&PORTS, port(80, [10, 1, 0, 2], &"x".repeat(250)))).unwrap();
    });
}
