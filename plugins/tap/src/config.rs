//! The configuration: its form on the wire, and what ADD, CHECK and STATUS make of it.
//!
//! DEL and GC look at nothing here: what an ADD was refused for must not keep a DEL from cleaning up.

use cni_netlink::MacAddr;
use cni_plugin::{Call, Result};
use serde::Deserialize;

/// The plugin's keys of the network configuration, read but not yet validated.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wire {
    multi_queue: bool,
    mtu: i64,
    mac: Option<String>,
    owner: Option<u32>,
    group: Option<u32>,
    selinux_context: Option<String>,
    bridge: Option<String>,
    runtime_config: WireMac,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireMac {
    mac: Option<String>,
}

/// A configuration that ADD can carry out.
#[derive(Debug)]
pub struct Config {
    pub(crate) multi_queue: bool,
    /// `None` for the kernel's default.
    pub(crate) mtu: Option<u32>,
    /// `None` for one that the kernel picks.
    pub(crate) mac: Option<MacAddr>,
    /// By ID; `None` for any user.
    pub(crate) owner: Option<u32>,
    /// By ID; `None` for any group.
    pub(crate) group: Option<u32>,
    /// `None` for the plugin's own.
    pub(crate) selinux_context: Option<String>,
    /// A bridge in the container's namespace.
    pub(crate) bridge: Option<String>,
}

impl Config {
    /// Validates the keys together with `CNI_ARGS`.
    pub(crate) fn new(wire: &Wire, call: &Call) -> Result<Self> {
        let text = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
        Ok(Config {
            multi_queue: wire.multi_queue,
            mtu: cni_interface::mtu(wire.mtu)?.map(Into::into),
            mac: mac(wire, call)?,
            owner: wire.owner,
            group: wire.group,
            selinux_context: text(&wire.selinux_context),
            bridge: text(&wire.bridge),
        })
    }
}

/// `mac`, then `CNI_ARGS`, then `runtimeConfig.mac`: the last that is set wins.
fn mac(wire: &Wire, call: &Call) -> Result<Option<MacAddr>> {
    call.args.expect_only(&["MAC"])?;
    cni_interface::mac(&[
        ("runtimeConfig.mac", wire.runtime_config.mac.as_deref()),
        ("MAC in CNI_ARGS", call.args.get("MAC")),
        ("mac", wire.mac.as_deref()),
    ])
}

#[cfg(test)]
mod tests {
    use cni_types::{CniArgs, ErrorCode, PluginConf};
    use serde_json::{Value, json};

    use super::*;

    fn parse_with(args: &str, keys: Value) -> Result<Config> {
        let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "tap"});
        conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let stdin = conf.to_string().into_bytes();
        let conf = PluginConf::from_slice(&stdin)?;
        let call = Call { conf, args: CniArgs::parse(args), path: Vec::new(), stdin, delegators: Vec::new() };
        Config::new(&call.read()?, &call)
    }

    fn parse(keys: Value) -> Result<Config> {
        parse_with("", keys)
    }

    #[test]
    fn defaults_are_the_references() {
        for keys in [
            json!({}),
            json!({"mtu": 0, "mac": "", "selinuxContext": "", "bridge": "", "multiQueue": false}),
            json!({"owner": null, "group": null, "mac": null, "bridge": null, "args": null, "runtimeConfig": null}),
        ] {
            let config = parse(keys).unwrap();
            assert_eq!((config.multi_queue, config.mtu, config.mac), (false, None, None));
            assert_eq!((config.owner, config.group), (None, None));
            assert_eq!((config.selinux_context, config.bridge), (None, None));
        }
    }

    #[test]
    fn every_key_is_read_whatever_its_case() {
        let keys = json!({
            "multiqueue": true, "MTU": 1400, "Mac": "02:00:00:00:00:01", "Owner": 0, "GROUP": 4_294_967_294_u32,
            "SELinuxContext": "system_u:system_r:container_t:s0", "Bridge": "br0", "args": {"cni": {}},
        });
        let config = parse(keys).unwrap();
        assert_eq!((config.multi_queue, config.mtu), (true, Some(1400)));
        assert_eq!(config.mac, Some(MacAddr([2, 0, 0, 0, 0, 1])));
        // User and group 0 are set, and not the same as none.
        assert_eq!((config.owner, config.group), (Some(0), Some(u32::MAX - 1)));
        assert_eq!(config.selinux_context.as_deref(), Some("system_u:system_r:container_t:s0"));
        assert_eq!(config.bridge.as_deref(), Some("br0"));
    }

    #[test]
    fn of_three_sources_of_a_mac_address_the_last_one_wins() {
        let last = |args, keys| parse_with(args, keys).unwrap().mac.unwrap().0[5];
        let runtime = json!({"mac": "02:00:00:00:00:03"});
        let top = "02:00:00:00:00:01";
        assert_eq!(last("", json!({"mac": top})), 1);
        assert_eq!(last("MAC=02:00:00:00:00:02", json!({"mac": top})), 2);
        assert_eq!(last("MAC=02:00:00:00:00:02", json!({"mac": top, "runtimeConfig": runtime})), 3);
        assert_eq!(last("MAC=02:00:00:00:00:02", json!({"mac": top, "runtimeConfig": {"mac": ""}})), 2);
    }

    #[test]
    fn wrong_values_are_refused_with_their_key() {
        for (args, keys, key, code) in [
            ("", json!({"mtu": -1}), "mtu", ErrorCode::INVALID_NETWORK_CONFIG),
            ("", json!({"mac": "01:00:00:00:00:01"}), "mac", ErrorCode::INVALID_NETWORK_CONFIG),
            ("", json!({"mac": "nonsense"}), "mac", ErrorCode::INVALID_NETWORK_CONFIG),
            ("MAC=nonsense", json!({}), "MAC in CNI_ARGS", ErrorCode::INVALID_NETWORK_CONFIG),
            (
                "",
                json!({"runtimeConfig": {"mac": "0"}}),
                "runtimeConfig.mac",
                ErrorCode::INVALID_NETWORK_CONFIG,
            ),
            ("FOO=1", json!({}), "FOO", ErrorCode::INVALID_ENVIRONMENT),
            ("", json!({"mtu": "1400"}), "mtu", ErrorCode::DECODING_FAILURE),
            ("", json!({"owner": -1}), "owner", ErrorCode::DECODING_FAILURE),
            ("", json!({"owner": "root"}), "owner", ErrorCode::DECODING_FAILURE),
            ("", json!({"group": 4_294_967_296_u64}), "group", ErrorCode::DECODING_FAILURE),
            ("", json!({"multiQueue": 2}), "multiQueue", ErrorCode::DECODING_FAILURE),
            ("", json!({"bridge": 1}), "bridge", ErrorCode::DECODING_FAILURE),
            ("", json!({"selinuxContext": 1}), "selinuxContext", ErrorCode::DECODING_FAILURE),
        ] {
            let error = parse_with(args, keys.clone()).unwrap_err();
            assert_eq!(error.code(), code, "{keys}: {error}");
            assert!(error.to_string().contains(key), "{keys}: {error}");
        }
        parse_with("FOO=1;IgnoreUnknown=1", json!({})).unwrap();
    }
}
