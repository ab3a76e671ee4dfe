//! `build` and `install`: the executables that are shipped.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cargo::{self, Metadata, cargo};
use crate::{Result, tools};

/// Executables that are shipped beside the plugins.
const TOOLS: &[&str] = &["cnitool"];

/// What a plugin may have, in bytes.
const LIMIT: u64 = 1_800_000;

/// Those above, for want of less code, with what they may have: each number only ever falls.
const LARGE: &[(&str, u64)] = &[("bridge", 2_070_000), ("portmap", 1_960_000)];

/// Builds every plugin and `cnitool` into `target/cni/bin`, prints their sizes, and returns that folder.
pub(crate) fn build() -> Result<PathBuf> {
    let meta = Metadata::load()?;
    let triple = cargo::host_triple()?;
    let names = names(&meta);
    let mut build = cargo();
    // Only with an explicit target are procedural macros spared the flags, and they cannot be linked statically.
    build.args(["build", "--profile", "dist", "--target", &triple]);
    for name in &names {
        build.args(["--bin", name]);
    }
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    // At a fixed place, since an executable that relocates itself starts a sixth slower and is 60 kB larger. Stack, heap and
    // mappings are at random places all the same.
    let flags = format!("{flags} -C target-feature=+crt-static -C relocation-model=static");
    build.env("RUSTFLAGS", flags.trim());
    cargo::run(&mut build)?;

    let built = meta.target_directory.join(&triple).join("dist");
    let shipped = meta.target_directory.join("cni/bin");
    fs::create_dir_all(&shipped).map_err(|error| tools::cannot("create", &shipped, error))?;
    for name in &names {
        let path = built.join(name);
        let binary = fs::read(&path).map_err(|error| tools::cannot("read", &path, error))?;
        if !is_static(&binary) {
            return Err(format!("{} is not statically linked", path.display()));
        }
        place(&path, &shipped, name)?;
        println!("{:>7} kB  {}", binary.len() / 1000, shipped.join(name).display());
    }
    Ok(shipped)
}

/// Fails when a plugin in this folder is larger than it may be. Only `build` asks: what is too large can be installed.
pub(crate) fn check_sizes(dir: &Path) -> Result<()> {
    for name in names(&Metadata::load()?).into_iter().filter(|name| !TOOLS.contains(name)) {
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

/// Builds, then puts the named executables, or every plugin, into `dir`.
pub(crate) fn install(dir: &Path, names: &[String]) -> Result<()> {
    let meta = Metadata::load()?;
    let known = self::names(&meta);
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("there is no executable {unknown}, only {}", known.join(", ")));
    }
    // Runtimes take every file of such a folder for a plugin, so nothing else goes there unasked.
    let wanted = |name: &str| match names {
        [] => !TOOLS.contains(&name),
        names => names.iter().any(|wanted| wanted == name),
    };
    let built = build()?;
    fs::create_dir_all(dir).map_err(|error| tools::cannot("create", dir, error))?;
    for name in known.iter().filter(|name| wanted(name)) {
        place(&built.join(name), dir, name)?;
        println!("installed {}", dir.join(name).display());
    }
    Ok(())
}

fn names(meta: &Metadata) -> Vec<&str> {
    let mut names: Vec<&str> = meta.plugins().flat_map(|package| package.executables()).collect();
    names.extend(TOOLS);
    names.sort_unstable();
    names
}

/// Puts a copy under its name in one step: who runs the old one keeps it, who starts one gets either the old or the new.
fn place(from: &Path, dir: &Path, name: &str) -> Result<()> {
    let to = dir.join(name);
    let temporary = dir.join(format!(".{name}.{}", std::process::id()));
    let placed = copy(from, &temporary).and_then(|()| fs::rename(&temporary, &to));
    placed.map_err(|error| {
        // What is left of a failed copy; the failure itself is what matters.
        let _ = fs::remove_file(&temporary);
        tools::cannot("write", &to, error)
    })
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = File::create(to)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    target.set_permissions(fs::Permissions::from_mode(0o755))?;
    // Before the rename, or a power loss could leave an empty file under the plugin's name.
    target.sync_all()
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

    #[test]
    fn a_file_that_is_being_executed_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let sleep = dir.path().join("sleep");
        place(Path::new("/bin/sleep"), dir.path(), "sleep").unwrap();
        let mut running = std::process::Command::new(&sleep).arg("60").spawn().unwrap();
        let new = dir.path().join("new");
        fs::write(&new, "new").unwrap();
        let replaced = place(&new, dir.path(), "sleep");
        running.kill().unwrap();
        running.wait().unwrap();
        replaced.unwrap();
        assert_eq!(fs::read(&sleep).unwrap(), b"new");
        assert_eq!(fs::metadata(&sleep).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn a_failed_copy_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("bridge"), "old").unwrap();
        let error = place(&dir.path().join("missing"), dir.path(), "bridge").unwrap_err();
        assert!(error.contains("bridge"), "{error}");
        assert_eq!(fs::read(dir.path().join("bridge")).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
