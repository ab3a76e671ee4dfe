//! Finding CNI plugins on a path and running them: what a runtime does for each plugin of a chain, and what a plugin
//! does for its delegates (section 4 of the specification). Used by `libcni` and by `cni-plugin`.

use std::path::{Path, PathBuf};

use cni_types::{CniError, PluginType};

/// Why a plugin could not be run, or what it said.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExecError {
    #[error("cannot find plugin {plugin} in {}", display_paths(.paths))]
    NotFound { plugin: PluginType, paths: Vec<PathBuf> },
    #[error("cannot run {}: {source}", path.display())]
    Spawn { path: PathBuf, source: std::io::Error },
    /// It answered with an error object.
    #[error("plugin {} failed: {error}", path.display())]
    Plugin { path: PathBuf, error: CniError },
    /// It failed without an error object on standard output.
    #[error("plugin {} failed ({status}) with no error in JSON: {output}", path.display())]
    Crashed { path: PathBuf, status: std::process::ExitStatus, output: String },
}

fn display_paths(paths: &[PathBuf]) -> String {
    let _ = paths;
    todo!()
}

/// The first executable regular file called `plugin` in `paths`, looked for in order.
pub fn find(plugin: &PluginType, paths: &[PathBuf]) -> Result<PathBuf, ExecError> {
    let _ = (plugin, paths);
    todo!()
}

/// Runs a plugin with `env` set above the caller's own environment, and returns its standard output. Its standard
/// error passes through to the caller's. "Text file busy" is tried again, five times a second apart, as libcni does:
/// an installer may just be writing the file.
pub fn run(path: &Path, env: &[(&str, &str)], stdin: &[u8]) -> Result<Vec<u8>, ExecError> {
    let _ = (path, env, stdin);
    todo!()
}
