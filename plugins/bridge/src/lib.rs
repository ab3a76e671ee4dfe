//! The `bridge` plugin: connects a container to a Linux bridge on the host by a veth pair, whose near end is a port of the
//! bridge. First in its chain; IPAM gives addresses and routes, and with `isGateway` the bridge is the containers'
//! gateway.
//!
//! What belongs to one attachment is the veth pair, its part of the packet filter and the lease. The near end's name and
//! alias are derived from (network, container ID, interface), so that DEL and GC find it without the container's
//! namespace. What is shared stays: the bridge, its addresses, forwarding; the gateway's interface in a VLAN goes with the
//! VLAN's last port.

use std::time::Duration;

use cni_host::{NewVethPair, SpoofCheck, VethPair, announce};
use cni_interface::{
    Container, all, far_end, far_end_interface, iface_config, ipam_wants_link, on_host, owner, valid_owners,
};
use cni_interface::{
    collect_and_release, collect_pairs, delete_attachment, delete_pair, enable_forwarding, pair_and_ipam,
};
use cni_netlink::{Link, LinkMonitor, OperState, Socket};
use cni_plugin::{Add, Context as _, Del, Error, Gc, Plugin, Result, Status, Undo, log};
use cni_types::{CniResult, SpecVersion};

mod bridge_dev;
mod check;
mod config;
mod filter;
mod gateway;
mod mac;
mod vlan;

use bridge_dev::Bridge;
use config::Layer;
pub use config::{Config, Wire};
use gateway::Carrier;

/// The plugin's table of functions.
pub const PLUGIN: Plugin<Wire, Config> = Plugin {
    name: "bridge",
    versions: SpecVersion::ALL,
    read: Wire::read,
    validate: Config::new,
    add,
    check: check::check,
    del,
    gc,
    status,
};

/// How long a port may take to carry packets. A veth needs milliseconds.
const PORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an ADD makes the bridge anew when another ADD, which had made it, failed and took it away.
const BRIDGE_TRIES: u32 = 5;

fn add(req: &Add<Config>) -> Result<CniResult> {
    let config = &req.config;
    let mut container = Container::open(req)?;
    container.expect_free()?;
    let mut host = Socket::open()?;

    // Undone last, when nothing uses the address any more: what is made later is dropped before.
    let mut lease = Undo::default();
    let mut undo = Undo::default();
    let mut monitor = LinkMonitor::open()?;
    let connect = |host: &mut Socket, container: &mut Container| {
        let connected = connect(host, container, config, &mut undo)?;
        if let Some((bridge, pair)) = &connected
            && ipam_wants_link(&req.call)
        {
            container.set_up_index(far_end(pair)?)?;
            wait_for_port(host, &mut monitor, bridge, pair, config)?;
        }
        Ok(connected)
    };
    let (mut result, (bridge, pair)) = pair_and_ipam(req, &mut lease, &mut host, &mut container, connect)?;
    let gateways = gateway::plan(&mut result, config)?;
    match config.layer {
        Layer::Three => {
            let wanted = iface_config(&result.ips, &result.routes, config.dad);
            container.configure_index(far_end(&pair)?, &wanted)?;
        }
        Layer::Two => container.set_up_index(far_end(&pair)?)?,
        Layer::Untouched => {}
    }
    let port = wait_for_port(&mut host, &mut monitor, &bridge, &pair, config)?;
    if config.layer == Layer::Three {
        announce_addresses(&mut container, &pair);
    }
    let vlan_gateway = set_up_gateways(&mut host, &bridge, &pair, &gateways, config, &mut undo)?;
    if let Some(masquerade) = &config.masquerade {
        masquerade.add(&container.owner, &result, &mut undo)?;
    }

    let bridge = host.link_by_index(bridge.index)?;
    let far_end = far_end_interface(req, &pair, port.mtu);
    result.interfaces = vec![on_host(&bridge), on_host(&port), far_end];
    result.interfaces.extend(vlan_gateway.as_ref().map(on_host));
    if let Some(dns) = &config.dns {
        result.dns = dns.clone();
    }
    undo.commit();
    lease.commit();
    Ok(result)
}

fn del(req: &Del<Wire>) -> Result<()> {
    let owner = owner(req);
    let attachment = delete_attachment(req, &owner, || filter::delete(req, &owner));
    // After the port has gone.
    let gateway = log::step("delete an unused gateway's interface", || vlan::remove_left_over(&req.config));
    all([attachment, gateway])
}

fn gc(req: &Gc<Wire>) -> Result<()> {
    let valid = valid_owners(req);
    let network = req.call.conf.name.as_str();
    collect_and_release(&req.call, || {
        let links = log::step("delete the veth pairs of no attachment", || collect_pairs(network, &valid));
        let gateway =
            log::step("delete an unused gateway's interface", || vlan::remove_left_over(&req.config));
        let filter = log::step("delete the packet filter's rules of no attachment", || {
            filter::collect(network, &valid)
        });
        all([links, gateway, filter])
    })
}

fn status(req: &Status<Config>) -> Result<()> {
    let config = &req.config;
    match Socket::open()?.link_by_name(config.bridge.as_str()) {
        Ok(link) => bridge_dev::expect_bridge(&link).map_err(Error::unavailable)?,
        // The first ADD makes it.
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error.into()),
    }
    filter::status(config)?;
    req.call.ipam_status()
}

/// The bridge and a port of it for this attachment; `None` when there is one already. Between finding the bridge and making the port, a failing ADD that
/// had made the bridge may remove it; then both are done again.
fn connect(
    host: &mut Socket,
    container: &Container,
    config: &Config,
    undo: &mut Undo<'_>,
) -> Result<Option<(Link, VethPair)>> {
    let (netns, owner) = (&*container.netns, &container.owner);
    let mut tries = 1;
    loop {
        let Bridge { link: bridge, created } =
            log::step("set up the bridge", || bridge_dev::ensure(host, config))?;
        if created {
            let index = bridge.index;
            undo.push("remove the bridge", move || bridge_dev::remove_unused(index));
        }
        let new = NewVethPair {
            mac: config.mac,
            mtu: config.mtu.map(Into::into),
            master: Some(bridge.index),
            port: Some(config.port),
            spoof_check: config.spoof_check,
            ..NewVethPair::new(netns, owner)
        };
        match log::step("make the veth pair", || VethPair::add(host, &new)) {
            Ok(Some(pair)) => {
                let (owner, checked) = (owner.clone(), config.spoof_check.then_some(pair.peer_mac));
                undo.push("delete the veth pair", move || {
                    delete_pair(&owner)?;
                    // While the port is there, so is its check.
                    checked.map_or(Ok(()), |mac| Ok(SpoofCheck::del(&owner, Some(mac))?))
                });
                if let Some(vlans) = &config.vlans {
                    log::step("set the port's VLANs", || vlans.assign(host, &pair.host))?;
                }
                return Ok(Some((bridge, pair)));
            }
            Ok(None) => return Ok(None),
            Err(error) if tries == BRIDGE_TRIES || !is_gone(host, &bridge) => {
                return Err(filter::explained(error));
            }
            Err(_) => tries += 1,
        }
    }
}

fn is_gone(host: &mut Socket, link: &Link) -> bool {
    host.link_by_index(link.index).is_err_and(|error| error.is_not_found())
}

/// The port as it is once it forwards packets; with the container's end left down, as it is.
fn wait_for_port(
    host: &mut Socket,
    monitor: &mut LinkMonitor,
    bridge: &Link,
    pair: &VethPair,
    config: &Config,
) -> Result<Link> {
    let index = pair.host.index;
    let port = match config.layer {
        Layer::Untouched => host.link_by_index(index)?,
        Layer::Two | Layer::Three => log::step("wait for the port", || {
            monitor.wait_link(host, index, PORT_TIMEOUT, |link| link.operstate == OperState::Up)
        })
        .with_context(|| format!("cannot bring up port {} of {}", pair.host.name, bridge.name))?,
    };
    // A failing ADD that had made the bridge can have removed it in the instant after it had looked for ports.
    if port.master != Some(bridge.index) {
        return Err(Error::failed(format!(
            "{} is not a port of {} any more: it was removed",
            port.name, bridge.name
        )));
    }
    Ok(port)
}

/// Tells the neighbours on the bridge, now that its port forwards. Without it they find out by themselves, only later.
fn announce_addresses(container: &mut Container, pair: &VethPair) {
    let Some(index) = pair.host.peer else { return };
    let Container { owner, socket, .. } = container;
    if let Err(error) = log::step("announce the addresses", || announce(socket, index, &owner.ifname)) {
        log::warn(format_args!("{error}"));
    }
}

/// Makes the host the containers' gateway: forwarding first, so that nothing is left to fail after the addresses are
/// set. Returns the gateway's interface when it is not the bridge itself.
fn set_up_gateways(
    host: &mut Socket,
    bridge: &Link,
    pair: &VethPair,
    gateways: &[ipnet::IpNet],
    config: &Config,
    undo: &mut Undo<'_>,
) -> Result<Option<Link>> {
    if gateways.is_empty() {
        return Ok(None);
    }
    enable_forwarding(gateways.iter().map(ipnet::IpNet::addr))?;
    let port = pair.host.index;
    let mut work = || {
        let in_vlan = vlan::ensure_gateway_link(host, bridge, port, config, undo)?;
        let link = in_vlan.as_ref().unwrap_or(bridge);
        let own_ports = [port, in_vlan.as_ref().and_then(|link| link.peer).unwrap_or(port)];
        let carrier = Carrier { link, bridge: bridge.index, ports: own_ports };
        log::step("set the gateway's addresses", || gateway::ensure(host, &carrier, gateways, config, undo))?;
        Ok(in_vlan)
    };
    // Only a gateway in a VLAN can be removed by a DEL at the same time.
    if config.vlans.as_ref().is_some_and(|vlans| vlans.vlan.is_some()) {
        vlan::in_turn(&bridge.name, work)
    } else {
        work()
    }
}
