//! Programs that may hang.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Ends a program that takes too long, with all that it has started.
pub(crate) struct Watch(Option<(mpsc::Sender<()>, JoinHandle<bool>)>);

impl Watch {
    /// Starts the program. Without a limit it may take forever.
    pub(crate) fn over(command: &mut Command, limit: Option<Duration>) -> io::Result<(Child, Self)> {
        let Some(limit) = limit else { return Ok((command.spawn()?, Watch(None))) };
        let child = command.process_group(0).spawn()?;
        let (done, end) = mpsc::channel();
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
        let thread = std::thread::spawn(move || {
            let late = end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
            late && killpg(group, Signal::SIGKILL).is_ok()
        });
        Ok((child, Watch(Some((done, thread)))))
    }

    /// Whether it had to. To be asked when the process has ended.
    pub(crate) fn has_bitten(self) -> bool {
        let Some((done, thread)) = self.0 else { return false };
        drop(done);
        thread.join().unwrap_or(true)
    }
}
