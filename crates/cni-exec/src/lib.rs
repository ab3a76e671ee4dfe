//! Finding CNI plugins on a path and running them: what a runtime does for each plugin of a chain, and what a plugin
//! does for its delegates (section 4 of the specification). Used by `libcni` and by `cni-plugin`.
//!
//! ```no_run
//! use cni_exec::ExecError;
//! use cni_types::{CniResult, ErrorCode, PluginType, SpecVersion};
//!
//! let conf = br#"{ "cniVersion": "1.0.0", "name": "blue", "type": "bridge", "ipam": { "type": "dhcp" } }"#;
//! let env = [
//!     ("CNI_COMMAND", "ADD"),
//!     ("CNI_CONTAINERID", "web-1"),
//!     ("CNI_NETNS", "/run/netns/web-1"),
//!     ("CNI_IFNAME", "eth0"),
//!     ("CNI_PATH", "/opt/cni/bin"),
//! ];
//! let bridge = cni_exec::find(&PluginType::new("bridge")?, &["/opt/cni/bin".into()])?;
//! match cni_exec::run(&bridge, &env, conf) {
//!     Ok(stdout) => println!("{:?}", CniResult::from_slice(&stdout, SpecVersion::V1_0_0)?.ips),
//!     Err(ExecError::Plugin { error, .. }) if error.code == ErrorCode::TRY_AGAIN_LATER => {
//!         println!("later, perhaps: {error}");
//!     }
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What a plugin gets
//!
//! The caller's environment with `env` above it, `stdin` as its standard input, and the caller's standard error. Its standard
//! output is read up to [`MAX_OUTPUT`]. There is no timeout: the specification sets none, and a plugin that is killed in the middle
//! of its work leaves half of it behind.
//!
//! # Errors
//!
//! [`ExecError::Plugin`] has the error object that the plugin printed, whose code says what to do about it. A plugin that failed
//! without one, or that a signal ended, is [`ExecError::Crashed`]. With [`ExecError::NotFound`] and [`ExecError::Spawn`] nothing
//! has run.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use cni_types::{CniError, PluginType};
use serde_json::Value;

/// The most that is read of a plugin's standard output, in bytes; results are a few kilobytes.
pub const MAX_OUTPUT: u64 = 16 << 20;

/// How often a "text file busy" is tried again, and how long is waited before each.
const BUSY_RETRIES: u32 = 5;
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// What a fresh pipe holds at least, one page: the kernel gives no more to a user over fs.pipe-user-pages-soft
/// (pipe(7)). Input up to this is written without a thread and cannot block, whatever the plugin does.
const PIPE_MIN_CAPACITY: usize = 4096;

/// The most of a crashed plugin's standard output that goes into an error, in bytes.
const MAX_CRASH_TEXT: usize = 4096;

/// Why a plugin could not be run, or what it said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// No folder of the path has an executable of that name.
    #[error("cannot find plugin {plugin} in {}", display_paths(.paths))]
    NotFound {
        /// Its name.
        plugin: PluginType,
        /// The folders looked in.
        paths: Vec<PathBuf>,
    },
    /// It could not be started or spoken to.
    #[error("cannot run {}: {source}", path.display())]
    Spawn {
        /// The executable.
        path: PathBuf,
        /// What the system call answered.
        source: std::io::Error,
    },
    /// It answered with an error object.
    #[error("plugin {} failed: {error}", path.display())]
    Plugin {
        /// The executable.
        path: PathBuf,
        /// What it printed.
        error: CniError,
    },
    /// It failed without an error object on standard output.
    #[error("plugin {} failed ({status}) with no error in JSON: {}", path.display(), display_output(.output))]
    Crashed {
        /// The executable.
        path: PathBuf,
        /// Its exit code, or the signal that ended it.
        status: ExitStatus,
        /// The beginning of what it printed on standard output.
        output: String,
    },
}

fn display_paths(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "an empty path".to_owned();
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
}

fn display_output(output: &str) -> &str {
    if output.is_empty() { "no output" } else { output }
}

/// The first executable regular file called `plugin` in `paths`, looked for in order. Empty elements are skipped, so that
/// `CNI_PATH=:/opt/cni/bin` never runs what lies in the working directory.
pub fn find(plugin: &PluginType, paths: &[PathBuf]) -> Result<PathBuf, ExecError> {
    paths
        .iter()
        .filter(|folder| !folder.as_os_str().is_empty())
        .map(|folder| folder.join(plugin.as_str()))
        .find(|candidate| {
            candidate.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        })
        .ok_or_else(|| ExecError::NotFound { plugin: plugin.clone(), paths: paths.to_vec() })
}

/// Runs a plugin with `env` set above the caller's own environment, and returns its standard output. Its standard
/// error passes through to the caller's. "Text file busy" is tried again, five times a second apart, as libcni does:
/// an installer may just be writing the file.
pub fn run(path: &Path, env: &[(&str, &str)], stdin: &[u8]) -> Result<Vec<u8>, ExecError> {
    run_beside(path, env, stdin, &mut || ())
}

/// Like [`run`], and does other work while the plugin does its own. A plugin that cannot be started is an error at once.
#[allow(clippy::disallowed_methods, reason = "plugins are started here and nowhere else")]
pub fn run_beside(
    path: &Path,
    env: &[(&str, &str)],
    stdin: &[u8],
    meanwhile: &mut dyn FnMut(),
) -> Result<Vec<u8>, ExecError> {
    run_command(path, &mut Command::new(path), env, stdin, meanwhile)
}

/// Runs the calling process's own executable once more as the plugin `name`, which it sees as the name that it is called by,
/// else as [`run`] does.
#[allow(clippy::disallowed_methods, reason = "plugins are started here and nowhere else")]
pub fn run_self(name: &str, env: &[(&str, &str)], stdin: &[u8]) -> Result<Vec<u8>, ExecError> {
    let path = Path::new("/proc/self/exe");
    run_command(path, Command::new(path).arg0(name), env, stdin, &mut || ())
}

fn run_command(
    path: &Path,
    command: &mut Command,
    env: &[(&str, &str)],
    stdin: &[u8],
    meanwhile: &mut dyn FnMut(),
) -> Result<Vec<u8>, ExecError> {
    let failed = |source| ExecError::Spawn { path: path.to_owned(), source };
    let mut child = spawn(command, env).map_err(failed)?;
    let stdout = match converse(&mut child, stdin, meanwhile) {
        Ok(stdout) => stdout,
        Err(source) => {
            // It may be gone already, and is a zombie otherwise.
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed(source));
        }
    };
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(stdout);
    }
    Err(match error_object(&stdout) {
        Some(error) => ExecError::Plugin { path: path.to_owned(), error },
        None => ExecError::Crashed { path: path.to_owned(), status, output: crash_text(&stdout) },
    })
}

fn spawn(command: &mut Command, env: &[(&str, &str)]) -> io::Result<Child> {
    command.envs(env.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
    for _ in 0..BUSY_RETRIES {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => std::thread::sleep(BUSY_WAIT),
            outcome => return outcome,
        }
    }
    command.spawn()
}

/// Hands `input` to the child, does what is to be done meanwhile, and collects what the child prints, without either waiting for
/// the other for ever.
fn converse(child: &mut Child, input: &[u8], meanwhile: &mut dyn FnMut()) -> io::Result<Vec<u8>> {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        unreachable!("both were asked to be pipes");
    };
    // A plugin may answer without reading: then the pipe breaks, and its answer is what counts.
    let mut write = move || match stdin.write_all(input) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    };
    if input.len() <= PIPE_MIN_CAPACITY {
        write()?;
        // The child sees the end of its input only when the pipe is closed.
        drop(write);
        meanwhile();
        return read_bounded(stdout);
    }
    std::thread::scope(|scope| {
        // Not scope.spawn, which panics when the process may have no more threads.
        let writer = std::thread::Builder::new().spawn_scoped(scope, write)?;
        meanwhile();
        let output = read_bounded(stdout);
        if output.is_err() {
            // The writer waits for the child, which perhaps waits for us to read.
            let _ = child.kill();
        }
        let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let output = output?;
        written.map(|()| output)
    })
}

fn read_bounded(stdout: impl Read) -> io::Result<Vec<u8>> {
    let mut output = Vec::with_capacity(8192);
    stdout.take(MAX_OUTPUT + 1).read_to_end(&mut output)?;
    if output.len() as u64 > MAX_OUTPUT {
        return Err(io::Error::other(format!("it printed more than {MAX_OUTPUT} bytes")));
    }
    Ok(output)
}

/// The last error object on a failed plugin's standard output: the reference's plugins print their result before
/// the error when they find only afterwards that the namespace was their own.
fn error_object(stdout: &[u8]) -> Option<CniError> {
    serde_json::Deserializer::from_slice(stdout)
        .into_iter::<Value>()
        .map_while(Result::ok)
        .filter_map(|value| CniError::from_json(&value))
        .last()
}

fn crash_text(stdout: &[u8]) -> String {
    let shown = &stdout[..stdout.len().min(MAX_CRASH_TEXT)];
    String::from_utf8_lossy(shown).trim().to_owned()
}

#[cfg(test)]
mod tests;

/// The example of this crate's README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
