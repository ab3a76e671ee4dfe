//! flock(2) on files, the lock that Go's filemutex takes, so that the reference's plugins and these exclude each other.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use fs2::FileExt;

use crate::{Error, Result};

/// Pauses between two tries grow from the first to the second: a lease store is held for well under a millisecond
/// without contention, and a hundred waiting plugins should not spin.
const FIRST_PAUSE: Duration = Duration::from_micros(100);
const LAST_PAUSE: Duration = Duration::from_millis(10);

/// A file to be locked.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    file: File,
}

/// An exclusive lock, held until dropped.
#[derive(Debug)]
pub struct Lock<'a> {
    file: &'a File,
}

impl LockFile {
    /// Opens the file, making it when missing (mode 0600). What is there is only opened for reading, so that a file on
    /// nsfs or a read-only mount can be locked too.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        match OpenOptions::new().read(true).custom_flags(nix::libc::O_CREAT).mode(0o600).open(path) {
            Ok(file) => Ok(LockFile { path: path.to_owned(), file }),
            Err(source) => Err(Error::Io { op: "open lock file", path: path.to_owned(), source }),
        }
    }

    /// Takes the exclusive lock, waiting at most `timeout`. Locks belong to the opened file: two [`LockFile`]s of one path
    /// exclude each other, in one process too.
    pub fn lock(&self, timeout: Duration) -> Result<Lock<'_>> {
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            // flock(2) without LOCK_NB could not be given up: polling is what bounds the wait.
            match FileExt::try_lock_exclusive(&self.file) {
                Ok(()) => return Ok(Lock { file: &self.file }),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(source) => return Err(Error::Io { op: "lock", path: self.path.clone(), source }),
            }
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(Error::LockTimeout { path: self.path.clone(), seconds: timeout.as_secs() });
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // Unlocked here and not by closing: a child process that inherited the descriptor would keep the lock. It can
        // only fail on a descriptor that is not open.
        let _ = FileExt::unlock(self.file);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SHORT: Duration = Duration::from_millis(30);

    fn lock_file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        (folder, path)
    }

    #[test]
    fn the_file_is_made_for_its_owner_only() {
        let (_folder, path) = lock_file();
        LockFile::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_held_lock_keeps_others_out_until_dropped() {
        let (_folder, path) = lock_file();
        let (mine, yours) = (LockFile::open(&path).unwrap(), LockFile::open(&path).unwrap());
        let held = mine.lock(SHORT).unwrap();
        let error = yours.lock(SHORT).unwrap_err();
        assert!(matches!(error, Error::LockTimeout { .. }), "{error}");
        drop(held);
        drop(yours.lock(SHORT).unwrap());
    }

    #[test]
    fn a_waiter_gets_the_lock_when_it_is_released() {
        let (_folder, path) = lock_file();
        let (mine, yours) = (LockFile::open(&path).unwrap(), LockFile::open(&path).unwrap());
        let held = mine.lock(SHORT).unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| yours.lock(Duration::from_secs(10)).map(|_lock| Instant::now()));
            thread::sleep(SHORT);
            let released = Instant::now();
            drop(held);
            let taken = waiter.join().unwrap().unwrap();
            assert!(taken >= released);
            assert!(taken - released < Duration::from_secs(5), "waited {:?}", taken - released);
        });
    }

    /// What Go's filemutex does (github.com/alexflint/go-filemutex, filemutex_flock.go): a blocking flock of the whole file.
    #[test]
    fn the_lock_is_the_one_that_go_takes() {
        use nix::fcntl::{Flock, FlockArg};

        let (_folder, path) = lock_file();
        let ours = LockFile::open(&path).unwrap();
        let go = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusive).unwrap();
        assert!(matches!(ours.lock(SHORT), Err(Error::LockTimeout { .. })));
        drop(go);
        let held = ours.lock(SHORT).unwrap();
        let (_, errno) =
            Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusiveNonblock).unwrap_err();
        assert_eq!(errno, nix::errno::Errno::EWOULDBLOCK);
        drop(held);
    }

    #[test]
    fn a_folder_that_is_missing_is_named() {
        let (folder, _) = lock_file();
        let error = LockFile::open(folder.path().join("no/lock")).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot open lock file ") && error.contains("/no/lock: No such file"),
            "{error}"
        );
    }
}
