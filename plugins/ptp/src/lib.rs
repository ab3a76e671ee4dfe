//! The `ptp` plugin: connects a container to the host by a veth pair of its own. The host is the container's only neighbour
//! and its router: it has a route to each container, and containers reach each other through it, at layer 3. First in its
//! chain; IPAM gives addresses, gateways and routes, and is required.
//!
//! All state of an attachment is the veth pair, with the addresses and routes that go with it, masquerading and the
//! lease. The near end's name and alias are derived from (network, container ID, interface), so that DEL and GC find it
//! without the container's namespace. What is shared stays: forwarding.

use cni_host::{NewVethPair, VethPair};
use cni_interface::{
    Container, Masquerade, all, far_end, far_end_interface, iface_config, ipam_wants_link, on_host, owner,
    valid_owners,
};
use cni_interface::{
    collect_and_release, collect_pairs, delete_attachment, delete_pair, enable_forwarding, pair_and_ipam,
};
use cni_netlink::{LinkMonitor, Socket};
use cni_plugin::{Add, Del, Error, Gc, Plugin, Result, Status, Undo, log};
use cni_types::{CniResult, SpecVersion};

mod check;
mod config;
mod host_end;

pub use config::{Config, Wire};

/// The plugin's table of functions.
pub const PLUGIN: Plugin<Wire, Config> = Plugin {
    name: "ptp",
    versions: SpecVersion::ALL,
    read: Wire::read,
    validate: Config::new,
    add,
    check: check::check,
    del,
    gc,
    status,
};

/// Where the container's interface stands in `interfaces`: after the host's end.
const CONTAINER: usize = 1;

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
        let pair = connect(host, container, config, &mut undo)?;
        if let Some(pair) = &pair
            && ipam_wants_link(&req.call)
        {
            container.set_up_index(far_end(pair)?)?;
        }
        Ok(pair)
    };
    let (mut result, pair) = pair_and_ipam(req, &mut lease, &mut host, &mut container, connect)?;
    expect_gateways(&result)?;
    enable_forwarding(result.ips.iter().map(|ip| ip.address.addr()))?;
    log::step("set up the host's end", || host_end::add_addresses(&mut host, &pair.host, &result.ips))?;
    let mut wanted = iface_config(&result.ips, &result.routes, false);
    wanted.point_to_point = true;
    container.configure_index(far_end(&pair)?, &wanted)?;
    if let Some(masquerade) = &config.masquerade {
        masquerade.add(&container.owner, &result, &mut undo)?;
    }
    // Last but for waiting, since they may take another container's place.
    host_end::add_routes(&mut host, &pair.host, &result.ips)?;
    let near =
        log::step("wait for the link", || host_end::wait(&mut host, &mut monitor, &pair.host, &result.ips))?;

    result.interfaces = vec![on_host(&near), far_end_interface(req, &pair, near.mtu)];
    for ip in &mut result.ips {
        ip.interface = Some(CONTAINER);
    }
    if let Some(dns) = &config.dns {
        result.dns = dns.clone();
    }
    undo.commit();
    lease.commit();
    Ok(result)
}

fn del(req: &Del<Wire>) -> Result<()> {
    let owner = owner(req);
    delete_attachment(req, &owner, || Masquerade::del(req, &owner))
}

fn gc(req: &Gc<Wire>) -> Result<()> {
    let valid = valid_owners(req);
    let network = req.call.conf.name.as_str();
    collect_and_release(&req.call, || {
        let links = log::step("delete the veth pairs of no attachment", || collect_pairs(network, &valid));
        let masquerade = log::step("stop masquerading for no attachment", || Masquerade::gc(network, &valid));
        all([links, masquerade])
    })
}

fn status(req: &Status<Config>) -> Result<()> {
    let config = &req.config;
    config.masquerade.as_ref().map_or(Ok(()), Masquerade::status)?;
    req.call.ipam_status()
}

/// Before anything is made: every address has a gateway, which the host can be.
fn expect_gateways(result: &CniResult) -> Result<()> {
    for ip in &result.ips {
        let address = ip.address;
        let refuse = |why: String| {
            Err(Error::failed(format!("cannot use address {address} of the IPAM plugin: {why}")))
        };
        match ip.gateway {
            None => return refuse("it has no gateway".to_owned()),
            Some(gateway) if gateway.is_ipv4() != address.addr().is_ipv4() => {
                return refuse(format!("its gateway {gateway} is of the other family"));
            }
            Some(gateway) if gateway == address.addr() => {
                return refuse("it is its own gateway, which the host has to be".to_owned());
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The pair; `None` when there is one already.
fn connect(
    host: &mut Socket,
    container: &Container,
    config: &Config,
    undo: &mut Undo<'_>,
) -> Result<Option<VethPair>> {
    let new = NewVethPair {
        mtu: config.mtu.map(Into::into),
        ..NewVethPair::new(&container.netns, &container.owner)
    };
    let pair = log::step("make the veth pair", || VethPair::add(host, &new))?;
    if pair.is_some() {
        let owner = container.owner.clone();
        // Addresses and routes go with it.
        undo.push("delete the veth pair", move || delete_pair(&owner));
    }
    Ok(pair)
}
