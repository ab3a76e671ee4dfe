//! For the fuzz targets: what reads the text of `iptables-save` and the structures of the kernel.

use crate::change::script;
use crate::entry::{Entry, Extension, Target};
use crate::programs::Programs;
use crate::saved::Saved;
use crate::table::{Source, Table};
use crate::{Family, Rule, Variant, extension, legacy, words};

/// Reads a table. Each of its rules is there, and what `iptables-restore` would be told of it is read as the same again.
pub fn saved(text: &str) {
    let Some(saved) = Saved::parse(text, "nat") else { return };
    let programs = Programs::new(Family::Ipv4, Variant::Legacy, "");
    let mut table = Table::new("nat", &programs, Source::Saved(&saved));
    for chain in saved.chains() {
        let rules = saved.rules(chain);
        assert!(table.first_missing(chain, rules).is_ok_and(|missing| missing.is_none()));
        for rule in rules.iter().take(16) {
            assert!(table.has_rule(chain, rule).is_ok_and(|has| has), "{rule} is not itself");
            let _ = (rule.target(), rule.comment());
            let _ = table.delete(chain, rule);
            if let Ok(line) = words::join(rule.0.iter().map(String::as_str)) {
                assert_eq!(words::split(&line), rule.0, "{line}");
            }
            same_again(rule);
        }
    }
    let _ = table.ensure_chain("CNI-a");
    let _ = table.append_unique("CNI-a", Rule::new(&["-j", "ACCEPT"]));
    let _ = script("nat", &table.into_commands());
}

/// A rule that is understood has words that mean the same.
fn same_again(rule: &Rule) {
    for family in [Family::Ipv4, Family::Ipv6] {
        let Some(words) = Entry::from_rule(rule, family).and_then(|entry| entry.words(family)) else {
            continue;
        };
        assert!(rule.is_same(&Rule(words.clone())), "{rule} became {}", Rule(words));
    }
}

/// Reads a table that the kernel hands out, behind what it tells of it, as one of either family.
pub fn ip_tables(data: &[u8]) {
    for family in [Family::Ipv4, Family::Ipv6] {
        legacy::read_all(family, data);
    }
}

/// Reads a structure of the kernel as each match and target that is known. What it says is written as the same again.
pub fn extension(info: &[u8]) {
    for (name, revision) in [
        ("conntrack", 3),
        ("addrtype", 1),
        ("multiport", 1),
        ("tcp", 0),
        ("udp", 0),
        ("sctp", 0),
        ("mark", 1),
    ] {
        let of = Extension { name: name.to_owned(), revision, info: info.to_vec() };
        for family in [Family::Ipv4, Family::Ipv6] {
            let _ = extension::words(&of, family);
        }
    }
    for (name, revision) in [("DNAT", 0), ("DNAT", 2), ("MARK", 2), ("MASQUERADE", 0)] {
        for family in [Family::Ipv4, Family::Ipv6] {
            let of = Extension { name: name.to_owned(), revision, info: info.to_vec() };
            let entry = Entry { target: Target::Extension(of), ..Entry::default() };
            if let Some(words) = entry.words(family) {
                same_again(&Rule(words));
            }
        }
    }
}
