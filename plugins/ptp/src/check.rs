//! CHECK: what ADD reported is still there, and still as configured. Attachments that the reference made pass too.

use cni_interface::{
    Container, Reported, check_mac, check_mtu, check_up, expect_kind, expect_near_end, reported_config,
};
use cni_netlink::{Link, Socket};
use cni_plugin::{Check, Error, Result};
use cni_types::IpConfig;

use crate::config::Config;
use crate::host_end::gateways;

/// Compares both ends of the veth pair, addresses, routes and masquerading with prevResult and the configuration.
pub(crate) fn check(req: &Check<Config>) -> Result<()> {
    let config = &req.config;
    let (prev, path) = (req.prev_result()?, req.netns());
    req.ipam_check()?;
    let ifname = req.attachment.ifname.as_str();
    let reported = Reported::new(prev);
    let mtu = config.mtu.map(Into::into);

    let mut inside = Container::open(req)?;
    let container = inside.find_interface()?;
    let of_container = reported.inside(ifname, path)?;
    expect_kind(&container, "veth")?;
    check_up(&container)?;
    check_mac(&container, of_container)?;
    // Where it is not reported, tuning may have set another than the configured one.
    check_mtu(&container, of_container, None)?;

    let mut host = Socket::open()?;
    let near = expect_near_end(&mut host, &inside.netns, &container)?;
    let on_host = reported.on_host(&near.name)?;
    check_up(&near)?;
    check_mac(&near, on_host)?;
    check_mtu(&near, on_host, mtu)?;

    let mut wanted = reported_config(&inside.netns, prev, false);
    wanted.point_to_point = true;
    inside.check(&container, &wanted)?;
    check_host_end(&mut host, &near, &prev.ips)?;
    config.masquerade.as_ref().map_or(Ok(()), |masquerade| masquerade.check(&inside.owner, prev))
}

/// The host's end has every gateway, and the host reaches every address by it.
fn check_host_end(host: &mut Socket, near: &Link, ips: &[IpConfig]) -> Result<()> {
    let addrs = host.addr_dump(near.index)?;
    for gateway in gateways(ips) {
        if !addrs.iter().any(|addr| addr.address.addr() == gateway) {
            return Err(Error::failed(format!(
                "{} does not have the gateway's address {gateway}",
                near.name
            )));
        }
    }
    let routes = host.route_dump(near.index, None)?;
    for address in ips.iter().map(|ip| ip.address.addr()) {
        if !routes.iter().any(|route| route.dst == address.into()) {
            return Err(Error::failed(format!("the host has no route to {address} by {}", near.name)));
        }
    }
    Ok(())
}
