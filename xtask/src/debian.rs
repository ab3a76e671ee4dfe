//! Debian packages that some tests want.

use std::path::Path;
use std::process::Command;

use crate::cargo;
use crate::namespaces::is_root;

/// A file that tests look for, and the package it is in.
const WANTED: &[(&str, &str)] = &[
    ("/usr/bin/podman", "podman"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/bin/conmon", "conmon"),
    ("/usr/bin/busybox", "busybox-static"),
    ("/usr/lib/cni/portmap", "containernetworking-plugins"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/sbin/iptables-save", "iptables"),
];

/// Installs what is missing when root on Debian. Returns the packages that are missing still.
pub(crate) fn install_missing() -> Vec<&'static str> {
    let missing = missing();
    if missing.is_empty() || !is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return missing;
    }
    println!("installing {} for the tests", missing.join(" "));
    // Without a list of packages, as in a fresh image, the first try fails.
    if apt(&["install"], &missing).is_err() {
        let refreshed = apt(&["update"], &[]).and_then(|()| apt(&["install"], &missing));
        if let Err(error) = refreshed {
            eprintln!("xtask: {error}");
        }
    }
    self::missing()
}

fn missing() -> Vec<&'static str> {
    let missing = WANTED.iter().filter(|(file, _)| !Path::new(file).exists());
    missing.map(|(_, package)| *package).collect()
}

fn apt(words: &[&str], packages: &[&str]) -> crate::Result<()> {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-y", "--no-install-recommends"]);
    cargo::run(apt.args(words).args(packages))
}
