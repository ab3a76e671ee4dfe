//! flock(2) on files, the lock that Go's filemutex takes, so that the reference's plugins and these exclude each other.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fs2::FileExt;
use nix::libc;

use crate::{Error, NetNs, Result};

/// The stack of the thread that waits: it calls flock(2) and no more.
const STACK: usize = 64 * 1024;

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
        let open = |flags| OpenOptions::new().read(true).custom_flags(flags).mode(0o600).open(path);
        // Where it is a symbolic link to nothing, nothing is made there. A FIFO is not waited for.
        let opened = match open(libc::O_NONBLOCK) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => open(libc::O_CREAT | libc::O_EXCL),
            opened => opened,
        };
        let opened = match opened {
            // Another process has just made it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(libc::O_NONBLOCK),
            opened => opened,
        };
        // A folder can be opened to be read, and locked.
        let is_folder = |file: &File| file.metadata().is_ok_and(|found| found.is_dir());
        match opened {
            Ok(file) if is_folder(&file) => {
                let source = io::Error::from_raw_os_error(libc::EISDIR);
                Err(Error::Io { op: "open lock file", path: path.to_owned(), source })
            }
            Ok(file) => Ok(LockFile { path: path.to_owned(), file }),
            Err(source) => Err(Error::Io { op: "open lock file", path: path.to_owned(), source }),
        }
    }

    /// A network namespace itself, which plugins lock that change what several of them share in one. It is the same lock by
    /// whatever path it is opened, and the one that the reference takes on CNI_NETNS.
    pub fn of(netns: &NetNs) -> Result<Self> {
        let path = netns.path().to_owned();
        match netns.as_fd().try_clone_to_owned() {
            Ok(fd) => Ok(LockFile { path, file: fd.into() }),
            Err(source) => Err(Error::Io { op: "open lock file", path, source }),
        }
    }

    /// Takes the exclusive lock, waiting at most `timeout`. Locks belong to the opened file: two [`LockFile`]s of one path
    /// exclude each other, in one process too.
    ///
    /// After a timeout a thread still waits and takes the lock when it comes, until the process ends: give up then.
    pub fn lock(&self, timeout: Duration) -> Result<Lock<'_>> {
        match FileExt::try_lock_exclusive(&self.file) {
            Ok(()) => return Ok(Lock { file: &self.file }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(source) => return Err(self.failed(source)),
        }
        // flock(2) serves those who wait in it first come first served, but cannot be given a time; trying again and again
        // would, and would starve behind them. So a thread waits in it, on the same open file.
        let file = self.file.try_clone().map_err(|source| self.failed(source))?;
        let (done, outcome) = mpsc::channel();
        let wait = move || {
            let locked = loop {
                match FileExt::lock_exclusive(&file) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    outcome => break outcome,
                }
            };
            let _ = done.send(locked);
        };
        thread::Builder::new().stack_size(STACK).spawn(wait).map_err(|source| self.failed(source))?;
        match outcome.recv_timeout(timeout) {
            Ok(locked) => locked.map(|()| Lock { file: &self.file }).map_err(|source| self.failed(source)),
            Err(_) => {
                let why = format!("held by somebody else for more than {} s", timeout.as_secs());
                let source = io::Error::new(io::ErrorKind::TimedOut, why);
                Err(Error::LockTimeout { path: self.path.clone(), source })
            }
        }
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Io { op: "lock", path: self.path.clone(), source }
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

    use std::time::Instant;

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

    /// By another path, as a file: what the reference opens.
    #[test]
    fn a_namespace_is_locked_by_whatever_path() {
        let netns = NetNs::current().unwrap();
        let mine = LockFile::of(&netns).unwrap();
        let yours = LockFile::open("/proc/self/ns/net").unwrap();
        let held = mine.lock(SHORT).unwrap();
        assert!(matches!(yours.lock(SHORT).unwrap_err(), Error::LockTimeout { .. }));
        drop(held);
        drop(yours.lock(SHORT).unwrap());
        drop(mine.lock(SHORT).unwrap());
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
