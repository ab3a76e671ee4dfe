//! From environment variables and standard input to validated values, before any function of a plugin runs.

use std::fmt::Write as _;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use cni_types::{
    CniArgs, ConfError, ContainerId, ErrorCode, IfName, InvalidName, PluginConf, SpecVersion, UnknownVersion,
};

use crate::vars::Vars;
use crate::{Attachment, Call, Error, Result};

/// The most that is read of standard input, in bytes. Configurations are kilobytes; GC's list of attachments on a full node
/// is some hundred kilobytes.
const MAX_INPUT: u64 = 16 << 20;

/// `CNI_COMMAND`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Add,
    Check,
    Del,
    Gc,
    Status,
    Version,
}

impl Command {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "ADD" => Command::Add,
            "CHECK" => Command::Check,
            "DEL" => Command::Del,
            "GC" => Command::Gc,
            "STATUS" => Command::Status,
            "VERSION" => Command::Version,
            _ => return Err(environment(format!("unknown CNI_COMMAND: {text}"))),
        })
    }

    /// The oldest version of the specification that has it, and its name.
    fn since(self) -> (SpecVersion, &'static str) {
        match self {
            Command::Add => (SpecVersion::V0_1_0, "ADD"),
            Command::Del => (SpecVersion::V0_1_0, "DEL"),
            Command::Version => (SpecVersion::V0_2_0, "VERSION"),
            Command::Check => (SpecVersion::V0_4_0, "CHECK"),
            Command::Gc => (SpecVersion::V1_1_0, "GC"),
            Command::Status => (SpecVersion::V1_1_0, "STATUS"),
        }
    }

    /// Whether it is about one attachment.
    fn has_attachment(self) -> bool {
        matches!(self, Command::Add | Command::Check | Command::Del)
    }
}

fn environment(msg: impl Into<String>) -> Error {
    Error::new(ErrorCode::INVALID_ENVIRONMENT, msg)
}

/// Refuses a request that lacks a variable, naming all that are missing.
pub(crate) fn require(command: Command, vars: &Vars) -> Result<()> {
    let netns_needed = matches!(command, Command::Add | Command::Check);
    let required = [
        ("CNI_CONTAINERID", command.has_attachment(), vars.container_id.is_empty()),
        ("CNI_NETNS", netns_needed, vars.netns.is_empty()),
        ("CNI_IFNAME", command.has_attachment(), vars.ifname.is_empty()),
        ("CNI_PATH", command != Command::Version, vars.path.is_empty()),
    ];
    let missing: Vec<&str> =
        required.iter().filter(|(_, needed, empty)| *needed && *empty).map(|(name, ..)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(environment(format!("required env variables [{}] missing", missing.join(","))))
}

/// Refuses to be a delegate of oneself, by whatever name one was called.
pub(crate) fn expect_new_delegate(plugin: &str, vars: &Vars) -> Result<()> {
    if delegators(vars).any(|delegator| delegator == plugin) {
        let ring = vars.delegators.replace(',', ", ");
        return Err(Error::config(format!(
            "ipam: {plugin} is asked by itself to be the IPAM plugin, through {ring}"
        )));
    }
    Ok(())
}

fn delegators(vars: &Vars) -> impl Iterator<Item = &str> {
    vars.delegators.split(',').filter(|name| !name.is_empty())
}

/// Whom ADD, CHECK or DEL are about; `None` for the other commands.
pub(crate) fn attachment(command: Command, vars: &Vars) -> Result<Option<Attachment>> {
    if !command.has_attachment() {
        return Ok(None);
    }
    let invalid = |variable: &str, error: InvalidName| environment(format!("{variable}: {error}"));
    Ok(Some(Attachment {
        container_id: ContainerId::new(&*vars.container_id).map_err(|e| invalid("CNI_CONTAINERID", e))?,
        ifname: IfName::new(&*vars.ifname).map_err(|e| invalid("CNI_IFNAME", e))?,
        netns: Some(vars.netns.clone()).filter(|path| !path.is_empty()),
    }))
}

/// Reads standard input to its end.
pub(crate) fn read_input(stdin: &mut dyn Read) -> Result<Vec<u8>> {
    let mut input = Vec::with_capacity(8192);
    stdin.take(MAX_INPUT + 1).read_to_end(&mut input).map_err(|error| {
        Error::new(
            ErrorCode::IO_FAILURE,
            format!("cannot read the configuration from standard input: {error}"),
        )
    })?;
    if input.len() as u64 > MAX_INPUT {
        let msg = format!("cannot read the configuration: standard input is larger than {MAX_INPUT} bytes");
        return Err(Error::new(ErrorCode::IO_FAILURE, msg));
    }
    Ok(input)
}

/// Reads the configuration. A version that nobody knows is refused as one that the plugin does not speak.
pub(crate) fn configuration(command: Command, input: &[u8], versions: &[SpecVersion]) -> Result<PluginConf> {
    if let Err(error) = std::str::from_utf8(input) {
        let msg =
            format!("network configuration is not UTF-8: invalid byte at offset {}", error.valid_up_to());
        return Err(Error::new(ErrorCode::DECODING_FAILURE, msg));
    }
    let read = match command {
        Command::Del => PluginConf::for_del(input),
        Command::Gc => PluginConf::for_gc(input),
        _ => PluginConf::from_slice(input),
    };
    read.map_err(|error| match error {
        ConfError::Version(UnknownVersion(version)) => incompatible(&version, versions),
        ConfError::Syntax(error) => {
            Error::new(ErrorCode::DECODING_FAILURE, format!("network configuration is not JSON: {error}"))
        }
        error => Error::from(error),
    })
}

/// Checks that the command and the plugin go with the configuration's version.
pub(crate) fn negotiate(command: Command, conf: SpecVersion, versions: &[SpecVersion]) -> Result<()> {
    let (since, name) = command.since();
    if conf < since {
        let msg = format!("config version does not allow {name}");
        let details = format!("config is {:?}, {name} came with {since}", conf.as_str());
        return Err(Error::new(ErrorCode::INCOMPATIBLE_CNI_VERSION, msg).details(details));
    }
    if !versions.contains(&conf) {
        return Err(incompatible(conf.as_str(), versions));
    }
    Ok(())
}

/// Puts together what every function of a plugin gets.
pub(crate) fn call(command: Command, vars: &Vars, plugin: &str, conf: PluginConf, input: Vec<u8>) -> Call {
    // GC and STATUS are about no container, and no plugin reads arguments then.
    let args = if command.has_attachment() { CniArgs::parse(&vars.args) } else { CniArgs::default() };
    let path = std::env::split_paths(&vars.path).filter(|folder| !folder.as_os_str().is_empty()).collect();
    let delegators = delegators(vars).chain([plugin]).map(str::to_owned).collect();
    Call { conf, args, path, stdin: input, delegators }
}

fn incompatible(config: &str, versions: &[SpecVersion]) -> Error {
    let mut supported = String::new();
    for version in versions {
        let separator = if supported.is_empty() { "" } else { " " };
        let _ = write!(supported, "{separator}\"{version}\"");
    }
    Error::new(ErrorCode::INCOMPATIBLE_CNI_VERSION, "incompatible CNI versions")
        .details(format!("config is {config:?}, plugin supports [{supported}]"))
}

/// Whether `CNI_NETNS` is the namespace that this thread is in. A path that cannot be looked at is not: the plugin will say
/// what is wrong with it, and DEL goes without.
pub(crate) fn is_own_netns(path: &str) -> Result<bool> {
    let Ok(theirs) = std::fs::metadata(path) else {
        return Ok(false);
    };
    const OWN: &str = "/proc/thread-self/ns/net";
    let ours = std::fs::metadata(OWN).map_err(|error| {
        let msg = format!("cannot compare CNI_NETNS with the plugin's netns: cannot look at {OWN}: {error}");
        Error::new(ErrorCode::INVALID_NETNS, msg)
    })?;
    Ok((theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()))
}

/// Whether `CNI_NETNS` names a namespace at all. All of them are of one file system, nsfs, as our own is.
pub(crate) fn is_netns(path: &str) -> bool {
    let device = |path: &str| std::fs::metadata(path).map(|file| file.dev());
    match (device(path), device("/proc/thread-self/ns/net")) {
        (Ok(theirs), Ok(ours)) => theirs == ours,
        (Err(_), _) => false,
        // Nobody can tell.
        (Ok(_), Err(_)) => true,
    }
}

/// The answer to a `CNI_NETNS` that is the plugin's own, in the reference's words.
pub(crate) fn own_netns_error() -> Error {
    Error::new(ErrorCode::INVALID_NETNS, "plugin's netns and netns from CNI_NETNS should not be the same")
}
