//! The configuration: as it is written, then validated. The daemon reads the same.

use std::path::PathBuf;

use cni_dhcp::packet::{Provide, Request, Settings};
use cni_plugin::{Error, Result};
use cni_types::{CniResult, Route};
use serde::Deserialize;

/// Where the daemon listens unless the configuration says otherwise.
pub(crate) const SOCKET: &str = "/run/cni/dhcp.sock";

/// The parts of standard input that are read here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Wire {
    pub(crate) ipam: Option<IpamConf>,
}

/// `ipam`, as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct IpamConf {
    daemon_socket_path: String,
    pub(crate) provide: Vec<Provide>,
    pub(crate) request: Vec<Request>,
    /// The metric of all routes that a server gives; 0 for none.
    priority: u32,
    suppress: Vec<String>,
    routes: Vec<Route>,
}

/// What an ADD needs.
#[derive(Debug)]
pub struct Config {
    pub(crate) socket: PathBuf,
    pub(crate) shape: Shape,
}

/// How a result differs from what a server gives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    without_gateway: bool,
    routes: Vec<Route>,
}

impl Wire {
    /// Validates the keys. `args` is the text of CNI_ARGS, which may have values of options.
    pub(crate) fn validate(&self, args: &str) -> Result<Config> {
        let Some(ipam) = &self.ipam else {
            return Err(Error::config("ipam: missing; dhcp is an IPAM plugin"));
        };
        // Whom the lease is for makes no difference to whether the options can be sent.
        Settings::new(b"", &ipam.provide, &ipam.request, args)
            .map_err(|error| Error::config(format!("ipam: {error}")))?;
        Ok(Config { socket: self.socket(), shape: ipam.shape()? })
    }

    /// Where the daemon listens.
    pub(crate) fn socket(&self) -> PathBuf {
        let configured = self.ipam.as_ref().map(|ipam| ipam.daemon_socket_path.as_str());
        configured.filter(|path| !path.is_empty()).unwrap_or(SOCKET).into()
    }
}

impl IpamConf {
    pub(crate) fn priority(&self) -> Option<u32> {
        Some(self.priority).filter(|priority| *priority != 0)
    }

    pub(crate) fn shape(&self) -> Result<Shape> {
        if let Some(unknown) = self.suppress.iter().find(|word| *word != "gateway") {
            return Err(Error::config(format!("ipam.suppress: {unknown:?} is not \"gateway\"")));
        }
        Ok(Shape { without_gateway: !self.suppress.is_empty(), routes: self.routes.clone() })
    }
}

impl Shape {
    /// A server's result as the configuration wants it. Its own routes come in the place of the server's to the same destination.
    pub(crate) fn apply(&self, mut result: CniResult) -> CniResult {
        if self.without_gateway {
            result.ips.iter_mut().for_each(|ip| ip.gateway = None);
            result.routes.retain(|route| route.dst.prefix_len() != 0);
        }
        let is_own = |route: &Route| self.routes.iter().any(|own| own.dst.trunc() == route.dst.trunc());
        result.routes.retain(|route| !is_own(route));
        result.routes.extend(self.routes.iter().cloned());
        result
    }
}

#[cfg(test)]
mod tests {
    use cni_types::IpConfig;

    use super::*;

    fn wire(ipam: &str) -> Result<Config> {
        let text = format!(r#"{{"ipam": {ipam}}}"#);
        cni_types::json::from_slice::<Wire>(text.as_bytes())?.validate("")
    }

    fn result() -> CniResult {
        let route = |dst: &str| Route::new(dst.parse().unwrap(), Some("192.0.2.1".parse().unwrap()));
        let gateway = Some("192.0.2.1".parse().unwrap());
        CniResult {
            ips: vec![IpConfig { interface: None, address: "192.0.2.7/24".parse().unwrap(), gateway }],
            routes: vec![route("0.0.0.0/0"), route("10.0.0.0/8")],
            ..CniResult::default()
        }
    }

    #[test]
    fn the_socket_has_a_place_unless_it_is_told() {
        assert_eq!(wire("{}").unwrap().socket, PathBuf::from("/run/cni/dhcp.sock"));
        assert_eq!(wire(r#"{"daemonSocketPath": "/x"}"#).unwrap().socket, PathBuf::from("/x"));
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused_with_its_place() {
        for (ipam, expected) in [
            (r#"{"request": [{"option": "routes"}]}"#, "ipam: cannot parse option \"routes\""),
            (r#"{"suppress": ["dns"]}"#, "ipam.suppress: \"dns\" is not \"gateway\""),
            (r#"{"priority": -1}"#, "ipam.priority"),
        ] {
            let error = wire(ipam).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(Wire::default().validate("").is_err());
    }

    #[test]
    fn a_gateway_is_suppressed_with_the_default_route() {
        let shaped = wire(r#"{"suppress": ["gateway"]}"#).unwrap().shape.apply(result());
        assert_eq!((shaped.ips[0].gateway, shaped.routes.len()), (None, 1));
        assert_eq!(wire("{}").unwrap().shape.apply(result()), result());
    }

    #[test]
    fn routes_of_the_configuration_come_before_the_servers() {
        let ipam = r#"{"routes": [{"dst": "10.1.2.3/8", "gw": "192.0.2.9"}, {"dst": "172.16.0.0/12"}]}"#;
        let shaped = wire(ipam).unwrap().shape.apply(result());
        let routes: Vec<_> =
            shaped.routes.iter().map(|route| (route.dst.trunc().to_string(), route.gw)).collect();
        let gw = |text: &str| Some(text.parse().unwrap());
        let expected = [
            ("0.0.0.0/0".into(), gw("192.0.2.1")),
            ("10.0.0.0/8".into(), gw("192.0.2.9")),
            ("172.16.0.0/12".into(), None),
        ];
        assert_eq!(routes, expected);
    }
}
