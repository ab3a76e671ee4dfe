//! Rules about what the sources say. Each sees one file and returns sentences that say where it is broken.

use std::fs;
use std::path::Path;

use super::code::only_code;
use crate::cargo::{Metadata, Package};
use crate::{Result, tools};

/// A Rust file of a package.
pub(super) struct Source {
    package: String,
    is_plugin: bool,
    /// Below the workspace's root.
    path: String,
    /// As it is.
    text: String,
    /// Without comments and literals.
    code: String,
}

type Rule = fn(&Source) -> Vec<String>;

pub(super) const RULES: &[Rule] = &[
    data_does_no_io,
    programs_are_run_in_few_places,
    environment_is_read_at_the_edge,
    standard_output_is_the_protocol,
    unsafe_has_homes,
    files_fit_a_head,
    plugin_mains_are_one_statement,
];

/// Modules with unsafe code, each for calls that nothing offers safely.
const UNSAFE: &[&str] = &[
    "crates/cni-host/src/sys.rs",
    "crates/cni-iptables/src/sockopt.rs",
    "crates/cni-nftables/src/grace_period.rs",
];

/// Who is data, and what follows from it.
const DATA: &[&str] = &["cni-types", "cni-dhcp"];

/// Who runs programs: delegates and chains go through cni-exec; the others are tools.
const RUNNERS: &[&str] = &["cni-exec", "cni-iptables", "cni-testing", "xtask"];

/// Who is configured by the environment: plugins through cni-plugin; the others are tools.
const CONFIGURED: &[&str] = &["cni-plugin", "cni-plugins", "cnitool", "cni-testing", "xtask"];

/// Who writes to standard output: plugins through cni-plugin; the others are for people.
const SPEAKERS: &[&str] = &["cni-plugin", "cnitool", "cni-plugins", "cni-testing", "xtask"];

/// What a reader can keep in mind, and what of tests, which are read one at a time.
const MAX_LINES: usize = 400;
const MAX_LINES_OF_TESTS: usize = 500;

impl Source {
    /// Every Rust file of every package.
    pub(super) fn load_all(meta: &Metadata) -> Result<Vec<Source>> {
        let mut sources = Vec::new();
        for package in &meta.packages {
            load(meta, package, package.dir(), &mut sources)?;
        }
        Ok(sources)
    }

    /// Whether it is an integration test, which is not part of anything that is shipped.
    fn is_test(&self) -> bool {
        self.path.contains("/tests/")
    }

    /// A sentence for each use of one of these, unless the package is among `homes` or this is a test.
    fn uses(&self, words: &[&str], homes: &[&str], rule: &str) -> Vec<String> {
        if homes.contains(&&*self.package) || self.is_test() {
            return Vec::new();
        }
        let lines = self.code.lines().zip(1..);
        let found = lines.filter_map(|(line, number)| {
            let word = words.iter().find(|word| line.contains(**word))?;
            Some(format!("{}:{number}: {word}: {rule}", self.path))
        });
        found.collect()
    }
}

fn load(meta: &Metadata, package: &Package, dir: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(|error| tools::cannot("read", dir, error))?;
    for entry in entries {
        let path = entry.map_err(|error| tools::cannot("read", dir, error))?.path();
        if path.is_dir() {
            load(meta, package, &path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).map_err(|error| tools::cannot("read", &path, error))?;
            let shown = path.strip_prefix(&meta.workspace_root).unwrap_or(&path).display().to_string();
            sources.push(Source {
                package: package.name.clone(),
                is_plugin: meta.is_plugin(package),
                path: shown,
                code: only_code(&text),
                text,
            });
        }
    }
    Ok(())
}

fn data_does_no_io(source: &Source) -> Vec<String> {
    if !DATA.contains(&&*source.package) {
        return Vec::new();
    }
    let io = [
        "std::fs",
        "std::env",
        "std::process",
        "std::os",
        "std::io",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "Instant",
        "SystemTime",
    ];
    source.uses(&io, &[], &format!("{} does no I/O and has no clock", source.package))
}

fn programs_are_run_in_few_places(source: &Source) -> Vec<String> {
    source.uses(
        &["Command::new", "process::Command"],
        RUNNERS,
        "plugins run no programs; delegates go through cni_exec, iptables through cni_iptables",
    )
}

fn environment_is_read_at_the_edge(source: &Source) -> Vec<String> {
    let reads = ["env::var", "env::vars", "env::args"];
    source.uses(&reads, CONFIGURED, "only cni-plugin reads CNI_*; elsewhere it comes as a parameter")
}

fn standard_output_is_the_protocol(source: &Source) -> Vec<String> {
    // A test module may print, the harness captures it; clippy's print_stdout looks after those words.
    source.uses(&["io::stdout", "stdout()"], SPEAKERS, "only cni-plugin writes to standard output")
}

fn unsafe_has_homes(source: &Source) -> Vec<String> {
    if UNSAFE.contains(&&*source.path) {
        return Vec::new();
    }
    // Tests too, hence not `uses`.
    let lines = source.code.lines().zip(1..);
    let found = lines.filter(|(line, _)| {
        line.split(|char: char| !char.is_alphanumeric() && char != '_').any(|word| word == "unsafe")
    });
    found
        .map(|(_, number)| format!("{}:{number}: unsafe code is only in {}", source.path, UNSAFE.join(", ")))
        .collect()
}

fn files_fit_a_head(source: &Source) -> Vec<String> {
    let tests = source.is_test() || source.path.ends_with("tests.rs");
    let (lines, most) = (source.text.lines().count(), if tests { MAX_LINES_OF_TESTS } else { MAX_LINES });
    if lines <= most {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines, more than {most}; find what can stand alone", source.path)]
}

/// So that the single binary and other people's plugins can take the library whole.
fn plugin_mains_are_one_statement(source: &Source) -> Vec<String> {
    if !source.is_plugin || !source.path.ends_with("src/main.rs") {
        return Vec::new();
    }
    let body = source.code.trim().strip_prefix("fn main() -> std::process::ExitCode {");
    let body = body.and_then(|body| body.strip_suffix('}')).map(str::trim);
    let is_one_call = body.is_some_and(|body| {
        ["cni_plugin::main(", "cni_plugin::main_with_daemon("].iter().any(|call| body.starts_with(call))
            && !body.contains([';', '{'])
    });
    if is_one_call {
        return Vec::new();
    }
    vec![format!("{}: a plugin's main is one statement, cni_plugin::main(&...)", source.path)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many rules this text breaks as a file of a package.
    fn broken(package: &str, path: &str, text: &str) -> Vec<String> {
        let source = Source {
            package: package.to_owned(),
            is_plugin: path.starts_with("plugins/"),
            path: path.to_owned(),
            text: text.to_owned(),
            code: only_code(text),
        };
        RULES.iter().flat_map(|rule| rule(&source)).collect()
    }

    #[test]
    fn io_in_what_is_data_is_found() {
        assert_eq!(broken("cni-types", "crates/cni-types/src/dns.rs", "use std::fs;").len(), 1);
        assert_eq!(broken("cni-types", "crates/cni-types/src/dns.rs", "\nUdpSocket::bind(x)").len(), 1);
        assert!(
            broken("cni-types", "crates/cni-types/src/dns.rs", "use std::net::IpAddr; // no std::fs")
                .is_empty()
        );
        assert_eq!(broken("cni-dhcp", "crates/cni-dhcp/src/client/mod.rs", "Instant::now()").len(), 1);
        assert!(broken("cni-host", "crates/cni-host/src/lock.rs", "use std::fs;").is_empty());
    }

    #[test]
    fn a_program_run_by_a_plugin_is_found() {
        let text = "fn f() {\n    Command::new(\"ip\")\n}";
        let found = broken("cni-bridge", "plugins/bridge/src/lib.rs", text);
        assert!(found.len() == 1 && found[0].starts_with("plugins/bridge/src/lib.rs:2: "), "{found:?}");
        assert!(broken("cni-exec", "crates/cni-exec/src/lib.rs", text).is_empty());
        assert!(broken("cnitool", "crates/cnitool/tests/add.rs", text).is_empty());
    }

    #[test]
    fn a_plugin_that_reads_the_environment_is_found() {
        let text = "std::env::var(\"CNI_ARGS\")";
        assert_eq!(broken("cni-bridge", "plugins/bridge/src/lib.rs", text).len(), 1);
        assert!(broken("cni-plugin", "crates/cni-plugin/src/vars.rs", text).is_empty());
    }

    #[test]
    fn a_plugin_that_writes_to_standard_output_is_found() {
        let text = "std::io::stdout().write_all(b\"\")";
        assert_eq!(broken("cni-bridge", "plugins/bridge/src/lib.rs", text).len(), 1);
        assert!(broken("cnitool", "crates/cnitool/src/main.rs", text).is_empty());
    }

    #[test]
    fn unsafe_code_outside_its_homes_is_found_in_tests_too() {
        let text = "unsafe { close(1) }";
        assert_eq!(broken("cni-bridge", "plugins/bridge/src/lib.rs", text).len(), 1);
        assert_eq!(broken("cni-bridge", "plugins/bridge/tests/x.rs", text).len(), 1);
        assert!(broken("cni-host", UNSAFE[0], text).is_empty());
        assert!(
            broken("cni-host", "crates/cni-host/src/lib.rs", "#![deny(unsafe_code)] // unsafe").is_empty()
        );
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(broken("xtask", "xtask/src/main.rs", &"\n".repeat(MAX_LINES + 1)).len(), 1);
        assert!(broken("xtask", "xtask/src/main.rs", &"\n".repeat(MAX_LINES)).is_empty());
        let tests = "\n".repeat(MAX_LINES_OF_TESTS);
        assert!(broken("xtask", "xtask/src/tidy_tests.rs", &tests).is_empty());
        assert_eq!(broken("xtask", "xtask/tests/tidy.rs", &format!("{tests}\n")).len(), 1);
    }

    #[test]
    fn a_plugin_main_with_a_life_of_its_own_is_found() {
        let good = "//! What.\n\nfn main() -> std::process::ExitCode {\n    cni_plugin::main(&cni_bridge::PLUGIN)\n}\n";
        let path = "plugins/bridge/src/main.rs";
        assert!(broken("cni-bridge", path, good).is_empty());
        let two = good.replace("    cni", "    set_up();\n    cni");
        assert_eq!(broken("cni-bridge", path, &two).len(), 1);
        assert_eq!(broken("cni-bridge", path, &format!("mod more;\n{good}")).len(), 1);
    }
}
