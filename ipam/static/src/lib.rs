//! static: hands out the addresses that its configuration, the network's user or the runtime names.
//!
//! Plugins that make interfaces run it as their `ipam` where addresses are planned by hand or by somebody above. It keeps
//! no state and knows of nobody else: two attachments with one configuration get the same addresses.

use cni_plugin::{Add, Check, Del, Error, Gc, Plugin, Result, Status};
use cni_types::{CniResult, IpConfig, SpecVersion};

mod config;

pub use config::{Settings, Wire};

/// The plugin's table of functions.
pub const PLUGIN: Plugin<(), Settings> = Plugin {
    name: "static",
    versions: SpecVersion::ALL,
    read: |_| Ok(()),
    validate: |(), call| Settings::new(call),
    add,
    check,
    del,
    gc,
    status,
};

fn add(req: &Add<Settings>) -> Result<CniResult> {
    let settings = &req.config;
    let ip = |&(address, gateway)| IpConfig { interface: None, address, gateway };
    Ok(CniResult {
        interfaces: Vec::new(),
        ips: settings.addresses.iter().map(ip).collect(),
        routes: settings.routes.clone(),
        dns: settings.dns.clone(),
    })
}

/// Compares the gateways. An address that prevResult lacks is no error, as it is none for the reference: a later plugin of the
/// chain may have put another result in its place, and the plugin that made the interface looks at what is really there.
fn check(req: &Check<Settings>) -> Result<()> {
    let settings = &req.config;
    let result = req.prev_result()?;
    for (address, gateway) in &settings.addresses {
        let Some(expected) = gateway else { continue };
        let mut found = result.ips.iter().filter(|ip| ip.address.addr() == address.addr()).peekable();
        let Some(first) = found.peek().map(|ip| ip.gateway) else { continue };
        if !found.any(|ip| ip.gateway == Some(*expected)) {
            let first = first.map_or("none".to_owned(), |gateway| gateway.to_string());
            return Err(Error::failed(format!(
                "gateway of address {} on interface {} is {first} in prevResult, {expected} in the configuration",
                address.addr(),
                req.attachment.ifname,
            )));
        }
    }
    Ok(())
}

/// Nothing was taken, so there is nothing to give back.
fn del(_: &Del<()>) -> Result<()> {
    Ok(())
}

/// Nothing is kept for any attachment, so nothing can be left over.
fn gc(_: &Gc<()>) -> Result<()> {
    Ok(())
}

/// Addresses do not run out here: an ADD succeeds whenever the configuration can be read.
fn status(_: &Status<Settings>) -> Result<()> {
    Ok(())
}
