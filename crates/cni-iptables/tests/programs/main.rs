//! The installed iptables, both variants, in private namespaces.

#![allow(clippy::unwrap_used, reason = "what panics here is a test that fails")]

mod holders;
mod race;
mod reference;

use std::io::Write;

use cni_iptables::{Family, Iptables, Saved, Variant};
use cni_testing::Host;

const PATH: &str = "/usr/sbin:/sbin";

/// Runs `test` on a private host, with a /run of its own for the locks, once for each variant and family that this kernel
/// and this machine have.
fn each(test: impl Fn(&Programs) + Sync) {
    for variant in [Variant::Nft, Variant::Legacy] {
        for family in [Family::Ipv4, Family::Ipv6] {
            std::thread::scope(|scope| {
                scope
                    .spawn(|| {
                        let host = Host::new();
                        host.hide(&["/run"]);
                        let found = Iptables::find_variant(family, variant, PATH);
                        match found.and_then(|iptables| iptables.save("nat").map(|_| iptables)) {
                            Ok(iptables) => test(&Programs { iptables, variant, family, _host: host }),
                            Err(error) => skipped(&format!("{variant:?} {family:?}: {error}")),
                        }
                    })
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            });
        }
    }
}

/// Straight to the terminal: the harness swallows what a test that passes prints. iptables-nft is what distributions
/// install, so only the other may be missing.
fn skipped(why: &str) {
    assert!(!why.starts_with("Nft"), "needs iptables (apt-get install iptables) and nf_tables: {why}");
    let _ = writeln!(
        std::io::stderr().lock(),
        "skipped: {why}; needs iptables-legacy and CONFIG_IP_NF_IPTABLES_LEGACY"
    );
}

struct Programs {
    iptables: Iptables,
    variant: Variant,
    family: Family,
    _host: Host,
}

impl Programs {
    fn nat(&self) -> Saved {
        self.iptables.save("nat").unwrap()
    }

    fn is_v4(&self) -> bool {
        self.family == Family::Ipv4
    }
}
