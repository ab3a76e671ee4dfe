//! Files that configurations name, or that lie where others may have put something in their place.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{AccessFlags, access};

/// Reads a whole file of at most `max` bytes. What is no regular file is refused: a FIFO would be waited for without end, and
/// /dev/zero read without end.
pub fn read_regular(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    // Opening a FIFO waits for a writer, but not with O_NONBLOCK, which means nothing to regular files (open(2)).
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    expect_regular(&file)?;
    let mut content = Vec::new();
    file.take(max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {max} bytes")));
    }
    Ok(content)
}

/// Opens a file to be written, as `options` have it, and not what a symbolic link in its place leads to.
pub fn open_to_write(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // O_NONBLOCK: a FIFO without a reader is an error then.
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    expect_regular(&file)?;
    Ok(file)
}

/// Whether a file or folder, be it still to be made, lies on a file system that is mounted read-only.
pub fn is_read_only(path: &Path) -> bool {
    let nearest = path.ancestors().find(|folder| folder.exists());
    let access = nearest.map(|folder| access(folder, AccessFlags::W_OK));
    access == Some(Err(Errno::EROFS))
}

fn expect_regular(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_regular_files_of_a_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (fifo, plain) = (folder.path().join("fifo"), folder.path().join("plain"));
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(&plain, "1234").unwrap();
        assert_eq!(read_regular(&plain, 4).unwrap(), b"1234");
        for (path, max) in [(&*plain, 3), (&*fifo, 100), (Path::new("/dev/zero"), 100), (folder.path(), 100)]
        {
            assert!(read_regular(path, max).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn a_symbolic_link_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target, fifo) =
            (folder.path().join("link"), folder.path().join("target"), folder.path().join("fifo"));
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink(&target, &link).unwrap();
        let options = || OpenOptions::new().create(true).write(true).truncate(true).to_owned();
        assert!(open_to_write(&mut options(), &link).is_err() && !target.exists());
        fs::write(&target, "kept").unwrap();
        assert!(open_to_write(&mut options(), &link).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"kept");
        assert!(open_to_write(&mut options(), &fifo).is_err());
        open_to_write(&mut options(), &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"");
    }
}
