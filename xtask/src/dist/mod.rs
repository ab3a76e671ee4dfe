//! `dist`: what a release is, in `target/dist`: archives, a Debian package, the list of what is in them, checksums. Made twice
//! from one commit, with one compiler and one C library, all of it is the same bytes.

use std::fs;
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::cargo::{self, Metadata};
use crate::{Result, binaries, tools};

mod archive;
mod deb;
mod licences;
mod packages;
mod sbom;
#[cfg(test)]
mod tests;

use archive::Archive;

/// The release of the reference's plugins that ours stand in for.
const REFERENCE: &str = "1.10.0";

/// The packages whose executables are shipped; the first has every plugin's code.
const ROOTS: [&str; 2] = [binaries::ONE, "cnitool"];

/// The recipe of an image, whose context is the unpacked archive.
const DOCKERFILE: &str = "packaging/container/Dockerfile";

/// The plugin whose daemon only its own executable has.
const WITH_DAEMON: &str = "dhcp";

/// The units of systemd.
const UNITS: &str = "packaging/systemd";

/// What a release is called, and when it was.
struct Release {
    version: &'static str,
    repository: &'static str,
    /// As Debian and container images name it.
    arch: &'static str,
    /// The time of all that is made, in seconds since 1970, and the same as SPDX writes it.
    time: u64,
    date: String,
}

/// What a release is made of.
struct Content {
    /// The executable that is every plugin.
    one: Vec<u8>,
    cnitool: Vec<u8>,
    /// The executables that are one plugin each, by name and in its order.
    single: Vec<(String, Vec<u8>)>,
    /// Licences and the list of packages, which go with the executables in every form.
    documents: Vec<(String, Vec<u8>)>,
    dockerfile: Vec<u8>,
    /// Of systemd, for the dhcp plugin's daemon, by name.
    units: Vec<(String, Vec<u8>)>,
}

/// Builds, and makes everything.
pub(crate) fn run() -> Result<()> {
    let release = Release::of_checkout()?;
    let content = Content::build(&release)?;
    let folder = Metadata::load()?.target_directory.join("dist");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| tools::cannot("remove", &folder, error))?;
    }
    fs::create_dir_all(&folder).map_err(|error| tools::cannot("create", &folder, error))?;
    for (name, bytes) in files(&release, &content)? {
        let path = folder.join(name);
        fs::write(&path, &bytes).map_err(|error| tools::cannot("write", &path, error))?;
        println!("{:>7} kB  {}", bytes.len() / 1000, path.display());
    }
    Ok(())
}

impl Content {
    fn build(release: &Release) -> Result<Self> {
        let bin = binaries::build()?;
        let read = |path: &Path| fs::read(path).map_err(|error| tools::cannot("read", path, error));
        let single = Metadata::load()?;
        let mut single: Vec<&str> = single.plugins().flat_map(|package| package.executables()).collect();
        single.sort_unstable();
        let single = single.into_iter().map(|name| Ok((name.to_owned(), read(&bin.join(name))?)));
        let packages = packages::linked(&ROOTS)?;
        let mut documents = licences::gather(&packages)?;
        let libraries = sbom::Libraries::of_machine()?;
        documents
            .push(("sbom.spdx.json".to_owned(), sbom::document(release, &packages, &ROOTS, &libraries)?));
        Ok(Content {
            one: read(&bin.join(binaries::ONE))?,
            cnitool: read(&bin.join("cnitool"))?,
            single: single.collect::<Result<_>>()?,
            documents,
            dockerfile: read(&cargo::root().join(DOCKERFILE))?,
            units: units()?,
        })
    }
}

/// The examples of packaging, as they are.
fn units() -> Result<Vec<(String, Vec<u8>)>> {
    let read = |name: &&str| {
        let path = cargo::root().join(UNITS).join(name);
        let text = fs::read(&path).map_err(|error| tools::cannot("read", &path, error))?;
        Ok(((*name).to_owned(), text))
    };
    ["cni-dhcp.service", "cni-dhcp.socket"].iter().map(read).collect()
}

impl Release {
    fn of_checkout() -> Result<Self> {
        let text = |command: &mut Command| -> Result<String> {
            Ok(String::from_utf8_lossy(&cargo::output(command)?).trim().to_owned())
        };
        let last_commit =
            || text(Command::new("git").current_dir(cargo::root()).args(["log", "-1", "--format=%ct"]));
        // <https://reproducible-builds.org/specs/source-date-epoch/>
        let time = std::env::var("SOURCE_DATE_EPOCH").or_else(|_| last_commit())?;
        let date = text(Command::new("date").args(["-u", "-d", &format!("@{time}"), "+%Y-%m-%dT%H:%M:%SZ"]))?;
        let time = time.parse().map_err(|_| format!("SOURCE_DATE_EPOCH is {time:?}, which is no time"))?;
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => return Err(format!("no name for packages of {other} is known")),
        };
        Ok(Release {
            version: env!("CARGO_PKG_VERSION"),
            repository: env!("CARGO_PKG_REPOSITORY"),
            arch,
            time,
            date,
        })
    }

    /// A name for something of it.
    fn name(&self, what: &str) -> String {
        format!("{what}-{}-linux-{}", self.version, self.arch)
    }
}

/// All files of the release, by name.
fn files(release: &Release, content: &Content) -> Result<Vec<(String, Vec<u8>)>> {
    let packed = |archive: Archive| {
        archive.tar_gz(release.time).map_err(|error| format!("cannot pack an archive: {error}"))
    };
    let (one, single) = (release.name(binaries::ONE), release.name("cni-plugins-single"));
    let mut files = vec![
        (format!("{one}.tar.gz"), packed(archive_of_one(&one, content))?),
        (format!("{single}.tar.gz"), packed(archive_of_single(&single, content))?),
        (deb::file_name(release), deb::package(release, content)?),
    ];
    let sums: Vec<String> =
        files.iter().map(|(name, bytes)| format!("{}  {name}\n", hex(&Sha256::digest(bytes)))).collect();
    files.push(("SHA256SUMS".to_owned(), sums.concat().into_bytes()));
    Ok(files)
}

/// The executable that is every plugin, `cnitool`, and what makes an image of them.
fn archive_of_one(top: &str, content: &Content) -> Archive {
    let mut archive = with_documents(top, content);
    archive.program(format!("{top}/{}", binaries::ONE), &*content.one);
    archive.program(format!("{top}/cnitool"), &*content.cnitool);
    archive.file(format!("{top}/Dockerfile"), &*content.dockerfile);
    for (name, alone) in content.single.iter().filter(|(name, _)| name == WITH_DAEMON) {
        archive.program(format!("{top}/{name}"), &**alone);
    }
    for (name, unit) in &content.units {
        archive.file(format!("{top}/systemd/{name}"), &**unit);
    }
    archive
}

/// An executable for each plugin.
fn archive_of_single(top: &str, content: &Content) -> Archive {
    let mut archive = with_documents(top, content);
    for (name, bytes) in &content.single {
        archive.program(format!("{top}/bin/{name}"), &**bytes);
    }
    archive
}

fn with_documents(top: &str, content: &Content) -> Archive {
    let mut archive = Archive::default();
    for (name, bytes) in &content.documents {
        archive.file(format!("{top}/{name}"), &**bytes);
    }
    archive
}

/// As `sha256sum` prints it.
fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
