//! An executable that is several plugins. A delegate that is the same file is answered within the process that wants it: in a
//! process of its own it would run the very same code, and starting that process takes longer than what it has to do.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic;
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::thread;

use cni_exec::ExecError;
use cni_types::PluginType;

use crate::dispatch::{Answer, Answers, Daemon, Plugin};
use crate::{log, process};

/// The plugins that this executable is, where it is several.
static MEMBERS: OnceLock<&[Member]> = OnceLock::new();

/// One plugin of an executable that is several, whatever its configuration is.
pub struct Member {
    /// The plugin's name.
    pub name: &'static str,
    plugin: &'static dyn Answers,
    daemon: Option<Daemon>,
}

impl Member {
    /// To be kept in a table of all.
    pub const fn new<W: 'static, C: 'static>(plugin: &'static Plugin<W, C>) -> Self {
        Member { name: plugin.name, plugin, daemon: None }
    }

    /// The same for a plugin that has a daemon.
    pub const fn with_daemon<W: 'static, C: 'static>(plugin: &'static Plugin<W, C>, daemon: Daemon) -> Self {
        Member { name: plugin.name, plugin, daemon: Some(daemon) }
    }

    /// Runs the plugin as this process, as [`crate::main`] does, or its daemon. `members` are all that the executable is, `arguments`
    /// those behind the plugin's name.
    pub fn main(&self, members: &'static [Member], arguments: Vec<String>) -> ExitCode {
        if let Some((daemon, arguments)) = self.daemon.zip(process::daemon_arguments(arguments)) {
            return daemon(&arguments);
        }
        MEMBERS.get_or_init(|| members);
        process::run(|vars, stdin| self.plugin.answer(vars, stdin))
    }

    /// Answers a delegation by another plugin of the same executable, as a process of its own would that
    /// [`cni_exec::run`] starts.
    pub(crate) fn delegated(
        &self,
        path: &Path,
        env: &[(&str, &str)],
        stdin: &[u8],
        meanwhile: Option<&mut dyn FnMut()>,
    ) -> Result<Vec<u8>, ExecError> {
        let vars = process::vars(env);
        let answer =
            || log::delegated(self.name, &vars.command, || self.plugin.answer(&vars, &mut &stdin[..]));
        let answer = match meanwhile {
            None => Ok(answer()),
            Some(meanwhile) => beside(answer, meanwhile),
        };
        match answer.map_err(|source| ExecError::Spawn { path: path.to_owned(), source })? {
            Answer::Nothing | Answer::About(_) => Ok(Vec::new()),
            Answer::Output(json) => Ok(json.to_string().into_bytes()),
            Answer::Error(error, _) => Err(ExecError::Plugin { path: path.to_owned(), error }),
        }
    }
}

/// The plugin of this executable that a file is: one with the plugin's name that is the executable itself, by whatever link.
pub(crate) fn member(plugin: &PluginType, path: &Path) -> Option<&'static Member> {
    let member = MEMBERS.get()?.iter().find(|member| member.name == plugin.as_str())?;
    let file = |path: &Path| path.metadata().map(|file| (file.dev(), file.ino())).ok();
    (file(path)? == file(Path::new("/proc/self/exe"))?).then_some(member)
}

/// Does both at a time.
fn beside(answer: impl FnOnce() -> Answer + Send, meanwhile: &mut dyn FnMut()) -> io::Result<Answer> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, answer)?;
        meanwhile();
        Ok(thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
    })
}
