//! `tidy`: who may do what. Each rule of docs/architecture.md that a machine can check is a small function here, with a
//! test that it finds a violation.

use std::fs;
use std::path::Path;

use crate::cargo::{self, Metadata, cargo};
use crate::{Result, tools};

mod code;
mod dependencies;
mod published;
mod sources;

use sources::Source;

/// Prints every violation of every rule; an error when there is one.
pub(crate) fn run() -> Result<()> {
    let meta = Metadata::load()?;
    let sources = Source::load_all(&meta)?;
    let mut violations = Vec::new();
    for package in &meta.packages {
        let manifest = fs::read_to_string(&package.manifest_path);
        let manifest = manifest.map_err(|error| tools::cannot("read", &package.manifest_path, error))?;
        let plugins: Vec<&str> = meta.plugins().map(|plugin| plugin.name.as_str()).collect();
        for rule in dependencies::RULES {
            violations.extend(rule(package, &plugins));
        }
        violations.extend(dependencies::inherits_from_workspace(package, &manifest));
        violations.extend(published::is_fit(package));
    }
    let mut tree = cargo();
    tree.args(["tree", "--workspace", "--edges", "no-dev", "--no-dedupe", "--prefix", "depth"]);
    let tree = String::from_utf8_lossy(&cargo::output(&mut tree)?).into_owned();
    violations.extend(dependencies::nothing_ships_an_async_runtime(&tree));
    let page = Path::new("docs/architecture.md");
    let page = fs::read_to_string(page).map_err(|error| tools::cannot("read", page, error))?;
    violations.extend(dependencies::layers_are_shown(&page));
    for source in &sources {
        for rule in sources::RULES {
            violations.extend(rule(source));
        }
    }
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => Ok(()),
        count => Err(format!("{count} violations of docs/architecture.md")),
    }
}
