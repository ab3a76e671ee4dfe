//! flock(2) on files, the lock that Go's filemutex takes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Result;

/// A file to be locked.
#[derive(Debug)]
pub struct LockFile {
    #[allow(dead_code)]
    path: PathBuf,
    #[allow(dead_code)]
    file: File,
}

/// An exclusive lock, held until dropped.
#[derive(Debug)]
pub struct Lock<'a> {
    #[allow(dead_code)]
    file: &'a File,
}

impl LockFile {
    /// Opens the file, making it when missing (mode 0600).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let _ = path.as_ref();
        todo!()
    }
    /// Takes the exclusive lock, waiting at most `timeout`.
    pub fn lock(&self, timeout: Duration) -> Result<Lock<'_>> {
        let _ = timeout;
        todo!()
    }
}
