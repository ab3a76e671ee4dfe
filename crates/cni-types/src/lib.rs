//! The data of the [Container Network Interface specification][spec], every version from 0.1.0 to
//! 1.1.0: configurations, results, errors, arguments. No I/O and nothing of Linux.
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
pub use result::{CniResult, Interface, IpConfig, ResultError, Route};
pub use version::{SpecVersion, UnknownVersion, VersionInfo};
