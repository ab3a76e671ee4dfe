//! The configuration: its form on the wire, and what ADD, CHECK and STATUS make of it.
//!
//! DEL and GC take only the backend and the zone, which cannot be wrong: what an ADD was refused for must not keep a DEL from
//! cleaning up.

use cni_plugin::{Error, Result};
use serde::Deserialize;

const DEFAULT_ADMIN_CHAIN: &str = "CNI-ADMIN";
const DEFAULT_ZONE: &str = "trusted";

/// The longest name of a chain in bytes (XT_EXTENSION_MAXNAMELEN in include/uapi/linux/netfilter/x_tables.h, less the NUL).
const MAX_CHAIN_NAME: usize = 28;

/// The plugin's keys of the network configuration, read but not yet validated.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Wire {
    backend: String,
    iptables_admin_chain_name: String,
    firewalld_zone: String,
    ingress_policy: String,
}

/// Who is told to let the container through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Iptables,
    Nftables,
    Firewalld,
}

/// What reaches a container from other bridges and from its own one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Open,
    /// Nothing passes between this bridge and another one that has a policy too.
    SameBridge,
    /// The same, and nothing passes between containers of this bridge.
    Isolated,
}

/// A configuration that ADD can carry out.
#[derive(Debug)]
pub struct Config {
    /// `None` when the host is to decide.
    pub(crate) backend: Option<Backend>,
    pub(crate) admin_chain: String,
    pub(crate) zone: String,
    pub(crate) policy: Policy,
}

impl Wire {
    /// `None` for anything that is no backend's name, which the reference takes for unset.
    pub(crate) fn backend(&self) -> Option<Backend> {
        match self.backend.as_str() {
            "iptables" => Some(Backend::Iptables),
            "nftables" => Some(Backend::Nftables),
            "firewalld" => Some(Backend::Firewalld),
            _ => None,
        }
    }

    pub(crate) fn zone(&self) -> &str {
        or_default(&self.firewalld_zone, DEFAULT_ZONE)
    }
}

impl Config {
    pub(crate) fn new(wire: &Wire) -> Result<Self> {
        Ok(Config {
            backend: wire.backend(),
            admin_chain: admin_chain(or_default(&wire.iptables_admin_chain_name, DEFAULT_ADMIN_CHAIN))?,
            zone: wire.zone().to_owned(),
            policy: policy(&wire.ingress_policy)?,
        })
    }
}

impl Policy {
    /// As it is called in the configuration.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Policy::Open => "open",
            Policy::SameBridge => "same-bridge",
            Policy::Isolated => "isolated",
        }
    }
}

fn policy(text: &str) -> Result<Policy> {
    let all = [Policy::Open, Policy::SameBridge, Policy::Isolated];
    if text.is_empty() {
        return Ok(Policy::Open);
    }
    all.into_iter().find(|policy| policy.as_str() == text).ok_or_else(|| {
        Error::config(format!("ingressPolicy: unknown policy {text:?}; use open, same-bridge or isolated"))
    })
}

/// iptables would read some names as something else, and a jump to our own chains would go in a circle.
fn admin_chain(name: &str) -> Result<String> {
    let invalid = |reason: &str| {
        Error::config(format!("iptablesAdminChainName: cannot use {name:?} as a chain's name: {reason}"))
    };
    if name.len() > MAX_CHAIN_NAME {
        return Err(invalid(&format!("it is longer than {MAX_CHAIN_NAME} bytes")));
    }
    if name.starts_with(['-', '!']) || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid("it must be printable ASCII without spaces, and not begin with - or !"));
    }
    let taken = ["ACCEPT", "DROP", "QUEUE", "RETURN", "INPUT", "FORWARD", "OUTPUT", "CNI-FORWARD"];
    if taken.contains(&name) || name.starts_with("CNI-ISOLATION-STAGE-") {
        return Err(invalid("that name has another meaning"));
    }
    Ok(name.to_owned())
}

fn or_default<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

#[cfg(test)]
mod tests {
    use cni_types::json;
    use serde_json::{Value, json};

    use super::*;

    fn read(conf: Value) -> Result<Config> {
        Config::new(&json::from_value(&conf).unwrap())
    }

    #[test]
    fn unset_empty_and_null_keys_have_the_references_defaults() {
        for conf in [
            json!({}),
            json!({"backend": "", "iptablesAdminChainName": "", "firewalldZone": "", "ingressPolicy": ""}),
            json!({"backend": null, "iptablesAdminChainName": null, "firewalldZone": null, "ingressPolicy": null}),
        ] {
            let config = read(conf).unwrap();
            assert_eq!(config.backend, None);
            assert_eq!((&*config.admin_chain, &*config.zone), ("CNI-ADMIN", "trusted"));
            assert_eq!(config.policy, Policy::Open);
        }
    }

    #[test]
    fn a_word_that_is_no_backend_leaves_the_choice_to_the_host() {
        let backend = |word: &str| read(json!({"Backend": word})).unwrap().backend;
        assert_eq!(backend("iptables"), Some(Backend::Iptables));
        assert_eq!(backend("nftables"), Some(Backend::Nftables));
        assert_eq!(backend("firewalld"), Some(Backend::Firewalld));
        assert_eq!(backend("Iptables"), None);
        assert_eq!(backend("pf"), None);
    }

    #[test]
    fn policies_are_known_by_name_and_others_refused() {
        for policy in [Policy::Open, Policy::SameBridge, Policy::Isolated] {
            assert_eq!(read(json!({"ingressPolicy": policy.as_str()})).unwrap().policy, policy);
        }
        let error = read(json!({"ingressPolicy": "closed"})).unwrap_err().to_string();
        assert_eq!(error, "ingressPolicy: unknown policy \"closed\"; use open, same-bridge or isolated");
    }

    #[test]
    fn names_that_iptables_would_misread_are_refused() {
        for name in [
            "-A",
            "!x",
            "two words",
            "line\nbreak",
            "ACCEPT",
            "FORWARD",
            "CNI-FORWARD",
            "CNI-ISOLATION-STAGE-1",
        ] {
            let error = read(json!({"iptablesAdminChainName": name})).unwrap_err().to_string();
            assert!(error.starts_with("iptablesAdminChainName: cannot use"), "{error}");
        }
        assert!(read(json!({"iptablesAdminChainName": "x".repeat(28)})).is_ok());
        assert!(read(json!({"iptablesAdminChainName": "x".repeat(29)})).is_err());
    }
}
