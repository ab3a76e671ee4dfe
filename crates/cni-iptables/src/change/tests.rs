use super::*;
use crate::Variant;
use crate::programs::Programs;
use crate::saved::Saved;
use crate::table::{Source, Table};

const SAVED: &str = "*nat\n:POSTROUTING ACCEPT [0:0]\n:CNI-a - [0:0]\n:CNI-b - [0:0]\n-A POSTROUTING -j CNI-b\n\
                     -A POSTROUTING -s 10.1.0.5/32 -j CNI-a\n-A POSTROUTING -s 10.1.0.5/32 -j CNI-a\n\
                     -A POSTROUTING -s 10.1.0.6/32 -j CNI-a\n-A CNI-a -j ACCEPT\nCOMMIT\n";

/// What is planned for the table above.
fn planned(plan: impl FnOnce(&mut Table<'_>) -> Result<()>) -> Result<String> {
    let saved = Saved::parse(SAVED, "nat").unwrap();
    let programs = Programs::new(Family::Ipv4, Variant::Legacy, "");
    let mut table = Table::new("nat", &programs, Source::Saved(&saved));
    plan(&mut table)?;
    script("nat", &table.into_commands())
}

#[test]
fn what_is_there_is_not_made_again() {
    let script = planned(|table| {
        table.ensure_chain("CNI-a")?;
        table.append_unique("CNI-a", Rule::new(&["-j", "ACCEPT"]))?;
        table.insert_unique("POSTROUTING", Rule::new(&["-s", "10.1.0.5", "-j", "CNI-a"]))
    });
    assert_eq!(script.unwrap(), "*nat\nCOMMIT\n");
}

#[test]
fn what_is_asked_for_twice_is_made_once() {
    let script = planned(|table| {
        for _ in 0..2 {
            table.ensure_chain("CNI-c")?;
            table.append_unique("CNI-c", Rule::new(&["-d", "10.1.0.5/16", "-j", "ACCEPT"]))?;
            table.append_unique("CNI-c", Rule::new(&["-d", "10.1.0.0/16", "-j", "ACCEPT"]))?;
            table.insert_unique("POSTROUTING", Rule::new(&["-s", "10.1.0.7", "-j", "CNI-c"]))?;
        }
        Ok(())
    });
    let wanted =
        "*nat\n-N CNI-c\n-A CNI-c -d 10.1.0.5/16 -j ACCEPT\n-I POSTROUTING -s 10.1.0.7 -j CNI-c\nCOMMIT\n";
    assert_eq!(script.unwrap(), wanted);
}

#[test]
fn a_rule_is_deleted_as_often_as_it_is_there() {
    let script = planned(|table| {
        table.delete("POSTROUTING", &Rule::new(&["-s", "10.1.0.5", "-j", "CNI-a"]))?;
        table.delete("POSTROUTING", &Rule::new(&["-s", "10.1.0.9", "-j", "CNI-a"]))
    });
    let line = "-D POSTROUTING -s 10.1.0.5/32 -j CNI-a\n";
    assert_eq!(script.unwrap(), format!("*nat\n{line}{line}COMMIT\n"));
}

#[test]
fn a_rule_that_is_put_there_anew_is_not_there_twice() {
    let script = planned(|table| table.append_anew("CNI-a", Rule::new(&["-j", "ACCEPT"])));
    assert_eq!(script.unwrap(), "*nat\n-D CNI-a -j ACCEPT\n-A CNI-a -j ACCEPT\nCOMMIT\n");
}

#[test]
fn a_chain_is_emptied_before_it_is_deleted_and_only_if_it_is_there() {
    let script = planned(|table| {
        table.delete("POSTROUTING", &Rule::new(&["-j", "CNI-b"]))?;
        table.delete_chain("CNI-b")?;
        table.delete_chain("CNI-a")?;
        table.delete_chain("CNI-none")?;
        // To be kept after all.
        table.ensure_chain("CNI-a")?;
        table.append_unique("CNI-a", Rule::new(&["-j", "ACCEPT"]))
    });
    let wanted = "*nat\n-D POSTROUTING -j CNI-b\n-F CNI-b\n-F CNI-a\n-A CNI-a -j ACCEPT\n-X CNI-b\nCOMMIT\n";
    assert_eq!(script.unwrap(), wanted);
}

#[test]
fn a_replaced_chain_has_its_new_rules_only() {
    let script = planned(|table| {
        table.replace_chain("CNI-a", vec![Rule::new(&["-j", "DROP"])]);
        table.append_unique("CNI-a", Rule::new(&["-j", "ACCEPT"]))?;
        table.append_unique("CNI-a", Rule::new(&["-j", "DROP"]))
    });
    assert_eq!(script.unwrap(), "*nat\n:CNI-a - [0:0]\n-A CNI-a -j DROP\n-A CNI-a -j ACCEPT\nCOMMIT\n");
}

#[test]
fn what_is_no_name_or_no_word_makes_no_script() {
    assert!(planned(|table| table.ensure_chain("a\n-F INPUT")).is_err());
    let comment = Rule::new(&["-m", "comment", "--comment", "a\nCOMMIT"]);
    assert!(planned(|table| table.append_unique("CNI-a", comment)).is_err());
}

#[test]
fn the_first_rule_that_is_missing_is_told_however_the_others_are_spelt() {
    let there = Rule::new(&["-s", "10.1.0.5", "--jump", "CNI-a"]);
    let missing = ["DROP", "RETURN"].map(|target| Rule::new(&["-j", target]));
    let rules = [there.clone(), missing[0].clone(), missing[1].clone()];
    planned(|table| {
        assert_eq!(table.first_missing("POSTROUTING", &[there.clone(), there.clone()])?, None);
        assert_eq!(table.first_missing("POSTROUTING", &rules)?, Some(&missing[0]));
        assert_eq!(table.first_missing("CNI-none", &rules)?, Some(&there));
        assert_eq!(table.first_missing("CNI-none", &[])?, None);
        Ok(())
    })
    .unwrap();
}
