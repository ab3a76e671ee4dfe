//! Which addresses have a file, as bits: in a range that is nearly full a free one is found without a look at each lease. A
//! part of the index, and a hint as all of it is: what it says to be free is tried, and where it knows of nothing free the
//! folder is listed.
//!
//! ```text
//! <dataDir>/.<network>.index/taken-0a010000   a bit for each of 10.1.0.0 to 10.1.255.255, the lowest of a byte first
//! ```
//!
//! IPv6 has the same with 32 digits. Where there is no file nothing is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::range::bits;

const PREFIX: &str = "taken-";

/// Addresses of a file, a power of two. With IPv4 it has 8 KiB, and is read in some microseconds.
const BLOCK: u128 = 65_536;
const BYTES: usize = (BLOCK / 8) as usize;

/// The bits in a folder.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    dir: &'a Path,
}

impl<'a> Taken<'a> {
    pub(crate) fn new(dir: &'a Path) -> Self {
        Taken { dir }
    }

    /// Whether a file of this name is one of ours.
    pub(crate) fn is_name(name: &str) -> bool {
        name.starts_with(PREFIX)
    }

    /// Notes that an address has a file now, or none.
    pub(crate) fn set(&self, address: IpAddr, taken: bool) -> io::Result<()> {
        let number = bits(address);
        let at = number % BLOCK;
        let path = self.path(address.is_ipv4(), number);
        let mut options = OpenOptions::new();
        let file = cni_host::open_to_write(options.read(true).write(true).create(taken).mode(0o600), &path);
        let file = match file {
            Err(error) if error.kind() == ErrorKind::NotFound && !taken => return Ok(()),
            other => other?,
        };
        let (mut byte, bit) = ([0], 1 << (at % 8));
        // Behind the end there are zeros.
        let _ = file.read_at(&mut byte, at as u64 / 8)?;
        byte[0] = if taken { byte[0] | bit } else { byte[0] & !bit };
        file.write_all_at(&byte, at as u64 / 8)?;
        // The last one of a block takes the file along.
        if byte == [0] && self.read(address.is_ipv4(), number).iter().all(|byte| *byte == 0) {
            fs::remove_file(&path)?;
        }
        Ok(())
    }

    /// Notes that these addresses have a file, and no others.
    pub(crate) fn set_all(&self, addresses: impl Iterator<Item = IpAddr>) -> io::Result<()> {
        let mut blocks: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
        for address in addresses {
            let number = bits(address);
            let block = blocks.entry(self.path(address.is_ipv4(), number)).or_insert_with(|| vec![0; BYTES]);
            block[(number % BLOCK / 8) as usize] |= 1 << (number % 8);
        }
        for stale in self.files()?.iter().filter(|path| !blocks.contains_key(*path)) {
            fs::remove_file(stale)?;
        }
        for (path, block) in blocks {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o600);
            cni_host::open_to_write(&mut options, &path)?.write_all_at(&block, 0)?;
        }
        Ok(())
    }

    /// The numbers of a span that have no file, in order.
    pub(crate) fn free_in(&self, ipv4: bool, span: RangeInclusive<u128>) -> impl Iterator<Item = u128> {
        let (first, last) = span.into_inner();
        let mut block = Vec::new();
        let mut read = None;
        let mut next = Some(first);
        std::iter::from_fn(move || {
            while let Some(number) = next.filter(|number| *number <= last) {
                if read != Some(number / BLOCK) {
                    block = self.read(ipv4, number);
                    read = Some(number / BLOCK);
                }
                let at = number % BLOCK;
                let byte = block.get((at / 8) as usize).copied().unwrap_or(0);
                if byte == u8::MAX {
                    next = (number | 7).checked_add(1);
                    continue;
                }
                next = number.checked_add(1);
                if byte & 1 << (at % 8) == 0 {
                    return Some(number);
                }
            }
            None
        })
    }

    /// The bits of the block that a number is in, as many as there are.
    fn read(&self, ipv4: bool, number: u128) -> Vec<u8> {
        let mut block = vec![0; BYTES];
        let read = File::open(self.path(ipv4, number)).and_then(|file| file.read_at(&mut block, 0));
        block.truncate(read.unwrap_or(0));
        block
    }

    fn path(&self, ipv4: bool, number: u128) -> PathBuf {
        let first = number - number % BLOCK;
        self.dir.join(if ipv4 { format!("{PREFIX}{first:08x}") } else { format!("{PREFIX}{first:032x}") })
    }

    fn files(&self) -> io::Result<BTreeSet<PathBuf>> {
        let entries = match fs::read_dir(self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
            other => other?,
        };
        let is_ours =
            |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(Taken::is_name);
        Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_ours).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::range::address;

    fn numbers(text: &str) -> u128 {
        bits(text.parse().unwrap())
    }

    #[test]
    fn what_is_set_is_not_free_and_can_be_freed() {
        let dir = tempfile::tempdir().unwrap();
        let taken = Taken::new(dir.path());
        let span = numbers("10.0.255.254")..=numbers("10.1.0.3");
        let free = || taken.free_in(true, span.clone()).map(|number| address(true, number).to_string());
        assert_eq!(free().count(), 6, "there is no file yet");
        for text in ["10.0.255.255", "10.1.0.0", "10.1.0.2"] {
            taken.set(text.parse().unwrap(), true).unwrap();
        }
        assert_eq!(free().collect::<Vec<_>>(), ["10.0.255.254", "10.1.0.1", "10.1.0.3"]);
        taken.set("10.1.0.0".parse().unwrap(), false).unwrap();
        assert_eq!(free().collect::<Vec<_>>(), ["10.0.255.254", "10.1.0.0", "10.1.0.1", "10.1.0.3"]);
        for text in ["10.0.255.255", "10.1.0.2", "10.2.0.0"] {
            taken.set(text.parse().unwrap(), false).unwrap();
        }
        assert_eq!(taken.files().unwrap().len(), 0, "what says nothing is not kept");
    }

    #[test]
    fn all_at_once_replaces_what_was_said_before() {
        let dir = tempfile::tempdir().unwrap();
        let taken = Taken::new(dir.path());
        taken.set("10.9.0.1".parse().unwrap(), true).unwrap();
        taken.set("fd00::1".parse().unwrap(), true).unwrap();
        let all = (0..1000).map(|number| address(true, numbers("10.1.0.0") + number));
        taken.set_all(all).unwrap();
        assert_eq!(taken.files().unwrap().len(), 1);
        let span = numbers("10.1.0.0")..=numbers("10.1.255.255");
        assert_eq!(taken.free_in(true, span).next(), Some(numbers("10.1.0.0") + 1000));
    }

    #[test]
    fn the_last_address_of_all_ends_a_span() {
        let dir = tempfile::tempdir().unwrap();
        let taken = Taken::new(dir.path());
        let last = u128::MAX;
        assert_eq!(taken.free_in(false, last - 1..=last).count(), 2);
        for number in last - 7..=last {
            taken.set(address(false, number), true).unwrap();
        }
        assert_eq!(taken.free_in(false, last - 7..=last).count(), 0);
    }

    proptest! {
        /// Against a set of numbers.
        #[test]
        fn it_is_a_set(changes in proptest::collection::vec((0_u128..300, any::<bool>()), 0..60)) {
            let dir = tempfile::tempdir().unwrap();
            let taken = Taken::new(dir.path());
            let base = numbers("10.1.255.0");
            let mut model = BTreeSet::new();
            for (offset, on) in changes {
                taken.set(address(true, base + offset), on).unwrap();
                if on { model.insert(offset) } else { model.remove(&offset) };
            }
            let free: Vec<u128> = taken.free_in(true, base..=base + 299).map(|number| number - base).collect();
            prop_assert_eq!(free, (0..300).filter(|offset| !model.contains(offset)).collect::<Vec<_>>());
        }
    }
}
