//! The configuration: its form on the wire, and what ADD, CHECK and STATUS make of it.
//!
//! DEL and GC look at nothing here: what an ADD was refused for must not keep a DEL from cleaning up.

use std::num::NonZeroU32;

use cni_interface::Masquerade;
use cni_plugin::{Call, Error, Result};
use cni_types::Dns;
use serde::Deserialize;

/// The plugin's keys of the network configuration, read but not yet validated.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wire {
    ip_masq: bool,
    ip_masq_backend: Option<String>,
    mtu: i64,
}

impl Wire {
    /// Reads the keys. An error names the key that has the wrong type.
    pub(crate) fn read(call: &Call) -> Result<Self> {
        call.read()
    }
}

/// A configuration that ADD can carry out.
#[derive(Debug)]
pub struct Config {
    /// `None` for the kernel's default.
    pub(crate) mtu: Option<NonZeroU32>,
    /// `None` for packets that keep the container's address.
    pub(crate) masquerade: Option<Masquerade>,
    /// Replaces IPAM's whole `dns` when set.
    pub(crate) dns: Option<Dns>,
}

impl Config {
    /// Validates the keys together with `ipam` and `dns`.
    pub(crate) fn new(wire: &Wire, call: &Call) -> Result<Self> {
        if !call.has_ipam() {
            return Err(Error::config(
                "ipam: a type is required, since every container is reached by its address",
            ));
        }
        Ok(Config {
            mtu: cni_interface::mtu(wire.mtu)?,
            masquerade: Masquerade::new(wire.ip_masq, wire.ip_masq_backend.as_deref())?,
            dns: cni_interface::dns(call),
        })
    }
}

#[cfg(test)]
mod tests {
    use cni_host::MasqueradeBackend;
    use cni_types::{CniArgs, ErrorCode, PluginConf};
    use serde_json::{Value, json};

    use super::*;

    fn call(keys: Value) -> Call {
        let mut conf =
            json!({"cniVersion": "1.1.0", "name": "net", "type": "ptp", "ipam": {"type": "static"}});
        conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let stdin = conf.to_string().into_bytes();
        let conf = PluginConf::from_slice(&stdin).unwrap();
        Call { conf, args: CniArgs::parse(""), path: Vec::new(), stdin, delegators: Vec::new() }
    }

    fn parse(keys: Value) -> Result<Config> {
        let call = call(keys);
        Config::new(&Wire::read(&call)?, &call)
    }

    #[test]
    fn defaults_are_the_references() {
        let config = parse(json!({})).unwrap();
        assert_eq!((config.mtu, config.masquerade, config.dns), (None, None, None));
    }

    #[test]
    fn keys_match_without_case_and_null_is_unset() {
        let config = parse(json!({"MTU": 1400, "ipmasq": true, "ipMasqBackend": null, "dns": null})).unwrap();
        assert_eq!(config.mtu, NonZeroU32::new(1400));
        assert_eq!(config.masquerade, Some(Masquerade { backend: None }));
    }

    #[test]
    fn a_backend_counts_with_ip_masq_only() {
        let backend = json!({"ipMasq": true, "ipMasqBackend": "nftables"});
        let nftables = Some(Masquerade { backend: Some(MasqueradeBackend::Nftables) });
        assert_eq!(parse(backend).unwrap().masquerade, nftables);
        assert_eq!(parse(json!({"ipMasqBackend": "none"})).unwrap().masquerade, None);
    }

    #[test]
    fn wrong_values_are_refused_with_their_key() {
        for (keys, key) in [
            (json!({"mtu": -1}), "mtu"),
            (json!({"mtu": 4294967296_i64}), "mtu"),
            (json!({"ipMasq": true, "ipMasqBackend": "ipvs"}), "ipMasqBackend"),
            (json!({"ipam": null}), "ipam"),
            (json!({"ipam": {}}), "ipam"),
        ] {
            let error = parse(keys.clone()).unwrap_err();
            assert_eq!(error.code(), ErrorCode::INVALID_NETWORK_CONFIG, "{keys}: {error}");
            assert!(error.to_string().starts_with(&format!("{key}: ")), "{keys}: {error}");
        }
        for (keys, key) in [(json!({"mtu": "1400"}), "mtu"), (json!({"ipMasq": "yes"}), "ipMasq")] {
            let error = Wire::read(&call(keys)).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
