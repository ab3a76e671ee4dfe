//! Kernel settings under /proc/sys of the calling thread's network namespace (call inside [`crate::NetNs::run`]).

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use crate::{Error, Result};

const ROOT: &str = "/proc/sys";

/// Reads a setting, white space at the end removed. The key's parts are separated by `/`, so that an interface name
/// may hold dots: `net/ipv6/conf/eth0.100/disable_ipv6`. Keys that could leave /proc/sys are refused.
pub fn sysctl_read(key: &str) -> Result<String> {
    let path = path_of(key)?;
    match fs::read_to_string(&path) {
        Ok(value) => Ok(value.trim_end().to_owned()),
        Err(source) => Err(Error::Io { op: "read", path, source }),
    }
}

/// Writes a setting unless it already has the value, so that it works with a read-only /proc/sys where nothing needs
/// changing.
pub fn sysctl_write(key: &str, value: &str) -> Result<()> {
    let path = path_of(key)?;
    // A setting that can only be written (net/ipv4/route/flush) cannot be compared.
    if fs::read_to_string(&path).is_ok_and(|current| same_value(&current, value)) {
        return Ok(());
    }
    let written =
        OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|source| Error::Io { op: "write", path, source })
}

/// The kernel separates the numbers of one setting by tabs, people by spaces.
fn same_value(a: &str, b: &str) -> bool {
    a.split_ascii_whitespace().eq(b.split_ascii_whitespace())
}

/// `Path` would quietly accept `a//b` and `a/./b`, whose parts may have come from a name that was empty.
fn path_of(key: &str) -> Result<PathBuf> {
    let plain = |part: &str| {
        !part.contains('\0') && Path::new(part).components().eq([Component::Normal(part.as_ref())])
    };
    if key.split('/').all(plain) {
        return Ok(Path::new(ROOT).join(key));
    }
    let source = io::Error::new(io::ErrorKind::InvalidInput, "not the name of a kernel setting");
    Err(Error::Io { op: "use", path: PathBuf::from(key), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_a_file_below_proc_sys() {
        let path = path_of("net/ipv6/conf/eth0.100/disable_ipv6").unwrap();
        assert_eq!(path, Path::new("/proc/sys/net/ipv6/conf/eth0.100/disable_ipv6"));
    }

    #[test]
    fn a_key_that_could_lead_elsewhere_is_refused() {
        let keys = [
            "",
            "/",
            "/etc/passwd",
            "net/../kernel/core_pattern",
            "..",
            "net/./ipv4",
            "net//ipv4",
            "net/",
            "net/\0",
        ];
        for key in keys {
            let error = sysctl_read(key).unwrap_err().to_string();
            assert!(error.ends_with("not the name of a kernel setting"), "{key:?}: {error}");
            assert!(sysctl_write(key, "1").is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_missing_setting_is_told_apart() {
        let error = sysctl_read("net/no/such/setting").unwrap_err();
        assert!(error.is_missing_file());
        assert!(
            error.to_string().starts_with("cannot read /proc/sys/net/no/such/setting: No such file"),
            "{error}"
        );
        // Writing must not make a file either.
        assert!(sysctl_write("net/no/such/setting", "1").unwrap_err().is_missing_file());
    }

    #[test]
    fn values_are_compared_number_by_number() {
        assert!(same_value("4096\t87380\t6291456\n", "4096 87380 6291456"));
        assert!(same_value("1\n", "1"));
        assert!(!same_value("1\n", "11"));
        assert!(!same_value("1 2", "1"));
    }
}
