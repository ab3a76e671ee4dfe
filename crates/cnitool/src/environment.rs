//! The process's environment, read in one place.

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::outcome::Failure;

const DEFAULT_NET_DIR: &str = "/etc/cni/net.d";
const DEFAULT_IFNAME: &str = "eth0";

/// The variables as they are; they are looked into only by the commands that need them.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    pub(crate) netconfpath: OsString,
    pub(crate) cni_path: OsString,
    pub(crate) cap_args: OsString,
    pub(crate) cni_args: OsString,
    pub(crate) cni_ifname: OsString,
    pub(crate) path: OsString,
}

impl Environment {
    #[allow(clippy::disallowed_methods, reason = "the tool is a runtime: these variables are its arguments")]
    pub(crate) fn of_process() -> Self {
        let var = |name| std::env::var_os(name).unwrap_or_default();
        Environment {
            netconfpath: var("NETCONFPATH"),
            cni_path: var("CNI_PATH"),
            cap_args: var("CAP_ARGS"),
            cni_args: var("CNI_ARGS"),
            cni_ifname: var("CNI_IFNAME"),
            path: var("PATH"),
        }
    }

    /// The folder of network configurations.
    pub(crate) fn net_dir(&self) -> PathBuf {
        if self.netconfpath.is_empty() { DEFAULT_NET_DIR.into() } else { self.netconfpath.clone().into() }
    }

    /// The folders of plugins.
    pub(crate) fn plugin_dirs(&self) -> Vec<PathBuf> {
        std::env::split_paths(&self.cni_path).filter(|folder| !folder.as_os_str().is_empty()).collect()
    }

    /// `PATH`, where the backends that run programs look for them.
    pub(crate) fn path(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// The interface's name, when the command line does not say it.
    pub(crate) fn ifname(&self) -> Result<String, Failure> {
        match utf8(&self.cni_ifname, "CNI_IFNAME")? {
            "" => Ok(DEFAULT_IFNAME.to_string()),
            name => Ok(name.to_string()),
        }
    }

    /// The pairs of `CNI_ARGS`. Like the reference's cnitool, and unlike its plugins, this one refuses an empty key or
    /// value.
    pub(crate) fn cni_args(&self) -> Result<Vec<(String, String)>, Failure> {
        let text = utf8(&self.cni_args, "CNI_ARGS")?;
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let pairs = text.split(';').map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() && !value.contains('=') => {
                Ok((key.to_string(), value.to_string()))
            }
            _ => Err(Failure::usage(format!("cannot use CNI_ARGS: {pair:?} is not KEY=VALUE"))),
        });
        pairs.collect()
    }

    /// The object in `CAP_ARGS`.
    pub(crate) fn capability_args(&self) -> Result<Map<String, Value>, Failure> {
        let text = utf8(&self.cap_args, "CAP_ARGS")?;
        if text.is_empty() {
            return Ok(Map::new());
        }
        let unusable = |reason: String| Failure::usage(format!("cannot use CAP_ARGS: {reason}"));
        match serde_json::from_str(text).map_err(|error| unusable(error.to_string()))? {
            Value::Object(arguments) => Ok(arguments),
            Value::Null => Ok(Map::new()),
            _ => Err(unusable("it is JSON, but no object".to_string())),
        }
    }
}

fn utf8<'a>(text: &'a OsString, variable: &str) -> Result<&'a str, Failure> {
    text.to_str().ok_or_else(|| Failure::usage(format!("cannot use {variable}: it is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Result<Vec<(String, String)>, Failure> {
        Environment { cni_args: text.into(), ..Default::default() }.cni_args()
    }

    #[test]
    fn cni_args_are_pairs_with_semicolons_between() {
        let pair = |key: &str, value: &str| (key.to_string(), value.to_string());
        assert_eq!(args("").unwrap(), []);
        assert_eq!(args("A=1;B=x y").unwrap(), [pair("A", "1"), pair("B", "x y")]);
        for wrong in ["A", "A=", "=1", "A=1=2", "A=1;", ";"] {
            assert!(args(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn capability_args_are_an_object() {
        let of = |text: &str| Environment { cap_args: text.into(), ..Default::default() }.capability_args();
        assert_eq!(of(r#"{"mac":"x"}"#).unwrap()["mac"], "x");
        assert!(of("").unwrap().is_empty() && of("null").unwrap().is_empty());
        assert!(of("[]").is_err() && of("{").is_err());
    }

    #[test]
    fn unset_variables_have_the_references_defaults() {
        let environment = Environment::default();
        assert_eq!(environment.net_dir(), PathBuf::from("/etc/cni/net.d"));
        assert_eq!(environment.ifname().unwrap(), "eth0");
        assert!(environment.plugin_dirs().is_empty());
    }
}
