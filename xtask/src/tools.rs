//! Programs of cargo's that the checks need, each in one version, so that a check says the same everywhere.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::cargo::{self, Metadata, cargo};

/// A program from the package registry.
pub(crate) struct Tool {
    /// The name of its package and of its executable.
    pub(crate) name: &'static str,
    /// The version that is known to work here.
    pub(crate) version: &'static str,
}

impl Tool {
    /// Where it is: wherever it is installed already in this version, or else in target/tools, where it is built now.
    pub(crate) fn path(&self, meta: &Metadata) -> Result<PathBuf> {
        let own = meta.target_directory.join("tools");
        let installed = own.join("bin").join(self.name);
        let found = [PathBuf::from(self.name), installed.clone()].into_iter().find(|path| self.is_at(path));
        if let Some(path) = found {
            return Ok(path);
        }
        println!("building {} {}, once; this takes minutes", self.name, self.version);
        let mut install = cargo();
        // Unoptimised it is there in less than half the time, and what it does here takes seconds.
        install.args([
            "install",
            "--quiet",
            "--debug",
            "--locked",
            "--force",
            "--version",
            self.version,
            self.name,
            "--root",
        ]);
        cargo::run(install.arg(&own))?;
        Ok(installed)
    }

    fn is_at(&self, path: &Path) -> bool {
        let output = Command::new(path).arg("--version").stderr(Stdio::null()).output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim_end().ends_with(self.version))
    }
}

/// The one form of errors about files.
pub(crate) fn cannot(verb: &str, path: &Path, error: io::Error) -> String {
    format!("cannot {verb} {}: {error}", path.display())
}
