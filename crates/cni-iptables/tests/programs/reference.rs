//! The rules that the reference's plugins make: what we write is known again when it is read back.

use cni_iptables::{Change, Error, Rule};

use crate::{Programs, each};

/// `(chain, rule)` as the reference passes them to `iptables -A` (plugins v1.9.1: pkg/ip/ipmasq_iptables_linux.go,
/// plugins/meta/portmap/portmap_iptables.go, plugins/meta/firewall/iptables.go and ingresspolicy.go).
fn rules(table: &str, programs: &Programs) -> Vec<(&'static str, Vec<&'static str>)> {
    let v4 = programs.is_v4();
    let pick = |four, six| if v4 { four } else { six };
    let (pod, net) = (pick("10.1.0.5", "fd00:1::5"), pick("10.1.0.5/16", "fd00:1::5/64"));
    let comment = r#"name: "net" id: "c1""#;
    let dnat = r#"dnat name: "net" id: "c1""#;
    if table == "filter" {
        return vec![
            ("FORWARD", vec!["-m", "comment", "--comment", "CNI firewall plugin rules", "-j", "CNI-FORWARD"]),
            (
                "CNI-FORWARD",
                vec!["-m", "comment", "--comment", "CNI firewall plugin admin overrides", "-j", "CNI-ADMIN"],
            ),
            (
                "CNI-FORWARD",
                vec!["-d", pod, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"],
            ),
            ("CNI-FORWARD", vec!["-s", pod, "-j", "ACCEPT"]),
            (
                "CNI-ISO",
                vec![
                    "-i",
                    "br0",
                    "!",
                    "-o",
                    "br0",
                    "-j",
                    "CNI-ADMIN",
                    "-m",
                    "comment",
                    "--comment",
                    "a (b: c|d)",
                ],
            ),
            ("CNI-ISO", vec!["-i", "br0", "-o", "br0", "-j", "DROP", "-m", "comment", "--comment", "x"]),
            ("CNI-ISO", vec!["-j", "RETURN", "-m", "comment", "--comment", "it's \"quoted\" \\ $x `y`"]),
        ];
    }
    let mut rules = vec![
        ("CNI-a", vec!["-d", net, "-j", "ACCEPT", "-m", "comment", "--comment", comment]),
        (
            "CNI-a",
            vec![
                "!",
                "-d",
                pick("224.0.0.0/4", "ff00::/8"),
                "-j",
                "MASQUERADE",
                "-m",
                "comment",
                "--comment",
                comment,
            ],
        ),
        ("POSTROUTING", vec!["-s", pod, "-j", "CNI-a", "-m", "comment", "--comment", comment]),
        ("PREROUTING", vec!["-m", "addrtype", "--dst-type", "LOCAL", "-j", "CNI-DNAT"]),
        (
            "CNI-DNAT",
            vec![
                "-m",
                "comment",
                "--comment",
                dnat,
                "-m",
                "multiport",
                "-p",
                "tcp",
                "--destination-ports",
                "8080,8081",
                "!",
                "-s",
                net,
                "-i",
                "eth+",
                "-j",
                "CNI-DN",
            ],
        ),
        ("CNI-DN", vec!["-p", "tcp", "--dport", "8080", "-d", pod, "-s", net, "-j", "CNI-SETMARK"]),
        (
            "CNI-DN",
            vec!["-p", "udp", "--dport", "8080", "-s", pick("0.0.0.0/0", "::/0"), "-j", "CNI-SETMARK"],
        ),
        (
            "CNI-DN",
            vec![
                "-p",
                "sctp",
                "--dport",
                "8080",
                "-j",
                "DNAT",
                "--to-destination",
                pick("10.1.0.5:80", "[fd00:1::5]:80"),
            ],
        ),
        (
            "CNI-SETMARK",
            vec![
                "-m",
                "comment",
                "--comment",
                "CNI portfwd masquerade mark",
                "-j",
                "MARK",
                "--set-xmark",
                "0x2000/0x2000",
            ],
        ),
        ("CNI-SETMARK", vec!["-m", "mark", "--mark", "8192/0x2000", "-j", "MASQUERADE"]),
    ];
    // Masquerading and so on are made in the chains of their hooks only.
    let masquerade = rules.pop().unwrap();
    rules.push(("CNI-a", masquerade.1));
    rules
}

fn change(programs: &Programs, table: &str) -> Change {
    let saved = programs.iptables.save(table).unwrap();
    let mut change = Change::default();
    let rules = rules(table, programs);
    let targets = rules.iter().map(|(_, words)| Rule::new(words)).collect::<Vec<_>>();
    let own = |name: &str| name.starts_with("CNI-");
    let chains = rules.iter().map(|(chain, _)| *chain).chain(targets.iter().filter_map(Rule::target));
    for chain in chains.filter(|name| own(name)) {
        change.ensure_chain(&saved, chain);
    }
    for (chain, words) in &rules {
        change.append_unique(&saved, chain, Rule::new(words));
    }
    change
}

#[test]
fn every_rule_of_the_reference_is_known_again() {
    each(|programs| {
        for table in ["nat", "filter"] {
            programs.iptables.restore(table, &change(programs, table)).unwrap();
            let saved = programs.iptables.save(table).unwrap();
            for (chain, words) in rules(table, programs) {
                let found = saved.rules(chain);
                let same = found.iter().filter(|found| Rule::new(&words).is_same(found)).count();
                assert_eq!(same, 1, "{:?} {chain} {words:?} in {found:#?}", programs.variant);
            }
            assert!(change(programs, table).is_empty(), "a second change has nothing to do");
        }
    });
}

#[test]
fn what_was_made_is_deleted_and_nothing_is_left() {
    each(|programs| {
        for table in ["nat", "filter"] {
            let before = programs.iptables.save(table).unwrap();
            programs.iptables.restore(table, &change(programs, table)).unwrap();
            let saved = programs.iptables.save(table).unwrap();
            let mut undo = Change::default();
            for (chain, words) in rules(table, programs) {
                undo.delete(&saved, chain, &Rule::new(&words));
            }
            for chain in saved.chains().filter(|chain| chain.starts_with("CNI-")) {
                undo.delete_chain(&saved, chain);
            }
            programs.iptables.restore(table, &undo).unwrap();
            assert_eq!(programs.iptables.save(table).unwrap(), before);
        }
    });
}

#[test]
fn a_change_that_fails_in_the_middle_changes_nothing_and_names_the_line() {
    each(|programs| {
        let before = programs.nat();
        let mut change = Change::default();
        change.ensure_chain(&before, "CNI-a");
        change.append_unique(&before, "CNI-a", Rule::new(&["-j", "ACCEPT"]));
        change.append_unique(&before, "POSTROUTING", Rule::new(&["-j", "CNI-nowhere"]));
        let error = programs.iptables.restore("nat", &change).unwrap_err();
        assert!(matches!(error, Error::Failed { .. }) && !error.is_unusable(), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("cannot change table nat with ") && text.contains("CNI-nowhere"), "{text}");
        assert_eq!(programs.nat(), before);
    });
}

#[test]
fn a_replaced_chain_is_emptied_first() {
    each(|programs| {
        for target in ["ACCEPT", "RETURN"] {
            let mut change = Change::default();
            change.replace_chain("CNI-a", vec![Rule::new(&["-j", target])]);
            programs.iptables.restore("nat", &change).unwrap();
            assert_eq!(programs.nat().rules("CNI-a"), [Rule::new(&["-j", target])]);
        }
    });
}

#[test]
fn a_comment_cannot_become_a_rule() {
    each(|programs| {
        let before = programs.nat();
        for comment in ["x\" -j ACCEPT -m comment --comment \"", "-j", "! -d", "\\", "'", "a\tb", "ä ö"] {
            let rule = Rule::new(&["-m", "comment", "--comment", comment, "-j", "RETURN"]);
            let mut change = Change::default();
            change.append_unique(&before, "POSTROUTING", rule.clone());
            programs.iptables.restore("nat", &change).unwrap();
            let after = programs.nat();
            let found = after.rules("POSTROUTING");
            assert_eq!(found.len(), 1, "{comment:?}: {found:?}");
            assert_eq!((found[0].comment(), found[0].target()), (Some(comment), Some("RETURN")));
            let mut undo = Change::default();
            undo.delete(&after, "POSTROUTING", &rule);
            programs.iptables.restore("nat", &undo).unwrap();
        }
        assert_eq!(programs.nat(), before);
    });
}
