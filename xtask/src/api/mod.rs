//! `api`: what each library crate offers, a line per item, in docs/api. `ci` compares, so that nobody changes it without seeing
//! it, and whoever reads a change sees what it does to others.
//!
//! The list is made from the sources, without a compiler: what macros of other crates make is only seen as the attribute that asks
//! for it, and types are written as the sources write them.

mod crates;
mod expand;
mod items;
mod text;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo::{Metadata, Package};
use crate::{Result, tools};

use crates::Crate;

/// Compares each list with the sources, or writes it.
pub(crate) fn run(write: bool) -> Result<()> {
    let meta = Metadata::load()?;
    let folder = meta.workspace_root.join("docs").join("api");
    fs::create_dir_all(&folder).map_err(|error| tools::cannot("create", &folder, error))?;
    let (mut changed, mut left) = (Vec::new(), files(&folder)?);
    for package in meta.packages.iter().filter(|package| is_library(&meta, package)) {
        let path = folder.join(format!("{}.txt", package.name));
        left.remove(&path);
        let now = list(package)?;
        let before = fs::read_to_string(&path).unwrap_or_default();
        if write {
            fs::write(&path, now).map_err(|error| tools::cannot("write", &path, error))?;
        } else if now != before {
            changed.push(shown(&path));
            show(&before, &now);
        }
    }
    for path in left {
        if write {
            fs::remove_file(&path).map_err(|error| tools::cannot("remove", &path, error))?;
        } else {
            changed.push(format!("{}, which is of no library", shown(&path)));
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    let files = changed.join(", ");
    Err(format!(
        "not what the sources offer: {files}. If the change is meant, write it by `cargo xtask api --write`"
    ))
}

/// What others may build on: what is published and not a plugin or a program.
fn is_library(meta: &Metadata, package: &Package) -> bool {
    let has_library = package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "lib"));
    has_library && package.is_published() && !meta.is_plugin(package)
}

fn shown(path: &Path) -> String {
    format!("docs/api/{}", path.file_name().unwrap_or_default().display())
}

fn files(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| tools::cannot("read", folder, error))?;
    entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()
        .map_err(|error| tools::cannot("read", folder, error))
}

fn list(package: &Package) -> Result<String> {
    let root = package.dir().join("src").join("lib.rs");
    let library = Crate::load(&root)?;
    let lines = items::lines(&library).map_err(|error| format!("{}: {error}", package.name))?;
    let head = format!("# What {} offers. `cargo xtask api --write` writes this file.\n\n", package.name);
    Ok(head + &lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

/// Prints the lines that only one of them has.
fn show(before: &str, now: &str) {
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (before.lines().collect(), now.lines().collect());
    before.lines().filter(|line| !new.contains(line)).for_each(|line| println!("-{line}"));
    now.lines().filter(|line| !old.contains(line)).for_each(|line| println!("+{line}"));
}
