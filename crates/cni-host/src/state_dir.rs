//! What a plugin has to remember that no object of the kernel can tell: files below `/run/cni-plugins-rs`, which is gone
//! after a reboot, as what it tells of is.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Error, LockFile, Result, is_read_only, open_to_write, read_regular};

const ROOT: &str = "/run/cni-plugins-rs";

/// What the name of a file ends in while it is being written.
const UNFINISHED: &str = ".new";

/// The most that a file may have. Whatever is larger was not written here.
const MAX_FILE: u64 = 1 << 20;

/// How long others may hold the lock; each holds it for some changes of files and settings.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder of small files, each of which is there whole or not at all.
#[derive(Clone, Debug)]
pub struct StateDir {
    folder: PathBuf,
}

impl StateDir {
    /// `/run/cni-plugins-rs/<name>`, which is made with the first file.
    pub fn new(name: &str) -> Self {
        StateDir::at(Path::new(ROOT).join(name))
    }

    /// Some other folder.
    pub fn at(folder: PathBuf) -> Self {
        StateDir { folder }
    }

    /// A folder of this one.
    pub fn below(&self, name: &str) -> Self {
        StateDir::at(self.folder.join(name))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Whether nothing can be remembered, as on a host whose `/run` is mounted read-only.
    pub fn is_read_only(&self) -> bool {
        is_read_only(&self.folder)
    }

    /// Writes a file for root alone, in the place of one that is there.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let (path, unfinished) = (self.folder.join(name), self.unfinished(name));
        let write = || {
            let mut options = OpenOptions::new();
            options.create(true).write(true).truncate(true).mode(0o600);
            open_to_write(&mut options, &unfinished)?.write_all(content)?;
            fs::rename(&unfinished, &path)
        };
        let mut written = write();
        // Somebody may remove the folder as soon as it is empty.
        for _ in 0..10 {
            if written.as_ref().err().is_none_or(|error| error.kind() != io::ErrorKind::NotFound) {
                break;
            }
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.folder)
                .map_err(|source| Error::Io { op: "make", path: self.folder.clone(), source })?;
            written = write();
        }
        written.map_err(|source| {
            let _ = fs::remove_file(&unfinished);
            Error::Io { op: "write", path, source }
        })
    }

    /// What a file has; `None` when it is not there, and for what cannot be read.
    pub fn read(&self, name: &str) -> Option<String> {
        String::from_utf8(self.try_read(name).ok()??).ok()
    }

    /// What a file has, for who has to tell one that is not there from one that cannot be read.
    pub fn try_read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.folder.join(name);
        match read_regular(&path, MAX_FILE) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { op: "read", path, source }),
        }
    }

    /// Removes a file, and what a process left that was killed while it wrote it.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.folder.join(name);
        self.remove_unfinished(name);
        match fs::remove_file(&path) {
            // A file system that is read-only says so before it looks.
            Err(source) if source.kind() != io::ErrorKind::NotFound && path.exists() => {
                Err(Error::Io { op: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    /// Removes what a process left that was killed while it wrote a file, and not the file.
    pub fn remove_unfinished(&self, name: &str) {
        let _ = fs::remove_file(self.unfinished(name));
    }

    /// Removes what processes left that were killed while they wrote: for whoever has the lock, when all who write take it.
    pub fn remove_all_unfinished(&self) {
        for name in self.all_names().filter(|name| name.ends_with(UNFINISHED)) {
            let _ = fs::remove_file(self.folder.join(name));
        }
    }

    /// Whether there is something that [`StateDir::remove_all_unfinished`] removes.
    pub fn has_unfinished(&self) -> bool {
        self.all_names().any(|name| name.ends_with(UNFINISHED))
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<String> {
        self.all_names().filter(|name| !name.ends_with(UNFINISHED)).collect()
    }

    fn all_names(&self) -> impl Iterator<Item = String> {
        // No folder is no file.
        let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        files.filter_map(|file| file.file_name().into_string().ok())
    }

    /// Removes the folder if nothing is in it; whether it is gone.
    pub fn remove_if_empty(&self) -> bool {
        match fs::remove_dir(&self.folder) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Runs `work` while no other process does so for this folder. The lock is a file beside it.
    pub fn locked<T, E: From<Error>>(
        &self,
        work: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let path = self.folder.with_extension("lock");
        if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(|source| Error::Io {
                op: "make",
                path: parent.to_owned(),
                source,
            })?;
        }
        let lock = LockFile::open(&path)?;
        let _turn = lock.lock(PATIENCE)?;
        work()
    }

    fn unfinished(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{UNFINISHED}"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn state() -> (tempfile::TempDir, StateDir) {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::at(root.path().join("run/portmap"));
        (root, state)
    }

    #[test]
    fn a_file_is_there_until_it_is_removed() {
        let (_root, state) = state();
        assert_eq!((state.read("a"), state.names()), (None, Vec::new()));
        state.write("a", b"1").unwrap();
        state.write("a", b"2").unwrap();
        assert_eq!((state.read("a").as_deref(), state.names()), (Some("2"), vec!["a".to_owned()]));
        let mode = state.path().join("a").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!state.remove_if_empty());
        for _ in 0..2 {
            state.remove("a").unwrap();
        }
        assert!(state.names().is_empty() && state.remove_if_empty() && state.remove_if_empty());
        state.write("b", b"").unwrap();
        assert_eq!(state.read("b").as_deref(), Some(""));
    }

    #[test]
    fn what_a_killed_process_left_is_no_file_and_goes_with_the_next() {
        let (_root, state) = state();
        state.write("a", b"1").unwrap();
        fs::write(state.path().join("b.new"), "half").unwrap();
        assert_eq!((state.names(), state.read("b")), (vec!["a".to_owned()], None));
        state.remove("b").unwrap();
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
        fs::write(state.path().join("c.new"), "half").unwrap();
        state.remove_all_unfinished();
        assert_eq!((state.names(), fs::read_dir(state.path()).unwrap().count()), (vec!["a".to_owned()], 1));
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_written_through() {
        let (root, state) = state();
        state.write("a", b"1").unwrap();
        let target = root.path().join("target");
        symlink(&target, state.path().join("b.new")).unwrap();
        assert!(state.write("b", b"2").is_err() && !target.exists());
    }

    #[test]
    fn one_process_works_at_a_time() {
        let (_root, state) = state();
        let held = state.locked(|| {
            let lock = LockFile::open(state.path().with_extension("lock"))?;
            Ok::<_, Error>(lock.lock(Duration::from_millis(1)).is_err())
        });
        assert!(held.unwrap());
    }
}
