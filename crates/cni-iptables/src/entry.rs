//! One rule as the kernel keeps it, whichever iptables put it there: nf_tables expressions and ip_tables' blobs are both read into
//! this, and [`Entry`] is what becomes words and expressions again.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use nix::libc::IFNAMSIZ;

use crate::uapi::XT_MAX_COMMENT_LEN;
use crate::{Family, Rule, extension, meaning, protocol, words};

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) source: Option<Is<Masked>>,
    pub(crate) destination: Option<Is<Masked>>,
    /// As iptables spells it: a `+` at the end is any more characters.
    pub(crate) in_interface: Option<Is<String>>,
    pub(crate) out_interface: Option<Is<String>>,
    pub(crate) protocol: Option<Is<u8>>,
    pub(crate) comment: Option<String>,
    /// Without the comment.
    pub(crate) matches: Vec<Extension>,
    pub(crate) target: Target,
    /// Whether there is something in the rule that is not understood, so that it equals nothing and has no words.
    pub(crate) unknown: bool,
}

/// What a field of a packet is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Is<T> {
    pub(crate) negated: bool,
    pub(crate) value: T,
}

/// An address under a mask, which need not be a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Masked {
    pub(crate) address: IpAddr,
    pub(crate) mask: IpAddr,
}

/// A match or target as the kernel's modules know it (include/uapi/linux/netfilter/x_tables.h, struct xt_entry_match).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) name: String,
    pub(crate) revision: u8,
    /// The module's own structure, without the alignment that follows it in a rule where its size is known.
    pub(crate) info: Vec<u8>,
}

/// What becomes of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Target {
    /// The rule only counts.
    #[default]
    None,
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    Extension(Extension),
}

impl Entry {
    /// The rule that these words are; `None` where they hold what only iptables itself understands.
    pub(crate) fn from_rule(rule: &Rule, family: Family) -> Option<Self> {
        let mut entry = Entry::default();
        let parts = meaning::in_order(&rule.0);
        let protocol = parts.iter().find(|part| part.1 == "-p").and_then(|part| part.2.first());
        let protocol = protocol.and_then(|name| protocol::number(name));
        for (negated, name, values) in &parts {
            let [value] = &values[..] else { return None };
            entry.read_option(name, *negated, value, family, protocol)?;
        }
        Some(entry)
    }

    fn read_option(
        &mut self,
        name: &str,
        negated: bool,
        value: &str,
        family: Family,
        protocol: Option<u8>,
    ) -> Option<()> {
        // Twice the same is more than a rule can say.
        fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
            field.replace(value).is_none().then_some(())
        }
        match name {
            "-s" => return once(&mut self.source, Is { negated, value: Masked::parse(value, family)? }),
            "-d" => return once(&mut self.destination, Is { negated, value: Masked::parse(value, family)? }),
            "-i" => return once(&mut self.in_interface, Is { negated, value: interface(value)? }),
            "-o" => return once(&mut self.out_interface, Is { negated, value: interface(value)? }),
            "-p" => return once(&mut self.protocol, Is { negated, value: protocol? }),
            "--mark" => {
                self.matches.push(extension::mark(value, negated)?);
                return Some(());
            }
            // Nothing else is understood when it is negated.
            _ if negated => return None,
            _ => {}
        }
        match name {
            // A NUL belongs to it.
            "--comment" if value.len() < XT_MAX_COMMENT_LEN => {
                return once(&mut self.comment, value.to_owned());
            }
            "--ctstate" => self.matches.push(extension::conntrack(value)?),
            "--dst-type" => self.matches.push(extension::addrtype(value)?),
            "--dports" if protocol.is_some() => self.matches.push(extension::multiport(value)?),
            "--dport" => self.matches.push(extension::dport(protocol?, value)?),
            "-j" | "-g" if self.target == Target::None => self.target = target(name, value, family)?,
            "--set-xmark" if self.target == Target::Jump("MARK".into()) => {
                self.target = Target::Extension(extension::set_mark(value)?);
            }
            "--to-destination" if self.target == Target::Jump("DNAT".into()) => {
                self.target = Target::Extension(extension::dnat(value, family)?);
            }
            _ => return None,
        }
        Some(())
    }

    /// The rule's words; `None` for one that is not understood.
    pub(crate) fn words(&self, family: Family) -> Option<Vec<String>> {
        if self.unknown {
            return None;
        }
        let mut words = Vec::new();
        let mut option = |name: &str, negated: bool, value: String| {
            words.extend(negated.then(|| "!".to_owned()));
            words.extend([name.to_owned(), value]);
        };
        let addresses = [("-s", &self.source), ("-d", &self.destination)];
        for (name, is) in addresses.into_iter().filter_map(|(name, is)| Some((name, is.as_ref()?))) {
            option(name, is.negated, is.value.to_string());
        }
        let interfaces = [("-i", &self.in_interface), ("-o", &self.out_interface)];
        for (name, is) in interfaces.into_iter().filter_map(|(name, is)| Some((name, is.as_ref()?))) {
            option(name, is.negated, is.value.clone());
        }
        if let Some(is) = &self.protocol {
            option("-p", is.negated, protocol::name(is.value));
        }
        if let Some(comment) = &self.comment {
            words.extend(["-m", "comment", "--comment", comment].map(str::to_owned));
        }
        for extension in &self.matches {
            words.extend(extension::words(extension, family)?);
        }
        let (option, value) = match &self.target {
            Target::None => return Some(words),
            Target::Accept => ("-j", "ACCEPT"),
            Target::Drop => ("-j", "DROP"),
            Target::Return => ("-j", "RETURN"),
            Target::Jump(chain) => ("-j", chain.as_str()),
            Target::Goto(chain) => ("-g", chain.as_str()),
            Target::Extension(extension) => {
                words.extend(extension::words(extension, family)?);
                return Some(words);
            }
        };
        words.extend([option, value].map(str::to_owned));
        Some(words)
    }

    /// Where packets go, as `-j` names it, though the rest may not be understood.
    pub(crate) fn target_name(&self) -> Option<&str> {
        match &self.target {
            Target::None => None,
            Target::Accept => Some("ACCEPT"),
            Target::Drop => Some("DROP"),
            Target::Return => Some("RETURN"),
            Target::Jump(chain) | Target::Goto(chain) => Some(chain),
            Target::Extension(extension) => Some(&extension.name),
        }
    }
}

/// What `-j` or `-g` names. A target with options is complete once they are read.
fn target(option: &str, name: &str, family: Family) -> Option<Target> {
    Some(match (option, name) {
        ("-g", chain) => Target::Goto(words::chain(chain).ok()?.to_owned()),
        (_, "ACCEPT") => Target::Accept,
        (_, "DROP") => Target::Drop,
        (_, "RETURN") => Target::Return,
        (_, "MASQUERADE") => Target::Extension(extension::masquerade(family)),
        (_, chain) => Target::Jump(words::chain(chain).ok()?.to_owned()),
    })
}

/// A name that fits with a NUL, and with its `+`. An empty one and `+` alone are any interface to iptables, which says so by no
/// match.
fn interface(name: &str) -> Option<String> {
    (!matches!(name, "" | "+") && name.len() < IFNAMSIZ).then(|| name.to_owned())
}

impl Masked {
    fn parse(text: &str, family: Family) -> Option<Self> {
        let net: IpNet = text.parse().ok()?;
        // No address at all is compared with nothing, but with its negation.
        let fits = net.addr().is_ipv4() == (family == Family::Ipv4) && net.prefix_len() > 0;
        fits.then(|| Masked { address: net.network(), mask: net.netmask() })
    }
}

/// As iptables-save prints it: with the length of a prefix where the mask is one.
impl fmt::Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match IpNet::with_netmask(self.address, self.mask) {
            Ok(net) => net.fmt(f),
            Err(_) => write!(f, "{}/{}", self.address, self.mask),
        }
    }
}
