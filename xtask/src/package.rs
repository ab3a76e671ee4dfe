//! `package`: the crates as they would be published, compiled from nothing but what is in their packages.
//!
//! `cargo package` can compile them too, but does so one after the other, and takes what it has unpacked for an earlier version of
//! the same number. Here all packages are unpacked side by side and compiled as one workspace, whose dependencies stay
//! compiled.

use std::fs::{self, File};
use std::path::Path;

use flate2::read::GzDecoder;

use crate::cargo::{self, Metadata, Package, cargo};
use crate::{Result, tools};

/// Packs every crate that is published, and compiles what is in the packages.
pub(crate) fn run() -> Result<()> {
    let meta = Metadata::load()?;
    let (published, kept): (Vec<&Package>, Vec<&Package>) =
        meta.packages.iter().partition(|package| package.is_published());
    // Whatever follows then asks no registry.
    cargo::run(cargo().args(["fetch", "--quiet", "--locked"]))?;
    let mut pack = cargo();
    pack.args(["package", "--quiet", "--workspace", "--offline", "--no-verify", "--allow-dirty"]);
    for package in &kept {
        pack.args(["--exclude", &package.name]);
    }
    cargo::run(&mut pack)?;

    let folder = meta.target_directory.join("packages");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| tools::cannot("remove", &folder, error))?;
    }
    for package in &published {
        let packed = meta.target_directory.join("package").join(format!("{}.crate", package.full_name()));
        unpack(&packed, &folder)?;
    }
    write(&folder.join("Cargo.toml"), manifest(&published))?;
    // The same versions of dependencies as everywhere.
    let lock = meta.workspace_root.join("Cargo.lock");
    fs::copy(&lock, folder.join("Cargo.lock")).map_err(|error| tools::cannot("copy", &lock, error))?;
    let mut check = cargo();
    check.args(["check", "--quiet", "--workspace", "--offline"]).current_dir(&folder);
    cargo::run(check.arg("--target-dir").arg(meta.target_directory.join("packages-checked")))?;
    println!("{} packages are in {}", published.len(), meta.target_directory.join("package").display());
    Ok(())
}

fn unpack(packed: &Path, folder: &Path) -> Result<()> {
    let file = File::open(packed).map_err(|error| tools::cannot("open", packed, error))?;
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    // In every package files have the same time, by which cargo would take a changed one for what it has compiled already.
    archive.set_preserve_mtime(false);
    archive.unpack(folder).map_err(|error| tools::cannot("unpack", packed, error))
}

fn write(path: &Path, text: String) -> Result<()> {
    fs::write(path, text).map_err(|error| tools::cannot("write", path, error))
}

/// A workspace of packages, each of which finds the others here and not in a registry.
fn manifest(packages: &[&Package]) -> String {
    let members: String =
        packages.iter().map(|package| format!("    {:?},\n", package.full_name())).collect();
    let patch = |package: &&Package| format!("{} = {{ path = {:?} }}\n", package.name, package.full_name());
    let patches: String = packages.iter().map(patch).collect();
    format!("[workspace]\nresolver = \"3\"\nmembers = [\n{members}]\n\n[patch.crates-io]\n{patches}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_find_each_other() {
        let package =
            |name: &str| Package { name: name.into(), version: "0.1.0".into(), ..Package::default() };
        let (a, b) = (package("cni-types"), package("cni-exec"));
        assert_eq!(
            manifest(&[&a, &b]),
            "[workspace]\n\
             resolver = \"3\"\n\
             members = [\n    \"cni-types-0.1.0\",\n    \"cni-exec-0.1.0\",\n]\n\
             \n\
             [patch.crates-io]\n\
             cni-types = { path = \"cni-types-0.1.0\" }\n\
             cni-exec = { path = \"cni-exec-0.1.0\" }\n"
        );
    }
}
