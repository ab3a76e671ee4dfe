//! A shell that containerd and all that it starts cannot outlive.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What a script's status is told by, on a line of its own.
const END: &str = "status ";

/// The first process of a process namespace, with its own /proc. When it ends the kernel kills all others in it
/// (pid_namespaces(7)), shims too, which leave their parents; and it ends when its standard input does, so also when the
/// test's process is killed.
pub(crate) struct Shell {
    child: Child,
    /// `None` when it has been told to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Shell {
    /// On the calling thread's host, with what is mounted where shared mounts are.
    pub(crate) fn start() -> Self {
        #[allow(clippy::disallowed_methods, reason = "this test is about other programs")]
        let mut child = Command::new("unshare")
            // Private mounts would hide the network namespaces that containerd mounts.
            .args(["--pid", "--fork", "--mount", "--propagation", "unchanged", "--mount-proc", "sh"])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cannot run unshare");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        Shell { child, input, output }
    }

    /// Runs a script and returns what it printed, errors too.
    #[track_caller]
    pub(crate) fn run(&mut self, script: &str) -> String {
        let input = self.input.as_mut().expect("the shell has not been told to end");
        write!(input, "{{ {script}\n}} </dev/null 2>&1; echo \"{END}$?\"\n")
            .expect("cannot write to the shell");
        let mut printed = String::new();
        loop {
            let start = printed.len();
            let length = self.output.read_line(&mut printed).expect("cannot read from the shell");
            assert!(length > 0, "the shell has ended in {script}:\n{printed}");
            if let Some(status) = printed[start..].strip_prefix(END) {
                assert!(status == "0\n", "{script} failed ({}):\n{printed}", status.trim_end());
                printed.truncate(start);
                return printed;
            }
        }
    }

    /// Ends it and all in its namespace. They are gone when this returns: the kernel lets the first process of a namespace go
    /// only after all others (kernel/pid_namespace.c, zap_pid_ns_processes).
    pub(crate) fn end(&mut self) {
        drop(self.input.take());
        // When dropped during a panic another one would hide that.
        let _ = self.child.wait();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.end();
    }
}
