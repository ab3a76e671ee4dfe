//! The configuration: its form on the wire, and what ADD, CHECK and STATUS make of it.
//!
//! DEL and GC look at nothing here: what an ADD was refused for must not keep a DEL from cleaning up.

use cni_interface::Master;
use cni_netlink::IpvlanMode;
use cni_plugin::{Error, Result};
use cni_types::CniResult;
use serde::Deserialize;

/// The plugin's keys of the network configuration, read but not yet validated.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wire {
    master: Option<String>,
    mode: String,
    mtu: i64,
    link_in_container: bool,
}

/// A configuration that ADD can carry out.
#[derive(Debug)]
pub struct Config {
    /// As the configuration says; an ADD asks [`Config::master_after`].
    pub(crate) master: Master,
    pub(crate) mode: IpvlanMode,
    /// `None` for the master's.
    pub(crate) mtu: Option<u32>,
    link_in_container: bool,
}

impl Config {
    /// Validates the keys.
    pub(crate) fn new(wire: &Wire) -> Result<Self> {
        Ok(Config {
            master: Master::new(wire.master.as_deref(), wire.link_in_container),
            mode: mode(&wire.mode)?,
            mtu: cni_interface::mtu(wire.mtu)?.map(Into::into),
            link_in_container: wire.link_in_container,
        })
    }

    /// The master of an ADD: where the configuration names none and another plugin came before, that one's only interface.
    pub(crate) fn master_after(&self, prev: Option<&CniResult>) -> Result<Master> {
        let Some(prev) = prev.filter(|_| !self.master.is_named()) else { return Ok(self.master.clone()) };
        match &prev.interfaces[..] {
            [one] if !one.name.is_empty() => Ok(Master::new(Some(&one.name), self.link_in_container)),
            interfaces => Err(Error::config(format!(
                "master: missing, and prevResult has {} interfaces instead of one with a name",
                interfaces.len()
            ))),
        }
    }
}

const MODES: [(&str, IpvlanMode); 3] =
    [("l2", IpvlanMode::L2), ("l3", IpvlanMode::L3), ("l3s", IpvlanMode::L3s)];

fn mode(name: &str) -> Result<IpvlanMode> {
    if name.is_empty() {
        return Ok(IpvlanMode::L2);
    }
    let known = MODES.iter().find(|(known, _)| *known == name);
    known.map(|(_, mode)| *mode).ok_or_else(|| {
        Error::config(format!("mode: {name:?} is not one of {}", MODES.map(|(name, _)| name).join(", ")))
    })
}

/// The mode as the configuration says it.
pub(crate) fn mode_name(mode: IpvlanMode) -> &'static str {
    MODES.iter().find(|(_, known)| *known == mode).map_or("unknown", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use cni_types::{ErrorCode, Interface, json};
    use serde_json::{Value, json};

    use super::*;

    fn parse(keys: &Value) -> Result<Config> {
        Config::new(&json::from_value::<Wire>(keys)?)
    }

    fn prev(names: &[&str]) -> CniResult {
        let interface = |name: &&str| Interface { name: (*name).to_owned(), ..Interface::default() };
        CniResult { interfaces: names.iter().map(interface).collect(), ..CniResult::default() }
    }

    #[test]
    fn defaults_are_the_references() {
        for keys in [
            json!({}),
            json!({"master": "", "mode": "", "mtu": 0}),
            json!({"master": null, "mode": null, "mtu": null, "linkInContainer": null}),
        ] {
            let config = parse(&keys).unwrap();
            assert_eq!(config.master, Master::new(None, false));
            assert_eq!((config.mode, config.mtu), (IpvlanMode::L2, None));
        }
    }

    #[test]
    fn every_key_is_read_whatever_its_case() {
        let config = parse(&json!({"Master": "eth1", "MODE": "l3s", "Mtu": 1400, "linkincontainer": true}));
        let config = config.unwrap();
        assert_eq!(config.master, Master::new(Some("eth1"), true));
        assert_eq!((config.mode, config.mtu), (IpvlanMode::L3s, Some(1400)));
    }

    #[test]
    fn every_mode_has_the_name_it_is_asked_by() {
        for (name, _) in MODES {
            assert_eq!(mode_name(parse(&json!({ "mode": name })).unwrap().mode), name);
        }
    }

    #[test]
    fn wrong_values_are_refused_with_their_key() {
        for (keys, key, code) in [
            (json!({"mode": "L2"}), "mode: ", ErrorCode::INVALID_NETWORK_CONFIG),
            (json!({"mode": "bridge"}), "mode: ", ErrorCode::INVALID_NETWORK_CONFIG),
            (json!({"mtu": -1}), "mtu: ", ErrorCode::INVALID_NETWORK_CONFIG),
            (json!({"mtu": "1500"}), "mtu", ErrorCode::DECODING_FAILURE),
            (json!({"linkInContainer": 1}), "linkInContainer", ErrorCode::DECODING_FAILURE),
        ] {
            let error = parse(&keys).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains(key), "{keys}: {error}");
        }
    }

    #[test]
    fn an_unnamed_master_is_the_only_interface_of_the_plugin_before() {
        let unnamed = parse(&json!({"linkInContainer": true})).unwrap();
        assert_eq!(unnamed.master_after(None).unwrap(), Master::new(None, true));
        assert_eq!(unnamed.master_after(Some(&prev(&["eth7"]))).unwrap(), Master::new(Some("eth7"), true));
        for names in [&[][..], &["eth7", "eth8"], &[""]] {
            let error = unnamed.master_after(Some(&prev(names))).unwrap_err();
            assert_eq!(error.code(), ErrorCode::INVALID_NETWORK_CONFIG);
            assert!(error.to_string().starts_with("master: "), "{error}");
        }
        let named = parse(&json!({"master": "eth1"})).unwrap();
        assert_eq!(named.master_after(Some(&prev(&["a", "b"]))).unwrap(), Master::new(Some("eth1"), false));
    }
}
