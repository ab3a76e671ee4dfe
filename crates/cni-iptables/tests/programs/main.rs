//! The installed iptables, both variants, in private namespaces.

#![allow(clippy::unwrap_used, reason = "what panics here is a test that fails")]

mod holders;
mod race;
mod reference;

use std::io::Write;
use std::thread;

use cni_iptables::{Family, Iptables, Saved, Variant};
use cni_testing::Host;

const PATH: &str = "/usr/sbin:/sbin";

/// Runs `test` on a private host, with a /run of its own for the locks, once for each variant and family that this kernel
/// and this machine have.
fn each(test: impl Fn(&Programs) + Sync) {
    let mut missing = None;
    for variant in [Variant::Nft, Variant::Legacy] {
        for family in [Family::Ipv4, Family::Ipv6] {
            let outcome =
                thread::scope(|scope| scope.spawn(|| on_private_host(variant, family, &test)).join());
            let outcome = outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            missing = missing.or(outcome.err());
        }
    }
    if let Some(why) = missing {
        // Straight to the terminal: the harness swallows what a test that passes prints.
        let name = thread::current().name().unwrap_or("a test").to_owned();
        let line =
            format!("skipped: {name} with iptables-legacy, which this kernel or machine has not: {why}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

/// iptables-nft is what distributions install, so only the other may be missing.
fn on_private_host(variant: Variant, family: Family, test: impl Fn(&Programs)) -> Result<(), String> {
    let host = Host::new();
    host.hide(&["/run"]);
    let found = Iptables::find_variant(family, variant, PATH);
    match found.and_then(|iptables| iptables.save("nat").map(|_| iptables)) {
        Ok(iptables) => test(&Programs { iptables, variant, family, _host: host }),
        Err(error) if variant == Variant::Legacy => return Err(error.to_string()),
        Err(error) => panic!("needs iptables (apt-get install iptables) and nf_tables: {error}"),
    }
    Ok(())
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
