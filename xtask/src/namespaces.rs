//! A network of this process's own, so that no test can touch the machine's, and so that a plain user can run them all.

use std::fs;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Uid, getgid, getuid};

use crate::Result;

/// Whether this is the machine's root, who may do what a user namespace does not allow.
pub(crate) fn is_root() -> bool {
    // In a user namespace with fewer identities than all, root is only called so.
    let all =
        fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.trim_end().ends_with("4294967295"));
    Uid::effective().is_root() && all
}

/// Moves this process, and what it starts from now on, into a network and a mount namespace, as root of a user
/// namespace when it is not root anyway. Must be called while there is one thread only.
///
/// There is no way out to the internet afterwards: build before.
pub(crate) fn enter() -> Result<()> {
    let (uid, gid) = (getuid(), getgid());
    let both = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    if Uid::effective().is_root() {
        unshare(both).map_err(|error| format!("cannot make a network namespace: {error}"))?;
    } else {
        unshare(both | CloneFlags::CLONE_NEWUSER).map_err(explain)?;
        // The kernel lets a user map groups only after giving setgroups(2) up (user_namespaces(7)).
        write("/proc/self/setgroups", "deny")?;
        write("/proc/self/uid_map", &format!("0 {uid} 1"))?;
        write("/proc/self/gid_map", &format!("0 {gid} 1"))?;
    }
    // Else what is mounted here would show on the machine.
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|error| format!("cannot make the mounts private: {error}"))
}

fn write(path: &str, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| format!("cannot write {text:?} to {path}: {error}"))
}

fn explain(error: Errno) -> String {
    format!(
        "cannot make a user namespace: {error}; this system keeps them from users. Run it as root, or allow them: \
         sysctl -w user.max_user_namespaces=10000, and where there are such settings \
         kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"
    )
}
