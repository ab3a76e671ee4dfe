//! The plugins, by name.

use std::process::ExitCode;

/// A plugin's name, and its `main`.
pub(crate) type Entry = (&'static str, fn() -> ExitCode);

/// Makes the table from the plugins' libraries.
macro_rules! plugins {
    ($($library:ident),+ $(,)?) => {
        &[$(($library::PLUGIN.name, || cni_plugin::main(&$library::PLUGIN))),+]
    };
}

/// All that there are, in alphabetical order.
pub(crate) const PLUGINS: &[Entry] = plugins![
    cni_bandwidth,
    cni_bridge,
    cni_dummy,
    cni_firewall,
    cni_host_device,
    cni_host_local,
    cni_ipvlan,
    cni_loopback,
    cni_macvlan,
    cni_portmap,
    cni_ptp,
    cni_sbr,
    cni_static,
    cni_tap,
    cni_tuning,
    cni_vlan,
    cni_vrf,
];

/// The names, in the same order.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PLUGINS.iter().map(|(name, _)| *name)
}

/// The `main` of the plugin with this name.
pub(crate) fn find(name: &str) -> Option<fn() -> ExitCode> {
    PLUGINS.iter().find(|(known, _)| *known == name).map(|(_, main)| *main)
}
