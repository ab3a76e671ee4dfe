//! The configuration: its form on the wire, and what ADD, CHECK and STATUS make of it.
//!
//! DEL and GC look at nothing here: what an ADD was refused for must not keep a DEL from cleaning up.

use cni_interface::{Master, expect_mtu_fits};
use cni_netlink::{Link, Socket};
use cni_plugin::{Error, Result};
use serde::Deserialize;

/// The highest VLAN there is (IEEE 802.1Q; 4095 is reserved). 0 is the priority tag, which the kernel and the reference take.
const MAX_ID: i64 = 4094;

/// The plugin's keys of the network configuration, read but not yet validated.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wire {
    master: Option<String>,
    vlan_id: i64,
    mtu: i64,
    link_in_container: bool,
}

/// A configuration that ADD can carry out.
#[derive(Debug)]
pub struct Config {
    /// Always named.
    pub(crate) master: Master,
    pub(crate) in_container: bool,
    pub(crate) id: u16,
    /// `None` for the master's.
    pub(crate) mtu: Option<u32>,
}

impl Config {
    /// Validates the keys.
    pub(crate) fn new(wire: &Wire) -> Result<Self> {
        let master = Master::new(wire.master.as_deref(), wire.link_in_container);
        if !master.is_named() {
            return Err(Error::config("required master is missing: the interface to make the VLAN of"));
        }
        Ok(Config {
            master,
            in_container: wire.link_in_container,
            id: id(wire.vlan_id)?,
            mtu: cni_interface::mtu(wire.mtu)?.map(Into::into),
        })
    }

    /// The master, fit for the VLAN: it carries the MTU, and is up, without which no VLAN of it goes up
    /// (net/8021q/vlan_dev.c, vlan_dev_open).
    pub(crate) fn find_master(&self, inside: &mut Socket) -> Result<Link> {
        let master = self.master.find(inside)?;
        expect_mtu_fits(self.mtu, &master)?;
        if master.up { Ok(master) } else { Err(Error::failed(format!("master {} is down", master.name))) }
    }
}

fn id(id: i64) -> Result<u16> {
    let valid = (0..=MAX_ID).contains(&id).then(|| u16::try_from(id).ok()).flatten();
    valid.ok_or_else(|| Error::config(format!("vlanId: {id} is not a VLAN ID (0 to {MAX_ID})")))
}

#[cfg(test)]
mod tests {
    use cni_types::{ErrorCode, json as cni_json};
    use serde_json::{Value, json};

    use super::*;

    fn parse(keys: Value) -> Result<Config> {
        let mut conf = json!({"master": "eth1"});
        if keys.get("Master").is_some() {
            conf.as_object_mut().unwrap().remove("master");
        }
        conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        Config::new(&cni_json::from_value(&conf)?)
    }

    #[test]
    fn defaults_are_the_references() {
        for keys in [
            json!({}),
            json!({"vlanId": null, "mtu": null, "linkInContainer": null}),
            json!({"vlanId": 0, "mtu": 0, "linkInContainer": false}),
        ] {
            let config = parse(keys).unwrap();
            assert_eq!(config.master, Master::new(Some("eth1"), false));
            assert_eq!((config.id, config.mtu, config.in_container), (0, None, false));
        }
    }

    #[test]
    fn every_key_is_read_whatever_its_case() {
        let keys = json!({"Master": "eth2", "VLANID": 4094, "Mtu": 1400, "linkincontainer": true});
        let config = parse(keys).unwrap();
        assert_eq!(config.master, Master::new(Some("eth2"), true));
        assert_eq!((config.id, config.mtu, config.in_container), (4094, Some(1400), true));
    }

    #[test]
    fn wrong_values_are_refused_with_their_key() {
        for (keys, key) in [
            (json!({"master": ""}), "master"),
            (json!({"master": null}), "master"),
            (json!({"vlanId": -1}), "vlanId"),
            (json!({"vlanId": 4095}), "vlanId"),
            (json!({"vlanId": 65536}), "vlanId"),
            (json!({"mtu": -1}), "mtu"),
            (json!({"mtu": 4_294_967_296_u64}), "mtu"),
        ] {
            let error = parse(keys.clone()).unwrap_err();
            assert_eq!(error.code(), ErrorCode::INVALID_NETWORK_CONFIG, "{keys}: {error}");
            assert!(error.to_string().contains(key), "{keys}: {error}");
        }
    }

    #[test]
    fn wrong_types_are_refused_with_their_key() {
        for (keys, key) in [
            (json!({"master": 1}), "master"),
            (json!({"vlanId": "5"}), "vlanId"),
            (json!({"vlanId": 5.5}), "vlanId"),
            (json!({"mtu": "1400"}), "mtu"),
            (json!({"linkInContainer": 1}), "linkInContainer"),
        ] {
            let error = parse(keys.clone()).unwrap_err();
            assert_eq!(error.code(), ErrorCode::DECODING_FAILURE, "{keys}: {error}");
            assert!(error.to_string().contains(key), "{keys}: {error}");
        }
    }
}
