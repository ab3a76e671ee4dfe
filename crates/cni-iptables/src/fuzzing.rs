//! For the fuzz targets: what reads the text of `iptables-save`.

use crate::{Change, Rule, Saved, words};

/// Reads a table. Each of its rules is there, and what `iptables-restore` would be told of it is read as the same again.
pub fn saved(text: &str) {
    let Some(saved) = Saved::parse(text, "nat") else { return };
    let mut change = Change::default();
    for chain in saved.chains() {
        let rules = saved.rules(chain);
        assert_eq!(saved.first_missing(chain, rules), None);
        for rule in rules.iter().take(16) {
            assert!(saved.has_rule(chain, rule), "{rule} is not itself");
            let _ = (rule.target(), rule.comment());
            change.delete(&saved, chain, rule);
            if let Ok(line) = words::join(rule.0.iter().map(String::as_str)) {
                assert_eq!(words::split(&line), rule.0, "{line}");
            }
        }
    }
    change.ensure_chain(&saved, "CNI-a");
    change.append_unique(&saved, "CNI-a", Rule::new(&["-j", "ACCEPT"]));
    let _ = change.script("nat");
}
