//! The plugins, by name.

use std::io::Write;
use std::process::ExitCode;

use cni_plugin::Member;

/// All that there are, in alphabetical order.
pub(crate) const PLUGINS: &[Member] = &[
    Member::new(&cni_bandwidth::PLUGIN),
    Member::new(&cni_bridge::PLUGIN),
    Member::with_daemon(&cni_dhcp_plugin::PLUGIN, no_daemon),
    Member::new(&cni_dummy::PLUGIN),
    Member::new(&cni_firewall::PLUGIN),
    Member::new(&cni_host_device::PLUGIN),
    Member::new(&cni_host_local::PLUGIN),
    Member::new(&cni_ipvlan::PLUGIN),
    Member::new(&cni_loopback::PLUGIN),
    Member::new(&cni_macvlan::PLUGIN),
    Member::new(&cni_portmap::PLUGIN),
    Member::new(&cni_ptp::PLUGIN),
    Member::new(&cni_sbr::PLUGIN),
    Member::new(&cni_static::PLUGIN),
    Member::new(&cni_tap::PLUGIN),
    Member::new(&cni_tuning::PLUGIN),
    Member::new(&cni_vlan::PLUGIN),
    Member::new(&cni_vrf::PLUGIN),
];

/// dhcp's daemon runs on and is one file however it is installed; here it would be an eighth of what every other plugin is.
fn no_daemon(_: &[String]) -> ExitCode {
    let text = "dhcp daemon: this executable is all plugins and has no daemon; run that of the executable which is dhcp alone\n";
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::FAILURE
}

/// The names, in the same order.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PLUGINS.iter().map(|plugin| plugin.name)
}

/// The plugin with this name.
pub(crate) fn find(name: &str) -> Option<&'static Member> {
    PLUGINS.iter().find(|plugin| plugin.name == name)
}
