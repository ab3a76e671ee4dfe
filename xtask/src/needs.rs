//! What ignored tests need of the machine. A test says so in its reason, `#[ignore = "needs iptables and br_netfilter: ..."]`,
//! as a list up to the colon; here stands how each of these things is found or got. A new one is a new line in [`NEEDS`].

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::namespaces::is_root;
use crate::{Result, debian, go, reference};

/// Something that not every machine has.
enum Need {
    /// A program of a Debian package: its path, the package.
    Program(&'static str, &'static str),
    /// The reference's plugins, of the release that the tests are written against.
    Reference,
    /// Go, for programs in it that tests build.
    Go,
    /// Root without a user namespace around.
    Root,
    /// The iptables program that speaks to ip_tables, which newer kernels may lack.
    LegacyTables,
    /// Packets that a bridge switches pass the hooks of IP.
    BridgeNetfilter,
    /// The policy that some tests are written for, enforced.
    SelinuxPolicy,
}

/// By the word that an item of the list begins with.
const NEEDS: &[(&str, Need)] = &[
    ("iptables-legacy", Need::LegacyTables),
    ("iptables", Need::Program("/usr/sbin/iptables-save", "iptables")),
    ("nft", Need::Program("/usr/sbin/nft", "nftables")),
    ("iproute2", Need::Program("/usr/bin/ip", "iproute2")),
    ("dbus-daemon", Need::Program("/usr/bin/dbus-daemon", "dbus-daemon")),
    ("dnsmasq", Need::Program("/usr/sbin/dnsmasq", "dnsmasq-base")),
    ("isc-dhcp-server", Need::Program("/usr/sbin/dhcpd", "isc-dhcp-server")),
    ("kea-dhcp4-server", Need::Program("/usr/sbin/kea-dhcp4", "kea-dhcp4-server")),
    ("containerd", Need::Program("/usr/bin/containerd", "containerd")),
    ("podman", Need::Program("/usr/bin/podman", "podman")),
    ("runc", Need::Program("/usr/sbin/runc", "runc")),
    ("conmon", Need::Program("/usr/bin/conmon", "conmon")),
    ("busybox-static", Need::Program("/usr/bin/busybox", "busybox-static")),
    ("dpkg", Need::Program("/usr/bin/dpkg", "dpkg")),
    ("the reference's", Need::Reference),
    ("Go", Need::Go),
    ("root", Need::Root),
    ("br_netfilter", Need::BridgeNetfilter),
    ("SELinux with the policy of ", Need::SelinuxPolicy),
];

/// What an item begins with that names a feature of the kernel.
const KERNEL: &str = "a kernel with ";

/// Where a test can run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Here,
    /// Where the kernel has what this one lacks: in a guest.
    OtherKernel,
    /// Nowhere, and what would change that.
    Nowhere(String),
}

/// The machine with what could be got for the tests.
pub(crate) struct Machine {
    reference: Result<PathBuf>,
    /// Features of the kernel, and whether it has them.
    kernel: Vec<(String, bool)>,
}

impl Machine {
    /// Installs and fetches all that is missing, which wants the internet.
    pub(crate) fn prepare() -> Self {
        let missing = missing();
        if !missing.is_empty()
            && let Err(error) = debian::install(&missing)
        {
            eprintln!("xtask: some tests want more programs: {error}");
        }
        let reference = reference::folder();
        if let Err(error) = &reference {
            eprintln!("xtask: cannot fetch the reference's plugins: {error}");
        }
        Machine { reference, kernel: Vec::new() }
    }

    /// Takes what the probe of cni-testing found, a line a feature: `has <name>` or `lacks <name>`.
    pub(crate) fn learn_kernel(&mut self, found: &str) {
        let features = found.lines().filter_map(|line| line.split_once(' '));
        self.kernel = features.map(|(answer, name)| (name.to_owned(), answer == "has")).collect();
    }

    /// What the tests are told of it by their environment.
    pub(crate) fn environment(&self) -> Option<(&'static str, &Path)> {
        self.reference.as_deref().ok().map(|folder| (reference::VARIABLE, folder))
    }

    /// Whether the running kernel lacks anything that a test may need.
    pub(crate) fn kernel_lacks_something(&self) -> bool {
        self.kernel.iter().any(|(_, there)| !there)
    }

    /// Where a test with this reason can run. An error is a reason that is not understood.
    pub(crate) fn verdict(&self, reason: &str) -> Result<Verdict> {
        let list = reason.strip_prefix("needs ").ok_or("a reason begins with \"needs\"")?;
        let list = list.split(": ").next().unwrap_or(list);
        let mut verdict = Verdict::Here;
        for item in list.split(", ").flat_map(|items| items.split(" and ")) {
            let item = item.strip_prefix("and ").unwrap_or(item);
            if let Some(feature) = item.strip_prefix(KERNEL) {
                if !self.has_feature(feature)? {
                    verdict = Verdict::OtherKernel;
                }
            } else if let Some(obstacle) = self.without(find(item)?) {
                return Ok(Verdict::Nowhere(obstacle));
            }
        }
        Ok(verdict)
    }

    fn without(&self, need: &Need) -> Option<String> {
        match need {
            Need::Program(path, _) if Path::new(path).exists() => None,
            Need::Program(_, package) => Some(format!("apt-get install {package}, then cargo xtask test")),
            Need::Reference => self.reference.as_ref().err().map(|_| {
                format!("{}=<folder of containernetworking/plugins 1.10.0> cargo xtask test", reference::VARIABLE)
            }),
            Need::Go => go::is_there().err(),
            Need::Root if is_root() => None,
            Need::Root => Some("sudo cargo xtask test".to_owned()),
            Need::LegacyTables if has_legacy_tables() => None,
            Need::LegacyTables => {
                Some("apt-get install iptables, on a kernel with CONFIG_IP_NF_IPTABLES_LEGACY, then cargo xtask test".to_owned())
            }
            Need::BridgeNetfilter if Path::new("/proc/sys/net/bridge").exists() => None,
            Need::BridgeNetfilter => {
                Some("modprobe br_netfilter (the machine's own bridges change with it), then cargo xtask test".to_owned())
            }
            // Whether it is that policy cannot be asked, and enforcing it takes a machine that is for nothing else.
            Need::SelinuxPolicy => {
                Some("boot a virtual machine with security=selinux, load the policy as its file says, then run them there by hand".to_owned())
            }
        }
    }

    fn has_feature(&self, feature: &str) -> Result<bool> {
        let known = self.kernel.iter().find(|(name, _)| name == feature);
        known.map(|(_, there)| *there).ok_or_else(|| format!("cni-testing's probe knows no {feature:?}"))
    }
}

/// In the private namespace: listing makes the table.
fn has_legacy_tables() -> bool {
    let output = Command::new("/usr/sbin/iptables-legacy").args(["-w", "-L"]).output();
    output.is_ok_and(|output| output.status.success())
}

fn find(item: &str) -> Result<&'static Need> {
    let found = NEEDS.iter().find(|(word, _)| item.starts_with(word));
    found.map(|(_, need)| need).ok_or_else(|| format!("xtask/src/needs.rs knows no {item:?}"))
}

/// The packages of all programs that are missing. Snapshots look at rules with some of them, in tests that are not ignored.
fn missing() -> Vec<&'static str> {
    let programs = NEEDS.iter().filter_map(|(_, need)| match need {
        Need::Program(path, package) => Some((path, package)),
        _ => None,
    });
    programs.filter(|(path, _)| !Path::new(path).exists()).map(|(_, package)| *package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(reference: Result<PathBuf>) -> Machine {
        let mut machine = Machine { reference, kernel: Vec::new() };
        machine.learn_kernel("has virtual routing\nlacks bridge VLAN filtering\n");
        machine
    }

    #[test]
    fn every_item_of_a_reason_counts() {
        let with = machine(Ok(PathBuf::from("/ref")));
        let without = machine(Err("no apt-get".to_owned()));
        let reason = "needs a kernel with virtual routing, and the reference's plugins 1.9.1 in $CNI_REFERENCE_DIR: add";
        assert_eq!(with.verdict(reason), Ok(Verdict::Here));
        let Ok(Verdict::Nowhere(obstacle)) = without.verdict(reason) else {
            panic!("it needs the reference")
        };
        assert!(obstacle.starts_with("CNI_REFERENCE_DIR="));
        let vlans = "needs a kernel with bridge VLAN filtering and the reference's bridge: there";
        assert_eq!(with.verdict(vlans), Ok(Verdict::OtherKernel));
        assert!(matches!(without.verdict(vlans), Ok(Verdict::Nowhere(_))));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let machine = machine(Ok(PathBuf::from("/ref")));
        for reason in ["slow", "needs root and luck: pray", "needs a kernel with magic"] {
            assert!(machine.verdict(reason).is_err(), "{reason}");
        }
    }
}
