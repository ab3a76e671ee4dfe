//! The host's end of the pair: the gateways' addresses, the routes to the container, and when it is ready.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use cni_host::sysctl_write;
use cni_netlink::{
    AddrFlags, Link, LinkMonitor, MacAddr, NextHop, OperState, RouteMonitor, RouteSpec, Socket,
};
use cni_plugin::{Context as _, Result};
use cni_types::IpConfig;
use ipnet::{IpNet, Ipv6Net};

/// How long the link may take to carry packets. A veth needs milliseconds.
const LINK_TIMEOUT: Duration = Duration::from_secs(5);

/// RT_SCOPE_HOST of rtnetlink(7), as the reference has it for these routes.
const SCOPE_HOST: u8 = 254;

/// Puts every gateway on the host's end, without neighbours, and without duplicate address detection: nobody else is there to
/// own it. Other pairs have the same address, which is the host's own on each of them.
pub(crate) fn add_addresses(host: &mut Socket, near: &Link, ips: &[IpConfig]) -> Result<()> {
    let addresses = addresses(near, ips);
    if addresses.iter().any(|address| address.addr().is_ipv6()) {
        // Where new interfaces have IPv6 off, this one is asked for it. If that cannot be changed, adding the address fails.
        let _ = sysctl_write(&format!("net/ipv6/conf/{}/disable_ipv6", near.name), "0");
    }
    for address in addresses {
        match host.addr_add(near.index, address, AddrFlags { nodad: true }) {
            Err(error) if !error.is_exists() => {
                return Err(error).with_context(|| format!("cannot set up {}", near.name));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What the host's end has: the gateways, and with IPv6 the link-local address that the kernel would add itself, tentative for
/// a second or two. It solicits the container from it for packets that it forwards (net/ipv6/ndisc.c, ndisc_send_ns), so
/// until then only the host would reach the container.
fn addresses(near: &Link, ips: &[IpConfig]) -> Vec<IpNet> {
    let gateways = gateways(ips);
    let link_local = near.mac.filter(|_| gateways.iter().any(IpAddr::is_ipv6)).map(link_local);
    gateways.into_iter().map(IpNet::from).chain(link_local).collect()
}

/// A route to each of the container's addresses. The latest container that was given an address has it: a route to an earlier
/// one, whose DEL is late, would else stay and take this one's packets.
pub(crate) fn add_routes(host: &mut Socket, near: &Link, ips: &[IpConfig]) -> Result<()> {
    for ip in ips {
        let route = RouteSpec {
            next_hops: vec![NextHop { index: near.index, gateway: None }],
            scope: Some(SCOPE_HOST),
            ..RouteSpec::new(ip.address.addr().into())
        };
        host.route_replace(&route)?;
    }
    Ok(())
}

/// The link as it is once it carries packets both ways.
pub(crate) fn wait(
    host: &mut Socket,
    monitor: &mut LinkMonitor,
    near: &Link,
    ips: &[IpConfig],
) -> Result<Link> {
    let not_up = || format!("cannot bring up {}", near.name);
    // The container solicits the gateway, and answers to the link-local address when it is solicited.
    let addresses = addresses(near, ips).into_iter().filter_map(|address| match address.addr() {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    });
    let mut received = None;
    for address in addresses {
        let received = match &mut received {
            Some(received) => received,
            None => received.insert(RouteMonitor::open()?),
        };
        received.wait_local_on(host, near.index, address, LINK_TIMEOUT).with_context(not_up)?;
    }
    monitor
        .wait_link(host, near.index, LINK_TIMEOUT, |link| link.operstate == OperState::Up)
        .with_context(not_up)
}

/// Each gateway once.
pub(crate) fn gateways(ips: &[IpConfig]) -> Vec<IpAddr> {
    let mut gateways = Vec::new();
    for gateway in ips.iter().filter_map(|ip| ip.gateway) {
        if !gateways.contains(&gateway) {
            gateways.push(gateway);
        }
    }
    gateways
}

/// The link-local address with the interface identifier of the hardware address (RFC 4291, appendix A).
fn link_local(mac: MacAddr) -> IpNet {
    let [a, b, c, d, e, f] = mac.0;
    let identifier = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    let address = Ipv6Addr::from((0xfe80 << 112) | u128::from(identifier));
    Ipv6Net::new_assert(address, 64).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of `ip address` beside each other.
    #[test]
    fn the_link_local_address_is_the_kernels_own() {
        let of = |mac: &str| link_local(mac.parse().unwrap()).to_string();
        assert_eq!(of("22:72:7f:cf:5c:81"), "fe80::2072:7fff:fecf:5c81/64");
        assert_eq!(of("02:16:7c:ec:84:2c"), "fe80::16:7cff:feec:842c/64");
    }

    #[test]
    fn a_gateway_of_several_addresses_is_one() {
        let ip = |address: &str, gateway: &str| IpConfig {
            interface: None,
            address: address.parse().unwrap(),
            gateway: Some(gateway.parse().unwrap()),
        };
        let ips = [ip("10.1.0.5/24", "10.1.0.1"), ip("fd00::5/64", "fd00::1"), ip("10.1.0.6/24", "10.1.0.1")];
        let gateways: Vec<String> = gateways(&ips).iter().map(ToString::to_string).collect();
        assert_eq!(gateways, ["10.1.0.1", "fd00::1"]);
    }
}
