//! Making network namespaces, which only this crate does: for the private host on the calling thread, for a container on a
//! thread that ends and leaves an open file behind.

use std::fs::File;
use std::thread;

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
