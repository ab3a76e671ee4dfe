//! Every plugin's executable between private namespaces, one module a plugin.

#![allow(clippy::unwrap_used, reason = "what panics here is a test that fails")]

mod bridge;
mod bridge_failure;
mod bridge_life;
mod bridge_net;
mod bridge_reference;
mod bridge_vlan;
mod chain;
mod firewall;
mod firewall_firewalld;
mod firewall_iptables;
mod firewall_net;
mod firewall_nftables;
mod firewall_policy;
mod firewall_reference;
mod host_device;
mod host_device_failure;
mod host_device_find;
mod host_device_net;
mod host_device_reference;
mod host_device_vm;
mod host_local;
mod host_local_disk;
mod ipam;
mod ipvlan;
mod ipvlan_life;
mod ipvlan_reference;
mod loopback;
mod macvlan;
mod macvlan_life;
mod macvlan_reference;
mod masquerade;
mod podman;
mod portmap;
mod portmap_life;
mod portmap_net;
mod portmap_reference;
mod portmap_rules;
mod portmap_sctp;
mod protocol;
mod spoof_check;
mod static_ipam;
mod uplink;
