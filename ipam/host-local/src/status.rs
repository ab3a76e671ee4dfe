//! Whether an ADD could succeed now. Asked every few seconds, so it takes no lock, writes nothing, and looks at a few files
//! as long as there is room.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use crate::lease::Contents;
use crate::range::RangeSet;
use crate::store::Folder;

/// How many addresses after the last one handed out are looked at before all files are counted.
const PROBES: usize = 64;

/// The error says what is in the way.
pub(crate) fn check(folder: &Folder, sets: &[RangeSet]) -> Result<(), String> {
    check_writable(folder.dir())?;
    for (index, set) in sets.iter().enumerate() {
        if !has_room(folder, index, set)? {
            return Err(format!(
                "no IP addresses available in range set {index} ({set}): all {} are leased in {}",
                set.capacity(),
                folder.dir().display(),
            ));
        }
    }
    Ok(())
}

fn has_room(folder: &Folder, index: usize, set: &RangeSet) -> Result<bool, String> {
    let is_free = |address: IpAddr| matches!(folder.contents(address), None | Some(Contents::Leftover));
    if set.round_robin(folder.last_reserved(index)).take(PROBES).any(is_free) {
        return Ok(true);
    }
    let mut taken = folder.addresses().map_err(|error| error.to_string())?;
    taken.retain(|&address| set.range_of(address).is_some() && !set.is_gateway(address));
    Ok((taken.len() as u128) < set.capacity() || taken.into_iter().any(is_free))
}

/// Looks at the folder that an ADD would write to, or make its folders in.
fn check_writable(dir: &Path) -> Result<(), String> {
    for dir in dir.ancestors() {
        // A relative path's last ancestor is empty, and means the working directory.
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        match access(dir, AccessFlags::W_OK | AccessFlags::X_OK) {
            Ok(()) => return check_space(dir),
            Err(errno) => {
                let error = std::io::Error::from(errno);
                if error.kind() != ErrorKind::NotFound {
                    return Err(format!("cannot write to {}: {error}", dir.display()));
                }
            }
        }
    }
    Ok(())
}

fn check_space(dir: &Path) -> Result<(), String> {
    let Ok(space) = statvfs(dir) else { return Ok(()) };
    // File systems without a fixed number of blocks or inodes say that they have none at all.
    if space.blocks() > 0 && space.blocks_free() == 0 {
        return Err(format!("cannot write to {}: the file system has no free space", dir.display()));
    }
    if space.files() > 0 && space.files_free() == 0 {
        return Err(format!("cannot write to {}: the file system has no free inodes", dir.display()));
    }
    Ok(())
}
