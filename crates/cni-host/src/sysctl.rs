//! Kernel settings under /proc/sys of the calling thread's network namespace (call inside [`crate::NetNs::run`]).

use crate::Result;

/// Reads a setting, white space at the end removed. The key's parts are separated by `/`, so that an interface name
/// may hold dots: `net/ipv6/conf/eth0.100/disable_ipv6`.
pub fn sysctl_read(key: &str) -> Result<String> {
    let _ = key;
    todo!()
}

/// Writes a setting unless it already has the value, so that it works with a read-only /proc/sys where nothing needs
/// changing.
pub fn sysctl_write(key: &str, value: &str) -> Result<()> {
    let _ = (key, value);
    todo!()
}
