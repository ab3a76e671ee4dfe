//! Making network namespaces, which only this crate does: for the private host on the calling thread, for a container on a
//! thread that ends and leaves an open file behind.

use std::fs::File;
use std::path::Path;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;

/// Moves the calling thread into a fresh network namespace. It cannot go back.
#[allow(clippy::disallowed_methods, reason = "the private host is made here, and nowhere else")]
pub(crate) fn enter_fresh() {
    nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|error| {
        panic!(
            "cannot make a network namespace: {error} (needs root or a user namespace: run `cargo xtask test`)"
        )
    });
}

/// Gives the calling thread mounts of its own, with an empty file system over each of these folders.
pub(crate) fn hide(folders: &[&str]) {
    unshare_mounts();
    for folder in folders {
        mount(Some("tmpfs"), *folder, Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .unwrap_or_else(|error| panic!("cannot mount an empty file system over {folder}: {error}"));
    }
}

/// Gives the calling thread mounts of its own, with a folder over another.
pub(crate) fn cover(folder: &str, by: &Path) {
    unshare_mounts();
    mount(Some(by), folder, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .unwrap_or_else(|error| panic!("cannot mount {} over {folder}: {error}", by.display()));
}

/// Makes a folder that was covered read-only, for the calling thread.
pub(crate) fn seal(folder: &str) {
    let none = None::<&str>;
    mount(none, folder, none, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, none)
        .unwrap_or_else(|error| panic!("cannot make {folder} read-only: {error}"));
}

#[allow(clippy::disallowed_methods, reason = "the private host is made here, and nowhere else")]
fn unshare_mounts() {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)
        .unwrap_or_else(|error| panic!("cannot make a mount namespace: {error}"));
    let none = None::<&str>;
    // Else what is mounted here would show on the machine.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .unwrap_or_else(|error| panic!("cannot make the mounts private: {error}"));
}

/// Takes away what is mounted below a folder, for the calling thread's mount namespace.
pub(crate) fn uncover(folder: &Path) {
    // Not readable only where nothing can have been mounted either.
    let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap_or_default();
    let targets = mounts.lines().filter_map(|mount| mount.split(' ').nth(1)).map(Path::new);
    let below: Vec<&Path> = targets.filter(|target| target.starts_with(folder)).collect();
    // The last mounted first, since it may lie in another. What fails is still in use, and goes with its namespace.
    for target in below.into_iter().rev() {
        let _ = umount2(target, MntFlags::MNT_DETACH);
    }
}

/// The calling thread's network namespace, held open. Not by `/proc/self`, which is the first thread's.
pub(crate) fn current() -> File {
    let path = "/proc/thread-self/ns/net";
    File::open(path).unwrap_or_else(|error| panic!("cannot open {path}: {error}"))
}

/// A fresh network namespace that lives as long as the file is open.
pub(crate) fn fresh() -> File {
    thread::spawn(|| {
        enter_fresh();
        current()
    })
    .join()
    .expect("the thread that makes a network namespace has said why it failed")
}
