//! Reading back: single elements, chains, and what is not there.

use cni_nftables::{Batch, Family, FoundRule, Nft, Set, Statement, Table, Value};

use crate::support::{PORTS, TABLE, chain, in_netns, in_netns_with_nft, nft, port, port_key, with_ports};

#[test]
fn what_is_not_there_is_empty() {
    in_netns(|| {
        let mut nft = Nft::new();
        assert_eq!(nft.element(&PORTS, &port_key(80)).unwrap(), None);
        assert_eq!(nft.elements(&PORTS).unwrap(), []);
        assert_eq!(nft.rules(&TABLE, "x").unwrap(), []);
        assert_eq!(nft.chains(&TABLE).unwrap(), Vec::<String>::new());
        assert_eq!(nft.sets(&TABLE).unwrap(), Vec::<String>::new());
        nft.probe().unwrap();
        nft.commit(Batch::default().add_table(&TABLE)).unwrap();
        assert_eq!(nft.sets(&TABLE).unwrap(), Vec::<String>::new());
        assert_eq!(nft.element(&PORTS, &port_key(80)).unwrap(), None);
        assert_eq!(nft.elements(&PORTS).unwrap(), []);
        nft.commit(Batch::default().add_set(&PORTS)).unwrap();
        assert_eq!(nft.element(&PORTS, &port_key(80)).unwrap(), None);
        assert_eq!(nft.elements(&PORTS).unwrap(), []);
        nft.commit(&Batch::default()).unwrap();
    });
}

#[test]
fn element_is_found_among_many() {
    in_netns(|| {
        let mut nft = with_ports();
        let mut batch = Batch::default();
        for number in 1..=2000 {
            batch.add_element(&PORTS, port(number, [10, 1, 0, 2], &format!("owner {number}")));
        }
        nft.commit(&batch).unwrap();
        let found = nft.element(&PORTS, &port_key(1234)).unwrap().unwrap();
        assert_eq!(found, port(1234, [10, 1, 0, 2], "owner 1234"));
        assert_eq!(nft.element(&PORTS, &port_key(2001)).unwrap(), None);
        assert_eq!(nft.elements(&PORTS).unwrap().len(), 2000);
    });
}

#[test]
fn sets_are_listed_of_their_table_alone() {
    in_netns(|| {
        let other = Table::new(Family::Inet, "other");
        let mut batch = Batch::default();
        batch.add_table(&other).add_set(&Set::map(other.clone(), "theirs", PORTS.key, PORTS.data));
        batch.add_table(&TABLE).add_set(&PORTS).add_set(&Set::new(TABLE, "more", PORTS.key));
        let mut nft = Nft::new();
        nft.commit(&batch).unwrap();
        let mut sets = nft.sets(&TABLE).unwrap();
        sets.sort_unstable();
        assert_eq!(sets, ["more", "ports"]);
        assert_eq!(nft.sets(&other).unwrap(), ["theirs"]);
        assert_eq!(nft.sets(&Table::new(Family::Inet, "none")).unwrap(), Vec::<String>::new());
    });
}

#[test]
fn key_that_is_not_of_the_set_is_an_error() {
    in_netns(|| {
        let mut nft = with_ports();
        let error = nft.element(&PORTS, &[Value::Port(80)]).unwrap_err().to_string();
        assert!(error.starts_with("cannot get element inet t ports { "), "{error}");
        assert!(error.ends_with(": 1 values where 3 belong"), "{error}");
        // The kernel's set is of another type.
        let other = Set::map(TABLE, "ports", &[cni_nftables::DataType::InetService], PORTS.data);
        let error = nft.element(&other, &[Value::Port(80)]).unwrap_err();
        assert!(!error.is_unsupported() && !error.is_not_found(), "{error}");
    });
}

#[test]
fn rules_come_in_order_with_their_comments() {
    in_netns(|| {
        let mut nft = with_ports();
        let mut batch = Batch::default();
        batch.add_chain(&TABLE, &chain("x")).add_chain(&TABLE, &chain("y"));
        batch.add_rule(&TABLE, "x", vec![Statement::Reject, Statement::Comment("first".into())]);
        batch.add_rule(&TABLE, "y", vec![Statement::Counter, Statement::Comment("elsewhere".into())]);
        batch.add_rule(&TABLE, "x", vec![Statement::Counter]);
        nft.commit(&batch).unwrap();
        let rules = nft.rules(&TABLE, "x").unwrap();
        let comments: Vec<_> = rules.iter().map(|rule| rule.comment.as_deref()).collect();
        assert_eq!(comments, [Some("first"), None]);
        assert!(rules[0].handle < rules[1].handle);
        assert_eq!(nft.chains(&TABLE).unwrap(), ["x", "y"]);
        assert_eq!(nft.chains(&Table::new(Family::Inet, "other")).unwrap(), Vec::<String>::new());

        let FoundRule { handle, .. } = rules[0];
        nft.commit(Batch::default().delete_rule(&TABLE, "x", handle)).unwrap();
        assert_eq!(nft.rules(&TABLE, "x").unwrap(), rules[1..]);
    });
}

/// The reference leaves rules in tables of its own; their comments are nft's.
#[test]
fn rules_of_foreign_tables_are_read() {
    in_netns_with_nft(|| {
        nft("add table ip cni_hostport
             add chain ip cni_hostport hostports
             add rule ip cni_hostport hostports tcp dport 80 dnat to 10.0.0.2:80 comment \"abc\"
             add rule ip cni_hostport hostports counter");
        let table = Table::new(Family::Ip, "cni_hostport");
        let rules = Nft::new().rules(&table, "hostports").unwrap();
        let comments: Vec<_> = rules.iter().map(|rule| rule.comment.as_deref()).collect();
        assert_eq!(comments, [Some("abc"), None]);
    });
}

/// What nft wrote can be read: its comments, and elements without.
#[test]
fn elements_of_nft_are_read() {
    in_netns_with_nft(|| {
        nft("add table inet t
             add map inet t ports { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
             add element inet t ports { 10.0.0.1 . tcp . 80 comment \"x\" : 10.1.0.2 . 8080 }
             add element inet t ports { 10.0.0.1 . tcp . 81 : 10.1.0.2 . 8080 }");
        let mut nft = Nft::new();
        assert_eq!(nft.element(&PORTS, &port_key(80)).unwrap(), Some(port(80, [10, 1, 0, 2], "x")));
        let bare = nft.element(&PORTS, &port_key(81)).unwrap().unwrap();
        assert_eq!((bare.comment, bare.data), (None, port(80, [10, 1, 0, 2], "x").data));
    });
}
