//! Every plugin's executable between private namespaces, one module a plugin.

#![allow(clippy::unwrap_used, reason = "what panics here is a test that fails")]

mod advertised_route;
mod bandwidth;
mod bandwidth_life;
mod bandwidth_net;
mod bandwidth_reference;
mod bridge;
mod bridge_failure;
mod bridge_life;
mod bridge_mac;
mod bridge_net;
mod bridge_reference;
mod bridge_vlan;
#[cfg(target_arch = "x86_64")]
mod broken_keys;
mod chain;
mod chain_reference;
mod dhcp;
mod dhcp_lease;
mod dhcp_net;
mod dhcp_reference;
mod dhcp_server;
mod dummy;
mod dummy_reference;
mod dummy_vm;
#[cfg(target_arch = "x86_64")]
mod faults_disk;
#[cfg(target_arch = "x86_64")]
mod faults_kernel;
mod firewall;
mod firewall_firewalld;
mod firewall_iptables;
mod firewall_net;
mod firewall_nftables;
mod firewall_no_bridge;
mod firewall_owners;
mod firewall_policy;
mod firewall_published;
mod firewall_reapply;
mod firewall_reference;
mod firewall_trouble;
mod host_device;
mod host_device_failure;
mod host_device_find;
mod host_device_hostile;
mod host_device_net;
mod host_device_network;
mod host_device_reference;
mod host_device_vm;
mod host_local;
mod host_local_disk;
mod ipam;
#[cfg(target_arch = "x86_64")]
mod ipam_order;
mod ipvlan;
mod ipvlan_life;
mod ipvlan_reference;
#[cfg(target_arch = "x86_64")]
mod killed;
mod large_input;
#[cfg(target_arch = "x86_64")]
mod level;
#[cfg(target_arch = "x86_64")]
mod life;
mod load;
mod load_node;
mod load_work;
mod loopback;
mod macvlan;
mod macvlan_life;
mod macvlan_reference;
mod masquerade;
mod masquerade_owner;
#[cfg(target_arch = "x86_64")]
mod odd_files;
#[cfg(target_arch = "x86_64")]
mod one_executable;
mod others_rules;
mod pages;
mod podman;
mod podman_net;
mod podman_networks;
mod podman_reference;
mod portmap;
mod portmap_flows;
mod portmap_holders;
mod portmap_hostile;
mod portmap_iptables;
mod portmap_life;
mod portmap_localnet;
mod portmap_net;
mod portmap_reference;
mod portmap_rules;
mod portmap_sctp;
mod protocol;
mod ptp;
mod ptp_chain;
mod ptp_failure;
mod ptp_life;
mod ptp_reference;
mod reference;
#[cfg(target_arch = "x86_64")]
mod refused;
#[cfg(target_arch = "x86_64")]
mod ring;
mod sbr;
mod sbr_life;
mod sbr_net;
mod sbr_reference;
mod spoof_check;
mod static_ipam;
mod tap;
mod tap_life;
mod tap_net;
mod tap_reference;
mod tap_selinux_vm;
mod tuning;
mod tuning_chain;
mod tuning_life;
mod tuning_net;
mod tuning_reference;
#[cfg(target_arch = "x86_64")]
mod unheard;
mod uplink;
mod uplink_reference;
mod vlan;
mod vlan_reference;
mod vlan_vm;
mod vrf_reference;
mod vrf_vm;
