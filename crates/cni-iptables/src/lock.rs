//! The lock between reading a table and changing it.
//!
//! `iptables-restore` cannot say "only if the table is as I read it", and the lock of its own (`/run/xtables.lock`) covers
//! neither the reading nor, for iptables-nft, anything at all. So the plugins of a host take turns: two ADDs at once that
//! both find a chain missing would else both put the jump to it.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// One for the host, all families, tables and plugins.
const FOLDER: &str = "/run/cni-plugins-rs";
const FILE: &str = "/run/cni-plugins-rs/iptables.lock";

/// How long somebody else may hold it. Each turn takes milliseconds, unless others hold up `iptables-restore`, which waits
/// for some seconds itself.
const TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(1);

/// Takes the lock; held until the file is closed.
pub(crate) fn take() -> Result<File> {
    let failed = |op| move |source| Error::Lock { op, path: FILE.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o755).create(FOLDER).map_err(failed("make the folder of"))?;
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(FILE);
    let file = file.map_err(failed("open"))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if start.elapsed() < TIMEOUT => thread::sleep(PAUSE),
            Err(error) => return Err(failed("lock")(error.into())),
        }
    }
}
