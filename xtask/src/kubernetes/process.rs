//! Programs that run beside this one and end with it, and waiting for what they do.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cargo::show;
use crate::{Result, tools};

/// A program in the background, killed when this is dropped, and by the kernel when this process is.
pub(super) struct Process(Child);

impl Process {
    /// What it prints goes to a file.
    pub(super) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let shown = show(command);
        let file = File::create(log).map_err(|error| tools::cannot("create", log, error))?;
        let errors = file.try_clone().map_err(|error| tools::cannot("open", log, error))?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = command.spawn().map_err(|error| format!("cannot run {shown}: {error}"))?;
        Ok(Process(child))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command whose process the kernel kills when this one has ended, however it did.
pub(super) fn bound(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// Asks again and again until there is an answer.
pub(super) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut answer: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let outcome = answer();
        match outcome {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) if start.elapsed() > limit => {
                return Err(format!("{what}: not within {} seconds", limit.as_secs()));
            }
            Err(error) if start.elapsed() > limit => return Err(format!("{what}: {error}")),
            _ => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// What a command prints, of which an error holds what it complained about.
pub(super) fn ask(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command.output().map_err(|error| format!("cannot run {shown}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(format!("{shown} failed ({}): {}", output.status, errors.trim()))
    }
}
