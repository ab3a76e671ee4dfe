//! What a node may be like: whose rules it has, by which backend its plugins work, and what its pods ask for.

use std::fmt;

use crate::networks::Backend;

/// Rules of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    None,
    /// kube-proxy's for so many services, by the program of that name.
    KubeProxy {
        services: usize,
        program: Program,
    },
}

/// Which of the two programs called iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Nft,
    Legacy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) rules: Rules,
    /// As the network's owner writes it; `None` where no key says it, which is iptables.
    pub(super) backend: Option<Backend>,
    /// Pods masquerade and publish two ports each; otherwise there is portmap in the chain with nothing to do, as in Kubernetes'
    /// networks.
    pub(super) publishes_ports: bool,
}

/// By these words the command line asks for some of the cells. Of each line one or several; of a line without any, all.
pub(crate) const PARTS: &[&[&str]] = &[
    &["node-0", "node-2000", "node-10000"],
    &["node-iptables-nft", "node-iptables-legacy"],
    &["node-nftables", "node-default"],
    &["node-plain", "node-ports"],
];

/// Those without rules first, which the others are compared with.
pub(super) fn all() -> Vec<Cell> {
    use Program::{Legacy, Nft};
    let of = |services| [Nft, Legacy].map(|program| Rules::KubeProxy { services, program });
    let rules = std::iter::once(Rules::None).chain(of(2_000)).chain(of(10_000));
    let mut cells = Vec::new();
    for rules in rules {
        for publishes_ports in [false, true] {
            for backend in [Some(Backend::Nftables), None] {
                cells.push(Cell { rules, backend, publishes_ports });
            }
        }
    }
    cells
}

impl Cell {
    pub(super) fn services(&self) -> usize {
        match self.rules {
            Rules::None => 0,
            Rules::KubeProxy { services, .. } => services,
        }
    }

    /// Whether it is the same but for the rules.
    pub(super) fn has_same_pods(&self, other: &Cell) -> bool {
        (self.backend, self.publishes_ports) == (other.backend, other.publishes_ports)
    }

    /// How often the reference is measured: once where twenty of its pods take half a minute, and not at all where these rows
    /// are about ours staying as it is and it would take longer still.
    pub(super) fn rounds_of_reference(&self, rounds: usize) -> usize {
        match (self.services(), self.publishes_ports) {
            (10_000.., _) => 0,
            (_, true) => rounds.min(1),
            (_, false) => rounds,
        }
    }

    pub(super) fn has_legacy_rules(&self) -> bool {
        matches!(self.rules, Rules::KubeProxy { program: Program::Legacy, .. })
    }

    /// Whether the words ask for it; none ask for all.
    pub(super) fn is_wanted(&self, parts: &[String]) -> bool {
        let own = self.words();
        PARTS.iter().all(|line| {
            let mut asked = line.iter().filter(|word| parts.iter().any(|part| part == *word)).peekable();
            // Without rules there is no program that made them.
            asked.peek().is_none()
                || (self.services() == 0 && line == &PARTS[1])
                || asked.any(|word| own.contains(&String::from(*word)))
        })
    }

    fn words(&self) -> [String; 4] {
        let program = if self.has_legacy_rules() { "iptables-legacy" } else { "iptables-nft" };
        let pods = if self.publishes_ports { "ports" } else { "plain" };
        [self.services().to_string(), program.to_owned(), self.backends().to_owned(), pods.to_owned()]
            .map(|word| format!("node-{word}"))
    }

    pub(super) fn backends(&self) -> &'static str {
        self.backend.map_or("default", Backend::name)
    }

    pub(super) fn pods(&self) -> &'static str {
        if self.publishes_ports { "masquerade, two ports" } else { "plain" }
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rules::None => f.write_str("no rules"),
            Rules::KubeProxy { services, program } => {
                write!(f, "{services} services, {}", program.restore().trim_end_matches("-restore"))
            }
        }
    }
}

impl Program {
    pub(super) fn restore(self) -> &'static str {
        match self {
            Program::Nft => "iptables-nft-restore",
            Program::Legacy => "iptables-legacy-restore",
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.backends(), self.rules, self.pods())
    }
}
