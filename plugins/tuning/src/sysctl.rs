//! Kernel settings of the container's namespace, by the keys that people write: `net.ipv4.conf.IFNAME.arp_filter`, or with
//! slashes.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use cni_host::{sysctl_read, sysctl_write};
use cni_plugin::{Context as _, Error, Result, Undo, log};

/// The part of a key that stands for the interface's name.
pub(crate) const IFNAME: &str = "IFNAME";

/// A setting and the value it is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// As it is configured, for the allow list and for errors.
    pub(crate) key: String,
    /// Below /proc/sys, separated by slashes.
    path: String,
    value: String,
}

impl Sysctl {
    /// Takes a key as the reference does: a dot is a slash, several in a row are one, and the first `IFNAME` is the
    /// interface's name, which may have dots of its own.
    fn new(key: &str, value: &str, ifname: &str) -> Result<Self> {
        let refuse = |reason: &str| Err(Error::config(format!("sysctl {key:?}: {reason}")));
        // Two dots would be nothing but two slashes; whoever wrote them wanted to leave.
        if key.contains("..") {
            return refuse("a key has no \"..\"");
        }
        if key.contains('\0') || value.contains('\0') {
            return refuse("it has a NUL character");
        }
        let parts: Vec<&str> = key.split(['.', '/']).filter(|part| !part.is_empty()).collect();
        if parts.len() < 2 || parts[0] != "net" {
            return refuse("only settings below net can be changed");
        }
        let path = parts.join("/").replacen(IFNAME, ifname, 1);
        Ok(Sysctl { key: key.to_owned(), path, value: value.to_owned() })
    }

    /// Settings of all interfaces and of those to come go first: some of them change every interface's own.
    fn rank(&self) -> u8 {
        match () {
            () if self.path.contains("/all/") => 0,
            () if self.path.contains("/default/") => 1,
            () => 2,
        }
    }

    /// Writes the value and arms the way back. Call inside the container's namespace, and keep `undo` there.
    pub(crate) fn set(&self, undo: &mut Undo<'_>) -> Result<()> {
        let before = sysctl_read(&self.path).ok();
        // Nothing at all would be written for an empty text, and change nothing.
        let value = if self.value.is_empty() { "\n" } else { &self.value };
        sysctl_write(&self.path, value).with_context(|| format!("sysctl {}", self.key))?;
        // What can only be written (net/ipv4/route/flush) has no way back.
        if let Some(before) = before.filter(|before| !same(before, &self.value)) {
            let path = self.path.clone();
            let before = if before.is_empty() { "\n".to_owned() } else { before };
            undo.push("set a sysctl back", move || Ok(sysctl_write(&path, &before)?));
        }
        Ok(())
    }

    /// CHECK: the setting has the value. Call inside the container's namespace.
    pub(crate) fn check(&self) -> Result<()> {
        match sysctl_read(&self.path) {
            Ok(value) if same(&value, &self.value) => Ok(()),
            Ok(value) => {
                Err(Error::failed(format!("sysctl {} is {value:?}, not {:?}", self.key, self.value)))
            }
            Err(cni_host::Error::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
                log::debug(format_args!("sysctl {} cannot be read", self.key));
                Ok(())
            }
            Err(error) => Err(error).with_context(|| format!("sysctl {}", self.key)),
        }
    }
}

/// The kernel separates the numbers of one setting by tabs, people by spaces.
fn same(a: &str, b: &str) -> bool {
    a.split_ascii_whitespace().eq(b.split_ascii_whitespace())
}

/// The settings of several sources, each its keys and values; where two name the same setting the later source wins. `null`
/// is none. Two spellings of one setting in one source must have one value.
pub(crate) fn merge(sources: &[&BTreeMap<String, Option<String>>], ifname: &str) -> Result<Vec<Sysctl>> {
    let mut all: Vec<Sysctl> = Vec::new();
    for source in sources {
        let mut own: Vec<Sysctl> = Vec::new();
        for (key, value) in source.iter() {
            let Some(value) = value else { continue };
            let sysctl = Sysctl::new(key, value, ifname)?;
            match own.iter().find(|other| other.path == sysctl.path) {
                None => own.push(sysctl),
                Some(other) if same(&other.value, &sysctl.value) => {}
                Some(other) => {
                    return Err(Error::config(format!(
                        "sysctl {:?} and {:?} are one setting, with two values",
                        other.key, sysctl.key
                    )));
                }
            }
        }
        all.retain(|sysctl| own.iter().all(|other| other.path != sysctl.path));
        all.append(&mut own);
    }
    all.sort_by(|a, b| (a.rank(), &a.path).cmp(&(b.rank(), &b.path)));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(key: &str) -> Result<String> {
        Sysctl::new(key, "1", "eth0.100").map(|sysctl| sysctl.path)
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, Option<String>> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect()
    }

    fn merged(sources: &[&[(&str, &str)]]) -> Result<Vec<(String, String)>> {
        let maps: Vec<_> = sources.iter().map(|pairs| map(pairs)).collect();
        let settings = merge(&maps.iter().collect::<Vec<_>>(), "eth0")?;
        Ok(settings.into_iter().map(|sysctl| (sysctl.path, sysctl.value)).collect())
    }

    #[test]
    fn keys_have_dots_or_slashes_and_the_interfaces_name_keeps_its_own() {
        let expected = "net/ipv4/conf/eth0.100/arp_filter";
        for key in [
            "net.ipv4.conf.IFNAME.arp_filter",
            "net/ipv4/conf/IFNAME/arp_filter",
            "net/ipv4.conf/IFNAME.arp_filter",
            "/net/ipv4//conf/IFNAME/arp_filter/",
        ] {
            assert_eq!(path(key).unwrap(), expected, "{key}");
        }
        // Only the first, as the reference has it.
        assert_eq!(path("net.IFNAME.IFNAME").unwrap(), "net/eth0.100/IFNAME");
    }

    #[test]
    fn what_is_not_below_net_is_refused_by_name() {
        for key in [
            "kernel.hostname",
            "net",
            "net.",
            "network.x",
            "",
            "/",
            "net/../kernel/hostname",
            "net.ipv4./../../kernel/hostname",
            "../net/ipv4/ip_forward",
            "IFNAME.x",
            "net.ipv4\0.ip_forward",
        ] {
            let error = path(key).unwrap_err();
            assert_eq!(error.code().0, 7, "{error}");
            assert!(error.to_string().starts_with(&format!("sysctl {key:?}: ")), "{error}");
        }
    }

    #[test]
    fn later_sources_win_however_they_spell_it() {
        let forward = "net/ipv4/ip_forward".to_owned();
        assert_eq!(
            merged(&[&[("net.ipv4.ip_forward", "0")], &[("net/ipv4/ip_forward", "1")]]).unwrap(),
            [(forward.clone(), "1".to_owned())]
        );
        assert_eq!(
            merged(&[&[("net.ipv4.ip_forward", "1"), ("net/ipv4/ip_forward", "1")]]).unwrap(),
            [(forward, "1".to_owned())]
        );
    }

    #[test]
    fn one_setting_with_two_values_is_refused() {
        let error = merged(&[&[("net.ipv4.conf.IFNAME.x", "0"), ("net.ipv4.conf.eth0.x", "1")]]).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"sysctl "net.ipv4.conf.IFNAME.x" and "net.ipv4.conf.eth0.x" are one setting, with two values"#
        );
    }

    #[test]
    fn what_is_for_all_interfaces_comes_before_what_is_for_one() {
        let order: Vec<String> = merged(&[&[
            ("net.ipv6.conf.IFNAME.disable_ipv6", "0"),
            ("net.ipv6.conf.a0.disable_ipv6", "0"),
            ("net.ipv6.conf.default.disable_ipv6", "1"),
            ("net.ipv6.conf.all.disable_ipv6", "1"),
        ]])
        .unwrap()
        .into_iter()
        .map(|(path, _)| path)
        .collect();
        assert_eq!(
            order,
            ["all", "default", "a0", "eth0"].map(|of| format!("net/ipv6/conf/{of}/disable_ipv6"))
        );
    }

    #[test]
    fn null_is_no_setting() {
        let source = BTreeMap::from([("net.ipv4.ip_forward".to_owned(), None)]);
        assert_eq!(merge(&[&source], "eth0").unwrap(), []);
    }

    proptest! {
        #[test]
        fn no_key_leads_out_of_net(key in "[./netIFNAM]{0,20}|net[./].{0,20}") {
            if let Ok(path) = path(&key) {
                prop_assert!(path.starts_with("net/"));
                prop_assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path}");
            }
        }
    }
}
