//! The data of the [Container Network Interface specification][spec], every version from 0.1.0 to 1.1.0:
//! configurations, results, errors, arguments. No I/O and nothing of Linux.
//!
//! Whatever arrives is read as the reference implementation reads it, so that a configuration which works there works
//! here ([`json`] has the details), and is validated once: a [`NetworkName`], an [`IfName`], an address in a [`CniResult`] can
//! be relied upon. No input makes anything here panic.
//!
//! # A plugin's configuration
//!
//! [`PluginConf`] has what the specification defines. A plugin reads its own keys from [`PluginConf::raw`], in which
//! everything is as it came; the same holds for `args` and for the capability arguments in `runtimeConfig`.
//!
//! ```
//! use cni_types::{PluginConf, PortMapping, SpecVersion, json};
//! use serde::Deserialize;
//!
//! #[derive(Default, Deserialize)]
//! #[serde(default, rename_all = "camelCase")]
//! struct Config {
//!     mtu: Option<u32>,
//!     runtime_config: RuntimeConfig,
//! }
//!
//! #[derive(Default, Deserialize)]
//! #[serde(default, rename_all = "camelCase")]
//! struct RuntimeConfig {
//!     port_mappings: Vec<PortMapping>,
//! }
//!
//! let stdin = br#"{
//!     "cniVersion": "1.0.0",
//!     "name": "dbnet",
//!     "type": "example",
//!     "mtu": 1400,
//!     "runtimeConfig": { "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }] },
//!     "prevResult": { "ips": [{ "address": "10.1.0.5/16", "gateway": "10.1.0.1" }] }
//! }"#;
//! let conf = PluginConf::from_slice(stdin)?;
//! assert_eq!((conf.name.as_str(), conf.cni_version), ("dbnet", SpecVersion::V1_0_0));
//!
//! let own: Config = conf.raw.read()?;
//! assert_eq!(own.mtu, Some(1400));
//! assert_eq!(own.runtime_config.port_mappings[0].host_port, 8080);
//!
//! let prev_result = conf.prev_result()?.expect("the plugin is not the first of its chain");
//! assert_eq!(prev_result.ips[0].address.to_string(), "10.1.0.5/16");
//! # Ok::<(), cni_types::ConfError>(())
//! ```
//!
//! # A result, in any version
//!
//! [`CniResult`] holds what the newest version can say. [`CniResult::to_json`] gives it the form of the version that the
//! configuration speaks, [`CniResult::from_json`] reads the form of any.
//!
//! ```
//! use cni_types::{CniResult, Interface, IpConfig, Route, SpecVersion};
//! use serde_json::json;
//!
//! let result = CniResult {
//!     interfaces: vec![Interface {
//!         name: "eth0".to_owned(),
//!         mtu: Some(1400),
//!         sandbox: Some("/run/netns/blue".to_owned()),
//!         ..Interface::default()
//!     }],
//!     ips: vec![IpConfig { interface: Some(0), address: "10.1.0.5/16".parse()?, gateway: None }],
//!     routes: vec![Route::new("0.0.0.0/0".parse()?, Some("10.1.0.1".parse()?))],
//!     ..CniResult::default()
//! };
//! assert_eq!(
//!     result.to_json(SpecVersion::V0_4_0)?,
//!     json!({
//!         "cniVersion": "0.4.0",
//!         "interfaces": [{ "name": "eth0", "sandbox": "/run/netns/blue" }],
//!         "ips": [{ "version": "4", "interface": 0, "address": "10.1.0.5/16" }],
//!         "routes": [{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }],
//!         "dns": {}
//!     })
//! );
//! let old = result.to_json(SpecVersion::V0_2_0)?;
//! assert_eq!(
//!     old,
//!     json!({
//!         "cniVersion": "0.2.0",
//!         "ip4": { "ip": "10.1.0.5/16", "routes": [{ "dst": "0.0.0.0/0", "gw": "10.1.0.1" }] },
//!         "dns": {}
//!     })
//! );
//! let read = CniResult::from_json(&old, SpecVersion::V1_1_0)?;
//! assert_eq!(read.routes, result.routes);
//!
//! // Before 0.3.0 a result must have an address.
//! let error = CniResult::default().to_json(SpecVersion::V0_1_0).unwrap_err();
//! assert_eq!(error.to_string(), "cannot convert a result to CNI 0.1.0: it has no IP address");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What a version has no field for is left out as the reference does:
//!
//! | version | interfaces | addresses | routes | `dns` |
//! |---|---|---|---|---|
//! | 0.1.0, 0.2.0 | none | the first of each family | `dst` and `gw`, of those families | always |
//! | 0.3.0, 0.3.1, 0.4.0 | `name`, `mac`, `sandbox` | all | all fields | always |
//! | 1.0.0, 1.1.0 | all fields | all | all fields | unless empty |
//!
//! # Errors on standard output
//!
//! ```
//! use cni_types::{CniError, ErrorCode};
//! use serde_json::json;
//!
//! let error = CniError {
//!     code: ErrorCode::INVALID_NETWORK_CONFIG,
//!     msg: "cannot use bridge name \"cni/0\": `/` is not allowed".to_owned(),
//!     details: String::new(),
//! };
//! let printed = error.to_json("1.0.0");
//! assert_eq!(
//!     printed,
//!     json!({
//!         "cniVersion": "1.0.0",
//!         "code": 7,
//!         "msg": "cannot use bridge name \"cni/0\": `/` is not allowed"
//!     })
//! );
//! assert_eq!(CniError::from_json(&printed), Some(error));
//! ```
//!
//! # `CNI_ARGS`
//!
//! A plugin that takes any key first says which ones it knows; others are an error unless `IgnoreUnknown` is set.
//!
//! ```
//! use cni_types::CniArgs;
//!
//! let args = CniArgs::parse("IgnoreUnknown=1;K8S_POD_NAME=web;IP=10.1.0.9");
//! args.expect_only(&["IP", "GATEWAY"])?;
//! assert_eq!(args.get("IP"), Some("10.1.0.9"));
//!
//! let error = CniArgs::parse("K8S_POD_NAME=web").expect_only(&["IP", "GATEWAY"]).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "unknown arguments [\"K8S_POD_NAME\"] in CNI_ARGS (IgnoreUnknown=1 allows them)"
//! );
//! # Ok::<(), cni_types::ArgsError>(())
//! ```
//!
//! # For runtimes
//!
//! [`NetworkConfigList`] is a network as it lies in a configuration folder, [`VersionInfo`] what a plugin answers to
//! VERSION, and [`GcAttachment`] what a GC request lists.
//!
//! ```
//! use cni_types::{NetworkConfigList, SpecVersion};
//!
//! let list = NetworkConfigList::from_slice(
//!     br#"{
//!         "cniVersions": ["0.4.0", "1.0.0", "2.0.0"],
//!         "name": "dbnet",
//!         "plugins": [{ "type": "bridge", "bridge": "cni0" }, { "type": "portmap" }]
//!     }"#,
//! )?;
//! assert_eq!(list.cni_version, SpecVersion::V1_0_0);
//! assert_eq!(list.plugins[0]["bridge"], "cni0");
//! # Ok::<(), cni_types::ConfError>(())
//! ```
//!
//! [spec]: https://github.com/containernetworking/cni/blob/main/SPEC.md

mod args;
mod attachment;
mod capability;
mod conf;
mod conflist;
mod dns;
mod error;
pub mod json;
mod names;
mod result;
mod version;

pub use args::{ArgsError, CniArgs};
pub use attachment::{GcAttachment, ValidAttachments};
pub use capability::{BandwidthEntry, PortMapping};
pub use conf::{ConfError, IpamConf, PluginConf};
pub use conflist::NetworkConfigList;
pub use dns::Dns;
pub use error::{CniError, ErrorCode};
pub use names::{ContainerId, IfName, InvalidName, NetworkName, PluginType};
pub use result::address::{parse_address, parse_network};
pub use result::{CniResult, Interface, IpConfig, ResultError, Route};
pub use version::{SpecVersion, UnknownVersion, VersionInfo};

/// The example of this crate's README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
