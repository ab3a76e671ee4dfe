//! From the process's environment to a plugin's function and back to standard output.

use std::io::Read;
use std::process::ExitCode;
use std::time::Instant;

use cni_types::{CniError, CniResult, ErrorCode, SpecVersion, ValidAttachments, VersionInfo};
use serde_json::Value;

use crate::incoming::{self, Command};
use crate::request::{self, Add, Attachment, Check, Del, Gc, InNetns, Status};
use crate::vars::Vars;
use crate::{Call, Error, Request, Result, log, panic, process};

/// The version in a plugin's banner: the release of the reference's plugins that ours stand in for, and our own as its build
/// metadata. Programs that run a plugin without CNI_COMMAND (nerdctl, Nomad) switch features by the first version that it
/// prints.
pub const VERSION: &str = concat!("1.10.0+rs.", env!("CARGO_PKG_VERSION"));

/// The newest version of the specification, which the reference answers to VERSION.
const NEWEST: SpecVersion = SpecVersion::V1_1_0;

/// A plugin: its name and its functions. There are no defaults, so that a missing GC does not compile.
///
/// `W` is what it reads of its own keys, `C` what an ADD needs of them. DEL and GC have only `W`: what an ADD was refused for
/// must not keep them from cleaning up.
pub struct Plugin<W, C> {
    /// The name of its executable, as in the banner.
    pub name: &'static str,
    /// The specification's versions it can speak, oldest first.
    pub versions: &'static [SpecVersion],
    /// Reads the plugin's own keys, before any other function is called.
    pub read: fn(&Call) -> Result<W>,
    /// Makes a configuration that ADD can carry out of them, or says what is wrong: once, for ADD, CHECK and STATUS.
    pub validate: fn(&W, &Call) -> Result<C>,
    /// Attaches the container; the result is printed in the version of the configuration.
    pub add: fn(&Add<C>) -> Result<CniResult>,
    /// Compares what is there with prevResult; an error says what differs.
    pub check: fn(&Check<C>) -> Result<()>,
    /// Removes what ADD made, as far as it is still there.
    pub del: fn(&Del<W>) -> Result<()>,
    /// Removes what belongs to this network and to none of the valid attachments.
    /// Not called at all when the request does not say which are valid.
    pub gc: fn(&Gc<W>) -> Result<()>,
    /// Says whether an ADD could succeed now.
    pub status: fn(&Status<C>) -> Result<()>,
}

/// Runs the plugin as this process: reads `CNI_*` and standard input, prints a result or an error, returns the exit code.
pub fn main<W, C>(plugin: &Plugin<W, C>) -> ExitCode {
    process::run(|vars, stdin| plugin.answer(vars, stdin))
}

/// What an executable does that is called as `<plugin> daemon [arguments]`, with those arguments.
pub type Daemon = fn(&[String]) -> ExitCode;

/// The same for a plugin that has a daemon, which is the same executable.
pub fn main_with_daemon<W, C>(plugin: &Plugin<W, C>, daemon: Daemon) -> ExitCode {
    match process::daemon_arguments(process::arguments()) {
        Some(arguments) => daemon(&arguments),
        None => main(plugin),
    }
}

/// Answers this process's request with an error, whatever it is, for an executable that is several plugins and was called by
/// the name of none. `None` when there is no request: CNI_COMMAND is not set.
pub fn refuse(msg: &str) -> Option<ExitCode> {
    let refused = || Answer::Error(*Error::failed(msg).0, NEWEST);
    process::is_request().then(|| process::run(|_, _| refused()))
}

/// What a process prints, and where.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// Success with nothing to say.
    Nothing,
    /// What the plugin is, on standard error.
    About(String),
    /// A result or version information.
    Output(Value),
    /// An error object of this version, and exit code 1.
    Error(CniError, SpecVersion),
}

/// A plugin whatever its configuration is.
pub(crate) trait Answers: Sync {
    /// Answers a request. Reads `stdin` only when the command has a configuration.
    fn answer(&self, vars: &Vars, stdin: &mut dyn Read) -> Answer;
}

impl<W, C> Answers for Plugin<W, C> {
    fn answer(&self, vars: &Vars, stdin: &mut dyn Read) -> Answer {
        if vars.command.is_empty() {
            return Answer::About(about(self.name, self.versions));
        }
        let start = Instant::now();
        log::name(self.name);
        // Errors are in the version of the configuration, as soon as that is known.
        let mut version = NEWEST;
        let outcome = panic::caught(|| self.respond(vars, stdin, &mut version));
        log::init(self.name, vars, None);
        match outcome {
            Ok(answer) => {
                log::outcome(start.elapsed(), None);
                answer
            }
            Err(error) => {
                log::outcome(start.elapsed(), Some(&error.0));
                Answer::Error(*error.0, version)
            }
        }
    }
}

impl<W, C> Plugin<W, C> {
    fn respond(&self, vars: &Vars, stdin: &mut dyn Read, version: &mut SpecVersion) -> Result<Answer> {
        let command = Command::parse(&vars.command)?;
        incoming::require(command, vars)?;
        if command == Command::Version {
            return Ok(Answer::Output(version_info(self.versions)));
        }
        match incoming::expect_new_delegate(self.name, vars) {
            // Nothing was ever made here, and whoever asked has more to remove.
            Err(error) if matches!(command, Command::Del | Command::Gc) => {
                log::warn(error);
                return Ok(Answer::Nothing);
            }
            outcome => outcome?,
        }
        let attachment = incoming::attachment(command, vars)?;
        let input = incoming::read_input(stdin)?;
        let conf = incoming::configuration(command, &input, self.versions)?;
        *version = conf.cni_version;
        log::init(self.name, vars, Some(&conf));
        conf.faults().iter().for_each(request::told);
        incoming::negotiate(command, *version, self.versions)?;
        let call = incoming::call(command, vars, self.name, conf, input);

        let wire = (self.read)(&call)?;
        let Some((attachment, netns)) = attachment else {
            self.network_command(command, call, wire)?;
            return Ok(Answer::Nothing);
        };
        match command {
            Command::Add => {
                if is_forbidden_netns(netns.as_deref(), vars)? {
                    return Err(incoming::own_netns_error());
                }
                let added = self.add(self.in_netns(call, attachment, netns.clone(), &wire)?, wire);
                return added.map(Answer::Output).map_err(|error| without_netns(error, netns.as_deref()));
            }
            Command::Check => {
                let check = self.in_netns(call, attachment, netns, &wire)?;
                (self.check)(&check).map_err(|error| without_netns(error, Some(check.netns())))?;
            }
            _ => self.del(Request { call, attachment, netns, config: wire }, vars)?,
        }
        Ok(Answer::Nothing)
    }

    fn in_netns(
        &self,
        call: Call,
        attachment: Attachment,
        netns: Option<String>,
        wire: &W,
    ) -> Result<InNetns<C>> {
        let config = (self.validate)(wire, &call)?;
        InNetns::new(Request { call, attachment, netns, config })
    }

    fn network_command(&self, command: Command, call: Call, wire: W) -> Result<()> {
        if command == Command::Status {
            let config = (self.validate)(&wire, &call)?;
            return (self.status)(&Status { call, config });
        }
        match &call.conf.valid_attachments {
            // Collecting without knowing what is in use would cut off running containers.
            ValidAttachments::Unknown => Ok(()),
            ValidAttachments::Known(valid) => {
                let valid = valid.clone();
                (self.gc)(&Gc { call, config: wire, valid })
            }
        }
    }

    fn add(&self, add: InNetns<C>, wire: W) -> Result<Value> {
        let result = (self.add)(&add)?;
        result.to_json(add.call.conf.cni_version).map_err(|error| {
            // A result that cannot be told is a failed ADD, and a failed ADD leaves nothing behind.
            let Request { call, attachment, netns, .. } = add.into_request();
            if let Err(error) = (self.del)(&Request { call, attachment, netns, config: wire }) {
                log::warn(format_args!("cannot take back the ADD: {error}"));
            }
            Error::from(error)
        })
    }

    /// What the host holds for the attachment goes in any case; only then is a namespace that is our own complained of.
    fn del(&self, mut request: Request<W>, vars: &Vars) -> Result<()> {
        if !is_forbidden_netns(request.netns.as_deref(), vars)? {
            return (self.del)(&request);
        }
        request.netns = None;
        (self.del)(&request)?;
        Err(incoming::own_netns_error())
    }
}

/// A complaint of a namespace that is none has the code that says so. Plugins open namespaces by cni-host, which knows no codes.
fn without_netns(mut error: Error, netns: Option<&str>) -> Error {
    let about_netns = |netns: &str| error.0.msg.contains(netns) && !incoming::is_netns(netns);
    if error.code() == ErrorCode::INTERNAL && netns.is_some_and(about_netns) {
        error.0.code = ErrorCode::INVALID_NETNS;
    }
    error
}

fn is_forbidden_netns(netns: Option<&str>, vars: &Vars) -> Result<bool> {
    match netns {
        Some(netns) if !vars.allows_own_netns() => incoming::is_own_netns(netns),
        _ => Ok(false),
    }
}

fn version_info(versions: &[SpecVersion]) -> Value {
    let supported_versions = versions.iter().map(|version| version.as_str().to_owned()).collect();
    VersionInfo { cni_version: NEWEST.as_str().to_owned(), supported_versions }.to_json()
}

fn about(name: &str, versions: &[SpecVersion]) -> String {
    let versions: Vec<&str> = versions.iter().map(|version| version.as_str()).collect();
    format!("CNI {name} plugin v{VERSION}\nCNI protocol versions supported: {}", versions.join(", "))
}

#[cfg(test)]
mod tests;
