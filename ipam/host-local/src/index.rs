//! Who holds what, found without reading every lease. Beside the network's folder, for each holder a symbolic link whose
//! target is no path but the holder's addresses:
//!
//! ```text
//! <dataDir>/.<network>.index/<container ID>:<ifname> -> 10.1.0.5,fd00::5
//! <dataDir>/.<network>.index/<container ID>:         -> 10.1.0.9*
//! <dataDir>/.<network>.index/stamp                   -> <boot ID> <nanoseconds since 1970>
//! <dataDir>/.<network>.index/taken-0a010000          see `taken`
//! ```
//!
//! The second form is of leases that name only a container; a `*` marks a lease of before this boot. A link is made and
//! read in one system call, and is never half there.
//!
//! The index is a hint: what it says is checked against the lease, and what it does not say is believed only while the
//! network's folder is as the stamp has it. After each change here the folder is given a modification time in
//! nanoseconds, which goes into the stamp; whatever the reference or anybody else adds or removes gives it another one, and
//! then the index is made anew from the files. It is made anew after a boot too, so that nothing here needs to survive a
//! power loss. A failure to write it is never an error: without a stamp that fits, the files are read.
//!
//! That a lease is of before the boot is decided when the index is first made after it, and kept: later the wall clock may be
//! stepped, or the machine may have been paused for an hour, and then times no longer tell.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::lease::{Contents, Holder};
use crate::store::Lease;
use crate::taken::Taken;

const STAMP: &str = "stamp";

/// The longest name of a file (NAME_MAX).
const MAX_KEY: usize = 255;

/// The index of one network, under that network's lock.
#[derive(Debug)]
pub(crate) struct Index {
    dir: PathBuf,
    boot_id: String,
    /// Whether it was made in this boot, and so knows of what was there before.
    of_this_boot: bool,
    /// Whether it says all that the files say.
    current: bool,
    /// What [`Index::rebuild`] found, by key: right even where it cannot be written.
    remembered: BTreeMap<String, Vec<Lease>>,
}

impl Index {
    /// Looks whether the index in `dir` fits the network's folder as it is.
    pub(crate) fn open(dir: PathBuf, leases: &Path, boot_id: &str) -> Self {
        let stamp = read_link(&dir.join(STAMP)).ok().flatten();
        let of_this_boot =
            stamp.as_deref().and_then(|stamp| stamp.split_once(' ')).is_some_and(|(id, _)| id == boot_id);
        let modified = fs::metadata(leases).and_then(|metadata| metadata.modified());
        let current = modified.is_ok_and(|modified| stamp == Some(stamp_text(boot_id, modified)));
        Index { dir, boot_id: boot_id.to_owned(), of_this_boot, current, remembered: BTreeMap::new() }
    }

    /// A holder's leases, as far as the index can be believed; `None` when the files must be read.
    pub(crate) fn get(&self, holder: Holder<'_>) -> Option<Vec<Lease>> {
        if !self.current {
            return None;
        }
        let [own, any] = keys(holder);
        let mut leases = self.read(&own)?;
        leases.extend(self.read(&any)?);
        Some(leases)
    }

    /// A holder's leases, as the last [`Index::rebuild`] found them.
    pub(crate) fn remembered(&self, holder: Holder<'_>) -> Vec<Lease> {
        keys(holder).iter().filter_map(|key| self.remembered.get(key)).flatten().copied().collect()
    }

    /// Replaces what is said of a holder.
    pub(crate) fn put(&mut self, holder: Holder<'_>, leases: &[Lease]) {
        let (any, own): (Vec<Lease>, Vec<Lease>) = leases.iter().partition(|lease| lease.any_ifname);
        for (key, leases) in keys(holder).iter().zip([own, any]) {
            self.current &= self.write(key, &leases).is_ok();
        }
    }

    /// The addresses that have a file; `None` when the folder must be listed.
    pub(crate) fn taken(&self) -> Option<Taken<'_>> {
        self.current.then(|| Taken::new(&self.dir))
    }

    /// Notes which addresses have got a file or lost it.
    pub(crate) fn put_taken(&mut self, changes: &[(IpAddr, bool)]) {
        let taken = Taken::new(&self.dir);
        let done: io::Result<()> = changes.iter().try_for_each(|(address, is)| taken.set(*address, *is));
        self.current &= done.is_ok();
    }

    /// Makes the index say what the files say. `is_old` tells by its times whether a lease is of before the boot.
    pub(crate) fn rebuild(&mut self, leases: Vec<(IpAddr, Contents)>, is_old: impl Fn(IpAddr) -> bool) {
        let before = self.read_all();
        let all: Vec<IpAddr> = leases.iter().map(|(address, _)| *address).collect();
        let mut found: BTreeMap<String, Vec<Lease>> = BTreeMap::new();
        for (address, contents) in leases {
            let (key, any_ifname) = match contents {
                Contents::Held { id, ifname } => (key(&id, &ifname), false),
                Contents::HeldByContainer { id } => (key(&id, ""), true),
                Contents::Leftover | Contents::Unknown => continue,
            };
            // What has come since the index was made in this boot is of this boot, whatever clocks say.
            let may_be_old = !self.of_this_boot
                || before
                    .get(&key)
                    .is_some_and(|known| known.iter().any(|l| l.address == address && l.before_boot));
            let before_boot = may_be_old && is_old(address);
            found.entry(key).or_default().push(Lease { address, before_boot, any_ifname });
        }
        let written = self.write_all(&before, &found);
        let written = written.and_then(|()| Taken::new(&self.dir).set_all(all.into_iter()));
        self.current = written.is_ok();
        self.remembered = found;
    }

    /// Declares that index and files say the same, when they do.
    pub(crate) fn seal(&mut self, leases: &Path) {
        let stamp = self.dir.join(STAMP);
        let sealed = || -> io::Result<()> {
            remove(&stamp)?;
            if !self.current {
                return Ok(());
            }
            // A time of our own choice and not the kernel's, which may be as coarse as its tick: two changes within one tick
            // would look like one. Where the file system keeps no such times the stamp would never tell, so there is none.
            let folder = File::open(leases)?;
            let now = SystemTime::now();
            folder.set_modified(now)?;
            if folder.metadata()?.modified()? != now {
                return Ok(());
            }
            symlink(stamp_text(&self.boot_id, now), &stamp)
        };
        self.current &= sealed().is_ok();
    }

    /// `None` when it cannot be told.
    fn read(&self, key: &str) -> Option<Vec<Lease>> {
        if key.len() > MAX_KEY {
            return None;
        }
        match read_link(&self.dir.join(key)).ok()? {
            Some(target) => parse(key, &target),
            None => Some(Vec::new()),
        }
    }

    /// All that the index says, right or wrong; what cannot be read is as good as not there.
    fn read_all(&self) -> BTreeMap<String, Vec<Lease>> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return BTreeMap::new() };
        let is_key = |name: &String| name != STAMP && !Taken::is_name(name);
        let keys = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(is_key);
        keys.map(|key| {
            let leases = self.read(&key).unwrap_or_default();
            (key, leases)
        })
        .collect()
    }

    fn write(&self, key: &str, leases: &[Lease]) -> io::Result<()> {
        if key.len() > MAX_KEY {
            return Ok(());
        }
        let path = self.dir.join(key);
        remove(&path)?;
        if leases.is_empty() { Ok(()) } else { symlink(text(leases), path) }
    }

    /// Writes only what differs: where the reference works on the same network this happens often.
    fn write_all(
        &self,
        before: &BTreeMap<String, Vec<Lease>>,
        now: &BTreeMap<String, Vec<Lease>>,
    ) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for key in before.keys().filter(|key| !now.contains_key(*key)) {
            self.write(key, &[])?;
        }
        for (key, leases) in now.iter().filter(|(key, leases)| before.get(*key) != Some(leases)) {
            self.write(key, leases)?;
        }
        Ok(())
    }
}

fn key(id: &str, ifname: &str) -> String {
    // Neither a container ID nor an interface name can have a colon in it.
    format!("{id}:{ifname}")
}

/// Where a holder's leases are: those of its own, and those of its container whatever the interface.
fn keys(holder: Holder<'_>) -> [String; 2] {
    [key(holder.id, holder.ifname), key(holder.id, "")]
}

fn stamp_text(boot_id: &str, modified: SystemTime) -> String {
    // A folder changed before 1970 fits no stamp, since none is ever made then.
    let nanos = modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{boot_id} {nanos}")
}

pub(crate) fn text(leases: &[Lease]) -> String {
    let one = |lease: &Lease| format!("{}{}", lease.address, if lease.before_boot { "*" } else { "" });
    leases.iter().map(one).collect::<Vec<_>>().join(",")
}

pub(crate) fn parse(key: &str, target: &str) -> Option<Vec<Lease>> {
    let any_ifname = key.ends_with(':');
    let one = |text: &str| {
        let (address, before_boot) = text.strip_suffix('*').map_or((text, false), |address| (address, true));
        Some(Lease { address: address.parse().ok()?, before_boot, any_ifname })
    };
    target.split(',').map(one).collect()
}

/// `Ok(None)` when there is none.
fn read_link(path: &Path) -> io::Result<Option<String>> {
    match fs::read_link(path) {
        Ok(target) => Ok(OsStr::to_str(target.as_os_str()).map(str::to_owned)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
