//! One rule, as the words of its specification.

use crate::meaning;

/// The family of a set of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `iptables`
    Ipv4,
    /// `ip6tables`
    Ipv6,
}

/// The arguments of a rule without `-A CHAIN`, one word each, as in `["-s", "10.1.0.5/32", "-j", "ACCEPT"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule(pub Vec<String>);

impl Rule {
    /// From words.
    pub fn new(words: &[&str]) -> Self {
        Rule(words.iter().map(|word| (*word).to_owned()).collect())
    }

    /// Whether a rule that was read is the one that `self` would make, though iptables-save spells it otherwise: order of
    /// matches, default prefix lengths, implied `-m`, negation before the option, hex marks. What only the system's
    /// databases could tell apart, names of hosts, services and rare protocols, is compared as text.
    pub fn is_same(&self, found: &Rule) -> bool {
        // Most rules of a large table lead elsewhere, which is told cheaply.
        self.target() == found.target() && meaning::of(&self.0) == meaning::of(&found.0)
    }

    /// The chain or target after `-j` or `-g`.
    pub fn target(&self) -> Option<&str> {
        self.after(&["-j", "--jump", "-g", "--goto"])
    }

    /// The text after `--comment`.
    pub fn comment(&self) -> Option<&str> {
        self.after(&["--comment"])
    }

    fn after(&self, options: &[&str]) -> Option<&str> {
        let mut words = self.0.iter().map(String::as_str);
        while let Some(word) = words.next() {
            if options.contains(&word) {
                return words.next();
            }
            // A comment may read like an option.
            if word == "--comment" {
                words.next();
            }
        }
        None
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}
