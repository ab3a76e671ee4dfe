//! Debian packages that some tests want: installed, or only downloaded.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::namespaces::is_root;
use crate::{Result, cargo, tools};

/// Installs packages, when root on Debian.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if !is_root() || !has_apt() {
        return Err(format!("as root: apt-get install {}", packages.join(" ")));
    }
    println!("installing {} for the tests", packages.join(" "));
    // Without a list of packages, as in a fresh image, the first try fails.
    apt(&["install"], packages).or_else(|_| {
        apt(&["update"], &[])?;
        apt(&["install"], packages)
    })
}

/// Downloads the package of Debian's newest suite into a new folder, with package lists of its own below it: the
/// machine's stay as they are, so that nothing of that suite is ever installed on it. Needs no root.
pub(crate) fn download_from_sid(package: &str, folder: &Path) -> Result<PathBuf> {
    let list = folder.join("sid.list");
    for name in ["lists/partial", "cache/archives/partial"] {
        let name = folder.join(name);
        fs::create_dir_all(&name).map_err(|error| tools::cannot("create", &name, error))?;
    }
    let mirror = mirror()?;
    let line = format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} sid main\n");
    fs::write(&list, line).map_err(|error| tools::cannot("write", &list, error))?;
    let apt_get = |words: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.arg("-qq").current_dir(folder);
        let settings: [(&str, &Path); 4] = [
            ("Dir::Etc::sourcelist", &list),
            ("Dir::Etc::sourceparts", Path::new("-")),
            ("Dir::State::Lists", &folder.join("lists")),
            ("Dir::Cache", &folder.join("cache")),
        ];
        for (key, path) in settings {
            apt.arg("-o").arg(format!("{key}={}", path.display()));
        }
        // Root's apt gives its rights up for downloading, and then could not write here.
        cargo::run(apt.args(["-o", "APT::Sandbox::User=root"]).args(words))
    };
    apt_get(&["update"])?;
    apt_get(&["download", package])?;
    let files = fs::read_dir(folder).map_err(|error| tools::cannot("read", folder, error))?;
    let mut paths = files.filter_map(|entry| Some(entry.ok()?.path()));
    let package = paths.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    package.ok_or_else(|| format!("apt-get download left no package in {}", folder.display()))
}

/// The mirror that this machine already uses for Debian itself.
fn mirror() -> Result<String> {
    if !has_apt() {
        return Err("there is no apt-get".to_owned());
    }
    let known = known_mirror()?;
    if known.is_none() && is_root() {
        apt(&["update"], &[])?;
    }
    let known = known.map_or_else(known_mirror, |known| Ok(Some(known)))?;
    known.ok_or_else(|| "apt knows no mirror of Debian; as root on Debian: apt-get update".to_owned())
}

fn known_mirror() -> Result<Option<String>> {
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"]);
    let targets = cargo::output(&mut apt)?;
    let targets = String::from_utf8_lossy(&targets);
    Ok(targets.lines().find_map(|line| line.strip_prefix("Debian ")).map(str::to_owned))
}

fn has_apt() -> bool {
    Path::new("/usr/bin/apt-get").exists()
}

fn apt(words: &[&str], packages: &[&str]) -> Result<()> {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-y", "--no-install-recommends"]);
    cargo::run(apt.args(words).args(packages))
}
