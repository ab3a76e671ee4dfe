//! Every plugin's executable between private namespaces, one module a plugin.

#![allow(clippy::unwrap_used, reason = "what panics here is a test that fails")]

mod advertised_route;
mod bandwidth;
mod bridge;
#[cfg(target_arch = "x86_64")]
mod broken_keys;
mod chain;
mod dhcp;
mod dummy;
#[cfg(target_arch = "x86_64")]
mod faults_disk;
#[cfg(target_arch = "x86_64")]
mod faults_kernel;
mod firewall;
mod host_device;
mod host_local;
mod ipam;
#[cfg(target_arch = "x86_64")]
mod ipam_order;
mod ipvlan;
#[cfg(target_arch = "x86_64")]
mod killed;
mod large_input;
#[cfg(target_arch = "x86_64")]
mod level;
#[cfg(target_arch = "x86_64")]
mod life;
mod load;
mod loopback;
mod macvlan;
mod masquerade;
#[cfg(target_arch = "x86_64")]
mod odd_files;
#[cfg(target_arch = "x86_64")]
mod one_executable;
mod others_rules;
mod pages;
mod podman;
mod portmap;
mod protocol;
mod ptp;
mod reference;
#[cfg(target_arch = "x86_64")]
mod refused;
#[cfg(target_arch = "x86_64")]
mod ring;
mod sbr;
mod spoof_check;
mod static_ipam;
mod tap;
mod tuning;
#[cfg(target_arch = "x86_64")]
mod unheard;
mod uplink;
mod vlan;
mod vrf;
