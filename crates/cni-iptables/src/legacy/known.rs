//! What is remembered of a table: that no plugin had a chain in it. One file for each in `/run/cni-plugins-rs`, which tells the network
//! namespace and all that the kernel says of a table without handing it out. A plugin's chains come with rules in the kernel's own
//! chains, which move the places where the others begin, so that a table that is told the same has none still.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use crate::Family;
use crate::legacy::kernel::Info;

const FOLDER: &str = "/run/cni-plugins-rs";

/// Whether the table is as it was when it had no chain of a plugin.
pub(super) fn is_without_plugins(family: Family, info: &Info) -> bool {
    let Some(text) = text(info) else { return false };
    fs::read_to_string(path(family, info)).is_ok_and(|known| known == text)
}

/// Remembers that the table of this description has no chain of a plugin. Where that cannot be written it is looked at again.
pub(super) fn remember(family: Family, info: &Info) {
    let Some(text) = text(info) else { return };
    let _ = fs::DirBuilder::new().recursive(true).mode(0o755).create(FOLDER);
    let file =
        fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path(family, info));
    // Half a text, or one of two that were written at once, is like no other.
    let _ = file.and_then(|mut file| file.write_all(text.as_bytes()));
}

fn path(family: Family, info: &Info) -> PathBuf {
    let tables = match family {
        Family::Ipv4 => "ip_tables",
        Family::Ipv6 => "ip6_tables",
    };
    PathBuf::from(format!("{FOLDER}/{tables}.{}", info.table))
}

/// The network namespace and the description, on one line.
fn text(info: &Info) -> Option<String> {
    let namespace = fs::metadata("/proc/thread-self/ns/net").ok()?;
    let hooks = info.hooks.iter().map(|hook| format!(" {} {} {}", hook.chain, hook.entry, hook.underflow));
    let hooks: String = hooks.collect();
    let (dev, ino) = (namespace.dev(), namespace.ino());
    Some(format!("{dev}:{ino}{hooks} {} entries {} bytes\n", info.entries, info.bytes))
}
