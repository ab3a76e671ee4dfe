//! The opt-in log: one JSON object a line, for finding out afterwards which step took how long or failed.
//!
//! `CNI_LOG_LEVEL` (`error`, `warn`, `info`, `debug`) or `CNI_LOG_FILE` switch it on, or `logLevel` and `logFile` at the
//! top of the configuration; the environment wins. The level is `info` when only a file is named, and without a file the
//! log goes to standard error. It never makes a plugin fail, and costs a load and a branch when off.
//!
//! ```json
//! {"time":"2026-01-02T03:04:05.678Z","level":"debug","plugin":"bridge","command":"ADD","containerID":"c1",
//!  "ifname":"eth0","network":"blue","step":"create the veth pair","ms":0.84,
//!  "trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7"}
//! ```

mod time;

use std::cell::RefCell;
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use cni_types::PluginConf;
use serde::Serialize;

use self::time::rfc3339;
use crate::vars::Vars;

/// `None` inside when the log is off. Set once a process, by dispatch.
static LOG: OnceLock<Option<Log>> = OnceLock::new();

/// The plugin's name, for lines on standard error, which a runtime mixes with those of others.
static NAME: OnceLock<&str> = OnceLock::new();

thread_local! {
    /// The delegate that answers on this thread instead of in a process of its own, and its command.
    static DELEGATE: RefCell<Option<(&'static str, String)>> = const { RefCell::new(None) };
}

/// Says on standard error, and in the log when there is one, what went wrong without failing the request.
pub fn warn(msg: impl Display) {
    let log = active();
    if log.is_none_or(|log| log.file.is_some()) {
        let delegate = DELEGATE.with_borrow(|delegate| delegate.as_ref().map(|(plugin, _)| *plugin));
        let name = delegate.or_else(|| NAME.get().copied()).unwrap_or("cni-plugin");
        to_stderr(&format!("{name}: {msg}"));
    }
    if let Some(log) = log {
        log.write(Level::Warn, Entry { msg: Some(msg.to_string()), ..Entry::default() });
    }
}

/// Logs what is worth knowing about a request that went well, at level `info`.
pub fn info(msg: impl Display) {
    note(Level::Info, msg);
}

/// Logs a detail at level `debug`.
pub fn debug(msg: impl Display) {
    note(Level::Debug, msg);
}

/// Runs a step of a plugin's work and logs how long it took: at level `debug`, or `error` with its error.
///
/// ```
/// # fn create_veth() -> cni_plugin::Result<u32> { Ok(7) }
/// # fn add() -> cni_plugin::Result<()> {
/// let veth = cni_plugin::log::step("create the veth pair", || create_veth())?;
/// # assert_eq!(veth, 7); Ok(()) }
/// # add().unwrap();
/// ```
pub fn step<T, E: Display>(name: &'static str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let Some(log) = active() else {
        return work();
    };
    let start = Instant::now();
    let outcome = work();
    let entry = Entry { step: Some(name), ms: Some(milliseconds(start.elapsed())), ..Entry::default() };
    match &outcome {
        Ok(_) => log.write(Level::Debug, entry),
        Err(error) => log.write(Level::Error, Entry { msg: Some(error.to_string()), ..entry }),
    }
    outcome
}

/// Logs how a request ended: at level `info`, or `error` with its code.
pub(crate) fn outcome(took: Duration, error: Option<&cni_types::CniError>) {
    let Some(log) = active() else {
        return;
    };
    let entry = Entry { ms: Some(milliseconds(took)), ..Entry::default() };
    match error {
        None => log.write(Level::Info, Entry { msg: Some("done".to_owned()), ..entry }),
        Some(error) => {
            let mut msg = error.msg.clone();
            if !error.details.is_empty() {
                msg = format!("{msg}; {}", error.details);
            }
            log.write(Level::Error, Entry { msg: Some(msg), code: Some(error.code.0), ..entry });
        }
    }
}

/// Says who is speaking on standard error.
pub(crate) fn name(plugin: &'static str) {
    NAME.get_or_init(|| plugin);
}

/// Does the work of a delegate, which its lines name instead of the plugin that the process is.
pub(crate) fn delegated<T>(plugin: &'static str, command: &str, work: impl FnOnce() -> T) -> T {
    DELEGATE.set(Some((plugin, command.to_owned())));
    let answer = work();
    DELEGATE.set(None);
    answer
}

/// Opens the log as the environment or the configuration asks. Later calls do nothing.
pub(crate) fn init(plugin: &'static str, vars: &Vars, conf: Option<&PluginConf>) {
    LOG.get_or_init(|| Log::open(plugin, vars, conf));
}

/// Writes a line to standard error, wherever that leads: unlike `eprintln!`, without panicking when it is closed.
pub(crate) fn to_stderr(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

fn active() -> Option<&'static Log> {
    LOG.get()?.as_ref()
}

fn note(level: Level, msg: impl Display) {
    if let Some(log) = active() {
        log.write(level, Entry { msg: Some(msg.to_string()), ..Entry::default() });
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        [("error", Level::Error), ("warn", Level::Warn), ("info", Level::Info), ("debug", Level::Debug)]
            .into_iter()
            .find_map(|(name, level)| text.eq_ignore_ascii_case(name).then_some(level))
    }
}

/// An open log and what all its lines have in common.
struct Log {
    level: Level,
    /// `None` for standard error.
    file: Option<File>,
    request: RequestFields,
}

/// Whom all lines are about.
#[derive(Default)]
struct RequestFields {
    plugin: &'static str,
    command: String,
    container_id: String,
    ifname: String,
    network: String,
    trace: Option<Trace>,
}

/// Where in a trace the request belongs; the keys are those of OpenTelemetry for logs of other formats than its own.
#[derive(Debug, PartialEq)]
struct Trace {
    trace_id: String,
    span_id: String,
}

impl Trace {
    /// Reads a traceparent: `version-traceid-spanid-flags` in lower-case hexadecimal (W3C Trace Context, section 3.2).
    fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.trim().split('-');
        let (_version, trace_id, span_id) = (parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
        (hex(trace_id, 32) && hex(span_id, 16))
            .then(|| Trace { trace_id: trace_id.to_owned(), span_id: span_id.to_owned() })
    }
}

#[derive(Default)]
struct Entry {
    step: Option<&'static str>,
    ms: Option<f64>,
    msg: Option<String>,
    code: Option<u32>,
}

/// A line, its keys in the order in which they are printed.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: Level,
    plugin: &'static str,
    command: &'a str,
    #[serde(rename = "containerID", skip_serializing_if = "str::is_empty")]
    container_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    ifname: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    network: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<&'a str>,
}

impl Log {
    fn open(plugin: &'static str, vars: &Vars, conf: Option<&PluginConf>) -> Option<Self> {
        let key = |name| conf.and_then(|conf| conf.raw.get::<String>(name).ok().flatten());
        let from_conf = key("logLevel");
        let level = Some(vars.log_level.as_str()).filter(|text| !text.is_empty()).or(from_conf.as_deref());
        let path = Some(PathBuf::from(&vars.log_file))
            .filter(|path| !path.as_os_str().is_empty())
            .or_else(|| key("logFile").filter(|text| !text.is_empty()).map(PathBuf::from));
        if level.is_none() && path.is_none() {
            return None;
        }
        let file = path.and_then(|path| {
            open_file(&path)
                .inspect_err(|error| {
                    to_stderr(&format!("{plugin}: cannot open log {}: {error}", path.display()));
                })
                .ok()
        });
        let log = Log {
            level: level.and_then(Level::parse).unwrap_or(Level::Info),
            file,
            request: RequestFields {
                plugin,
                command: vars.command.clone(),
                container_id: vars.container_id.clone(),
                ifname: vars.ifname.clone(),
                network: conf.map(|conf| conf.name.as_str().to_owned()).unwrap_or_default(),
                trace: Trace::parse(&vars.traceparent),
            },
        };
        if let Some(unknown) = level.filter(|text| Level::parse(text).is_none()) {
            let msg =
                format!("unknown log level {unknown:?}, taken as info (known: error, warn, info, debug)");
            log.write(Level::Warn, Entry { msg: Some(msg), ..Entry::default() });
        }
        Some(log)
    }

    fn write(&self, level: Level, entry: Entry) {
        if level > self.level {
            return;
        }
        let mut line = self.line(SystemTime::now(), level, &entry);
        line.push('\n');
        // One write with O_APPEND is one line, also when plugins run at once. A full disk is no reason to fail.
        let _ = match &self.file {
            Some(file) => (&mut &*file).write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }

    fn line(&self, time: SystemTime, level: Level, entry: &Entry) -> String {
        let request = &self.request;
        let delegate = DELEGATE.with_borrow(Clone::clone);
        let line = Line {
            time: rfc3339(time),
            level,
            plugin: delegate.as_ref().map_or(request.plugin, |(plugin, _)| plugin),
            command: delegate.as_ref().map_or(&request.command, |(_, command)| command),
            container_id: &request.container_id,
            ifname: &request.ifname,
            network: &request.network,
            step: entry.step,
            ms: entry.ms,
            code: entry.code,
            msg: entry.msg.as_deref(),
            trace_id: request.trace.as_ref().map(|trace| trace.trace_id.as_str()),
            span_id: request.trace.as_ref().map(|trace| trace.span_id.as_str()),
        };
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// Opens a log to be appended to. A FIFO would be waited for until somebody reads it, and a device may be anything.
fn open_file(path: &Path) -> std::io::Result<File> {
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Milliseconds with three digits after the point.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests;
