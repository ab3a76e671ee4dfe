//! What an acknowledgement gives.

use std::net::Ipv4Addr;

use cni_types::{CniResult, Dns, IpConfig, Route};
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use super::error::{LeaseError, OptionError};
use super::{Message, Options, code, domain, routes};

/// The lease time that never ends (RFC 2131, section 3.3).
pub const FOREVER: u32 = u32::MAX;

/// What the reference takes where the server says none: an hour.
const DEFAULT_LEASE_TIME: u32 = 3600;

/// The least MTU that IPv4 allows (RFC 2132, section 5.1).
const MIN_MTU: u16 = 68;

/// The scope of a destination that is on the link (rtnetlink(7)).
const SCOPE_LINK: u8 = 253;

/// A lease: an address, for a time, and what belongs to it. It can be stored (serde).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address with its subnet's prefix length.
    pub address: Ipv4Net,
    /// The server that gave it, which is asked for renewal.
    pub server: Ipv4Addr,
    /// The first router.
    pub gateway: Option<Ipv4Addr>,
    /// Those of option 121, or else those of option 33 and the default route by the gateway (RFC 3442).
    pub routes: Vec<LeaseRoute>,
    /// Servers of names.
    pub dns_servers: Vec<Ipv4Addr>,
    /// The local domain.
    pub domain: Option<String>,
    /// Domains in which short names are looked up.
    pub search: Vec<String>,
    /// The MTU of the link, in bytes.
    pub mtu: Option<u16>,
    /// How long it lasts from the request on, in seconds; [`FOREVER`] has no end.
    pub lease_time: u32,
    /// T1: when its server is asked to renew it.
    pub renewal_time: u32,
    /// T2: when any server is asked.
    pub rebinding_time: u32,
}

/// A route of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRoute {
    /// Where to.
    pub dst: Ipv4Net,
    /// By which router; 0.0.0.0 means that the destination is on the link.
    pub gateway: Ipv4Addr,
}

impl Lease {
    /// Reads an acknowledgement. `server` is who made the offer, for a server that does not name itself again. An option that a
    /// lease can do without and that is wrong is left out, and said in the second part.
    pub fn from_ack(ack: &Message, server: Option<Ipv4Addr>) -> Result<(Self, Vec<OptionError>), LeaseError> {
        let options = &ack.options;
        if !is_host(ack.yiaddr) {
            return Err(LeaseError::Address(ack.yiaddr));
        }
        let mask = options.address(code::SUBNET_MASK)?.ok_or(LeaseError::NoSubnetMask)?;
        let address = Ipv4Net::with_netmask(ack.yiaddr, mask)
            .map_err(|_| OptionError::value(code::SUBNET_MASK, format!("{mask} is not a mask")))?;
        let named = options.address(code::SERVER_ID)?.filter(|server| is_host(*server));
        let server = named.or(server).ok_or(LeaseError::NoServer)?;
        let lease_time = options.u32(code::LEASE_TIME)?.unwrap_or(DEFAULT_LEASE_TIME);
        if lease_time == 0 {
            return Err(LeaseError::NoTime);
        }
        let mut problems = Vec::new();
        let (renewal_time, rebinding_time) = times(options, lease_time, &mut problems);
        let gateway = told(options.addresses(code::ROUTERS).and_then(first_router), &mut problems).flatten();
        let lease = Lease {
            address,
            server,
            gateway,
            routes: all_routes(options, gateway, &mut problems),
            dns_servers: told(options.addresses(code::DNS_SERVERS), &mut problems).unwrap_or_default(),
            domain: read(options, code::DOMAIN_NAME, domain::name, &mut problems),
            search: read(options, code::DOMAIN_SEARCH, domain::search_list, &mut problems)
                .unwrap_or_default(),
            mtu: told(options.u16(code::MTU).and_then(possible_mtu), &mut problems).flatten(),
            lease_time,
            renewal_time,
            rebinding_time,
        };
        Ok((lease, problems))
    }

    /// The result of ADD, as the reference's daemon makes it, and name service settings where one of options 6, 15 and 119 was
    /// requested. `priority` is the metric of all routes. The MTU has no place in it.
    pub fn result(&self, requested: &[u8], priority: Option<u32>) -> CniResult {
        let route = |route: &LeaseRoute| Route {
            priority,
            // The reference keeps a router of 0.0.0.0 beside the scope.
            scope: route.gateway.is_unspecified().then_some(SCOPE_LINK),
            ..Route::new(route.dst.into(), Some(route.gateway.into()))
        };
        let wanted = |code| requested.contains(&code);
        let servers = self.dns_servers.iter().filter(|_| wanted(code::DNS_SERVERS));
        CniResult {
            ips: vec![IpConfig {
                interface: None,
                address: IpNet::V4(self.address),
                gateway: self.gateway.map(Into::into),
            }],
            routes: self.routes.iter().map(route).collect(),
            dns: Dns {
                nameservers: servers.map(ToString::to_string).collect(),
                domain: self.domain.clone().filter(|_| wanted(code::DOMAIN_NAME)),
                search: if wanted(code::DOMAIN_SEARCH) { self.search.clone() } else { Vec::new() },
                options: Vec::new(),
            },
            ..CniResult::default()
        }
    }

    /// Whether only the times differ.
    pub fn is_same_but_for_times(&self, other: &Lease) -> bool {
        let Lease { lease_time, renewal_time, rebinding_time, .. } = *other;
        *other == Lease { lease_time, renewal_time, rebinding_time, ..self.clone() }
    }
}

/// T1 and T2 as the server says, or where they are 0 or in no order with the lease time, half and seven eighths of it (RFC 2131,
/// section 4.4.5).
fn times(options: &Options, lease_time: u32, problems: &mut Vec<OptionError>) -> (u32, u32) {
    let part = |eighths: u64| u32::try_from(u64::from(lease_time) * eighths / 8).unwrap_or(lease_time).max(1);
    let mut read = |code, default| told(options.u32(code), problems).flatten().unwrap_or(default);
    let rebinding = read(code::REBINDING_TIME, part(7));
    let renewal = read(code::RENEWAL_TIME, part(4).min(rebinding));
    if renewal > 0 && renewal <= rebinding && rebinding <= lease_time {
        return (renewal, rebinding);
    }
    let problem = format!("T1 {renewal}, T2 {rebinding} and the lease time {lease_time} are in no order");
    problems.push(OptionError::value(code::RENEWAL_TIME, problem));
    (part(4), part(7))
}

/// Option 121 replaces options 33 and 3 (RFC 3442). CNI wants the default route among the routes.
fn all_routes(
    options: &Options,
    gateway: Option<Ipv4Addr>,
    problems: &mut Vec<OptionError>,
) -> Vec<LeaseRoute> {
    if let Some(classless) = read(options, code::CLASSLESS_ROUTES, routes::classless, problems) {
        return classless;
    }
    let mut all = read(options, code::STATIC_ROUTES, routes::classful, problems).unwrap_or_default();
    all.extend(gateway.map(|gateway| LeaseRoute { dst: Ipv4Net::default(), gateway }));
    all
}

fn first_router(routers: Vec<Ipv4Addr>) -> Result<Option<Ipv4Addr>, OptionError> {
    match routers.first() {
        Some(router) if !is_host(*router) => {
            Err(OptionError::value(code::ROUTERS, format!("{router} is not an address of a router")))
        }
        router => Ok(router.copied()),
    }
}

fn possible_mtu(mtu: Option<u16>) -> Result<Option<u16>, OptionError> {
    match mtu {
        Some(mtu) if mtu < MIN_MTU => Err(OptionError::value(code::MTU, format!("{mtu} is less than 68"))),
        mtu => Ok(mtu),
    }
}

/// An address that one machine can have.
pub(crate) fn is_host(address: Ipv4Addr) -> bool {
    let this_network = address.octets()[0] == 0;
    !(this_network || address.is_loopback() || address.is_multicast() || address.is_broadcast())
}

fn read<T>(
    options: &Options,
    code: u8,
    reader: impl Fn(&[u8]) -> Result<T, OptionError>,
    problems: &mut Vec<OptionError>,
) -> Option<T> {
    told(reader(options.get(code)?), problems)
}

fn told<T>(value: Result<T, OptionError>, problems: &mut Vec<OptionError>) -> Option<T> {
    value.map_err(|problem| problems.push(problem)).ok()
}
