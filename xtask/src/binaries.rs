//! `build` and `install`: the executables that are shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{self, Metadata, cargo};
use crate::{Result, tools};

/// The executable that is every plugin, and its package.
pub(crate) const ONE: &str = "cni-plugins";

/// The packages that are shipped beside the plugins, each with an executable of its own name.
const TOOLS: [&str; 2] = [ONE, "cnitool"];

/// What a plugin may have, in bytes.
const LIMIT: u64 = 1_800_000;

/// Others, with what they may have: the executable that is all of them, and those above the limit, of which docs/performance.md says
/// what they consist of.
const LARGE: &[(&str, u64)] = &[
    (ONE, 4_300_000),
    ("bridge", 2_360_000),
    ("portmap", 2_300_000),
    ("ptp", 2_270_000),
    ("firewall", 2_030_000),
    ("host-device", 1_940_000),
    ("dhcp", 2_100_000),
];

/// Builds every plugin, the executable that is all of them, and `cnitool` into `target/cni/bin`, prints their sizes, and
/// returns that folder.
pub(crate) fn build() -> Result<PathBuf> {
    let meta = Metadata::load()?;
    let mut names: Vec<&str> = meta.plugins().flat_map(|package| package.executables()).collect();
    names.extend(TOOLS);
    names.sort_unstable();
    let built = compile(&meta, &names)?;
    let shipped = meta.target_directory.join("cni/bin");
    fs::create_dir_all(&shipped).map_err(|error| tools::cannot("create", &shipped, error))?;
    for name in &names {
        let to = shipped.join(name);
        // Gone first, since one that is being executed cannot be written to.
        if to.exists() {
            fs::remove_file(&to).map_err(|error| tools::cannot("remove", &to, error))?;
        }
        let bytes = fs::copy(built.join(name), &to).map_err(|error| tools::cannot("write", &to, error))?;
        println!("{:>7} kB  {}", bytes / 1000, to.display());
    }
    Ok(shipped)
}

/// Fails when an executable in this folder is larger than it may be. Only `build` asks: what is too large can be installed.
pub(crate) fn check_sizes(dir: &Path) -> Result<()> {
    let meta = Metadata::load()?;
    for name in meta.plugins().flat_map(|package| package.executables()).chain([ONE]) {
        let path = dir.join(name);
        let size = path.metadata().map_err(|error| tools::cannot("read", &path, error))?.len();
        let large = LARGE.iter().find(|(large, _)| *large == name);
        let limit = large.map_or(LIMIT, |(_, limit)| *limit);
        if size > limit {
            return Err(format!("{} has {size} bytes, and may have {limit}", path.display()));
        }
    }
    Ok(())
}

/// Builds the executable that is every plugin, which puts the named ones, or all, into `dir`.
pub(crate) fn install(dir: &Path, names: &[String]) -> Result<()> {
    let one = compile(&Metadata::load()?, &[ONE])?.join(ONE);
    cargo::run(Command::new(one).env_remove("CNI_COMMAND").arg("install").arg("--dir").arg(dir).args(names))
}

/// Installs all of them in target/cni/installed, for what runs them as they are shipped; returns that folder.
pub(crate) fn installed() -> Result<PathBuf> {
    let dir = Metadata::load()?.target_directory.join("cni/installed");
    install(&dir, &[])?;
    Ok(dir)
}

/// Compiles executables of these names, statically linked, and returns their folder.
fn compile(meta: &Metadata, names: &[&str]) -> Result<PathBuf> {
    let triple = cargo::host_triple()?;
    let mut build = cargo();
    // Only with an explicit target are procedural macros spared the flags, and they cannot be linked statically.
    build.args(["build", "--locked", "--profile", "dist", "--target", &triple]);
    // All that is shipped, also when only some of it is wanted: cargo gives a dependency the features that the packages ask for
    // which it is told of, and each executable is to be the same whatever is built beside it.
    for package in meta.plugins().map(|package| package.name.as_str()).chain(TOOLS) {
        build.args(["--package", package]);
    }
    for name in names {
        build.args(["--bin", name]);
    }
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    let mut flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
    flags.push("-Ctarget-feature=+crt-static".to_owned());
    // At a fixed place, since an executable that relocates itself starts a sixth slower and is 60 kB larger. Stack, heap and
    // mappings are at random places all the same.
    flags.push("-Crelocation-model=static".to_owned());
    flags.extend(remapped_paths(meta)?);
    // Paths may have spaces, so not as RUSTFLAGS.
    cargo::run(build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")))?;

    let built = meta.target_directory.join(&triple).join("dist");
    for path in names.iter().map(|name| built.join(name)) {
        let binary = fs::read(&path).map_err(|error| tools::cannot("read", &path, error))?;
        if !is_static(&binary) {
            return Err(format!("{} is not statically linked", path.display()));
        }
    }
    Ok(built)
}

/// Flags by which the paths in messages of panics are the same wherever it is built: those of this checkout, of the folders that
/// cargo unpacks packages into, which are named after the registry's mirror, and of the standard library's sources. A
/// toolchain without these sources has the paths that they are given here.
fn remapped_paths(meta: &Metadata) -> Result<Vec<String>> {
    let sources = cargo::sysroot()?.join("lib/rustlib/src/rust");
    let mut remapped = vec![
        (meta.workspace_root.clone(), "/cni-plugins".to_owned()),
        // What build scripts wrote is in here, and here may be elsewhere.
        (meta.target_directory.clone(), "/cni-plugins/target".to_owned()),
        (sources, format!("/rustc/{}", cargo::rustc_says("commit-hash")?)),
    ];
    let registries = cargo::home()?.join("registry/src");
    // None when all packages are vendored.
    for registry in fs::read_dir(registries).into_iter().flatten() {
        let registry = registry.map_err(|error| format!("cannot read cargo's registries: {error}"))?;
        remapped.push((registry.path(), "/registry".to_owned()));
    }
    // rustc takes the last that fits, and one folder may lie within another.
    remapped.sort();
    let flag = |(from, to): (PathBuf, String)| format!("--remap-path-prefix={}={to}", from.display());
    Ok(remapped.into_iter().map(flag).collect())
}

/// Whether a 64-bit little-endian ELF executable asks for no dynamic linker: it has no program header PT_INTERP (elf(5)).
fn is_static(elf: &[u8]) -> bool {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = elf.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let headers = || {
        let start = usize::try_from(number(32, 8)?).ok()?;
        let (size, count) = (number(54, 2)? as usize, number(56, 2)? as usize);
        (0..count).map(|index| number(start + index * size, 4)).collect::<Option<Vec<u64>>>()
    };
    elf.starts_with(b"\x7fELF\x02\x01") && headers().is_some_and(|kinds| !kinds.contains(&PT_INTERP))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header (64 bytes), and program headers of which only the type is filled in.
    fn elf(kinds: &[u8]) -> Vec<u8> {
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (elf[32], elf[54], elf[56]) = (64, 56, kinds.len() as u8);
        for kind in kinds {
            elf.push(*kind);
            elf.extend([0; 55]);
        }
        elf
    }

    #[test]
    fn an_executable_with_an_interpreter_is_not_static() {
        assert!(is_static(&elf(&[1, 1, 2])));
        assert!(!is_static(&elf(&[1, 3, 2])));
        assert!(!is_static(&elf(&[1, 1])[..100]));
        assert!(!is_static(b"#!/bin/sh"));
    }
}
