//! The leases of a network on disk, in the reference's files, so that its host-local and this one can serve one network
//! at one time:
//!
//! ```text
//! <dataDir>/<network>/10.1.0.5             the holder, "<container ID>\r\n<ifname>", mode 0600
//! <dataDir>/<network>/last_reserved_ip.0   where the round robin of the first range set stands
//! <dataDir>/<network>/lock                 flock(2) while anything is changed
//! <dataDir>/.<network>.tmp                 a lease while it is being written; ours
//! <dataDir>/.<network>.index/              see `index`; ours
//! ```
//!
//! The reference reads every file of the network's folder at every call and takes each for a lease, so ours lie beside it.
//!
//! # What a crash leaves
//!
//! A lease is written in full under another name and then linked to its own, so that a killed process never leaves half a
//! lease. Nothing is synced to disk: a power loss may take the last seconds' leases, or leave them empty, but it takes the
//! containers that held them as well. A lost lease is then a free address, which is right, and an empty one is reclaimed
//! when it is met. An fsync would cost several times of all else that ADD does here and change nothing.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cni_host::{Lock, LockFile};

use crate::boot::Boot;
use crate::error::Error;
use crate::index::Index;
use crate::lease::{Contents, Holder};
use crate::taken::Taken;

/// How long to wait for the lock. A call here holds it for about a millisecond, the reference's for as long as it takes
/// to read every lease several times. Runtimes give up after two to four minutes, and should hear the reason before; a plugin
/// whose ADD of IPAM failed asks for a DEL, which waits as long again.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// No address is longer.
const MAX_ADDRESS: u64 = 64;

/// A network's folder, for looking only.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    /// `<dataDir>/.<network>`, to be continued: the names of what is ours.
    beside: PathBuf,
}

/// A network's folder, to be locked and then changed.
#[derive(Debug)]
pub(crate) struct Store {
    folder: Folder,
    lock: LockFile,
    boot: Boot,
}

/// A store under its lock.
#[derive(Debug)]
pub(crate) struct Session<'s> {
    folder: &'s Folder,
    boot: &'s Boot,
    index: Index,
    /// Addresses that got a file (true) or lost it since the index was told.
    changed: RefCell<Vec<(IpAddr, bool)>>,
    _lock: Lock<'s>,
}

/// An address that somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lease {
    pub(crate) address: IpAddr,
    /// Since before the machine's last boot: its container cannot be running.
    pub(crate) before_boot: bool,
    /// The file names only the container, as very old ones do.
    pub(crate) any_ifname: bool,
}

/// What came of trying to take an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reserved {
    Done,
    /// Somebody else has it.
    Taken(Contents),
}

impl Folder {
    pub(crate) fn new(data_dir: &Path, network: &str) -> Self {
        Folder { dir: data_dir.join(network), beside: data_dir.join(format!(".{network}")) }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn beside(&self, extension: &str) -> PathBuf {
        let mut name = self.beside.clone().into_os_string();
        name.push(extension);
        name.into()
    }

    /// A lease while it is being written.
    fn temporary(&self) -> PathBuf {
        self.beside(".tmp")
    }

    /// A lease's file. The name is the address as Go prints it, which is as Rust does but for IPv4 mapped into IPv6.
    fn lease(&self, address: IpAddr) -> PathBuf {
        self.dir.join(address.to_canonical().to_string())
    }

    /// What the file of an address says; `None` when there is none, and the address free.
    pub(crate) fn contents(&self, address: IpAddr) -> Option<Contents> {
        Contents::read(&self.lease(address))
    }

    /// Every address that has a file, in order.
    pub(crate) fn addresses(&self) -> Result<BTreeSet<IpAddr>, Error> {
        let failed = |source| Error::io("list", &self.dir)(source);
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
            other => other.map_err(failed)?,
        };
        let mut addresses = BTreeSet::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let address = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // A folder or a device of that name would be nobody's lease, and reading some devices waits for ever.
            if let (Some(address), true) = (address, entry.file_type().is_ok_and(|kind| kind.is_file())) {
                addresses.insert(address);
            }
        }
        Ok(addresses)
    }

    fn last_reserved_path(&self, set: usize) -> PathBuf {
        self.dir.join(format!("last_reserved_ip.{set}"))
    }

    /// The address that a range set handed out last. Losing it costs nothing but the turn.
    pub(crate) fn last_reserved(&self, set: usize) -> Option<IpAddr> {
        let text = cni_host::read_regular(&self.last_reserved_path(set), MAX_ADDRESS).ok()?;
        str::from_utf8(&text).ok()?.parse().ok()
    }
}

impl Store {
    /// Opens a network's folder; `None` when there is none, and so no lease either.
    pub(crate) fn open(folder: Folder, boot: Boot) -> Result<Option<Self>, Error> {
        match fs::metadata(&folder.dir) {
            Ok(_) => Store::with_lock(folder, boot).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("open", &folder.dir)(error)),
        }
    }

    /// Opens a network's folder, making it when it is not there.
    pub(crate) fn create(folder: Folder, boot: Boot) -> Result<Self, Error> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&folder.dir)
            .map_err(Error::io("create", &folder.dir))?;
        Store::with_lock(folder, boot)
    }

    fn with_lock(folder: Folder, boot: Boot) -> Result<Self, Error> {
        let lock = LockFile::open(folder.dir.join("lock"))?;
        Ok(Store { folder, lock, boot })
    }

    /// Waits for the lock.
    pub(crate) fn lock(&self) -> Result<Session<'_>, Error> {
        let lock = self.lock.lock(LOCK_TIMEOUT)?;
        // Nobody else writes a lease now, so what is there was left by a plugin that was killed, maybe as a second name of a
        // lease: it must be removed, not emptied.
        let _ = fs::remove_file(self.folder.temporary());
        let index = Index::open(self.folder.beside(".index"), &self.folder.dir, &self.boot.id);
        Ok(Session {
            folder: &self.folder,
            boot: &self.boot,
            index,
            changed: RefCell::default(),
            _lock: lock,
        })
    }
}

impl Session<'_> {
    /// Every lease and what it says, leftovers and unknown files included.
    pub(crate) fn leases(&self) -> Result<Vec<(IpAddr, Contents)>, Error> {
        let addresses = self.folder.addresses()?;
        Ok(addresses
            .into_iter()
            .filter_map(|address| Some((address, self.folder.contents(address)?)))
            .collect())
    }

    /// What a holder holds, from the index when it knows and by reading every file when it does not. `Miss` says whether the
    /// index is to be believed when it knows of nothing.
    pub(crate) fn held(&mut self, holder: Holder<'_>, miss: Miss) -> Result<Vec<Lease>, Error> {
        if let Some(leases) = self.index.get(holder) {
            let is_so = |lease: &Lease| {
                self.folder.contents(lease.address).is_some_and(|contents| contents.is_of(holder))
            };
            if leases.iter().all(is_so) && (miss == Miss::Trusted || !leases.is_empty()) {
                return Ok(leases);
            }
        }
        self.rebuild_index()?;
        Ok(self.index.remembered(holder))
    }

    /// Takes an address, unless somebody has it.
    pub(crate) fn reserve(&self, address: IpAddr, holder: Holder<'_>) -> Result<Reserved, Error> {
        match self.folder.contents(address) {
            None => {}
            // Under the lock nobody is writing it: what is empty now stays empty.
            Some(Contents::Leftover) => self.release(address)?,
            Some(contents) => return Ok(Reserved::Taken(contents)),
        }
        let path = self.folder.lease(address);
        match self.write_lease(&path, holder.text().as_bytes()) {
            Ok(()) => {
                self.changed.borrow_mut().push((address, true));
                Ok(Reserved::Done)
            }
            // Somebody who does not take the lock was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Reserved::Taken(Contents::Unknown)),
            Err(error) => Err(Error::io("write lease", &path)(error)),
        }
    }

    /// All or nothing, and never over what is there.
    fn write_lease(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        let temporary = self.folder.temporary();
        let linked = write_new(&temporary, text).and_then(|()| fs::hard_link(&temporary, path));
        let _ = fs::remove_file(&temporary);
        // The file system knows no links, or the network's folder is a mount of its own: then straight to the name. An empty
        // file left by a crash in here is still reclaimed.
        linked.or_else(|_| write_new(path, text))
    }

    /// Notes where the round robin stands.
    pub(crate) fn set_last_reserved(&self, set: usize, address: IpAddr) -> Result<(), Error> {
        let path = self.folder.last_reserved_path(set);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        cni_host::open_to_write(&mut options, &path)
            .and_then(|mut file| file.write_all(address.to_canonical().to_string().as_bytes()))
            .map_err(Error::io("write", &path))
    }

    /// Frees an address; fine when it is free.
    pub(crate) fn release(&self, address: IpAddr) -> Result<(), Error> {
        let path = self.folder.lease(address);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove lease", &path)(error)),
            _ => {
                self.changed.borrow_mut().push((address, false));
                Ok(())
            }
        }
    }

    /// Frees every address that only a crash holds; says how many.
    pub(crate) fn reclaim(&self) -> Result<usize, Error> {
        let mut reclaimed = 0;
        for (address, contents) in self.leases()? {
            if contents == Contents::Leftover {
                self.release(address)?;
                reclaimed += 1;
            }
        }
        Ok(reclaimed)
    }

    /// Marks a lease of before the boot as in use now.
    pub(crate) fn renew(&self, address: IpAddr) -> Result<(), Error> {
        let path = self.folder.lease(address);
        cni_host::open_to_write(OpenOptions::new().read(true), &path)
            .and_then(|file| file.set_modified(SystemTime::now()))
            .map_err(Error::io("renew lease", &path))
    }

    /// The addresses that have a file, when the index knows.
    pub(crate) fn taken(&self) -> Option<Taken<'_>> {
        self.index.taken()
    }

    pub(crate) fn folder(&self) -> &Folder {
        self.folder
    }

    /// To be called when the leases of one holder have changed, and those of nobody else: tells the index what the holder
    /// has now.
    pub(crate) fn note(&mut self, holder: Holder<'_>, leases: &[Lease]) {
        self.index.put(holder, leases);
        self.index.put_taken(&self.changed.take());
        self.index.seal(&self.folder.dir);
    }

    /// Reads every lease and makes the index say the same.
    pub(crate) fn rebuild_index(&mut self) -> Result<(), Error> {
        self.changed.take();
        let leases = self.leases()?;
        let (folder, boot) = (self.folder, self.boot);
        self.index.rebuild(leases, |address| {
            let written = fs::metadata(folder.lease(address)).and_then(|metadata| metadata.modified());
            written.is_ok_and(|written| boot.is_after(written))
        });
        self.index.seal(&self.folder.dir);
        Ok(())
    }
}

/// What to make of an index that knows of no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// There is none.
    Trusted,
    /// Read the files: what is not found would stay for ever.
    Doubted,
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
