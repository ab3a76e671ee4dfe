//! One rule, as the words of its specification.

/// The arguments of a rule without `-A CHAIN`, one word each, as in `["-s", "10.1.0.5/32", "-j", "ACCEPT"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule(pub Vec<String>);

impl Rule {
    /// From words.
    pub fn new(words: &[&str]) -> Self {
        let _ = words;
        todo!()
    }
    /// Whether a rule that was read is the one that `self` would make, though iptables-save spells it otherwise: order of matches,
    /// default prefix lengths, implied `-m`, negation before the option, hex marks.
    pub fn is_same(&self, found: &Rule) -> bool {
        let _ = found;
        todo!()
    }
    /// The chain or target after `-j` or `-g`.
    pub fn target(&self) -> Option<&str> {
        todo!()
    }
    /// The text after `--comment`.
    pub fn comment(&self) -> Option<&str> {
        todo!()
    }
}
