//! Results of 0.1.0 and 0.2.0: at most one address of each family, its routes inside, no interfaces.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{CniResult, IpConfig, ResultError, Route, address};
use crate::{Dns, SpecVersion};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wire {
    #[serde(default)]
    cni_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip4: Option<Family>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip6: Option<Family>,
    #[serde(default)]
    dns: Dns,
}

#[derive(Serialize, Deserialize)]
struct Family {
    #[serde(deserialize_with = "address::network")]
    ip: IpNet,
    #[serde(default, deserialize_with = "address::optional", skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Route>,
}

impl Wire {
    pub(super) fn into_result(self) -> CniResult {
        let mut result = CniResult { dns: self.dns, ..CniResult::default() };
        for family in [self.ip4, self.ip6].into_iter().flatten() {
            result.ips.push(IpConfig { interface: None, address: family.ip, gateway: family.gateway });
            result.routes.extend(family.routes);
        }
        result
    }

    /// Keeps the first address of each family, and the destination and gateway of the routes of these families.
    pub(super) fn of(result: &CniResult, version: SpecVersion) -> Result<Self, ResultError> {
        let ip4 = Family::of(result, |address| address.addr().is_ipv4());
        let ip6 = Family::of(result, |address| address.addr().is_ipv6());
        if ip4.is_none() && ip6.is_none() {
            return Err(ResultError { version, reason: "it has no IP address".to_owned() });
        }
        Ok(Wire { cni_version: version.to_string(), ip4, ip6, dns: result.dns.clone() })
    }
}

impl Family {
    fn of(result: &CniResult, is_member: impl Fn(&IpNet) -> bool) -> Option<Self> {
        let first = result.ips.iter().find(|ip| is_member(&ip.address))?;
        let routes = result.routes.iter().filter(|route| is_member(&route.dst));
        Some(Family {
            ip: first.address,
            gateway: first.gateway,
            routes: routes.map(|route| Route::new(route.dst, route.gw)).collect(),
        })
    }
}
