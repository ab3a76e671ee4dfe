//! A rule as it is.

use std::cell::OnceCell;

use ipnet::IpNet;

use crate::entry::{Entry, Is, Masked, Target};
use crate::{Family, Rule};

/// One rule of a chain as it is. Its words are made when they are asked for: most rules of a long chain are somebody else's, which is
/// told without.
#[derive(Clone, Debug)]
pub struct Found {
    family: Family,
    /// `None` for one that was read as words.
    entry: Option<Entry>,
    words: OnceCell<Option<Rule>>,
    /// nf_tables' number of it; 0 elsewhere.
    pub(crate) handle: u64,
}

/// Where the rule is, and what it says.
impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.handle == other.handle && self.entry == other.entry && self.rule() == other.rule()
    }
}

impl Eq for Found {}

/// A rule that is looked for.
pub(crate) struct Wanted<'a> {
    rule: &'a Rule,
    entry: Option<Entry>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(rule: &'a Rule, family: Family) -> Self {
        Wanted { rule, entry: Entry::from_rule(rule, family) }
    }

    /// Whether iptables itself is needed to understand it.
    pub(crate) fn is_foreign(&self) -> bool {
        self.entry.is_none()
    }

    pub(crate) fn is(&self, found: &Found) -> bool {
        let (Some(wanted), Some(entry)) = (&self.entry, &found.entry) else {
            return found.rule().is_some_and(|found| self.rule.is_same(found));
        };
        let alike = entry.source == wanted.source
            && entry.destination == wanted.destination
            && entry.target_name() == wanted.target_name()
            && !entry.unknown;
        // Revisions of one match, and what fills a structure up, make no difference.
        alike && (entry == wanted || found.rule().is_some_and(|found| self.rule.is_same(found)))
    }
}

impl Found {
    pub(crate) fn of_entry(entry: Entry, family: Family, handle: u64) -> Self {
        Found { family, entry: Some(entry), words: OnceCell::new(), handle }
    }

    pub(crate) fn of_words(rule: Rule, family: Family) -> Self {
        Found { family, entry: None, words: OnceCell::from(Some(rule)), handle: 0 }
    }

    /// Its words; `None` for a rule that only iptables itself understands.
    pub fn rule(&self) -> Option<&Rule> {
        let words = || self.entry.as_ref()?.words(self.family).map(Rule);
        self.words.get_or_init(words).as_ref()
    }

    /// The chain or target after `-j` or `-g`, though the rest may not be understood.
    pub fn target(&self) -> Option<&str> {
        match &self.entry {
            Some(entry) => entry.target_name(),
            None => self.rule()?.target(),
        }
    }

    /// The chain that it leads to.
    pub fn leads_to(&self, chain: &str) -> bool {
        match &self.entry {
            Some(entry) => matches!(&entry.target, Target::Jump(to) | Target::Goto(to) if to == chain),
            None => self.target() == Some(chain),
        }
    }

    /// The text after `--comment`, though the rest may not be understood.
    pub fn comment(&self) -> Option<&str> {
        match &self.entry {
            Some(entry) => entry.comment.as_deref(),
            None => self.rule()?.comment(),
        }
    }

    /// The network that its packets come from; `None` where the rule says anything else of that.
    pub fn source(&self) -> Option<IpNet> {
        self.network(|entry| entry.source.as_ref())
    }

    /// The network that its packets go to; `None` where the rule says anything else of that.
    pub fn destination(&self) -> Option<IpNet> {
        self.network(|entry| entry.destination.as_ref())
    }

    fn network(&self, field: impl Fn(&Entry) -> Option<&Is<Masked>>) -> Option<IpNet> {
        let of = |entry: &Entry| {
            let Is { value, .. } = field(entry).filter(|is| !is.negated)?;
            IpNet::with_netmask(value.address, value.mask).ok()
        };
        match &self.entry {
            Some(entry) => of(entry),
            None => of(&Entry::from_rule(self.rule()?, self.family)?),
        }
    }

    /// Whether it is what `rule` would make.
    pub fn is(&self, rule: &Rule) -> bool {
        Wanted::new(rule, self.family).is(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_from_both_forms_of_a_rule() {
        let net = |text: &str| Some(text.parse::<IpNet>().unwrap());
        for (words, source, destination) in [
            ("-s 10.88.0.5 -j ACCEPT", net("10.88.0.5/32"), None),
            ("-d 10.88.0.5/24 -j ACCEPT", None, net("10.88.0.0/24")),
            ("-s 10.88.0.0/16 ! -d 224.0.0.0/4 -j RETURN", net("10.88.0.0/16"), None),
            ("-i eth0 -j ACCEPT", None, None),
        ] {
            let rule = Rule::new(&words.split(' ').collect::<Vec<_>>());
            let entry = Entry::from_rule(&rule, Family::Ipv4).unwrap();
            for found in [Found::of_entry(entry, Family::Ipv4, 0), Found::of_words(rule, Family::Ipv4)] {
                assert_eq!((found.source(), found.destination()), (source, destination), "{words}");
            }
        }
    }
}
