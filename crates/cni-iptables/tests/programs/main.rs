//! Next to the installed iptables, both variants, in private namespaces: what the crate writes the programs print, and what they
//! write it reads.

#![allow(clippy::unwrap_used, reason = "what panics here is a test that fails")]

mod places;
mod race;
mod reference;

use std::fs::create_dir;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use cni_iptables::{Family, Iptables, Result, Rule, Table, Variant};
use cni_nftables::Nft;
use cni_testing::Host;

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
fn on_private_host(
    variant: Variant,
    family: Family,
    test: impl Fn(&Programs),
) -> std::result::Result<(), String> {
    let host = Host::new();
    host.hide(&["/run"]);
    let programs = Programs::new(host, variant, family);
    match programs.try_run("", &["-t", "nat", "-S"], "") {
        Ok(_) => test(&programs),
        Err(error) if variant == Variant::Legacy => return Err(error),
        Err(error) => panic!("needs iptables (apt-get install iptables) and nf_tables: {error}"),
    }
    Ok(())
}

struct Programs {
    variant: Variant,
    family: Family,
    path: String,
    iptables: Iptables,
    host: Host,
}

impl Programs {
    fn new(host: Host, variant: Variant, family: Family) -> Self {
        let path = path(&host, variant);
        let iptables = Iptables::find(&[family], &path).unwrap();
        Programs { variant, family, path, iptables, host }
    }

    fn is_v4(&self) -> bool {
        self.family == Family::Ipv4
    }

    /// Changes table nat.
    fn update(&self, plan: impl FnMut(&mut Table<'_>) -> Result<()>) {
        self.iptables.update(&mut Nft::new(), "nat", plan).unwrap();
    }

    /// Runs the variant's own program: `-save`, `-restore`, or iptables itself.
    #[track_caller]
    fn run(&self, what: &str, args: &[&str], stdin: &str) -> String {
        self.try_run(what, args, stdin).unwrap_or_else(|error| panic!("{what} {args:?}: {error}"))
    }

    #[allow(clippy::disallowed_methods, reason = "the programs are what is compared with")]
    fn try_run(&self, what: &str, args: &[&str], stdin: &str) -> std::result::Result<String, String> {
        let family = if self.is_v4() { "iptables" } else { "ip6tables" };
        let variant = if self.variant == Variant::Nft { "nft" } else { "legacy" };
        let program = format!("/usr/sbin/{family}-{variant}{what}");
        let mut child = Command::new(&program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// The rules of a table, as the program prints them, without those chains that are always there.
    fn rules(&self, table: &str) -> Vec<String> {
        let text = self.run("", &["-t", table, "-S"], "");
        text.lines().filter(|line| !line.starts_with("-P")).map(str::to_owned).collect()
    }
}

/// A folder in which `iptables` is of the variant, and then the programs themselves.
fn path(host: &Host, variant: Variant) -> String {
    let folder = host.dir().with_file_name(format!("{variant:?}"));
    if !folder.exists() {
        create_dir(&folder).unwrap();
        let variant = if variant == Variant::Nft { "nft" } else { "legacy" };
        for name in ["iptables", "ip6tables"] {
            let program = Path::new("/usr/sbin").join(format!("xtables-{variant}-multi"));
            symlink(program, folder.join(name)).unwrap();
        }
    }
    format!("{}:/usr/sbin:/sbin", folder.display())
}

fn rule(words: &[&str]) -> Rule {
    Rule::new(words)
}
