//! The configuration: as it is written, then validated.
//!
//! DEL and GC have no use for it, so its error waits until ADD, CHECK or STATUS asks for what is in it.

use std::net::IpAddr;

use cni_plugin::{Call, Error, Result};
use cni_types::{Dns, ErrorCode, Route, SpecVersion, parse_address, parse_network};
use ipnet::IpNet;
use serde::Deserialize;

/// The plugin's validated configuration.
#[derive(Debug)]
pub struct Config {
    settings: Result<Settings, (ErrorCode, String)>,
}

/// What to hand out.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Each with its gateway.
    pub(crate) addresses: Vec<(IpNet, Option<IpAddr>)>,
    pub(crate) routes: Vec<Route>,
    pub(crate) dns: Dns,
}

/// The parts of standard input that are read here.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    ipam: Option<IpamConf>,
    runtime_config: RuntimeConf,
    args: ArgsConf,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IpamConf {
    addresses: Vec<AddressConf>,
    routes: Vec<Route>,
    dns: Dns,
}

/// One address as written; it stays text here, for errors that say which of them is wrong.
#[derive(Default, Deserialize)]
#[serde(default, expecting = "an object with address and gateway")]
struct AddressConf {
    address: Option<String>,
    gateway: Option<String>,
}

/// Capability arguments.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RuntimeConf {
    ips: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ArgsConf {
    cni: CniArgsConf,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CniArgsConf {
    ips: Vec<String>,
}

impl Config {
    pub(crate) fn new(call: &Call) -> Result<Self> {
        Ok(Config { settings: Settings::new(call).map_err(|error| (error.code(), error.to_string())) })
    }

    /// What to hand out, or what is wrong with the configuration.
    pub(crate) fn settings(&self) -> Result<&Settings> {
        self.settings.as_ref().map_err(|(code, text)| Error::new(*code, text.as_str()))
    }
}

impl Settings {
    fn new(call: &Call) -> Result<Self> {
        let wire: Wire = call.read()?;
        let Some(ipam) = wire.ipam else {
            return Err(Error::config("ipam: missing; static has its addresses there"));
        };
        call.args.expect_only(&["IP", "GATEWAY"])?;

        // Whoever speaks last decides: the runtime's addresses replace all, `args` replaces all but those, and CNI_ARGS adds
        // to what is configured.
        let addresses = if !wire.runtime_config.ips.is_empty() {
            replacing("runtimeConfig.ips", &wire.runtime_config.ips)?
        } else if !wire.args.cni.ips.is_empty() {
            replacing("args.cni.ips", &wire.args.cni.ips)?
        } else {
            let configured = ipam.addresses.iter().enumerate().map(|(i, address)| configured(i, address));
            let mut addresses = configured.collect::<Result<Vec<_>>>()?;
            addresses.extend(from_cni_args(call)?);
            addresses
        };
        check_families(&addresses, call.conf.cni_version)?;
        Ok(Settings { addresses, routes: ipam.routes, dns: ipam.dns })
    }
}

fn configured(index: usize, conf: &AddressConf) -> Result<(IpNet, Option<IpAddr>)> {
    let place = format!("ipam.addresses[{index}]");
    let text =
        conf.address.as_deref().ok_or_else(|| Error::config(format!("{place}: address is missing")))?;
    let address = network(text).ok_or_else(|| not_cidr(&format!("{place}.address"), text))?;
    let gateway = match conf.gateway.as_deref() {
        None | Some("") => None,
        Some(text) => Some(parse_address(text).ok_or_else(|| not_ip(&format!("{place}.gateway"), text))?),
    };
    Ok((address, gateway))
}

/// These have no gateways.
fn replacing(key: &str, addresses: &[String]) -> Result<Vec<(IpNet, Option<IpAddr>)>> {
    let parse = |(i, text): (usize, &String)| match network(text) {
        Some(address) => Ok((address, None)),
        None => Err(not_cidr(&format!("{key}[{i}]"), text)),
    };
    addresses.iter().enumerate().map(parse).collect()
}

/// `IP=10.1.0.5/16,2001:db8::5/64;GATEWAY=10.1.0.1,2001:db8::1`: a gateway goes with the addresses of `IP` whose network
/// it is in, the last one if there are several; one that is in none is left out, as the reference does.
fn from_cni_args(call: &Call) -> Result<Vec<(IpNet, Option<IpAddr>)>> {
    let list = |key: &str| {
        call.args.get(key).filter(|list| !list.is_empty()).map(|list| list.split(',').map(str::trim))
    };
    let mut addresses = Vec::new();
    for text in list("IP").into_iter().flatten() {
        addresses.push((network(text).ok_or_else(|| not_cidr("IP in CNI_ARGS", text))?, None));
    }
    for text in list("GATEWAY").into_iter().flatten() {
        let gateway = parse_address(text).ok_or_else(|| not_ip("GATEWAY in CNI_ARGS", text))?;
        for (_, of) in addresses.iter_mut().filter(|(address, _)| address.contains(&gateway)) {
            *of = Some(gateway);
        }
    }
    Ok(addresses)
}

/// Results of before 0.3.0 have room for one address of each family.
fn check_families(addresses: &[(IpNet, Option<IpAddr>)], version: SpecVersion) -> Result<()> {
    let ipv4 = addresses.iter().filter(|(address, _)| address.addr().is_ipv4()).count();
    if version < SpecVersion::V0_3_0 && (ipv4 > 1 || addresses.len() - ipv4 > 1) {
        return Err(Error::config(format!(
            "CNI version {version} does not support more than 1 address per family"
        )));
    }
    Ok(())
}

/// An IPv4 address in IPv6 form with a shorter prefix than that form has itself would be neither.
fn network(text: &str) -> Option<IpNet> {
    parse_network(text).filter(|network| network.addr() == network.addr().to_canonical())
}

fn not_cidr(place: &str, text: &str) -> Error {
    Error::config(format!("{place}: {text:?} is not an address with a prefix length, as in 10.1.0.5/16"))
}

fn not_ip(place: &str, text: &str) -> Error {
    Error::config(format!("{place}: {text:?} is not an IP address"))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
