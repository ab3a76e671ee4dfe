//! CHECK: what ADD reported is still there, and still as configured. Attachments that the reference made pass too.

use cni_interface::{Container, Reported, check_mac, check_mtu, expect_kind, expect_near_end};
use cni_netlink::{Link, Socket};
use cni_plugin::{Check, Context as _, Error, Result};
use cni_types::{CniResult, Interface};

use crate::bridge_dev::expect_bridge;
use crate::config::Config;
use crate::filter;

/// Compares the bridge, both ends of the veth pair, addresses and routes with prevResult and the configuration.
pub(crate) fn check(req: &Check<Config>) -> Result<()> {
    let config = &req.config;
    let (prev, path) = (req.prev_result()?, req.netns());
    req.ipam_check()?;
    let ifname = req.attachment.ifname.as_str();
    let reported = Reported::new(prev);
    let mut host = Socket::open()?;
    let bridge = host.link_by_name(config.bridge.as_str()).context("cannot find the bridge")?;
    check_bridge(&bridge, reported.on_host(&bridge.name)?, config)?;

    let mut inside = Container::open(req)?;
    let container = inside.find_interface()?;
    expect_kind(&container, "veth")?;
    check_mac(&container, reported.inside(ifname, path)?)?;

    let port = expect_near_end(&mut host, &inside.netns, &container)?;
    check_port(&port, reported.on_host(&port.name)?, &bridge, config)?;
    if let Some(vlans) = &config.vlans {
        vlans.check(&mut host, &port)?;
    }
    check_gateways(&mut host, &bridge, prev, config)?;
    filter::check(&inside.owner, prev, container.mac, config)?;

    inside.check_addresses(&container, prev, config.dad)
}

fn check_bridge(bridge: &Link, reported: &Interface, config: &Config) -> Result<()> {
    expect_bridge(bridge)?;
    if !bridge.up {
        return Err(Error::failed(format!("bridge {} is down", bridge.name)));
    }
    // Without a gateway on it nobody talks to the bridge, and the address of one that others made follows its ports.
    if config.gateway {
        check_mac(bridge, reported)?;
    }
    // The other way round is no fault: another network of this bridge, or a packet capture, may have asked for it.
    if config.promisc && bridge.promiscuity == 0 {
        return Err(Error::failed(format!("bridge {} is not promiscuous (promiscMode)", bridge.name)));
    }
    if config.vlans.is_some() && bridge.vlan_filtering != Some(true) {
        return Err(Error::failed(format!("bridge {} does not filter VLANs (vlan, vlanTrunk)", bridge.name)));
    }
    Ok(())
}

fn check_port(port: &Link, reported: &Interface, bridge: &Link, config: &Config) -> Result<()> {
    if port.master != Some(bridge.index) {
        return Err(Error::failed(format!("{} is not a port of {}", port.name, bridge.name)));
    }
    if !port.up {
        return Err(Error::failed(format!("port {} is down", port.name)));
    }
    check_mac(port, reported)?;
    check_mtu(port, reported, config.mtu.map(Into::into))?;
    let set = port.port.unwrap_or_default();
    for (key, wanted, is) in [
        ("hairpinMode", config.port.hairpin, set.hairpin),
        ("portIsolation", config.port.isolated, set.isolated),
    ] {
        if wanted != is {
            return Err(Error::failed(format!("{key} of port {} is {is}, not {wanted}", port.name)));
        }
    }
    Ok(())
}

/// Every gateway of the result is on the bridge, or on the gateway's interface in its VLAN.
fn check_gateways(host: &mut Socket, bridge: &Link, prev: &CniResult, config: &Config) -> Result<()> {
    if !config.gateway || prev.ips.is_empty() {
        return Ok(());
    }
    let in_vlan = match &config.vlans {
        Some(vlans) => vlans.gateway_name(&config.bridge)?,
        None => None,
    };
    let (index, name) = match in_vlan {
        Some((_, name)) => {
            (host.link_by_name(&name).context("cannot find the gateway's interface")?.index, name)
        }
        None => (bridge.index, bridge.name.clone()),
    };
    let addrs = host.addr_dump(index)?;
    for gateway in prev.ips.iter().filter_map(|ip| ip.gateway) {
        if !addrs.iter().any(|addr| addr.address.addr() == gateway) {
            return Err(Error::failed(format!("{name} does not have the gateway's address {gateway}")));
        }
    }
    Ok(())
}
