//! The plugins, by name.

use cni_plugin::Member;

/// All that there are, in alphabetical order.
pub(crate) const PLUGINS: &[Member] = &[
    Member::new(&cni_bandwidth::PLUGIN),
    Member::new(&cni_bridge::PLUGIN),
    Member::with_daemon(&cni_dhcp_plugin::PLUGIN, cni_dhcp_plugin::daemon),
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

/// The names, in the same order.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PLUGINS.iter().map(|plugin| plugin.name)
}

/// The plugin with this name.
pub(crate) fn find(name: &str) -> Option<&'static Member> {
    PLUGINS.iter().find(|plugin| plugin.name == name)
}
