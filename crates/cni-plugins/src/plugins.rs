//! The plugins, by name.

use std::process::ExitCode;

/// A plugin's name, and its `main`.
pub(crate) type Entry = (&'static str, fn() -> ExitCode);

/// Makes the table from the plugins' own tables.
macro_rules! plugins {
    ($($plugin:path),+ $(,)?) => {
        &[$(($plugin.name, || cni_plugin::main(&$plugin))),+]
    };
}

/// All that there are, in alphabetical order.
pub(crate) const PLUGINS: &[Entry] = plugins![
    cni_bandwidth::PLUGIN,
    cni_bridge::PLUGIN,
    cni_dummy::PLUGIN,
    cni_firewall::PLUGIN,
    cni_host_device::PLUGIN,
    cni_host_local::PLUGIN,
    cni_ipvlan::PLUGIN,
    cni_loopback::PLUGIN,
    cni_macvlan::PLUGIN,
    cni_portmap::PLUGIN,
    cni_ptp::PLUGIN,
    cni_sbr::PLUGIN,
    cni_static::PLUGIN,
    cni_tap::PLUGIN,
    cni_tuning::PLUGIN,
    cni_vlan::PLUGIN,
    cni_vrf::PLUGIN,
];

/// The names, in the same order.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PLUGINS.iter().map(|(name, _)| *name)
}

/// The `main` of the plugin with this name.
pub(crate) fn find(name: &str) -> Option<fn() -> ExitCode> {
    PLUGINS.iter().find(|(known, _)| *known == name).map(|(_, main)| *main)
}
