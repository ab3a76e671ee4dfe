//! What is to be done to one table.

use crate::{Result, Rule, Saved, words};

/// Changes of one table, made against what was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    commands: Vec<Command>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Command {
    Make(String),
    /// Makes or empties.
    Replace(String),
    Append(String, Rule),
    Insert(String, Rule),
    Delete(String, Rule),
    DeleteChain(String),
}

impl Change {
    /// Makes a chain that is not there.
    pub fn ensure_chain(&mut self, saved: &Saved, chain: &str) {
        if !self.will_have_chain(saved, chain) {
            self.commands.push(Command::Make(chain.to_owned()));
        }
    }

    /// Appends a rule that is not there.
    pub fn append_unique(&mut self, saved: &Saved, chain: &str, rule: Rule) {
        if !self.will_have_rule(saved, chain, &rule) {
            self.commands.push(Command::Append(chain.to_owned(), rule));
        }
    }

    /// Puts a rule that is not there before the others.
    pub fn insert_unique(&mut self, saved: &Saved, chain: &str, rule: Rule) {
        if !self.will_have_rule(saved, chain, &rule) {
            self.commands.push(Command::Insert(chain.to_owned(), rule));
        }
    }

    /// Deletes a rule if it is there, as often as it is.
    pub fn delete(&mut self, saved: &Saved, chain: &str, rule: &Rule) {
        self.delete_matching(saved, chain, |found| rule.is_same(found));
    }

    /// Deletes the rules of a chain that `matches` picks of those that are there.
    pub fn delete_matching(&mut self, saved: &Saved, chain: &str, matches: impl Fn(&Rule) -> bool) {
        // In the words that were read, so that iptables finds what it printed.
        let found = saved.rules(chain).iter().filter(|found| matches(found));
        self.commands.extend(found.map(|found| Command::Delete(chain.to_owned(), found.clone())));
    }

    /// Flushes and deletes a chain if it is there; delete the rules that lead to it before.
    pub fn delete_chain(&mut self, saved: &Saved, chain: &str) {
        if saved.has_chain(chain) {
            self.commands.push(Command::DeleteChain(chain.to_owned()));
        }
    }

    /// Makes a chain, or empties one that is there, and gives it these rules.
    pub fn replace_chain(&mut self, chain: &str, rules: Vec<Rule>) {
        self.commands.push(Command::Replace(chain.to_owned()));
        self.commands.extend(rules.into_iter().map(|rule| Command::Append(chain.to_owned(), rule)));
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    fn will_have_chain(&self, saved: &Saved, chain: &str) -> bool {
        self.commands.iter().fold(saved.has_chain(chain), |there, command| match command {
            Command::Make(name) | Command::Replace(name) if name == chain => true,
            Command::DeleteChain(name) if name == chain => false,
            _ => there,
        })
    }

    fn will_have_rule(&self, saved: &Saved, chain: &str, rule: &Rule) -> bool {
        self.commands.iter().fold(saved.has_rule(chain, rule), |there, command| match command {
            Command::Replace(name) | Command::DeleteChain(name) if name == chain => false,
            Command::Append(name, other) | Command::Insert(name, other) if name == chain => {
                there || rule.is_same(other)
            }
            Command::Delete(name, other) if name == chain => there && !rule.is_same(other),
            _ => there,
        })
    }

    /// The input of `iptables-restore --noflush`.
    ///
    /// Chains are made by `-N`, which fails for one that somebody else made since the table was read; the declaration
    /// `:CHAIN -` would empty it. They are deleted last: iptables-nft leaves a `-D` out when a `-F` of the same chain comes
    /// later, and the kernel then refuses to delete the chain that the rule leads to.
    pub(crate) fn script(&self, table: &str) -> Result<String> {
        let mut script = format!("*{table}\n");
        let mut emptied: Vec<&str> = Vec::new();
        for command in &self.commands {
            let line = match command {
                Command::Make(chain) if emptied.contains(&chain.as_str()) => {
                    emptied.retain(|name| name != chain);
                    continue;
                }
                Command::Make(chain) => format!("-N {}", words::chain(chain)?),
                Command::Replace(chain) => {
                    emptied.retain(|name| name != chain);
                    format!(":{} - [0:0]", words::chain(chain)?)
                }
                Command::DeleteChain(chain) => {
                    emptied.push(chain);
                    format!("-F {}", words::chain(chain)?)
                }
                Command::Append(chain, rule) => with_rule("-A", chain, rule)?,
                Command::Insert(chain, rule) => with_rule("-I", chain, rule)?,
                Command::Delete(chain, rule) => with_rule("-D", chain, rule)?,
            };
            script.push_str(&line);
            script.push('\n');
        }
        script.extend(emptied.iter().map(|chain| format!("-X {chain}\n")));
        script.push_str("COMMIT\n");
        Ok(script)
    }
}

fn with_rule(option: &str, chain: &str, rule: &Rule) -> Result<String> {
    words::join([option, words::chain(chain)?].into_iter().chain(rule.0.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        let text = "*nat\n:POSTROUTING ACCEPT [0:0]\n:CNI-a - [0:0]\n:CNI-b - [0:0]\n-A POSTROUTING -j CNI-b\n\
                    -A POSTROUTING -s 10.1.0.5/32 -j CNI-a\n-A POSTROUTING -s 10.1.0.5/32 -j CNI-a\n\
                    -A POSTROUTING -s 10.1.0.6/32 -j CNI-a\n-A CNI-a -j ACCEPT\nCOMMIT\n";
        Saved::parse(text, "nat").unwrap()
    }

    fn script(build: impl FnOnce(&mut Change, &Saved)) -> String {
        let mut change = Change::default();
        build(&mut change, &saved());
        change.script("nat").unwrap()
    }

    #[test]
    fn what_is_there_is_not_made_again() {
        let mut change = Change::default();
        change.ensure_chain(&saved(), "CNI-a");
        change.append_unique(&saved(), "CNI-a", Rule::new(&["-j", "ACCEPT"]));
        change.insert_unique(&saved(), "POSTROUTING", Rule::new(&["-s", "10.1.0.5", "-j", "CNI-a"]));
        assert!(change.is_empty());
    }

    #[test]
    fn what_is_asked_for_twice_is_made_once() {
        let text = script(|change, saved| {
            for _ in 0..2 {
                change.ensure_chain(saved, "CNI-c");
                change.append_unique(saved, "CNI-c", Rule::new(&["-d", "10.1.0.5/16", "-j", "ACCEPT"]));
                change.append_unique(saved, "CNI-c", Rule::new(&["-d", "10.1.0.0/16", "-j", "ACCEPT"]));
                change.insert_unique(saved, "POSTROUTING", Rule::new(&["-s", "10.1.0.7", "-j", "CNI-c"]));
            }
        });
        assert_eq!(
            text,
            "*nat\n-N CNI-c\n-A CNI-c -d 10.1.0.5/16 -j ACCEPT\n-I POSTROUTING -s 10.1.0.7 -j CNI-c\nCOMMIT\n"
        );
    }

    #[test]
    fn a_rule_is_deleted_as_often_as_it_is_there() {
        let text = script(|change, saved| {
            change.delete(saved, "POSTROUTING", &Rule::new(&["-s", "10.1.0.5", "-j", "CNI-a"]));
            change.delete(saved, "POSTROUTING", &Rule::new(&["-s", "10.1.0.9", "-j", "CNI-a"]));
        });
        let line = "-D POSTROUTING -s 10.1.0.5/32 -j CNI-a\n";
        assert_eq!(text, format!("*nat\n{line}{line}COMMIT\n"));
    }

    #[test]
    fn a_chain_is_emptied_before_it_is_deleted_and_only_if_it_is_there() {
        let text = script(|change, saved| {
            change.delete(saved, "POSTROUTING", &Rule::new(&["-j", "CNI-b"]));
            change.delete_chain(saved, "CNI-b");
            change.delete_chain(saved, "CNI-a");
            change.delete_chain(saved, "CNI-none");
            // To be kept after all.
            change.ensure_chain(saved, "CNI-a");
            change.append_unique(saved, "CNI-a", Rule::new(&["-j", "ACCEPT"]));
        });
        assert_eq!(
            text,
            "*nat\n-D POSTROUTING -j CNI-b\n-F CNI-b\n-F CNI-a\n-A CNI-a -j ACCEPT\n-X CNI-b\nCOMMIT\n"
        );
    }

    #[test]
    fn a_replaced_chain_has_its_new_rules_only() {
        let text = script(|change, saved| {
            change.replace_chain("CNI-a", vec![Rule::new(&["-j", "DROP"])]);
            change.append_unique(saved, "CNI-a", Rule::new(&["-j", "ACCEPT"]));
            change.append_unique(saved, "CNI-a", Rule::new(&["-j", "DROP"]));
        });
        assert_eq!(text, "*nat\n:CNI-a - [0:0]\n-A CNI-a -j DROP\n-A CNI-a -j ACCEPT\nCOMMIT\n");
    }

    #[test]
    fn what_is_no_name_or_no_word_makes_no_script() {
        let mut change = Change::default();
        change.ensure_chain(&saved(), "a\n-F INPUT");
        assert!(change.script("nat").is_err());
        let mut change = Change::default();
        change.append_unique(&saved(), "CNI-a", Rule::new(&["-m", "comment", "--comment", "a\nCOMMIT"]));
        assert!(change.script("nat").is_err());
    }
}
