//! The rules that the reference's plugins make: what we write is known again when it is read back.

use std::collections::BTreeSet;

use cni_iptables::{Result, Rule, Table, Variant};
use cni_nftables::Nft;

use crate::{Programs, each, rule};

/// `(chain, rule)` as the reference passes them, but for two, to `iptables -A` (plugins v1.9.1: pkg/ip/ipmasq_iptables_linux.go,
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
            // Of our firewall alone, for published ports; and what iptables knows beside.
            ("CNI-FORWARD", vec!["-d", pod, "-m", "conntrack", "--ctstate", "DNAT", "-j", "ACCEPT"]),
            ("CNI-FORWARD", vec!["-d", pod, "-m", "conntrack", "--ctstate", "SNAT,NEW,DNAT", "-j", "ACCEPT"]),
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

/// Makes the chains that the rules are in or lead to, and the rules.
fn make(table: &mut Table<'_>, programs: &Programs) -> Result<()> {
    let rules: Vec<(&str, Rule)> =
        rules(table.name(), programs).iter().map(|(chain, words)| (*chain, rule(words))).collect();
    let chains = rules.iter().flat_map(|(chain, rule)| [Some(*chain), rule.target()]).flatten();
    for chain in chains.filter(|name| name.starts_with("CNI-")) {
        table.ensure_chain(chain)?;
    }
    rules.iter().try_for_each(|(chain, rule)| table.append_unique(chain, rule.clone()))
}

/// The same by the program, whose options may be spelt otherwise.
fn script(table: &str, programs: &Programs) -> String {
    let rules = rules(table, programs);
    let mut script = format!("*{table}\n");
    let targets = rules.iter().map(|(_, words)| rule(words)).collect::<Vec<_>>();
    let chains = rules.iter().map(|(chain, _)| *chain).chain(targets.iter().filter_map(Rule::target));
    let chains: BTreeSet<&str> = chains.filter(|name| name.starts_with("CNI-")).collect();
    script.extend(chains.iter().map(|chain| format!(":{chain} - [0:0]\n")));
    for (chain, words) in &rules {
        let quoted: Vec<String> = words
            .iter()
            .map(|word| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")))
            .collect();
        script += &format!("-A {chain} {}\n", quoted.join(" "));
    }
    script + "COMMIT\n"
}

/// iptables-nft lists chains as they were made, iptables-legacy by name.
fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort_by_key(|line| line.split(' ').nth(1).map(str::to_owned));
    lines
}

/// What iptables-save says of the rules that were made here is what it says of those that it made itself.
#[test]
fn every_rule_of_the_reference_is_made_as_iptables_makes_it() {
    for table in ["nat", "filter"] {
        each(|programs| {
            programs.iptables.update(&mut Nft::new(), table, |table| make(table, programs)).unwrap();
            let ours = programs.rules(table);
            programs.run("", &["-t", table, "-F"], "");
            programs.run("", &["-t", table, "-X"], "");
            programs.run("-restore", &["--noflush"], &script(table, programs));
            assert_eq!(sorted(ours), sorted(programs.rules(table)));
        });
    }
}

/// By the program's own comparison, which `iptables -D` of the reference goes by.
#[test]
fn every_rule_that_was_made_here_is_one_to_iptables() {
    for table in ["nat", "filter"] {
        each(|programs| {
            programs.iptables.update(&mut Nft::new(), table, |table| make(table, programs)).unwrap();
            for (chain, words) in rules(table, programs) {
                programs.run("", &[&["-t", table, "-C", chain], &words[..]].concat(), "");
            }
        });
    }
}

#[test]
fn every_rule_of_the_reference_is_known_again() {
    for table in ["nat", "filter"] {
        each(|programs| {
            programs.run("-restore", &["--noflush"], &script(table, programs));
            let before = programs.rules(table);
            let wanted: Vec<_> =
                rules(table, programs).iter().map(|(chain, words)| (*chain, vec![rule(words)])).collect();
            let missing =
                programs.iptables.first_missing(&mut Nft::new(), programs.family, table, &wanted).unwrap();
            assert_eq!(missing, None);
            // A second change has nothing to do.
            programs.iptables.update(&mut Nft::new(), table, |table| make(table, programs)).unwrap();
            assert_eq!(programs.rules(table), before);
        });
    }
}

#[test]
fn what_was_made_is_deleted_and_nothing_is_left() {
    for table in ["nat", "filter"] {
        each(|programs| {
            let undo = |table: &mut Table<'_>| {
                for (chain, words) in rules(table.name(), programs) {
                    table.delete(chain, &rule(&words))?;
                }
                let own = table.chains()?.into_iter().filter(|chain| chain.starts_with("CNI-"));
                own.collect::<Vec<_>>().iter().try_for_each(|chain| table.delete_chain(chain))
            };
            for by_us in [true, false] {
                if by_us {
                    programs.iptables.update(&mut Nft::new(), table, |table| make(table, programs)).unwrap();
                } else {
                    programs.run("-restore", &["--noflush"], &script(table, programs));
                }
                programs.iptables.update(&mut Nft::new(), table, undo).unwrap();
                assert_eq!(programs.rules(table), [""; 0]);
            }
        });
    }
}

#[test]
fn a_change_that_fails_in_the_middle_changes_nothing_and_names_the_rule() {
    each(|programs| {
        let before = programs.rules("nat");
        let change = programs.iptables.update(&mut Nft::new(), "nat", |table| {
            table.ensure_chain("CNI-a")?;
            table.append_unique("CNI-a", rule(&["-j", "ACCEPT"]))?;
            table.append_unique("POSTROUTING", rule(&["-j", "CNI-nowhere"]))
        });
        let error = change.unwrap_err();
        assert!(!error.is_unusable(), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("cannot ") && text.contains("POSTROUTING -j CNI-nowhere"), "{text}");
        assert_eq!(programs.rules("nat"), before);
    });
}

#[test]
fn a_replaced_chain_is_emptied_first() {
    each(|programs| {
        for target in ["ACCEPT", "RETURN"] {
            programs.update(|table| {
                table.replace_chain("CNI-a", vec![rule(&["-j", target])]);
                Ok(())
            });
            assert_eq!(programs.rules("nat"), ["-N CNI-a".to_owned(), format!("-A CNI-a -j {target}")]);
        }
    });
}

#[test]
fn a_comment_cannot_become_a_rule() {
    each(|programs| {
        for comment in ["x\" -j ACCEPT -m comment --comment \"", "-j", "! -d", "\\", "'", "a\tb", "ä ö"] {
            let rule = rule(&["-m", "comment", "--comment", comment, "-j", "RETURN"]);
            programs.update(|table| table.append_unique("POSTROUTING", rule.clone()));
            assert_eq!(programs.rules("nat").len(), 1, "{comment:?}");
            programs.update(|table| {
                let found = table.rules("POSTROUTING")?;
                assert_eq!(found.len(), 1);
                assert_eq!((found[0].comment(), found[0].target()), (Some(comment), Some("RETURN")));
                table.delete("POSTROUTING", &rule)
            });
            assert_eq!(programs.rules("nat"), [""; 0]);
        }
    });
}

/// A user's conditions: they are put there by iptables itself, once, found again and deleted.
#[test]
fn a_rule_that_only_iptables_understands_goes_through_it() {
    each(|programs| {
        let by_length = rule(&["-p", "tcp", "-m", "length", "--length", "100:200", "-j", "CNI-a"]);
        let other = rule(&["-p", "tcp", "-m", "length", "--length", "100:300", "-j", "CNI-a"]);
        for _ in 0..2 {
            programs.update(|table| {
                table.ensure_chain("CNI-a")?;
                table.append_unique("PREROUTING", by_length.clone())
            });
        }
        let made = "-A PREROUTING -p tcp -m length --length 100:200 -j CNI-a";
        assert_eq!(programs.rules("nat"), ["-N CNI-a", made]);
        let missing = |rule: &Rule| {
            let wanted = [("PREROUTING", vec![rule.clone()])];
            programs
                .iptables
                .first_missing(&mut Nft::new(), programs.family, "nat", &wanted)
                .unwrap()
                .is_some()
        };
        assert!(!missing(&by_length));
        // ip6tables-legacy 1.8.9 takes any lengths for the same.
        assert!(missing(&other) || (programs.variant, programs.is_v4()) == (Variant::Legacy, false));
        programs.update(|table| {
            table.delete_matching("PREROUTING", |found| found.leads_to("CNI-a"))?;
            table.delete_chain("CNI-a")
        });
        assert_eq!(programs.rules("nat"), [""; 0]);
    });
}

/// What iptables-save calls incompatible: rules that somebody has put there by nft.
#[test]
fn rules_of_nft_in_the_same_chains_do_not_matter() {
    each(|programs| {
        if programs.variant == Variant::Legacy {
            return;
        }
        let family = if programs.is_v4() { "ip" } else { "ip6" };
        programs.update(|table| table.append_unique("POSTROUTING", rule(&["-j", "ACCEPT"])));
        nft(&["add", "rule", family, "nat", "POSTROUTING", "oifname", "lo", "masquerade"]);
        nft(&["add", "rule", family, "nat", "POSTROUTING", "ct", "state", "established", "accept"]);
        programs.update(|table| make(table, programs));
        let wanted: Vec<_> =
            rules("nat", programs).iter().map(|(chain, words)| (*chain, vec![rule(words)])).collect();
        assert_eq!(
            programs.iptables.first_missing(&mut Nft::new(), programs.family, "nat", &wanted).unwrap(),
            None
        );
        programs.update(|table| table.delete("POSTROUTING", &rule(&["-j", "ACCEPT"])));
        let left = nft(&["list", "chain", family, "nat", "POSTROUTING"]);
        assert!(
            left.contains("oifname \"lo\" masquerade") && left.contains("ct state established"),
            "{left}"
        );
        assert!(!left.contains("packets 0 bytes 0 accept"), "{left}");
    });
}

#[allow(clippy::disallowed_methods, reason = "somebody else's program")]
fn nft(args: &[&str]) -> String {
    let output = std::process::Command::new("/usr/sbin/nft").args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
