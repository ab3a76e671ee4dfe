//! The `dns` object of configurations and results.

use serde::{Deserialize, Deserializer, Serialize};

/// Name service settings; plugins hand them on, only the runtime writes resolv.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Addresses of name servers, the preferred first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "read_domain")]
    pub domain: Option<String>,
    /// Domains in which short names are looked up, the preferred first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of the resolver, as in resolv.conf(5).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Dns::default()
    }
}

/// An empty domain is none, as the reference never prints one.
fn read_domain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let domain = Option::<String>::deserialize(deserializer)?;
    Ok(domain.filter(|d| !d.is_empty()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::json;

    #[test]
    fn what_is_empty_is_not_written() {
        let dns: Dns = json::from_value(&json!({ "nameservers": [], "domain": "", "search": null })).unwrap();
        assert!(dns.is_empty());
        assert_eq!(serde_json::to_value(&dns).unwrap(), json!({}));
    }

    #[test]
    fn what_is_set_is_written() {
        let all = json!({ "nameservers": ["10.0.0.1"], "domain": "a", "search": ["b"], "options": ["c"] });
        let dns: Dns = json::from_value(&all).unwrap();
        assert!(!dns.is_empty());
        assert_eq!(serde_json::to_value(&dns).unwrap(), all);
    }
}
