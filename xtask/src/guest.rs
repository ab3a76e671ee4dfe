//! A virtual machine with Debian's kernel, for the tests of what the running kernel lacks. It sees this machine's files, so
//! it runs the very same executables; what it writes stays in it.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cargo::{Built, Metadata, run, show};
use crate::watch::Watch;
use crate::{Result, debian, tools};

/// Programs that a machine is made of, and their packages.
const PROGRAMS: &[(&str, &str)] =
    &[("/usr/bin/qemu-system-x86_64", "qemu-system-x86"), ("/usr/sbin/modprobe", "kmod")];
const KERNEL: &str = "linux-image-amd64";
/// Boots a kernel over this machine's files; from the Python package index.
const VIRTME: &str = "virtme-ng==1.42";

/// In which a machine with KVM boots, or does not at all: within some virtual machines KVM is there, and the guest hangs.
const BOOT_LIMIT: Duration = Duration::from_secs(40);

/// After which a machine that still runs hangs. Emulated, it boots within a minute or two, and all tests take six more.
pub(crate) const LIMIT: Duration = Duration::from_secs(1500);

/// Two network cards wired to each other, and the modules of their drivers: such cards come back to the host when a container's
/// namespace ends, as no other link does.
const CARDS: &str = "-netdev hubport,id=n0,hubid=0 -device virtio-net-pci,netdev=n0 \
                     -netdev hubport,id=n1,hubid=0 -device e1000,netdev=n1";
const DRIVERS: &str = "virtio_net e1000";

/// This machine's files a second time, and how the guest has them as its root: as they are, with what it writes in its memory.
/// virtme's own root asks this machine for every page anew; starting a program from it takes ten times as long.
const FILES: &str = "-fsdev local,id=files,path=/,security_model=none,readonly=on,multidevs=remap \
                     -device virtio-9p-pci,fsdev=files,mount_tag=files";
const ROOT: &str = "set -e
mount -t tmpfs tmpfs /mnt
cd /mnt
mkdir files written work root
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=524288 files files
mount -t overlay -o lowerdir=files,upperdir=written,workdir=work overlay root
for folder in proc sys dev run; do mount --rbind /$folder root/$folder; done
cd root
pivot_root . mnt
cd /
umount --lazy /mnt
set +e
";

/// Whose processor a machine has.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// This machine's, by KVM.
    Real,
    /// Slower, and works everywhere.
    Emulated,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Real => "by KVM",
            Way::Emulated => "emulated",
        })
    }
}

/// All that a machine needs, found.
pub(crate) struct Guest {
    vng: PathBuf,
    kernel: PathBuf,
    target: PathBuf,
}

impl Guest {
    /// Installs and fetches what is missing, which wants the internet.
    pub(crate) fn prepare() -> Result<Self> {
        if !cfg!(target_arch = "x86_64") {
            return Err("xtask can boot a virtual machine on x86-64 only".to_owned());
        }
        let missing = PROGRAMS.iter().filter(|(path, _)| !Path::new(path).exists());
        let mut missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
        if kernel().is_none() {
            missing.push(KERNEL);
        }
        if !missing.is_empty() {
            debian::install(&missing)?;
        }
        let kernel = kernel().ok_or_else(|| format!("{KERNEL} left no kernel in /boot that can be read"))?;
        let target = Metadata::load()?.target_directory;
        Ok(Guest { vng: virtme(&target.join("virtme-ng"))?, kernel, target })
    }

    /// The better way of those that work here, for which the machine is booted once.
    pub(crate) fn way(&self) -> Result<Way> {
        if File::options().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok(Way::Emulated);
        }
        let mut trial = self.machine(Way::Real)?;
        trial.arg("--").arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let shown = show(&trial);
        let cannot = |error| format!("cannot run {shown}: {error}");
        let (mut child, watch) = Watch::over(&mut trial, Some(BOOT_LIMIT)).map_err(cannot)?;
        let status = child.wait().map_err(cannot)?;
        let works = !watch.has_bitten() && status.success();
        Ok(if works { Way::Real } else { Way::Emulated })
    }

    /// The command that boots it, runs the tests (names by the file name of their executable), printing what their harnesses
    /// print, and ends with it.
    pub(crate) fn command(
        &self,
        way: Way,
        tests: &BTreeMap<String, Vec<String>>,
        built: &Built,
        environment: &[(&str, &Path)],
    ) -> Result<Command> {
        let script = self.target.join("guest.sh");
        let text = script_of(tests, built, environment)?;
        fs::write(&script, text).map_err(|error| tools::cannot("write", &script, error))?;
        let mut vng = self.machine(way)?;
        vng.args(["--", "unshare", "--mount", "sh"]).arg(&script).stdin(Stdio::null());
        Ok(vng)
    }

    /// What boots it, but for the program that it runs.
    fn machine(&self, way: Way) -> Result<Command> {
        let mut vng = Command::new(&self.vng);
        // It finds the others of its programs there.
        let own = self.vng.parent().map(Path::to_owned);
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(own.into_iter().chain(env::split_paths(&path)));
        vng.env(
            "PATH",
            path.map_err(|error| format!("cannot put {} into PATH: {error}", self.vng.display()))?,
        );
        vng.arg("--run").arg(&self.kernel).args(["--user", "root", "--cpus", "2", "--memory", "2G"]);
        // There may be a file system of the guest's own at /tmp, or wherever the script lies.
        let folder =
            self.target.canonicalize().map_err(|error| tools::cannot("find", &self.target, error))?;
        vng.arg(format!("--rodir={}", folder.display()));
        if matches!(way, Way::Emulated) {
            vng.arg("--disable-kvm");
        }
        vng.arg(format!("--qemu-opts={CARDS} {FILES}"));
        Ok(vng)
    }
}

fn script_of(
    tests: &BTreeMap<String, Vec<String>>,
    built: &Built,
    environment: &[(&str, &Path)],
) -> Result<String> {
    // udev renames the cards meanwhile, if there is one.
    let mut script = format!("{ROOT}modprobe -qa {DRIVERS}\nudevadm settle 2>/dev/null\nsleep 2\n");
    for (name, value) in environment {
        script.push_str(&format!("export {name}={}\n", quoted(&value.display().to_string())));
    }
    for (binary, names) in tests {
        let test = built.test(binary)?;
        let (path, package) = (test.path.display().to_string(), quoted(&test.package.display().to_string()));
        let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
        // The first line says which harness is running, as cargo does.
        script.push_str(&format!(
            "echo '     Running in the guest '\"$(uname -r)\"' ('{}')'\n\
             cd {package} && CARGO_MANIFEST_DIR={package} {} --include-ignored --exact {}\n",
            quoted(&path),
            quoted(&path),
            names.join(" "),
        ));
    }
    Ok(script)
}

/// For a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The newest kernel of Debian's that is installed with its modules.
fn kernel() -> Option<PathBuf> {
    let files = fs::read_dir("/boot").ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let releases = files.filter_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned));
    let usable = releases.filter(|release| {
        release.ends_with("-amd64")
            && Path::new("/lib/modules").join(release).is_dir()
            && File::open(format!("/boot/vmlinuz-{release}")).is_ok()
    });
    let newest = usable.max_by_key(|release| numbers(release))?;
    Some(PathBuf::from(format!("/boot/vmlinuz-{newest}")))
}

/// Those of a kernel's release, to compare by.
fn numbers(release: &str) -> Vec<u32> {
    release.split(|char: char| !char.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// In a Python environment of its own, made once a version.
fn virtme(folder: &Path) -> Result<PathBuf> {
    let vng = folder.join(VIRTME).join("bin/vng");
    if vng.exists() {
        return Ok(vng);
    }
    let folder = folder.join(VIRTME);
    println!("fetching {VIRTME} into {}", folder.display());
    let make = || run(Command::new("/usr/bin/python3").args(["-m", "venv", "--clear"]).arg(&folder));
    // Debian's Python can do it only with this package, which leaves no program to look for.
    make().or_else(|_| debian::install(&["python3-venv"]).and_then(|()| make()))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    run(pip.args(["--quiet", "--disable-pip-version-check", "install", VIRTME]))?;
    Ok(vng)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_compared_by_number() {
        assert!(numbers("6.1.0-56-amd64") > numbers("6.1.0-9-amd64"));
        assert!(numbers("6.12.1-amd64") > numbers("6.1.0-56-amd64"));
    }

    #[test]
    fn a_shell_takes_a_quoted_text_as_one_word() {
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
