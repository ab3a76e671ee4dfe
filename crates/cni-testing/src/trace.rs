//! Running a plugin under ptrace(2), so that a test can end it, or have a system call fail, at a moment of its choice.
//!
//! The test's watcher sees each system call of the plugin and of all that the plugin starts, before it is carried out and
//! after, and says what is to happen. x86-64 only: the registers of a call are the architecture's own.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::thread::ScopedJoinHandle;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::{Outcome, Syscall};

/// What follows when the watcher has been shown a system call, which it is before that is carried out and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The plugin goes on.
    Go,
    /// The plugin and all that it started get SIGKILL.
    KillAll,
    /// The process that made the call gets SIGKILL; its parent and its children go on.
    KillOne,
    /// The call is not carried out, and returns this error. Only before it is.
    Fail(Errno),
}

/// The test's part in a run that is traced.
pub(crate) struct Watcher<'w>(pub(crate) Box<dyn FnMut(&Syscall) -> Act + Send + 'w>);

impl fmt::Debug for Watcher<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

/// Runs a plugin and all that it starts under the watcher's eyes, to the end of the last of them.
pub(crate) fn run(command: Command, watcher: &mut Watcher<'_>, stdin: &[u8]) -> Outcome {
    // Tracees belong to one thread, and this one's other children are none of them.
    std::thread::scope(|scope| scope.spawn(|| traced(command, watcher, stdin)).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[allow(clippy::zombie_processes, reason = "it is waited for below, with all that it has started")]
fn traced(mut command: Command, watcher: &mut Watcher<'_>, stdin: &[u8]) -> Outcome {
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let input = child.stdin.take().expect("standard input is piped");
    let stdout = child.stdout.take().expect("standard output is piped");
    let stderr = child.stderr.take().expect("standard error is piped");
    std::thread::scope(|scope| {
        let stdout = scope.spawn(|| read(stdout));
        let stderr = scope.spawn(|| read(stderr));
        // Before it has its input it does nothing but wait for that.
        let give = move || {
            drop(scope.spawn(move || {
                let mut input = input;
                input.write_all(stdin)
            }))
        };
        let code = trace(&child, watcher, give);
        let text =
            |reader: ScopedJoinHandle<'_, String>| reader.join().expect("reading a pipe does not panic");
        Outcome { code, stdout: text(stdout), stderr: text(stderr) }
    })
}

fn read(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes)
        .unwrap_or_else(|error| panic!("cannot read what the plugin prints: {error}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Follows the calling thread's children, of which it starts the first by giving it its input. Returns that one's exit code,
/// `None` when a signal ended it.
fn trace(child: &Child, watcher: &mut Watcher<'_>, give: impl FnOnce()) -> Option<i32> {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process ID is a positive i32"));
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).unwrap_or_else(|error| panic!("cannot trace the plugin: {error}"));
    // It stops where it is, and from then on at each system call.
    ptrace::interrupt(pid).unwrap_or_else(|error| panic!("cannot stop the plugin: {error}"));
    let mut tracer = Tracer { tasks: HashMap::new(), killing: false, watcher };
    let mut give = Some(give);
    let mut code = None;
    loop {
        // Those of the process's other threads are left to them.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        match waitpid(Pid::from_raw(-1), Some(flags)) {
            Ok(WaitStatus::Exited(ended, status)) => {
                tracer.tasks.remove(&ended);
                if ended == pid {
                    code = Some(status);
                }
            }
            Ok(WaitStatus::Signaled(ended, ..)) => drop(tracer.tasks.remove(&ended)),
            Ok(status) => {
                tracer.stopped(status);
                if let Some(give) = give.take() {
                    give();
                }
            }
            Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return code,
            Err(error) => panic!("cannot wait for the plugin: {error}"),
        }
    }
}

/// A thread of the plugin or of what it has started.
struct Task {
    /// Its process.
    process: Pid,
    inside: Inside,
}

/// The system call that a task is in.
enum Inside {
    Nothing,
    Call,
    /// Which is not carried out, and returns this.
    Refused(Errno),
}

struct Tracer<'t, 'w> {
    tasks: HashMap<Pid, Task>,
    /// Whoever still shows up is killed too.
    killing: bool,
    watcher: &'t mut Watcher<'w>,
}

impl Tracer<'_, '_> {
    fn stopped(&mut self, status: WaitStatus) {
        let (pid, signal) = match status {
            WaitStatus::PtraceSyscall(pid) | WaitStatus::PtraceEvent(pid, ..) => (pid, None),
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            other => panic!("unexpected: {other:?}"),
        };
        // A new task stops before its first instruction.
        self.tasks.entry(pid).or_insert_with(|| Task { process: process_of(pid), inside: Inside::Nothing });
        if let WaitStatus::PtraceSyscall(_) = status {
            self.at_syscall(pid);
        }
        if self.killing {
            end(pid);
        }
        match ptrace::syscall(pid, signal) {
            // It has been killed since it stopped.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => panic!("cannot let {pid} go on: {error}"),
        }
    }

    /// Entry and return alternate, but for a call that the plugin was in when it was seized: its execve. Before a call is carried
    /// out the kernel has ENOSYS where it returns (arch/x86/entry/entry_64.S, PUSH_AND_CLEAR_REGS rax=$-ENOSYS).
    fn at_syscall(&mut self, pid: Pid) {
        // Who cannot be asked has been killed.
        let Ok(mut regs) = ptrace::getregs(pid) else { return };
        let processes: HashSet<Pid> = self.tasks.values().map(|task| task.process).collect();
        let Some(task) = self.tasks.get_mut(&pid) else { return };
        let returned = match std::mem::replace(&mut task.inside, Inside::Nothing) {
            Inside::Nothing if regs.rax.cast_signed() != -i64::from(Errno::ENOSYS as i32) => return,
            Inside::Nothing => {
                task.inside = Inside::Call;
                None
            }
            Inside::Call => Some(regs.rax.cast_signed()),
            Inside::Refused(errno) => {
                regs.rax = (-i64::from(errno as i32)).cast_unsigned();
                set(pid, regs);
                return;
            }
        };
        match (self.watcher.0)(&Syscall::at(pid, &regs, processes.len(), returned)) {
            Act::Go => {}
            Act::Fail(errno) => {
                assert_eq!(returned, None, "a system call that has been carried out cannot fail any more");
                // No call has this number; its ENOSYS is replaced on return.
                regs.orig_rax = u64::MAX;
                set(pid, regs);
                task.inside = Inside::Refused(errno);
            }
            Act::KillOne => end(pid),
            Act::KillAll => {
                self.killing = true;
                self.tasks.keys().copied().for_each(end);
            }
        }
    }
}

/// The task's process, by its name in proc_pid_status(5).
fn process_of(task: Pid) -> Pid {
    let status = std::fs::read_to_string(format!("/proc/{task}/status")).unwrap_or_default();
    let process = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    process.map_or(task, Pid::from_raw)
}

fn set(pid: Pid, regs: nix::libc::user_regs_struct) {
    match ptrace::setregs(pid, regs) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("cannot change a system call of {pid}: {error}"),
    }
}

/// A task's whole process.
fn end(pid: Pid) {
    match kill(pid, Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("cannot kill {pid}: {error}"),
    }
}
