//! Running cargo, and what it knows about the workspace.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::Result;

/// The workspace's root: that of the checkout this task was called in. Where it was compiled may be another one, when two
/// share a target folder.
pub(crate) fn root() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(xtask).join("..")
}

/// The part of `cargo metadata` (format version 1) that is used here.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) target_directory: PathBuf,
    pub(crate) workspace_root: PathBuf,
}

/// A package of the workspace.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: Option<String>,
    pub(crate) keywords: Vec<String>,
    pub(crate) categories: Vec<String>,
    /// Relative to the package's folder.
    pub(crate) readme: Option<PathBuf>,
    pub(crate) rust_version: Option<String>,
    /// The registries that it may be published to, none with `publish = false`.
    pub(crate) publish: Option<Vec<String>>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// A dependency as its manifest declares it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` is a normal one, else "dev" or "build".
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) features: Vec<String>,
}

/// A library, executable, test ...
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

impl Package {
    /// The folder of its manifest.
    pub(crate) fn dir(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("/"))
    }

    /// Whether it may be published.
    pub(crate) fn is_published(&self) -> bool {
        self.publish.as_ref().is_none_or(|registries| !registries.is_empty())
    }

    /// Name and version, as in the name of its package's file.
    pub(crate) fn full_name(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// The names of its executables.
    pub(crate) fn executables(&self) -> impl Iterator<Item = &str> {
        self.targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| kind == "bin"))
            .map(|target| target.name.as_str())
    }
}

impl Metadata {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        let mut cargo = cargo();
        cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
        let json = output(&mut cargo)?;
        serde_json::from_slice(&json).map_err(|error| format!("cannot read cargo's metadata: {error}"))
    }

    /// The packages that are plugins: chained, main or for addresses.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.is_plugin(package))
    }

    /// Whether the package lies where plugins lie.
    pub(crate) fn is_plugin(&self, package: &Package) -> bool {
        let folder = package.dir().strip_prefix(&self.workspace_root);
        folder.is_ok_and(|folder| folder.starts_with("plugins") || folder.starts_with("ipam"))
    }
}

/// What cargo built for the tests.
pub(crate) struct Built(Vec<Executable>);

/// One of them.
pub(crate) struct Executable {
    pub(crate) path: PathBuf,
    /// The folder of its package, where cargo runs it.
    pub(crate) package: PathBuf,
    target: Target,
    is_harness: bool,
}

/// The part of cargo's messages that is used here.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    /// It is a harness: of tests, or of the unit tests of what has the same name.
    test: bool,
}

impl Built {
    /// Builds all tests, and the examples as `cargo test` does.
    pub(crate) fn load() -> Result<Self> {
        let mut cargo = cargo();
        cargo.args(["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]);
        let mut built = Vec::new();
        for line in output(&mut cargo)?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let message: Message = serde_json::from_slice(line)
                .map_err(|error| format!("cannot read cargo's messages: {error}"))?;
            if let (Some(path), Some(manifest), Some(target), Some(profile)) =
                (message.executable, message.manifest_path, message.target, message.profile)
            {
                let package = manifest.parent().unwrap_or(Path::new("/")).to_owned();
                built.push(Executable { path, package, target, is_harness: profile.test });
            }
        }
        Ok(Built(built))
    }

    /// The test harness with this file name.
    pub(crate) fn test(&self, file: &str) -> Result<&Executable> {
        let found = self.0.iter().find(|built| built.path.file_name().is_some_and(|name| name == file));
        found.ok_or_else(|| format!("cargo has not built {file}"))
    }

    /// The example, executable or test of this name.
    pub(crate) fn of_kind(&self, kind: &str, name: &str) -> Result<&Executable> {
        let is_it = |built: &&Executable| {
            built.target.name == name
                && built.target.kind.iter().any(|its| its == kind)
                && built.is_harness == (kind == "test")
        };
        self.0.iter().find(is_it).ok_or_else(|| format!("cargo has built no {kind} {name}"))
    }
}

/// Cargo, at the workspace's root, the one that runs this task.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut cargo = Command::new(program);
    cargo.current_dir(root());
    cargo
}

/// Cargo's own folder.
pub(crate) fn home() -> Result<PathBuf> {
    let chosen = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let default = || Some(std::env::home_dir()?.join(".cargo"));
    chosen.or_else(default).ok_or_else(|| "cannot find cargo's folder: HOME is not set".to_owned())
}

/// The target triple of this machine, as rustc names it.
pub(crate) fn host_triple() -> Result<String> {
    rustc_says("host")
}

/// What `rustc -vV` says after this word.
pub(crate) fn rustc_says(word: &str) -> Result<String> {
    let text = output(rustc().arg("-vV"))?;
    let text = String::from_utf8_lossy(&text);
    let said = text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(": "));
    said.map(str::to_owned).ok_or_else(|| format!("rustc -vV names no {word}"))
}

/// The folder of the compiler and its standard library.
pub(crate) fn sysroot() -> Result<PathBuf> {
    let text = output(rustc().args(["--print", "sysroot"]))?;
    Ok(String::from_utf8_lossy(&text).trim_end().into())
}

fn rustc() -> Command {
    Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc")))
}

/// Runs it with this process's streams; an error when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command.status().map_err(|error| format!("cannot run {shown}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown} failed ({status})")) }
}

/// Runs it for its standard output.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let shown = show(command);
    let command = command.stderr(std::process::Stdio::inherit());
    let output = command.output().map_err(|error| format!("cannot run {shown}: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{shown} failed ({})", output.status))
    }
}

/// A command as a person would type it, the program without its folder.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
