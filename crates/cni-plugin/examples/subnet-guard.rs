//! Refuses containers whose addresses lie outside the allowed subnets.

use cni_plugin::types::{CniResult, SpecVersion};
use cni_plugin::{Call, Error, Plugin, Request, Result};
use ipnet::IpNet;

const PLUGIN: Plugin<Config, Vec<IpNet>> = Plugin {
    name: "subnet-guard",
    versions: SpecVersion::ALL,
    read: Call::read,
    validate: |config, _| match config.allowed.is_empty() {
        true => Err(Error::config("allowed: no container could have an address")),
        false => Ok(config.allowed.clone()),
    },
    add: |req| inspect(req).cloned(),
    check: |req| inspect(req).map(drop),
    del: |_| Ok(()),
    gc: |_| Ok(()),
    status: |_| Ok(()),
};

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Config {
    allowed: Vec<IpNet>,
}

fn inspect(req: &Request<Vec<IpNet>>) -> Result<&CniResult> {
    let result = req.prev_result()?;
    let stray = |ip: &IpNet| !req.config.iter().any(|subnet| subnet.contains(ip));
    match result.ips.iter().find(|ip| stray(&ip.address)) {
        Some(ip) => Err(Error::failed(format!("address {} is in none of the allowed subnets", ip.address))),
        None => Ok(result),
    }
}

fn main() -> std::process::ExitCode {
    cni_plugin::main(&PLUGIN)
}
