//! Says which features that some tests need the running kernel has, a line each: `has <name>` or `lacks <name>`.
//! `cargo xtask test` runs it in its private namespace, and tests name the features as here:
//! `#[ignore = "needs a kernel with bridge VLAN filtering: ..."]`.
//!
//! Each feature is tried, not looked up: not every kernel tells its configuration, and a module may be missing.

#![allow(clippy::print_stdout, reason = "it is read by xtask")]

use cni_netlink::{NewBridge, Result, Socket};

type Probe = fn(&mut Socket) -> Result<bool>;

const FEATURES: &[(&str, Probe)] = &[("bridge VLAN filtering", bridges_filter_vlans)];

fn main() -> std::process::ExitCode {
    let host = cni_testing::Host::new();
    let found = Socket::open().and_then(|mut socket| {
        FEATURES.iter().try_for_each(|(name, probe)| {
            println!("{} {name}", if probe(&mut socket)? { "has" } else { "lacks" });
            Ok(())
        })
    });
    drop(host);
    match found {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot try what the kernel can: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// Without it the setting is refused, or taken and not kept.
fn bridges_filter_vlans(socket: &mut Socket) -> Result<bool> {
    let bridge = NewBridge { name: "probe", mac: None, mtu: None, vlan_filtering: true };
    match socket.link_add_bridge(&bridge) {
        Ok(()) => Ok(socket.link_by_name("probe")?.vlan_filtering == Some(true)),
        Err(_) => Ok(false),
    }
}
