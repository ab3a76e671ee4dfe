//! Running a plugin's executable as a runtime does: environment, configuration on standard input, standard output read.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

#[cfg(target_arch = "x86_64")]
use crate::{Act, Syscall, trace};
use crate::{Container, Host, Outcome};

/// Where `iptables-restore` is, for the one backend that runs a program.
const PROGRAMS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// One execution of a plugin, being prepared. It inherits nothing of the test's environment.
#[derive(Debug)]
pub struct PluginRun<'h> {
    /// A run is on the host: the plugin inherits its network namespace.
    _host: &'h Host,
    program: PathBuf,
    env: Vec<(String, String)>,
    user: Option<u32>,
    stdout: Option<Stdio>,
    #[cfg(target_arch = "x86_64")]
    watcher: Option<trace::Watcher<'h>>,
}

impl<'h> PluginRun<'h> {
    pub(crate) fn new(host: &'h Host, name: &str) -> Self {
        let program = bin_dir().join(name);
        assert!(
            program.is_file(),
            "there is no executable {}: run `cargo xtask test`, or `cargo build --workspace --bins` once before \
             `cargo test`",
            program.display()
        );
        PluginRun {
            _host: host,
            program,
            env: Vec::new(),
            user: None,
            stdout: None,
            #[cfg(target_arch = "x86_64")]
            watcher: None,
        }
    }

    /// Sets an environment variable above the usual ones.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Runs the plugin of this name in another folder, which is CNI_PATH too.
    #[must_use]
    pub fn installed_in(mut self, dir: &Path) -> Self {
        self.program = dir.join(self.program.file_name().unwrap_or_default());
        self.env("CNI_PATH", dir.to_str().expect("a test's folders have names in UTF-8"))
    }

    /// Runs it as this user, without root's rights.
    #[must_use]
    pub fn user(mut self, id: u32) -> Self {
        self.user = Some(id);
        self
    }

    /// Gives it this for standard output instead of a pipe that is read.
    #[must_use]
    pub fn answering_to(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// ADD of `container`'s `ifname` with this configuration on standard input.
    pub fn add(self, container: &Container, ifname: &str, conf: &Value) -> Outcome {
        self.attachment("ADD", container, ifname, conf)
    }

    /// CHECK
    pub fn check(self, container: &Container, ifname: &str, conf: &Value) -> Outcome {
        self.attachment("CHECK", container, ifname, conf)
    }

    /// DEL
    pub fn del(self, container: &Container, ifname: &str, conf: &Value) -> Outcome {
        self.attachment("DEL", container, ifname, conf)
    }

    /// GC, STATUS or VERSION.
    pub fn command(self, command: &str, conf: &Value) -> Outcome {
        self.usual(&[("CNI_COMMAND", command)]).raw(conf.to_string().as_bytes())
    }

    /// Shows each system call of the plugin and of all that it starts to `watcher`, which says what becomes of it.
    #[cfg(target_arch = "x86_64")]
    #[must_use]
    pub fn watch(mut self, watcher: impl FnMut(&Syscall) -> Act + Send + 'h) -> Self {
        self.watcher = Some(trace::Watcher(Box::new(watcher)));
        self
    }

    /// Nothing but what [`PluginRun::env`] set, and these bytes on standard input.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut, reason = "the watcher is told what happens"))]
    pub fn raw(mut self, stdin: &[u8]) -> Outcome {
        let program = self.program.display().to_string();
        let is_removal =
            |(key, value): &(String, String)| key == "CNI_COMMAND" && ["DEL", "GC"].contains(&value.as_str());
        let removes = self.env.iter().any(is_removal);
        #[allow(clippy::disallowed_methods, reason = "this is the runtime's side")]
        let mut command = Command::new(&self.program);
        command.env_clear().envs(self.env.drain(..));
        if let Some(user) = self.user {
            command.uid(user);
        }
        let stdout = self.stdout.take().unwrap_or_else(Stdio::piped);
        command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped());
        #[cfg(target_arch = "x86_64")]
        if let Some(watcher) = &mut self.watcher {
            return trace::run(command, watcher, stdin);
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
        let mut input = child.stdin.take().expect("standard input is piped");
        let output = std::thread::scope(|scope| {
            // Beside reading, so that a plugin that answers before it has read everything blocks nobody. One that does
            // not read at all breaks the pipe, which is its right.
            scope.spawn(move || input.write_all(stdin));
            child.wait_with_output()
        })
        .unwrap_or_else(|error| panic!("cannot wait for {program}: {error}"));
        if removes {
            // What nf_tables removes goes with the kernel's next tick (cni_nftables::Batch::remove_element).
            std::thread::sleep(Duration::from_millis(10));
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    fn attachment(self, command: &str, container: &Container, ifname: &str, conf: &Value) -> Outcome {
        self.usual(&[
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", container.id()),
            ("CNI_NETNS", container.netns()),
            ("CNI_IFNAME", ifname),
        ])
        .raw(conf.to_string().as_bytes())
    }

    /// Puts a runtime's variables below those that the test has set itself.
    fn usual(mut self, env: &[(&str, &str)]) -> Self {
        let path = bin_dir();
        let path = path.to_str().expect("the target folder has a name in UTF-8");
        let usual = env.iter().copied().chain([("CNI_PATH", path), ("PATH", PROGRAMS)]);
        let mut all: Vec<_> = usual.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        all.append(&mut self.env);
        self.env = all;
        self
    }
}

/// Cargo puts a test at `target/<profile>/deps/<test>-<hash>`, executables at `target/<profile>/<name>`.
pub(crate) fn bin_dir() -> PathBuf {
    #[allow(clippy::disallowed_methods, reason = "a setting of the tests themselves, not CNI's")]
    let chosen: Option<OsString> = std::env::var_os("CNI_TESTING_BIN");
    if let Some(folder) = chosen {
        return PathBuf::from(folder);
    }
    let test = std::env::current_exe().expect("cannot tell which executable this is");
    let folder = test.parent().and_then(|deps| deps.parent());
    folder.expect("a test lies in target/<profile>/deps").to_owned()
}
