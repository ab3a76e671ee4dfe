//! Refuses containers whose addresses lie outside the allowed subnets.

use cni_plugin::types::{CniResult, SpecVersion};
use cni_plugin::{Call, Error, Plugin, Request, Result};

const PLUGIN: Plugin<Config> = Plugin {
    name: "subnet-guard",
    versions: SpecVersion::ALL,
    config: Call::read,
    add: |req| inspect(req).cloned(),
    check: |req| inspect(req).map(drop),
    del: |_| Ok(()),
    gc: |_, _| Ok(()),
    status: |_, _| Ok(()),
};

#[derive(serde::Deserialize)]
struct Config {
    allowed: Vec<ipnet::IpNet>,
}

fn inspect(req: &Request<Config>) -> Result<&CniResult> {
    let result = req.prev_result()?;
    let stray = |ip: &ipnet::IpNet| !req.config.allowed.iter().any(|subnet| subnet.contains(ip));
    match result.ips.iter().find(|ip| stray(&ip.address)) {
        Some(ip) => Err(Error::failed(format!("address {} is in none of the allowed subnets", ip.address))),
        None => Ok(result),
    }
}

fn main() -> std::process::ExitCode {
    cni_plugin::main(&PLUGIN)
}
