//! dhcp: asks a DHCP server for the address, through the container's own interface.
//!
//! A lease has to be renewed while the container runs, which a plugin that lives for milliseconds cannot. So the plugin calls a
//! daemon, the same executable as `dhcp daemon`, over a Unix socket, and the daemon has the leases. Plugin and daemon each work with
//! the reference's other half.

mod call;
mod config;
mod daemon;

use std::path::Path;
use std::time::Duration;

use call::{CHECK, CallError, GC, call};
use cni_dhcp::rpc::{ALLOCATE, CmdArgs, RELEASE};
use cni_plugin::{Add, Call, Check, Context, Del, Error, Gc, Plugin, Request, Result, Status, log};
use cni_types::{CniResult, SpecVersion};
use serde_json::json;

pub use config::{Config, Wire};
pub use daemon::daemon;

/// How long the daemon may take for what needs no server's answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The plugin's table of functions.
pub const PLUGIN: Plugin<Wire, Config> = Plugin {
    name: "dhcp",
    versions: SpecVersion::ALL,
    read: Call::read,
    validate: |wire, _| wire.validate(&cni_plugin::environment("CNI_ARGS")),
    add,
    check,
    del,
    gc,
    status,
};

/// As long as the daemon tries: its flags say how long that is.
fn add(req: &Add<Config>) -> Result<CniResult> {
    let args = args(req, Some(req.netns()))?;
    let result = call(&req.config.socket, ALLOCATE, &args, None)
        .with_context(|| format!("cannot get a lease for {}", req.attachment.ifname))?;
    Ok(req.config.shape.apply(result))
}

/// The lease must be there and be of the address that the container was given.
fn check(req: &Check<Config>) -> Result<()> {
    let args = args(req, Some(req.netns()))?;
    let socket = &req.config.socket;
    let ask = |method| call(socket, method, &args, Some(PATIENCE));
    let held = match ask(CHECK) {
        // The reference's has the same method for both, and answers at once where it has the lease.
        Err(error) if error.is_unknown_method() => ask(ALLOCATE),
        answer => answer,
    };
    let ifname = &req.attachment.ifname;
    let held = held.with_context(|| format!("cannot check the lease of {ifname}"))?;
    let Some(ours) = held.ips.first() else {
        return Err(Error::failed(format!("the DHCP daemon at {} has no address", socket.display())));
    };
    let told = req.prev_result()?;
    if told.ips.iter().any(|ip| ip.address == ours.address) {
        return Ok(());
    }
    let told: Vec<String> = told.ips.iter().map(|ip| ip.address.to_string()).collect();
    let told = if told.is_empty() { "no address".to_owned() } else { told.join(", ") };
    Err(Error::failed(format!("the lease of {ifname} is {} and prevResult has {told}", ours.address)))
}

/// Where no daemon is there nobody can release the lease now; ours does when it starts and finds the interface gone.
fn del(req: &Del<Wire>) -> Result<()> {
    let args = args(req, req.netns.as_deref())?;
    let released = call(&req.config.socket(), RELEASE, &args, Some(PATIENCE));
    let ifname = &req.attachment.ifname;
    match released {
        Err(error) if error.is_dial() => {
            log::warn(format_args!("cannot release the lease of {ifname}: {error}"));
            Ok(())
        }
        released => released.map(drop).with_context(|| format!("cannot release the lease of {ifname}")),
    }
}

/// A daemon that is not there keeps no leases, and the reference's knows no GC.
fn gc(req: &Gc<Wire>) -> Result<()> {
    // What the daemon needs of it: the whole may be longer than it takes.
    let conf = json!({
        "cniVersion": req.call.conf.cni_version.as_str(),
        "name": req.call.conf.name.as_str(),
        "cni.dev/valid-attachments": req.valid,
    });
    let args = CmdArgs { stdin: conf.to_string().into_bytes(), ..CmdArgs::default() };
    match call(&req.config.socket(), GC, &args, Some(PATIENCE)) {
        Err(error) if error.is_unknown_method() => Ok(()),
        Err(error @ CallError::Dial { .. }) => {
            log::warn(format_args!("cannot release leases: {error}"));
            Ok(())
        }
        answer => answer.map(drop).context("cannot release leases"),
    }
}

/// Whether a daemon listens; whether a server answers shows when it is asked.
fn status(req: &Status<Config>) -> Result<()> {
    call::dial(&req.config.socket).map(drop).map_err(Error::unavailable)
}

fn args<C>(req: &Request<C>, netns: Option<&str>) -> Result<CmdArgs> {
    // The daemon's working directory may be another.
    let absolute = |netns: &str| std::path::absolute(Path::new(netns));
    let netns = netns.map(absolute).transpose().context("cannot make CNI_NETNS an absolute path")?;
    Ok(CmdArgs {
        container_id: req.attachment.container_id.as_str().to_owned(),
        netns: netns.map(|path| path.display().to_string()).unwrap_or_default(),
        ifname: req.attachment.ifname.as_str().to_owned(),
        args: cni_plugin::environment("CNI_ARGS"),
        path: cni_plugin::environment("CNI_PATH"),
        netns_override: String::new(),
        stdin: req.call.stdin.clone(),
    })
}
