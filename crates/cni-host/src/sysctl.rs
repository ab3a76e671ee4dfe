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
