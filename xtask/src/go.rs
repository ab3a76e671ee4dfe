//! Building programs that are published as Go modules. They become the tools of a module that is made for the purpose, so that
//! Go's checksum database vouches for every byte; nothing is cloned, and nothing installed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo::{output, run};
use crate::{Result, tools};

/// The oldest that builds all that is asked of it.
const OLDEST: [u32; 3] = [1, 26, 8];

/// A module of which others' programs are the tools, in a folder of its own.
pub(crate) struct Module {
    folder: PathBuf,
}

/// A program of a module.
pub(crate) struct Program<'a> {
    /// `go.etcd.io/etcd/server/v3`
    pub(crate) package: &'a str,
    pub(crate) version: &'a str,
    /// Flags of the linker.
    pub(crate) linking: &'a str,
}

/// An error says what would make it work.
pub(crate) fn is_there() -> Result<()> {
    let wanted = "Go 1.26.8 or later in PATH (https://go.dev/dl)";
    // In a folder without a go.mod, whose wishes would be answered otherwise.
    let found = Command::new("go").args(["env", "GOVERSION"]).current_dir("/").stderr(Stdio::null()).output();
    let found = found.map_err(|error| format!("it takes {wanted}: {error}"))?;
    let found = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    if version(&found) >= Some(OLDEST) {
        Ok(())
    } else {
        Err(format!("it takes {wanted}, and this is {found:?}"))
    }
}

/// `go1.26.8`, `go1.27rc1`
fn version(text: &str) -> Option<[u32; 3]> {
    let numbers = text.strip_prefix("go")?.split(|char: char| !char.is_ascii_digit());
    let mut numbers = numbers.map(|number| number.parse().unwrap_or(0));
    Some([numbers.next()?, numbers.next()?, numbers.next().unwrap_or(0)])
}

impl Module {
    /// In this folder, where it may be from an earlier time.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| tools::cannot("create", folder, error))?;
        let module = Module { folder: folder.to_owned() };
        if !module.manifest().exists() {
            module.write("module tools\n\ngo 1.26.0\n\ngodebug default=go1.26\n")?;
        }
        Ok(module)
    }

    /// Takes each of these modules at a version where what is built asks for none that exists.
    pub(crate) fn replace(&self, modules: &[String], version: &str) -> Result<()> {
        let path = self.manifest();
        let mut manifest = fs::read_to_string(&path).map_err(|error| tools::cannot("read", &path, error))?;
        for module in modules {
            if !manifest.contains(&format!("replace {module} ")) {
                let _ = writeln!(manifest, "replace {module} => {module} {version}");
            }
        }
        self.write(&manifest)
    }

    /// The manifest of somebody's module.
    pub(crate) fn manifest_of(&self, module: &str, version: &str) -> Result<String> {
        let found = output(self.go().args(["mod", "download", "-json"]).arg(format!("{module}@{version}")))?;
        let found: serde_json::Value = serde_json::from_slice(&found)
            .map_err(|error| format!("cannot read what go mod download says: {error}"))?;
        let path = found["GoMod"].as_str().ok_or_else(|| format!("{module} {version} has no go.mod"))?;
        fs::read_to_string(path).map_err(|error| tools::cannot("read", Path::new(path), error))
    }

    /// Builds a program, which is there whole or not at all.
    pub(crate) fn build(&self, program: &Program<'_>, to: &Path) -> Result<()> {
        let Program { package, version, linking } = program;
        let unfinished = to.with_extension("unfinished");
        // What it adds and upgrades is a thousand lines, of which nobody wants to know unless it fails.
        let mut get = self.go();
        get.args(["get", "-tool"]).arg(format!("{package}@{version}"));
        let got = get.output().map_err(|error| format!("cannot run go: {error}"))?;
        if !got.status.success() {
            return Err(format!(
                "go get {package}@{version} failed: {}",
                String::from_utf8_lossy(&got.stderr)
            ));
        }
        run(self.go().args(["build", "-ldflags", linking, "-o"]).arg(&unfinished).arg(package))?;
        fs::rename(&unfinished, to).map_err(|error| tools::cannot("write", to, error))
    }

    fn go(&self) -> Command {
        let mut go = Command::new("go");
        go.current_dir(&self.folder).env("CGO_ENABLED", "0");
        go
    }

    fn manifest(&self) -> PathBuf {
        self.folder.join("go.mod")
    }

    fn write(&self, manifest: &str) -> Result<()> {
        let path = self.manifest();
        fs::write(&path, manifest).map_err(|error| tools::cannot("write", &path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_compared_as_numbers() {
        assert_eq!(version("go1.26.8"), Some([1, 26, 8]));
        assert!(version("go1.26.10") > Some(OLDEST));
        assert!(version("go1.27rc1") > Some(OLDEST));
        assert!(version("go1.26.7") < Some(OLDEST));
        assert!(version("") < Some(OLDEST));
    }
}
