//! The process around a plugin: the one place that reads the environment and standard input and writes standard output.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::ExitCode;

use crate::dispatch::Answer;
use crate::vars::Vars;
use crate::{log, panic};

/// Passed on to delegates, which see by it that they are asked to be their own.
pub(crate) const DELEGATORS: &str = "CNI_DELEGATORS";

/// Answers the request that this process was started with.
pub(crate) fn run(mut answer: impl FnMut(&Vars, &mut dyn Read) -> Answer) -> ExitCode {
    panic::install_hook();
    let mut vars = vars(&[]);
    // Unlocked and unread: without CNI_COMMAND it may be a terminal.
    let mut stdin = Kept { from: std::io::stdin(), read: Vec::new() };
    match answer(&vars, &mut stdin) {
        Answer::Nothing => ExitCode::SUCCESS,
        Answer::About(text) => {
            log::to_stderr(&text);
            ExitCode::SUCCESS
        }
        Answer::Output(json) => {
            if print(&json) {
                return ExitCode::SUCCESS;
            }
            // Nobody knows of the attachment now, and the specification has a failed ADD leave nothing.
            if vars.command == "ADD" {
                "DEL".clone_into(&mut vars.command);
                if let Answer::Error(error, _) = answer(&vars, &mut &stdin.read[..]) {
                    log::warn(format_args!("cannot take back the ADD: {error}"));
                }
            }
            ExitCode::FAILURE
        }
        Answer::Error(error, version) => {
            print(&error.to_json(version.as_str()));
            ExitCode::FAILURE
        }
    }
}

/// What is read stays to be read again.
struct Kept<R> {
    from: R,
    read: Vec<u8>,
}

impl<R: Read> Read for Kept<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.read.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

/// Whether this process was started with a request.
pub(crate) fn is_request() -> bool {
    !vars(&[]).command.is_empty()
}

/// A variable of the process's environment that is none of CNI's, such as `PATH` for the backends that run programs. An
/// absent one is empty; what is not UTF-8 has the replacement character in it.
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn environment(name: &str) -> String {
    std::env::var_os(name).unwrap_or_default().to_string_lossy().into_owned()
}

/// This process's arguments without its name; what is not UTF-8 has the replacement character in it.
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads them")]
pub(crate) fn arguments() -> Vec<String> {
    std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect()
}

/// The arguments of a daemon, when it is one that is wanted.
pub(crate) fn daemon_arguments(arguments: Vec<String>) -> Option<Vec<String>> {
    let mut arguments = arguments.into_iter();
    (arguments.next()? == "daemon").then(|| arguments.collect())
}

/// Whether it could be.
fn print(json: &serde_json::Value) -> bool {
    // As one text: standard output writes line by line what is formatted into it.
    let text = format!("{json:#}\n");
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    if let Err(error) = &written {
        log::warn(format_args!("cannot write the answer to standard output: {error}"));
    }
    written.is_ok()
}

/// The variables of the process's environment, where `above` has no other value for one.
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads CNI_*")]
pub(crate) fn vars(above: &[(&str, &str)]) -> Vars {
    let os = |name| match above.iter().find(|(key, _)| *key == name) {
        Some((_, value)) => OsString::from(value),
        None => std::env::var_os(name).unwrap_or_default(),
    };
    // What is not UTF-8 is neither a valid ID nor a name, and is refused as such; a path with the replacement
    // character names nothing.
    let text =
        |name| os(name).into_string().unwrap_or_else(|raw: OsString| raw.to_string_lossy().into_owned());
    Vars {
        command: text("CNI_COMMAND"),
        container_id: text("CNI_CONTAINERID"),
        netns: text("CNI_NETNS"),
        ifname: text("CNI_IFNAME"),
        args: text("CNI_ARGS"),
        path: os("CNI_PATH"),
        netns_override: text("CNI_NETNS_OVERRIDE"),
        delegators: text(DELEGATORS),
        log_level: text("CNI_LOG_LEVEL"),
        log_file: os("CNI_LOG_FILE"),
        traceparent: text("TRACEPARENT"),
    }
}
