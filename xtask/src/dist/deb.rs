//! The Debian package. It is put together here and not by dpkg-deb, so that any machine can make it, and makes the same bytes.
//!
//! dhcp is a file of its own, since the executable of all plugins has not its daemon.
//!
//! The plugins go to /usr/lib/cni, where Debian's containerd and podman look and its package of the reference's plugins has
//! them; /opt is not for packages of the system. They are hard links to one file, so that the folder is whole wherever it is
//! mounted.

use super::archive::{Archive, ar};
use super::{Content, Release, WITH_DAEMON};
use crate::Result;

/// The package's name. Debian's own of the reference is `containernetworking-plugins`.
const NAME: &str = "cni-plugins-rs";

/// Where the plugins go.
const PLUGINS: &str = "usr/lib/cni";

/// The package's file name.
pub(super) fn file_name(release: &Release) -> String {
    format!("{NAME}_{}_{}.deb", release.version, release.arch)
}

/// The package, in the format of deb(5).
pub(super) fn package(release: &Release, content: &Content) -> Result<Vec<u8>> {
    let data = data(release, content);
    let mut control = Archive::default();
    control.file("control", control_file(release, data.size()));
    let packed = |archive: &Archive| {
        archive.tar_gz(release.time).map_err(|error| format!("cannot pack the Debian package: {error}"))
    };
    let (control, data) = (packed(&control)?, packed(&data)?);
    let members: [(&str, &[u8]); 3] =
        [("debian-binary", b"2.0\n"), ("control.tar.gz", &control), ("data.tar.gz", &data)];
    Ok(ar(&members, release.time))
}

fn data(release: &Release, content: &Content) -> Archive {
    let mut data = Archive::default();
    let mut first: Option<String> = None;
    for (plugin, alone) in &content.single {
        let path = format!("{PLUGINS}/{plugin}");
        if plugin == WITH_DAEMON {
            data.program(path, &**alone);
            continue;
        }
        match &first {
            None => data.program(&*path, &*content.one),
            Some(first) => data.hard_link(&*path, first),
        }
        first.get_or_insert(path);
    }
    if let Some(first) = first {
        // By this name it is no plugin, and has its own commands.
        data.symlink("usr/bin/cni-plugins", &format!("../../{first}"));
    }
    data.program("usr/bin/cnitool", &*content.cnitool);
    for (name, unit) in &content.units {
        data.file(format!("usr/lib/systemd/system/{name}"), of_debian(unit));
    }
    let documents = format!("usr/share/doc/{NAME}");
    data.file(format!("{documents}/copyright"), copyright(release));
    for (name, bytes) in &content.documents {
        data.file(format!("{documents}/{name}"), &**bytes);
    }
    data
}

/// A unit that runs the plugin where this package has it. The package enables none: who needs dhcp does.
fn of_debian(unit: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(unit).replace("/opt/cni/bin/", &format!("/{PLUGINS}/")).into_bytes()
}

/// Whoever has Debian's package of the reference has files of the same names; what depends on that is served by this one.
fn control_file(release: &Release, bytes: usize) -> String {
    let Release { version, arch, repository, .. } = release;
    let (kib, reference) = (bytes.div_ceil(1024), super::REFERENCE);
    format!(
        "Package: {NAME}\n\
         Version: {version}\n\
         Architecture: {arch}\n\
         Maintainer: cni-plugins <{repository}>\n\
         Installed-Size: {kib}\n\
         Provides: containernetworking-plugins (= {reference})\n\
         Conflicts: containernetworking-plugins\n\
         Replaces: containernetworking-plugins\n\
         Section: net\n\
         Priority: optional\n\
         Homepage: {repository}\n\
         Description: plugins of the Container Network Interface, in Rust\n\
         \x20They take the place of the reference plugins. All are links to one static\n\
         \x20executable. The command line cnitool connects network namespaces by them.\n"
    )
}

/// Debian's policy asks for it (section 12.5), in this format.
fn copyright(release: &Release) -> String {
    format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: cni-plugins\n\
         Source: {}\n\
         Comment:\n\
         \x20The executables have other packages in them, listed in sbom.spdx.json. Their\n\
         \x20licences are in the folder licences.\n\n\
         Files: *\n\
         Copyright: the authors of cni-plugins\n\
         License: Apache-2.0\n\
         \x20On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.\n",
        release.repository
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::dist::tests::{content, release};

    fn run(command: &mut Command) -> String {
        let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    fn written(dir: &Path) -> std::path::PathBuf {
        let file = dir.join("a.deb");
        fs::write(&file, package(&release(), &content()).unwrap()).unwrap();
        file
    }

    #[test]
    #[ignore = "needs dpkg: add -- --ignored dpkg"]
    fn dpkg_deb_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = written(dir.path());
        let fields = run(Command::new("dpkg-deb").arg("-f").arg(&file));
        for field in ["Package: cni-plugins-rs", "Version: 0.1.0", "Conflicts: containernetworking-plugins"] {
            assert!(fields.lines().any(|line| line == field), "{field}: {fields}");
        }
        let list = run(Command::new("dpkg-deb").arg("-c").arg(&file));
        for (mode, path) in [
            ("-rwxr-xr-x", "usr/lib/cni/bandwidth"),
            ("-rwxr-xr-x", "usr/lib/cni/dhcp"),
            ("hrwxr-xr-x", "usr/lib/cni/vrf link to usr/lib/cni/bandwidth"),
            ("-rw-r--r--", "usr/lib/systemd/system/cni-dhcp.service"),
            ("-rw-r--r--", "usr/share/doc/cni-plugins-rs/licences/packages.txt"),
            ("lrwxrwxrwx", "usr/bin/cni-plugins -> ../../usr/lib/cni/bandwidth"),
        ] {
            let is_it = |line: &str| line.starts_with(&format!("{mode} 0/0 ")) && line.ends_with(path);
            assert!(list.lines().any(is_it), "{path}: {list}");
        }
    }

    #[test]
    #[ignore = "needs dpkg: add -- --ignored dpkg"]
    fn dpkg_installs_it_again_and_removes_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = written(dir.path());
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
        fs::create_dir_all(root.join("var/lib/dpkg/updates")).unwrap();
        fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
        let dpkg = || {
            let mut dpkg = Command::new("dpkg");
            // The package of the tests is for one architecture, and the machine may have another; its own dpkg is not for /.
            dpkg.arg(format!("--root={}", root.display())).args(["--force-architecture", "--force-not-root"]);
            dpkg.arg("--force-script-chrootless");
            dpkg
        };
        let inode = |path: &str| fs::metadata(root.join(path)).unwrap().ino();
        run(dpkg().arg("-i").arg(&file));
        let first = inode("usr/lib/cni/bridge");
        run(dpkg().arg("-i").arg(&file));
        assert_ne!(inode("usr/lib/cni/bridge"), first, "replaced, not written into");
        for path in ["usr/lib/cni/bandwidth", "usr/lib/cni/vrf", "usr/bin/cni-plugins"] {
            assert_eq!(inode(path), inode("usr/lib/cni/bridge"), "{path}");
        }
        assert_eq!(fs::read(root.join("usr/lib/cni/vrf")).unwrap(), content().one);
        run(dpkg().args(["-r", NAME]));
        assert!(!root.join("usr/lib/cni").exists() && !root.join("usr/share/doc").join(NAME).exists());
    }
}
