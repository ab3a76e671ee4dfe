//! The reference's plugins. Tests compare ours with Debian's newest package of them, unpacked and not installed: what Debian's
//! stable release has is years older, and without most of what is compared. What is measured against is their last release,
//! built by Go, since what users have will be as quick as that.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{self, Metadata};
use crate::{Result, debian, go, tools};

/// Tells the tests where the plugins are. Who has set it already has chosen.
pub(crate) const VARIABLE: &str = "CNI_REFERENCE_DIR";

/// The release that the tests are written against.
const OLDEST: [u32; 3] = [1, 9, 1];
const PACKAGE: &str = "containernetworking-plugins";
/// Says which release lies beside it: Debian builds the plugins without a version, and they answer "version unknown".
const VERSION: &str = "version";

/// The release that is measured against, and the module that it is.
const NEWEST: &str = "1.10.0";
const MODULE: &str = "github.com/containernetworking/plugins";
/// Its packages of plugins for Linux.
const PLUGINS: &[&str] = &[
    "ipam/dhcp",
    "ipam/host-local",
    "ipam/static",
    "main/bridge",
    "main/dummy",
    "main/host-device",
    "main/ipvlan",
    "main/loopback",
    "main/macvlan",
    "main/ptp",
    "main/tap",
    "main/vlan",
    "meta/bandwidth",
    "meta/firewall",
    "meta/portmap",
    "meta/sbr",
    "meta/tuning",
    "meta/vrf",
];

/// The folder of the plugins to measure against: the chosen one, or the newest release, built the first time into
/// `target/reference-plugins-1.10.0`, or without Go what the tests have.
pub(crate) fn newest() -> Result<PathBuf> {
    if env::var_os(VARIABLE).is_some() {
        return folder();
    }
    let newest = Metadata::load()?.target_directory.join(format!("reference-plugins-{NEWEST}"));
    if check(&newest).is_ok() {
        return Ok(newest);
    }
    match go::is_there().and_then(|()| build(&newest)) {
        Ok(()) => check(&newest).map(|_| newest),
        Err(error) => {
            eprintln!("xtask: measuring against Debian's build and not against release {NEWEST}: {error}");
            folder()
        }
    }
}

/// Builds the newest release into the folder, with the flags of the reference's own builds.
fn build(folder: &Path) -> Result<()> {
    println!("building the reference's plugins {NEWEST}, once; this takes a minute");
    let version = format!("v{NEWEST}");
    let linking = format!("-extldflags -static -X {MODULE}/pkg/utils/buildversion.BuildVersion={version}");
    in_its_place(folder, |work| {
        let module = go::Module::new(&work.join("module"))?;
        let plugins = work.join("plugins");
        fs::create_dir_all(&plugins).map_err(|error| tools::cannot("create", &plugins, error))?;
        for plugin in PLUGINS {
            let package = format!("{MODULE}/plugins/{plugin}");
            let name = plugin.rsplit('/').next().unwrap_or(plugin);
            let program = go::Program { package: &package, version: &version, linking: &linking };
            module.build(&program, &plugins.join(name))?;
        }
        Ok((plugins, NEWEST.to_owned()))
    })
}

/// The folder of the plugins to compare with: the chosen one, or `target/reference-plugins`, filled the first time.
pub(crate) fn folder() -> Result<PathBuf> {
    if let Some(chosen) = env::var_os(VARIABLE) {
        return Ok(chosen.into());
    }
    let folder = Metadata::load()?.target_directory.join("reference-plugins");
    if check(&folder).is_ok() {
        return Ok(folder);
    }
    println!("fetching the reference's plugins into {}", folder.display());
    fetch(&folder)?;
    let version = check(&folder)?;
    println!("the reference's plugins are those of {PACKAGE} {version}");
    Ok(folder)
}

/// The version of the plugins in the folder, when they are new enough and run here.
fn check(folder: &Path) -> Result<String> {
    let path = folder.join(VERSION);
    let version = fs::read_to_string(&path).map_err(|error| tools::cannot("read", &path, error))?;
    let numbers = release(&version).ok_or_else(|| format!("{version:?} is no version of {PACKAGE}"))?;
    if numbers < OLDEST {
        return Err(format!("{PACKAGE} is at {version} and the tests need 1.9.1"));
    }
    let bridge = folder.join("bridge");
    let output = Command::new(&bridge).env_remove("CNI_COMMAND").output();
    let output = output.map_err(|error| tools::cannot("run", &bridge, error))?;
    let banner = String::from_utf8_lossy(&output.stderr);
    if output.status.success() && banner.starts_with("CNI bridge plugin") && banner.contains("1.1.0") {
        Ok(version)
    } else {
        Err(format!("{} does not say that it is a plugin for CNI 1.1.0: {banner}", bridge.display()))
    }
}

/// The upstream part of a package's version, `1.9.1+ds1-1`.
fn release(version: &str) -> Option<[u32; 3]> {
    let upstream = version.split(['+', '-', '~']).next()?;
    let mut numbers = upstream.split('.').map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next()?])
}

/// Unpacks Debian's newest package into the folder.
fn fetch(folder: &Path) -> Result<()> {
    in_its_place(folder, |work| {
        let package = debian::download_from_sid(PACKAGE, work)?;
        let unpacked = work.join("unpacked");
        cargo::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&unpacked))?;
        let version = cargo::output(Command::new("dpkg-deb").arg("-f").arg(&package).arg("Version"))?;
        let version = String::from_utf8_lossy(version.trim_ascii_end()).into_owned();
        Ok((unpacked.join("usr/lib/cni"), version))
    })
}

/// Fills the folder, at once and whole: what stood there before goes. `make` gets a folder to work in, and returns that of the
/// plugins in it and their version.
fn in_its_place(folder: &Path, make: impl FnOnce(&Path) -> Result<(PathBuf, String)>) -> Result<()> {
    // Not instead of an extension: the number of a release has dots.
    let mut work = folder.as_os_str().to_owned();
    work.push(format!(".{}", std::process::id()));
    let work = PathBuf::from(work);
    fs::create_dir_all(&work).map_err(|error| tools::cannot("create", &work, error))?;
    let made = make(&work).and_then(|(plugins, version)| put(&plugins, &version, folder));
    let cleaned = fs::remove_dir_all(&work).map_err(|error| tools::cannot("remove", &work, error));
    made.and(cleaned)
}

fn put(plugins: &Path, version: &str, folder: &Path) -> Result<()> {
    let note = plugins.join(VERSION);
    fs::write(&note, version).map_err(|error| tools::cannot("write", &note, error))?;
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| tools::cannot("remove", folder, error))?;
    }
    fs::rename(plugins, folder).map_err(|error| tools::cannot("move", plugins, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_packages_version_begins_with_the_plugins_release() {
        assert_eq!(release("1.9.1+ds1-1"), Some([1, 9, 1]));
        assert_eq!(release("1.10.0-1~bpo13+1"), Some([1, 10, 0]));
        assert!(release("1.10.0-1") > Some(OLDEST));
        assert_eq!(release("unknown"), None);
    }

    #[test]
    fn a_folder_is_taken_only_with_plugins_that_are_new_enough_and_run() {
        let folder = tempfile::tempdir().unwrap();
        let put = |version: &str, bridge: &str| {
            let program = folder.path().join("bridge");
            fs::write(folder.path().join(VERSION), version).unwrap();
            fs::write(&program, format!("#!/bin/sh\n{bridge}\n")).unwrap();
            fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
            check(folder.path())
        };
        assert!(check(folder.path()).is_err());
        let good = "echo CNI bridge plugin version unknown, for 1.0.0, 1.1.0 >&2";
        assert_eq!(put("1.9.1+ds1-1", good).unwrap(), "1.9.1+ds1-1");
        assert!(put("1.1.1+ds1-3", good).unwrap_err().contains("1.9.1"));
        assert!(put("1.9.1+ds1-1", "exit 1").unwrap_err().contains("does not say"));
    }
}
