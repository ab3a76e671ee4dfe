//! CHECK: what ADD reported is still there, and still as configured. Attachments that the reference made pass too.

use cni_host::{NetNs, check_iface};
use cni_netlink::{Link, Socket};
use cni_plugin::{Context as _, Error, Request, Result};
use cni_types::{CniResult, Interface};

use crate::bridge_dev::expect_bridge;
use crate::config::{Config, Wire};
use crate::{filter, iface_config};

/// Compares the bridge, both ends of the veth pair, addresses and routes with prevResult and the configuration.
pub(crate) fn check(req: &Request<Wire>) -> Result<()> {
    let config = Config::new(&req.config, &req.call)?;
    let (prev, path) = (req.prev_result()?, req.netns()?);
    req.ipam_check()?;
    let ifname = req.attachment.ifname.as_str();
    let reported = |name: &str, sandbox: Option<&str>| {
        let of_name = |interface: &&Interface| interface.name == name && sandbox_of(interface) == sandbox;
        prev.interfaces.iter().find(of_name).ok_or_else(|| {
            let place = sandbox.map_or_else(|| "on the host".to_owned(), |sandbox| format!("in {sandbox}"));
            Error::failed(format!("prevResult has no interface {name} {place}"))
        })
    };
    let mut host = Socket::open()?;
    let bridge = host.link_by_name(config.bridge.as_str()).context("cannot find the bridge")?;
    check_bridge(&bridge, reported(&bridge.name, None)?, &config)?;

    let netns = NetNs::open(path)?;
    let mut inside = netns.socket()?;
    let container = inside.link_by_name(ifname).with_context(|| format!("cannot find {ifname} in {path}"))?;
    expect_veth(&container)?;
    check_mac(&container, reported(ifname, Some(path))?)?;

    let port = near_end(&mut host, &container)?;
    check_port(&port, reported(&port.name, None)?, &bridge, &config)?;
    if let Some(vlans) = &config.vlans {
        vlans.check(&mut host, &port)?;
    }
    check_gateways(&mut host, &bridge, prev, &config)?;
    filter::check(&crate::owner(req), prev, container.mac, &config)?;

    let of_container = |index: usize| prev.interfaces.get(index).is_some_and(|i| sandbox_of(i) == Some(path));
    let ips = prev.ips.iter().filter(|ip| ip.interface.is_none_or(of_container));
    let wanted = iface_config(ips, &prev.routes, config.dad);
    Ok(netns.run(|| check_iface(&mut inside, container.index, ifname, &wanted))??)
}

fn sandbox_of(interface: &Interface) -> Option<&str> {
    interface.sandbox.as_deref().filter(|sandbox| !sandbox.is_empty())
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
    let mtu = reported.mtu.filter(|mtu| *mtu != 0).or(config.mtu.map(Into::into));
    if let Some(mtu) = mtu.filter(|mtu| *mtu != port.mtu) {
        return Err(Error::failed(format!("the MTU of {} is {}, not {mtu}", port.name, port.mtu)));
    }
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

/// The end of the pair on the host, whose peer in turn has to be the container's interface.
fn near_end(host: &mut Socket, container: &Link) -> Result<Link> {
    let no_pair = || Error::failed(format!("the other end of {} is not on the host", container.name));
    let port = match host.link_by_index(container.peer.ok_or_else(no_pair)?) {
        Ok(port) => port,
        Err(error) if error.is_not_found() => return Err(no_pair()),
        Err(error) => return Err(error.into()),
    };
    expect_veth(&port)?;
    if port.peer != Some(container.index) { Err(no_pair()) } else { Ok(port) }
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

fn check_mac(link: &Link, reported: &Interface) -> Result<()> {
    let Some(wanted) = reported.mac.as_deref().filter(|mac| !mac.is_empty()) else { return Ok(()) };
    let is = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
    if is.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(Error::failed(format!("the MAC address of {} is {is}, not {wanted}", link.name)))
}

fn expect_veth(link: &Link) -> Result<()> {
    if link.kind == "veth" {
        return Ok(());
    }
    let kind = if link.kind.is_empty() { "a device without a kind" } else { &link.kind };
    Err(Error::failed(format!("{} is no veth: it is {kind}", link.name)))
}
