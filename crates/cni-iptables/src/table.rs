//! One table as it is, read chain by chain as it is asked for, and what is to be done to it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use cni_nftables::{FoundRule, Nft};

use crate::change::Command;
use crate::found::Wanted;
use crate::legacy;
use crate::programs::Programs;
use crate::saved::Saved;
use crate::{Family, Found, Result, Rule, Variant, meaning, nft};

/// One table of one family: what is there, which is read when it is asked for and only then, and the changes that are planned.
/// Whoever plans sees the table as it is without them, unless a method says otherwise.
pub struct Table<'a> {
    name: &'a str,
    /// Where iptables-nft keeps it.
    nft_table: cni_nftables::Table,
    programs: &'a Programs,
    source: Source<'a>,
    chains: HashMap<String, bool>,
    rules: HashMap<String, Rc<[Found]>>,
    commands: Vec<Command>,
}

/// Where it is read from.
pub(crate) enum Source<'a> {
    /// nf_tables, where iptables-nft keeps its rules.
    Nft(&'a mut Nft),
    /// ip_tables, where iptables-legacy does. `None` for a table that is not in use.
    Legacy(Option<&'a legacy::Table>),
    /// What iptables-save printed, where its words are needed.
    Saved(&'a Saved),
}

impl<'a> Table<'a> {
    pub(crate) fn new(name: &'a str, programs: &'a Programs, source: Source<'a>) -> Self {
        Table {
            name,
            nft_table: nft::table(name, programs.family),
            programs,
            source,
            chains: HashMap::new(),
            rules: HashMap::new(),
            commands: Vec::new(),
        }
    }

    /// `nat`
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Whose addresses its rules have.
    pub fn family(&self) -> Family {
        self.programs.family
    }

    /// Which iptables' it is.
    pub fn variant(&self) -> Variant {
        self.programs.variant
    }

    pub(crate) fn into_commands(self) -> Vec<Command> {
        self.commands
    }

    /// Whether the chain is there.
    pub fn has_chain(&mut self, chain: &str) -> Result<bool> {
        if let Some(known) = self.chains.get(chain) {
            return Ok(*known);
        }
        let there = match &mut self.source {
            Source::Nft(nft) => nft.has_chain(&self.nft_table, chain)?,
            Source::Legacy(table) => table.is_some_and(|table| table.has_chain(chain)),
            Source::Saved(saved) => saved.has_chain(chain),
        };
        self.chains.insert(chain.to_owned(), there);
        Ok(there)
    }

    /// The names of all chains, of which other programs may have made tens of thousands: for garbage collection.
    pub fn chains(&mut self) -> Result<BTreeSet<String>> {
        Ok(match &mut self.source {
            Source::Nft(nft) => nft.chains(&self.nft_table)?.into_iter().collect(),
            Source::Legacy(table) => {
                table.iter().flat_map(|table| table.chains()).map(str::to_owned).collect()
            }
            Source::Saved(saved) => saved.chains().map(str::to_owned).collect(),
        })
    }

    /// A chain's rules, in order; none when it is not there.
    pub fn rules(&mut self, chain: &str) -> Result<Rc<[Found]>> {
        if let Some(known) = self.rules.get(chain) {
            return Ok(Rc::clone(known));
        }
        let family = self.family();
        let found: Rc<[Found]> = match &mut self.source {
            Source::Nft(nft) => {
                let rules = nft.rules(&self.nft_table, chain)?;
                let found = |rule: FoundRule| Found::of_entry(nft::read(&rule, family), family, rule.handle);
                rules.into_iter().map(found).collect()
            }
            Source::Legacy(table) => {
                let entries = table.and_then(|table| table.entries(chain)).unwrap_or_default();
                entries.into_iter().map(|entry| Found::of_entry(entry, family, 0)).collect()
            }
            Source::Saved(saved) => {
                saved.rules(chain).iter().map(|rule| Found::of_words(rule.clone(), family)).collect()
            }
        };
        if !found.is_empty() {
            self.chains.insert(chain.to_owned(), true);
        }
        self.rules.insert(chain.to_owned(), Rc::clone(&found));
        Ok(found)
    }

    /// Whether the chain has a rule like this one, whatever is planned.
    pub fn has_rule(&mut self, chain: &str, rule: &Rule) -> Result<bool> {
        let wanted = Wanted::new(rule, self.family());
        let rules = self.rules(chain)?;
        if rules.iter().any(|found| wanted.is(found)) {
            return Ok(true);
        }
        // Which of two rules that lead to the same are one, only iptables itself can tell where neither is understood.
        let may_be = |found: &Found| found.rule().is_none() && found.target() == rule.target();
        if wanted.is_foreign() && rules.iter().any(may_be) {
            return self.programs.has_rule(self.name, chain, rule);
        }
        Ok(false)
    }

    /// The first of these rules that the chain does not have. For many rules: each of either side is read once.
    pub fn first_missing<'r>(&mut self, chain: &str, rules: &'r [Rule]) -> Result<Option<&'r Rule>> {
        let found = self.rules(chain)?;
        let there: HashSet<_> =
            found.iter().filter_map(Found::rule).map(|found| meaning::of(&found.0)).collect();
        for rule in rules {
            if !there.contains(&meaning::of(&rule.0)) && !self.has_rule(chain, rule)? {
                return Ok(Some(rule));
            }
        }
        Ok(None)
    }

    /// Makes a chain that is not there.
    pub fn ensure_chain(&mut self, chain: &str) -> Result<()> {
        if !self.will_have_chain(chain)? {
            self.commands.push(Command::Make(chain.to_owned()));
        }
        Ok(())
    }

    /// Appends a rule that is not there.
    pub fn append_unique(&mut self, chain: &str, rule: Rule) -> Result<()> {
        if !self.will_have_rule(chain, &rule)? {
            self.commands.push(Command::Append(chain.to_owned(), rule));
        }
        Ok(())
    }

    /// Puts a rule that is not there before the others.
    pub fn insert_unique(&mut self, chain: &str, rule: Rule) -> Result<()> {
        if !self.will_have_rule(chain, &rule)? {
            self.commands.push(Command::Insert(chain.to_owned(), rule));
        }
        Ok(())
    }

    /// Appends a rule in the place of those like it. Unlike one that is merely there already, it is put there by a change, so that
    /// no process that has planned to delete the other can take it along.
    pub fn append_anew(&mut self, chain: &str, rule: Rule) -> Result<()> {
        self.delete(chain, &rule)?;
        self.commands.push(Command::Append(chain.to_owned(), rule));
        Ok(())
    }

    /// Deletes a rule if it is there, as often as it is.
    pub fn delete(&mut self, chain: &str, rule: &Rule) -> Result<()> {
        let wanted = Wanted::new(rule, self.family());
        self.delete_matching(chain, |found| wanted.is(found))
    }

    /// Deletes the rules of a chain that `matches` picks of those that are there.
    pub fn delete_matching(&mut self, chain: &str, matches: impl Fn(&Found) -> bool) -> Result<()> {
        for found in self.rules(chain)?.iter().filter(|found| matches(found)) {
            let command = Command::Delete(chain.to_owned(), Box::new(found.clone()));
            // One rule can be meant by several.
            if found.handle == 0 || !self.commands.contains(&command) {
                self.commands.push(command);
            }
        }
        Ok(())
    }

    /// Flushes and deletes a chain if it is there; delete the rules that lead to it before.
    pub fn delete_chain(&mut self, chain: &str) -> Result<()> {
        if self.has_chain(chain)? {
            self.commands.push(Command::DeleteChain(chain.to_owned()));
        }
        Ok(())
    }

    /// Makes a chain, or empties one that is there, and gives it these rules.
    pub fn replace_chain(&mut self, chain: &str, rules: Vec<Rule>) {
        self.commands.push(Command::Replace(chain.to_owned()));
        self.commands.extend(rules.into_iter().map(|rule| Command::Append(chain.to_owned(), rule)));
    }

    fn will_have_chain(&mut self, chain: &str) -> Result<bool> {
        let there = self.has_chain(chain)?;
        Ok(self.commands.iter().fold(there, |there, command| match command {
            Command::Make(name) | Command::Replace(name) if name == chain => true,
            Command::DeleteChain(name) if name == chain => false,
            _ => there,
        }))
    }

    fn will_have_rule(&mut self, chain: &str, rule: &Rule) -> Result<bool> {
        let there = self.has_rule(chain, rule)?;
        let wanted = Wanted::new(rule, self.family());
        Ok(self.commands.iter().fold(there, |there, command| match command {
            Command::Replace(name) | Command::DeleteChain(name) if name == chain => false,
            Command::Append(name, other) | Command::Insert(name, other) if name == chain => {
                there || rule.is_same(other)
            }
            Command::Delete(name, other) if name == chain => there && !wanted.is(other),
            _ => there,
        }))
    }
}
