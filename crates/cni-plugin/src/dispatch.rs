//! From the process's environment to a plugin's function and back to standard output.

use std::io::Read;
use std::process::ExitCode;
use std::time::Instant;

use cni_types::{CniError, CniResult, ErrorCode, SpecVersion, ValidAttachments, VersionInfo};
use serde_json::Value;

use crate::incoming::{self, Command};
use crate::vars::Vars;
use crate::{Attachment, Call, Error, Request, Result, log, panic, process, request};

/// The version in a plugin's banner: the release of the reference's plugins that ours stand in for, and our own as its build
/// metadata. Programs that run a plugin without CNI_COMMAND (nerdctl, Nomad) switch features by the first version that it
/// prints.
pub const VERSION: &str = concat!("1.10.0+rs.", env!("CARGO_PKG_VERSION"));

/// The newest version of the specification, which the reference answers to VERSION.
const NEWEST: SpecVersion = SpecVersion::V1_1_0;

/// A plugin: its name and its functions. There are no defaults, so that a missing GC does not compile.
/// `C` is the plugin's own validated configuration.
pub struct Plugin<C> {
    /// The name of its executable, as in the banner.
    pub name: &'static str,
    /// The specification's versions it can speak, oldest first.
    pub versions: &'static [SpecVersion],
    /// Validates the configuration, before any other function is called.
    pub config: fn(&Call) -> Result<C>,
    /// Attaches the container; the result is printed in the version of the configuration.
    pub add: fn(&Request<C>) -> Result<CniResult>,
    /// Compares what is there with prevResult; an error says what differs.
    pub check: fn(&Request<C>) -> Result<()>,
    /// Removes what ADD made, as far as it is still there.
    pub del: fn(&Request<C>) -> Result<()>,
    /// Removes what belongs to this network and to none of the valid attachments ([`Call::conf`]).
    /// Not called at all when the request does not say which are valid.
    pub gc: fn(&Call, &C) -> Result<()>,
    /// Says whether an ADD could succeed now.
    pub status: fn(&Call, &C) -> Result<()>,
}

/// Runs the plugin as this process: reads `CNI_*` and standard input, prints a result or an error, returns the exit code.
pub fn main<C>(plugin: &Plugin<C>) -> ExitCode {
    process::run(|vars, stdin| plugin.answer(vars, stdin))
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

impl<C> Answers for Plugin<C> {
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

impl<C> Plugin<C> {
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

        let config = (self.config)(&call)?;
        let Some(attachment) = attachment else {
            self.network_command(command, &call, &config)?;
            return Ok(Answer::Nothing);
        };
        let mut request = Request { call, attachment, config };
        match command {
            Command::Add => {
                let added = self.add(&request, vars).map(Answer::Output);
                return added.map_err(|error| without_netns(error, &request.attachment));
            }
            Command::Check => {
                (self.check)(&request).map_err(|error| without_netns(error, &request.attachment))?;
            }
            _ => self.del(&mut request, vars)?,
        }
        Ok(Answer::Nothing)
    }

    fn network_command(&self, command: Command, call: &Call, config: &C) -> Result<()> {
        if command == Command::Status {
            return (self.status)(call, config);
        }
        match call.conf.valid_attachments {
            // Collecting without knowing what is in use would cut off running containers.
            ValidAttachments::Unknown => Ok(()),
            ValidAttachments::Known(_) => (self.gc)(call, config),
        }
    }

    fn add(&self, request: &Request<C>, vars: &Vars) -> Result<Value> {
        if is_forbidden_netns(&request.attachment, vars)? {
            return Err(incoming::own_netns_error());
        }
        let result = (self.add)(request)?;
        result.to_json(request.call.conf.cni_version).map_err(|error| {
            // A result that cannot be told is a failed ADD, and a failed ADD leaves nothing behind.
            if let Err(error) = (self.del)(request) {
                log::warn(format_args!("cannot take back the ADD: {error}"));
            }
            Error::from(error)
        })
    }

    /// What the host holds for the attachment goes in any case; only then is a namespace that is our own complained of.
    fn del(&self, request: &mut Request<C>, vars: &Vars) -> Result<()> {
        if !is_forbidden_netns(&request.attachment, vars)? {
            return (self.del)(request);
        }
        request.attachment.netns = None;
        (self.del)(request)?;
        Err(incoming::own_netns_error())
    }
}

/// A complaint of a namespace that is none has the code that says so. Plugins open namespaces by cni-host, which knows no codes.
fn without_netns(mut error: Error, attachment: &Attachment) -> Error {
    let about_netns = |netns: &str| error.0.msg.contains(netns) && !incoming::is_netns(netns);
    if error.code() == ErrorCode::INTERNAL && attachment.netns.as_deref().is_some_and(about_netns) {
        error.0.code = ErrorCode::INVALID_NETNS;
    }
    error
}

fn is_forbidden_netns(attachment: &Attachment, vars: &Vars) -> Result<bool> {
    match &attachment.netns {
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
