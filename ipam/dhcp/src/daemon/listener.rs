//! The daemon's places: its socket, which may be systemd's, its pidfile, and the folder of its leases.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use cni_host::StateDir;

use super::flags::Flags;

/// Where leases are, in a folder for each socket. They have to be there after a reboot, when the server is asked for the same
/// addresses.
const LEASES: &str = "/var/lib/cni/dhcp";

/// What is removed when the daemon ends.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) listener: UnixListener,
    pub(super) leases: StateDir,
    /// Locked as long as the daemon runs, so that no lease has two.
    _lock: File,
    remove: Vec<PathBuf>,
}

impl Places {
    /// Takes them all, or says why not; then nothing of another daemon's has been touched.
    pub(super) fn take(flags: &Flags) -> Result<Self, String> {
        let folder = PathBuf::from(format!("{}{LEASES}", flags.hostprefix));
        let name = flags.socketpath.trim_start_matches('/').replace('/', "-");
        let lock = lock(&folder, &name)?;
        let passed_on = passed_on()?;
        let path = PathBuf::from(format!("{}{}", flags.hostprefix, flags.socketpath));
        let (listener, mut remove) = match passed_on {
            // systemd goes on listening, and removes it itself.
            true => (
                UnixListener::from(
                    cni_host::listen_fd().map_err(|error| cannot("use", "the socket of systemd", &error))?,
                ),
                Vec::new(),
            ),
            false => (listen(&path)?, vec![path]),
        };
        listener.set_nonblocking(true).map_err(|error| cannot("listen on", &flags.socketpath, &error))?;
        if let Some(pidfile) = &flags.pidfile {
            write_pid(Path::new(pidfile)).map_err(|error| cannot("write pidfile", pidfile, &error))?;
            remove.push(pidfile.into());
        }
        Ok(Places { listener, leases: StateDir::at(folder.join(name)), _lock: lock, remove })
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for path in &self.remove {
            let _ = fs::remove_file(path);
        }
    }
}

fn lock(folder: &Path, name: &str) -> Result<File, String> {
    let shown = folder.display();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| cannot("make", &shown, &error))?;
    let path = folder.join(format!("{name}.lock"));
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(|error| cannot("open", path.display(), &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(format!("cannot take the leases in {shown}/{name}: another daemon has them"))
        }
        Err(fs::TryLockError::Error(error)) => Err(cannot("lock", path.display(), &error)),
    }
}

/// Whether systemd has opened the socket (sd_listen_fds(3)).
fn passed_on() -> Result<bool, String> {
    let number = |name| cni_plugin::environment(name).parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(false);
    }
    match number("LISTEN_FDS").unwrap_or(0) {
        0 => Ok(false),
        1 => Ok(true),
        more => Err(format!("cannot listen on {more} sockets of systemd: one is wanted")),
    }
}

/// A socket that a killed daemon left is replaced.
fn listen(path: &Path) -> Result<UnixListener, String> {
    let shown = path.display();
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| cannot("make", folder.display(), &error))?;
    }
    match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {}
        bound => return bound.map_err(|error| cannot("listen on", &shown, &error)),
    }
    // To connect to a file is refused likewise.
    let found = fs::symlink_metadata(path).map_err(|error| cannot("look at", &shown, &error))?;
    if !found.file_type().is_socket() {
        return Err(format!("cannot listen on {shown}: it is no socket, and stays"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        Err(error) => return Err(cannot("replace", &shown, &error)),
        Ok(_) => return Err(format!("cannot listen on {shown}: another daemon does")),
    }
    fs::remove_file(path).map_err(|error| cannot("remove", &shown, &error))?;
    UnixListener::bind(path).map_err(|error| cannot("listen on", &shown, &error))
}

fn write_pid(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    write!(file, "{}", std::process::id())?;
    file.set_permissions(Permissions::from_mode(0o644))
}

fn cannot(verb: &str, what: impl std::fmt::Display, error: &io::Error) -> String {
    format!("cannot {verb} {what}: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("cni/dhcp.sock");
        let first = listen(&path).unwrap();
        let mode = path.parent().unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let error = listen(&path).unwrap_err();
        assert!(error.ends_with("dhcp.sock: another daemon does"), "{error}");
        drop(first);
        listen(&path).unwrap();
    }

    #[test]
    fn what_is_no_socket_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, "kept").unwrap();
        assert!(listen(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
    }

    #[test]
    fn leases_have_one_daemon() {
        let root = tempfile::tempdir().unwrap();
        let held = lock(root.path(), "a").unwrap();
        let error = lock(root.path(), "a").unwrap_err();
        assert!(error.ends_with("/a: another daemon has them"), "{error}");
        lock(root.path(), "b").unwrap();
        drop(held);
        lock(root.path(), "a").unwrap();
    }
}
