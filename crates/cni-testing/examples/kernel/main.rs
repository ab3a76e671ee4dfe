//! Says which features that some tests need the running kernel has, a line each: `has <name>` or `lacks <name>`.
//! `cargo xtask test` runs it in its private namespace, and tests name the features as here:
//! `#[ignore = "needs a kernel with bridge VLAN filtering: ..."]`.
//!
//! Each feature is tried, not looked up: not every kernel tells its configuration, and a module may be missing.

#![allow(clippy::print_stdout, reason = "it is read by xtask")]

use cni_netlink::{IpvlanMode, LinkKind, NewBridge, NewLink, Parent, Result, Socket};

type Probe = fn(&mut Socket) -> Result<bool>;

const FEATURES: &[(&str, Probe)] = &[
    ("bridge VLAN filtering", bridges_filter_vlans),
    ("dummy", |socket| can_make(socket, LinkKind::Dummy)),
    ("vlan", |socket| can_make(socket, LinkKind::Vlan { id: 5 })),
    ("ipvlan", |socket| can_make(socket, LinkKind::Ipvlan { mode: IpvlanMode::L2 })),
    ("vrf", |socket| can_make(socket, LinkKind::Vrf { table: 5 })),
    ("ifb", |socket| can_make(socket, LinkKind::Ifb)),
    ("two unused network cards", |_| Ok(has_unused_cards())),
];

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

/// A link of that kind, on a bridge where it stands on another link.
fn can_make(socket: &mut Socket, kind: LinkKind) -> Result<bool> {
    let master = "master";
    let index = match socket.link_by_name(master) {
        Ok(link) => link.index,
        Err(_) => {
            socket.link_add_bridge(&NewBridge {
                name: master,
                mac: None,
                mtu: None,
                vlan_filtering: false,
            })?;
            socket.link_by_name(master)?.index
        }
    };
    let stands_alone = matches!(kind, LinkKind::Dummy | LinkKind::Ifb | LinkKind::Vrf { .. });
    let parent = (!stands_alone).then_some(Parent { index, netnsid: None });
    Ok(socket.link_add(&NewLink { name: kind.name(), kind, parent, mac: None, mtu: None }).is_ok())
}

/// Those that xtask gives the virtual machine: no other machine's are taken for unused.
fn has_unused_cards() -> bool {
    let vendor = std::fs::read_to_string("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
    let has = |driver: &str| std::path::Path::new("/sys/bus/pci/drivers").join(driver).exists();
    vendor.trim() == "QEMU" && has("e1000")
}
