//! Seeing what plugins are told and what they answer, without their help: under the name of each plugin stands this
//! executable, which runs the real one and writes down what went in and out, of delegates too.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cni_testing::Host;
use serde_json::{Value, json};

use crate::Result;

/// The folder of stands, and of what they have seen.
pub(crate) struct Watch {
    root: PathBuf,
}

/// One run of a plugin.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) plugin: String,
    pub(crate) command: String,
    pub(crate) container: String,
    pub(crate) request: Value,
    /// `Null` for no output.
    pub(crate) answer: Value,
    /// Since the epoch.
    pub(crate) start: Duration,
    pub(crate) end: Duration,
}

/// This process in a plugin's place.
pub(crate) struct Stand {
    root: PathBuf,
    plugin: String,
}

impl Watch {
    /// Puts a stand into the place of every executable there is.
    pub(crate) fn new(host: &Host) -> Result<Self> {
        let root = host.dir().with_file_name("watch");
        for folder in ["plugins", "seen"] {
            fs::create_dir_all(root.join(folder))?;
        }
        std::os::unix::fs::symlink(host.bin_dir(), root.join("real"))?;
        let this = std::env::current_exe()?;
        for plugin in fs::read_dir(host.bin_dir())? {
            std::os::unix::fs::symlink(&this, root.join("plugins").join(plugin?.file_name()))?;
        }
        Ok(Watch { root })
    }

    /// The folder for `CNI_PATH`.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// What was run since the last call, in the order of starting.
    pub(crate) fn take(&self) -> Result<Vec<Seen>> {
        let mut all = Vec::new();
        for file in fs::read_dir(self.root.join("seen"))? {
            let file = file?.path();
            let seen: Value = serde_json::from_slice(&fs::read(&file)?)?;
            let text = |key: &str| seen[key].as_str().unwrap_or_default().to_owned();
            let time = |key: &str| Duration::from_nanos(seen[key].as_u64().unwrap_or_default());
            all.push(Seen {
                plugin: text("plugin"),
                command: text("command"),
                container: text("container"),
                request: seen["request"].clone(),
                answer: seen["answer"].clone(),
                start: time("start"),
                end: time("end"),
            });
            fs::remove_file(file)?;
        }
        all.sort_by_key(|seen| seen.start);
        Ok(all)
    }
}

impl Stand {
    /// When this process was started as a plugin: by a path below a [`Watch`].
    pub(crate) fn of_this_process() -> Option<Self> {
        let path = PathBuf::from(std::env::args_os().next()?);
        let root = path.parent()?.parent()?;
        let plugin = path.file_name()?.to_str()?;
        let watched = root.join("real").join(plugin).is_file() && root.join("seen").is_dir();
        watched.then(|| Stand { root: root.to_owned(), plugin: plugin.to_owned() })
    }

    /// Runs the real plugin.
    pub(crate) fn run(&self) -> ExitCode {
        match self.pass_through() {
            Ok(code) => code,
            Err(error) => {
                eprintln!("the demo cannot stand in for {}: {error}", self.plugin);
                ExitCode::FAILURE
            }
        }
    }

    fn pass_through(&self) -> Result<ExitCode> {
        let mut request = Vec::new();
        io::stdin().read_to_end(&mut request)?;
        let start = since_epoch()?;
        let (code, answer) = run(&self.root.join("real").join(&self.plugin), &request)?;
        let end = since_epoch()?;
        #[allow(clippy::disallowed_methods, reason = "it writes down what a plugin is told")]
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let seen = json!({
            "plugin": self.plugin,
            "command": variable("CNI_COMMAND"),
            "container": variable("CNI_CONTAINERID"),
            "request": serde_json::from_slice::<Value>(&request)?,
            "answer": serde_json::from_slice::<Value>(&answer).unwrap_or_default(),
            "start": u64::try_from(start.as_nanos())?,
            "end": u64::try_from(end.as_nanos())?,
        });
        let name = format!("{}-{}", start.as_nanos(), std::process::id());
        fs::write(self.root.join("seen").join(name), seen.to_string())?;
        io::stdout().write_all(&answer)?;
        Ok(code)
    }
}

fn run(plugin: &Path, request: &[u8]) -> Result<(ExitCode, Vec<u8>)> {
    #[allow(clippy::disallowed_methods, reason = "this is the runtime's side")]
    let mut child = Command::new(plugin).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // Much smaller than a pipe holds, so this does not wait for the plugin to read.
        stdin.write_all(request)?;
    }
    let output = child.wait_with_output()?;
    let code = output.status.code().and_then(|code| u8::try_from(code).ok());
    Ok((code.map_or(ExitCode::FAILURE, ExitCode::from), output.stdout))
}

fn since_epoch() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}
