//! The lock between reading a table and changing it.
//!
//! `iptables-restore` cannot say "only if the table is as I read it", and the lock of its own (`/run/xtables.lock`) covers
//! neither the reading nor, for iptables-nft, anything at all. So the plugins of a host take turns: two ADDs at once that
//! both find a chain missing would else both put the jump to it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// One for the host, all families, tables and plugins.
const FOLDER: &str = "/run/cni-plugins-rs";
const FILE: &str = "/run/cni-plugins-rs/iptables.lock";

/// How long is waited for all who came before. A turn takes milliseconds, unless others hold up `iptables-restore`, which
/// waits for some seconds itself.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Set by a wait that was in vain: its thread still waits, and would have the lock before any other of this process. What is
/// taken back then, for both families, is not to wait as long again each time.
static GAVE_UP: AtomicBool = AtomicBool::new(false);

/// Takes the lock; held until the file is closed. After a timeout a thread still waits, until the process ends.
pub(crate) fn take() -> Result<File> {
    let failed = |op| move |source| Error::Lock { op, path: FILE.to_owned(), source };
    let file = open().map_err(failed("open"))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
    }
    let timeout = || failed("lock")(io::Error::new(io::ErrorKind::TimedOut, "held by others for 30 s"));
    if GAVE_UP.load(Ordering::Relaxed) {
        return Err(timeout());
    }
    // flock(2) serves who waits in it first come first served, but cannot be given a time. So a thread waits in it, on the
    // same open file.
    let waiter = file.try_clone().map_err(failed("lock"))?;
    let (done, outcome) = mpsc::channel();
    let wait = move || {
        let locked = waiter.lock();
        drop(waiter);
        let _ = done.send(locked);
    };
    // Not thread::spawn, which panics when the process may have no more threads.
    thread::Builder::new().spawn(wait).map_err(failed("lock"))?;
    match outcome.recv_timeout(TIMEOUT) {
        Ok(locked) => locked.map(|()| file).map_err(failed("lock")),
        Err(_) => {
            GAVE_UP.store(true, Ordering::Relaxed);
            Err(timeout())
        }
    }
}

fn open() -> io::Result<File> {
    let make = || {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(FOLDER)?;
        fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(FILE)
    };
    make().or_else(|error| match error.kind() {
        // A lock asks for no right to write: plugins that all see it read-only take turns by the file, or else by the folder.
        io::ErrorKind::ReadOnlyFilesystem => File::open(FILE).or_else(|_| File::open("/run")),
        _ => Err(error),
    })
}

/// The lock of iptables-legacy itself (iptables, iptables/xshared.c, xtables_lock).
const XTABLES: &str = "/run/xtables.lock";

/// How long is slept between looks at it.
const PAUSE: Duration = Duration::from_millis(2);

/// Whether another program holds iptables' own lock.
pub(crate) fn is_held_by_others() -> bool {
    // Where the lock is another file, iptables itself finds it held.
    File::open(XTABLES).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Waits until no other program holds iptables' own lock.
pub(crate) fn wait_for_others(deadline: Instant) -> Result<()> {
    loop {
        thread::sleep(PAUSE);
        if Instant::now() > deadline {
            let source = io::Error::new(io::ErrorKind::TimedOut, "held by another program for 30 s");
            return Err(Error::Lock { op: "lock", path: XTABLES.to_owned(), source });
        }
        if !is_held_by_others() {
            return Ok(());
        }
    }
}
