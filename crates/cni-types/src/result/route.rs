//! The JSON form of a route, which configurations and results of all versions share.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Route, address, is_zero};

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(deserialize_with = "address::network")]
    dst: IpNet,
    #[serde(default, deserialize_with = "address::optional", skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "is_zero")]
    mtu: Option<u32>,
    #[serde(default, skip_serializing_if = "is_zero")]
    advmss: Option<u32>,
    #[serde(default, skip_serializing_if = "is_zero")]
    priority: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<u8>,
}

impl Serialize for Route {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Route { dst, gw, mtu, advmss, priority, table, scope } = *self;
        Wire { dst, gw, mtu, advmss, priority, table, scope }.serialize(serializer)
    }
}

/// The JSON form that configurations and results share.
impl<'de> Deserialize<'de> for Route {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire { dst, gw, mtu, advmss, priority, table, scope } = Wire::deserialize(deserializer)?;
        let not_zero = |n: &u32| *n != 0;
        Ok(Route {
            dst,
            gw,
            mtu: mtu.filter(not_zero),
            advmss: advmss.filter(not_zero),
            priority: priority.filter(not_zero),
            table,
            scope,
        })
    }
}
