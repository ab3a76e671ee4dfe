//! Rules about what the packages depend on. Each returns sentences that say which package breaks it.

use crate::cargo::{Dependency, Package};

/// A rule sees one package and the names of all plugins.
type Rule = fn(&Package, &[&str]) -> Vec<String>;

pub(super) const RULES: &[Rule] = &[
    layers_are_kept,
    types_do_no_io,
    plugins_stand_alone,
    netlink_has_one_home,
    namespaces_have_homes,
    fixtures_are_for_tests,
    what_is_opened_for_fuzzing_is_for_it_alone,
    command_lines_are_not_for_plugins,
];

/// Which of the project's own crates each may use, from the ground up: the table "Who may use whom" of docs/architecture.md. Tests may
/// use more.
const LAYERS: &[(&str, &[&str])] = &[
    ("cni-types", &[]),
    ("cni-exec", &["cni-types"]),
    ("cni-dhcp", &["cni-types"]),
    ("cni-netlink", &[]),
    ("cni-nftables", &["cni-netlink"]),
    ("cni-iptables", &["cni-nftables"]),
    ("cni-host", &["cni-netlink", "cni-nftables", "cni-iptables"]),
    ("cni-plugin", &["cni-types", "cni-exec"]),
    ("cni-interface", &["cni-types", "cni-netlink", "cni-host", "cni-plugin"]),
    ("libcni", &["cni-types", "cni-exec"]),
    ("cnitool", &["cni-types", "cni-host", "libcni"]),
    ("cni-testing", &["cni-netlink", "cni-host"]),
    ("cni-plugins", &["cni-plugin", PLUGINS]),
    (
        PLUGINS,
        &[
            "cni-types",
            "cni-exec",
            "cni-dhcp",
            "cni-netlink",
            "cni-nftables",
            "cni-iptables",
            "cni-host",
            "cni-plugin",
            "cni-interface",
        ],
    ),
];

/// What stands for every plugin in [`LAYERS`].
const PLUGINS: &str = "plugins/*, ipam/*";

/// What is not in the table is not shipped, and may use what it likes.
fn layers_are_kept(package: &Package, plugins: &[&str]) -> Vec<String> {
    let row = |name: &str| if plugins.contains(&name) { PLUGINS } else { name }.to_owned();
    let allowed = LAYERS.iter().find(|(name, _)| *name == row(&package.name));
    let Some((_, allowed)) = allowed else { return Vec::new() };
    let is_own = |name: &str| LAYERS.iter().any(|(own, _)| *own == name);
    let broken = |dep: &Dependency| {
        let used = row(&dep.name);
        !is_dev(dep) && is_own(&used) && !allowed.contains(&&*used)
    };
    complain(package, broken, "it may not, by the table \"Who may use whom\"")
}

/// The page shows the table as it is checked.
pub(super) fn layers_are_shown(page: &str) -> Vec<String> {
    let row = |(name, uses): &(&str, &[&str])| {
        let quoted =
            |name: &&str| name.split(", ").map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let uses: Vec<String> = uses.iter().map(quoted).collect();
        format!(
            "| {} | {} |",
            quoted(name),
            if uses.is_empty() { "nothing".to_owned() } else { uses.join(", ") }
        )
    };
    let missing = LAYERS.iter().map(row).filter(|row| !page.lines().any(|line| line == row));
    missing.map(|row| format!("docs/architecture.md has no row `{row}`")).collect()
}

/// `cni-types` is data: everything it builds on is data too.
fn types_do_no_io(package: &Package, _: &[&str]) -> Vec<String> {
    let allowed = ["ipnet", "serde", "serde_json", "thiserror"];
    let broken =
        |dep: &Dependency| package.name == "cni-types" && !is_dev(dep) && !allowed.contains(&&*dep.name);
    complain(package, broken, "cni-types does no I/O and may only use ipnet, serde, serde_json and thiserror")
}

/// IPAM is a process found through CNI_PATH, not a library; and whoever installs one plugin gets one plugin.
fn plugins_stand_alone(package: &Package, plugins: &[&str]) -> Vec<String> {
    let broken = |dep: &Dependency| plugins.contains(&&*package.name) && plugins.contains(&&*dep.name);
    complain(package, broken, "a plugin never depends on another plugin")
}

/// The message crates break their interface often, so one crate hides them.
fn netlink_has_one_home(package: &Package, _: &[&str]) -> Vec<String> {
    let names = |dep: &Dependency| dep.name.starts_with("netlink-") || dep.name == "rtnetlink";
    let broken = |dep: &Dependency| names(dep) && package.name != "cni-netlink";
    complain(package, broken, "only cni-netlink knows the crates of netlink messages")
}

/// A step into another namespace that is not undone ruins whatever the thread does next. Tests may: their threads end.
fn namespaces_have_homes(package: &Package, _: &[&str]) -> Vec<String> {
    let homes = ["cni-host", "cni-testing", "xtask"];
    let enters =
        |dep: &Dependency| dep.name == "nix" && dep.features.iter().any(|feature| feature == "sched");
    let broken = |dep: &Dependency| enters(dep) && !is_dev(dep) && !homes.contains(&&*package.name);
    complain(
        package,
        broken,
        "only cni-host (and cni-testing, xtask) may call setns or unshare (feature sched)",
    )
}

/// Nothing that is shipped contains fixtures.
fn fixtures_are_for_tests(package: &Package, _: &[&str]) -> Vec<String> {
    complain(package, |dep| dep.name == "cni-testing" && !is_dev(dep), "cni-testing is a dev-dependency only")
}

/// The readers that it shows are private.
fn what_is_opened_for_fuzzing_is_for_it_alone(package: &Package, _: &[&str]) -> Vec<String> {
    let opens = |dep: &Dependency| dep.features.iter().any(|feature| feature == "fuzzing");
    let broken = |dep: &Dependency| dep.name == "cni-fuzz" || (opens(dep) && package.name != "cni-fuzz");
    complain(package, broken, "only the fuzz targets may use the feature fuzzing, and nothing uses them")
}

/// It would cost each run of a plugin 0.1 ms and 290 kB.
fn command_lines_are_not_for_plugins(package: &Package, _: &[&str]) -> Vec<String> {
    let homes = ["cnitool", "cni-plugins", "xtask"];
    let broken = |dep: &Dependency| dep.name.starts_with("clap") && !homes.contains(&&*package.name);
    complain(package, broken, "clap is for cnitool, cni-plugins and xtask, never in a plugin's path")
}

/// The tests under real runtimes speak gRPC, for which there is no client without one. Sees what `cargo tree` says of all
/// packages without what is for their tests only, each line with its depth before it: the package itself has none.
pub(super) fn nothing_ships_an_async_runtime(tree: &str) -> Vec<String> {
    let (mut package, mut violations) = ("", Vec::new());
    for line in tree.lines() {
        let named = line.trim_start_matches(|char: char| char.is_ascii_digit());
        let name = named.split(' ').next().unwrap_or(named);
        if line.starts_with('0') {
            package = name;
        } else if name == "tokio" {
            let rule =
                "no async runtime in a process that lives for milliseconds; cni-runtime-tests may have it";
            violations.push(format!("{package} depends on tokio (cargo tree -i tokio -e no-dev): {rule}"));
        }
    }
    violations.dedup();
    violations
}

/// Versions, lints and the reason for each dependency are in one place.
pub(super) fn inherits_from_workspace(package: &Package, manifest: &str) -> Vec<String> {
    let (mut section, mut lints, mut violations) = ("", false, Vec::new());
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
            continue;
        }
        lints |= section == "[lints]" && line == "workspace = true";
        let declares = section.ends_with("dependencies]") && !line.is_empty() && !line.starts_with('#');
        if declares && !line.contains("workspace = true") {
            violations.push(format!("{}: `{line}` belongs in [workspace.dependencies]", package.name));
        }
    }
    if !lints {
        violations.push(format!("{}: does not inherit the workspace's lints", package.name));
    }
    violations
}

fn is_dev(dep: &Dependency) -> bool {
    dep.kind.as_deref() == Some("dev")
}

fn complain(package: &Package, broken: impl Fn(&Dependency) -> bool, rule: &str) -> Vec<String> {
    let broken = package.dependencies.iter().filter(|dep| broken(dep));
    broken.map(|dep| format!("{} depends on {}: {rule}", package.name, dep.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many rules a dependency of a package breaks.
    fn broken(package: &str, dependency: &str, kind: Option<&str>, features: &[&str]) -> Vec<String> {
        let dependency = Dependency {
            name: dependency.to_owned(),
            kind: kind.map(str::to_owned),
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
        };
        let package = Package {
            name: package.to_owned(),
            manifest_path: "/Cargo.toml".into(),
            dependencies: vec![dependency],
            ..Package::default()
        };
        RULES.iter().flat_map(|rule| rule(&package, &["cni-bridge", "cni-host-local"])).collect()
    }

    #[test]
    fn an_edge_against_the_layers_is_found() {
        assert_eq!(broken("cni-host", "cni-types", None, &[]).len(), 1);
        assert_eq!(broken("cni-plugin", "cni-netlink", None, &[]).len(), 1);
        assert_eq!(broken("cni-interface", "cni-bridge", None, &[]).len(), 1);
        assert!(broken("cni-bridge", "cni-interface", None, &[]).is_empty());
        assert!(broken("cni-plugins", "cni-bridge", None, &[]).is_empty());
        assert!(broken("cni-host", "cni-types", Some("dev"), &[]).is_empty());
        assert!(broken("cni-host", "nix", None, &[]).is_empty());
        assert_eq!(layers_are_shown("").len(), LAYERS.len());
    }

    #[test]
    fn types_with_io_are_found() {
        assert_eq!(broken("cni-types", "fs2", None, &[]).len(), 1);
        assert!(broken("cni-types", "serde", None, &[]).is_empty());
        assert!(broken("cni-types", "proptest", Some("dev"), &[]).is_empty());
    }

    #[test]
    fn a_plugin_in_a_plugin_is_found() {
        assert!(!broken("cni-bridge", "cni-host-local", None, &[]).is_empty());
        assert_eq!(broken("cni-bridge", "cni-host-local", Some("dev"), &[]).len(), 1);
        assert!(broken("cni-plugins", "cni-host-local", None, &[]).is_empty());
    }

    #[test]
    fn netlink_outside_its_home_is_found() {
        assert_eq!(broken("cni-host", "netlink-packet-route", None, &[]).len(), 1);
        assert_eq!(broken("cni-bridge", "rtnetlink", Some("dev"), &[]).len(), 1);
        assert!(broken("cni-netlink", "netlink-sys", None, &[]).is_empty());
    }

    #[test]
    fn namespaces_outside_their_homes_are_found() {
        assert_eq!(broken("cni-bridge", "nix", None, &["sched"]).len(), 1);
        assert!(broken("cni-bridge", "nix", None, &["fs"]).is_empty());
        assert!(broken("cni-netlink", "nix", Some("dev"), &["sched"]).is_empty());
        assert!(broken("cni-host", "nix", None, &["sched"]).is_empty());
    }

    #[test]
    fn fixtures_that_would_be_shipped_are_found() {
        assert!(!broken("cni-host", "cni-testing", None, &[]).is_empty());
        assert!(broken("cni-host", "cni-testing", Some("dev"), &[]).is_empty());
    }

    #[test]
    fn a_use_of_what_is_for_fuzzing_is_found() {
        assert_eq!(broken("cni-bridge", "cni-netlink", None, &["fuzzing"]).len(), 1);
        assert_eq!(broken("cnitool", "cni-fuzz", Some("dev"), &[]).len(), 1);
        assert!(broken("cni-fuzz", "cni-netlink", None, &["fuzzing"]).is_empty());
    }

    #[test]
    fn a_command_line_in_a_plugin_is_found() {
        assert_eq!(broken("cni-bridge", "clap", None, &[]).len(), 1);
        assert!(broken("cnitool", "clap_complete", None, &[]).is_empty());
    }

    #[test]
    fn an_async_runtime_that_would_be_shipped_is_found() {
        let clean = "0cni-bridge v0.1.0 (/plugins/bridge)\n1serde v1.0.228\n0cni-runtime-tests v0.1.0 (/crates/cni-runtime-tests)\n";
        assert!(nothing_ships_an_async_runtime(clean).is_empty());
        let direct = format!("{clean}0cni-tap v0.1.0 (/plugins/tap)\n1tokio v1.54.1\n2tokio-util v0.7.20\n");
        let deep =
            format!("{direct}0libcni v0.1.0 (/crates/libcni)\n1tower v0.5.3\n2tokio v1.54.1\n3mio v1.2.5\n");
        let found = nothing_ships_an_async_runtime(&deep);
        assert!(
            found.len() == 2 && found[0].starts_with("cni-tap ") && found[1].starts_with("libcni "),
            "{found:?}"
        );
    }

    #[test]
    fn a_manifest_that_goes_its_own_way_is_found() {
        let package = Package { name: "cni-x".to_owned(), ..Package::default() };
        let good = "[dependencies]\n# why\nserde.workspace = true\nnix = { workspace = true, features = [] }\n\n\
                    [lints]\nworkspace = true\n";
        assert!(inherits_from_workspace(&package, good).is_empty());
        let own_version = good.replace("serde.workspace = true", "serde = \"1\"");
        assert_eq!(inherits_from_workspace(&package, &own_version).len(), 1);
        let own_lints = good.replace("[lints]\nworkspace = true", "[lints.rust]");
        assert_eq!(inherits_from_workspace(&package, &own_lints).len(), 1);
    }
}
