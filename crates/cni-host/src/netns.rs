//! Network namespaces by path. The only place that enters one.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::thread;

use cni_netlink::Socket;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{NSFS_MAGIC, PROC_SUPER_MAGIC, statfs};

use crate::{Error, Result, sys};

/// The stack of a thread that enters a namespace. Address space only: pages that are not touched cost nothing.
const STACK: usize = 512 * 1024;

/// An open network namespace.
#[derive(Debug)]
pub struct NetNs {
    path: PathBuf,
    fd: OwnedFd,
}

impl NetNs {
    /// Opens by path: `/run/netns/blue`, `/proc/PID/ns/net`, `/proc/PID/fd/N`.
    ///
    /// [`Error::NetNsGone`] when there is nothing (any more): no such path, no such process, or only the empty file that
    /// a namespace was mounted on, as a reboot or `umount` leaves it. [`Error::NetNsBroken`] when there is something else:
    /// another kind of file or namespace, or one that cannot be opened. The reference tells the two apart likewise, but
    /// counts the empty file among the second, so that its DEL fails for ever once the mount is gone.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        // Looked at before it is opened: opening a FIFO would block, opening a device may do anything.
        let kind = statfs(path).map_err(|errno| cannot_open(path, errno))?.filesystem_type();
        if kind != NSFS_MAGIC {
            // Whatever lies in /proc is never a mount point's file, empty though it looks.
            return Err(not_a_namespace(path, kind != PROC_SUPER_MAGIC));
        }
        let fd = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| cannot_open(path, errno))?;
        match sys::is_netns(&fd) {
            Ok(true) => Ok(NetNs { path: path.to_owned(), fd }),
            Ok(false) => Err(broken(path, "it is a namespace of another kind")),
            Err(errno) => Err(broken(path, errno.desc())),
        }
    }

    /// The calling thread's own (/proc/thread-self/ns/net).
    pub fn current() -> Result<Self> {
        NetNs::open("/proc/thread-self/ns/net")
    }

    /// Same device and inode.
    pub fn is_same(&self, other: &NetNs) -> Result<bool> {
        Ok(self.identity()? == other.identity()?)
    }

    /// Device and inode, which no other namespace has while this one is there.
    pub fn identity(&self) -> Result<(u64, u64)> {
        let stat = fstat(&self.fd).map_err(|errno| broken(&self.path, errno.desc()))?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `f` inside, on the calling thread, which is back in its own namespace afterwards, also when `f` panics. To start a
    /// thread would take ten times as long.
    ///
    /// Where the thread could not come back, as in a user namespace that the own network namespace is not of, `f` runs on a
    /// thread that ends afterwards.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        // Going where it is already asks for the same rights as coming back (net/core/net_namespace.c, netns_install).
        match NetNs::current().and_then(|home| home.enter().map(|()| home)) {
            Ok(home) => self.run_here(&home, f),
            Err(_) => self.run_on_a_thread(f),
        }
    }

    fn run_here<T>(&self, home: &NetNs, f: impl FnOnce() -> T) -> Result<T> {
        self.enter()?;
        // Nothing is looked at before the panic goes on.
        let outcome = panic::catch_unwind(AssertUnwindSafe(f));
        if let Err(error) = home.enter() {
            // Only the kernel's memory can lack. Whatever the thread did next it would do to the container in place of the host,
            // undoing included, so that the process ends at once; a runtime's DEL finds what it made.
            let _ = writeln!(io::stderr(), "cannot come back from the container's namespace: {error}");
            std::process::abort();
        }
        Ok(outcome.unwrap_or_else(|panic| panic::resume_unwind(panic)))
    }

    fn run_on_a_thread<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = move || {
                self.enter()?;
                Ok(f())
            };
            let thread = thread::Builder::new()
                .name("netns".to_owned())
                .stack_size(STACK)
                .spawn_scoped(scope, inside)
                .map_err(|error| broken(&self.path, format!("cannot start a thread: {error}")))?;
            thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread.
    fn enter(&self) -> Result<()> {
        #[allow(
            clippy::disallowed_methods,
            reason = "the one place; NetNs::run comes back, or its thread ends"
        )]
        let entered = nix::sched::setns(&self.fd, CloneFlags::CLONE_NEWNET);
        entered.map_err(|errno| broken(&self.path, format!("cannot enter: {}", errno.desc())))
    }

    /// A netlink socket inside.
    pub fn socket(&self) -> Result<Socket> {
        Ok(self.run(Socket::open)??)
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn broken(path: &Path, reason: impl Into<String>) -> Error {
    Error::NetNsBroken { path: path.to_owned(), reason: reason.into() }
}

fn cannot_open(path: &Path, errno: Errno) -> Error {
    match errno {
        Errno::ENOENT => Error::NetNsGone { path: path.to_owned(), reason: "no such path" },
        // A process that ended between the steps of looking up /proc/PID/...
        Errno::ESRCH => Error::NetNsGone { path: path.to_owned(), reason: "no such process" },
        errno => broken(path, io::Error::from(errno).to_string()),
    }
}

/// `ip netns add` and the runtimes mount a namespace on an empty file of their own; once unmounted that file stays.
fn not_a_namespace(path: &Path, may_be_mount_point: bool) -> Error {
    match fs::metadata(path) {
        Ok(metadata) if may_be_mount_point && metadata.is_file() && metadata.len() == 0 => Error::NetNsGone {
            path: path.to_owned(),
            reason: "only the empty file it was mounted on is left",
        },
        Ok(_) => broken(path, "it is not a namespace"),
        Err(error) => cannot_open(path, Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    }
}
