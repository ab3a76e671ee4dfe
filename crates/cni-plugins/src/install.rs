//! `install`: the names of plugins in a folder, each a hard link to one copy of this executable.
//!
//! Runtimes take every file of the folder for a plugin and run it, at any time. So no other file is left there, and each
//! name goes from the old executable to the new one by a rename, which the kernel allows while the old one runs.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A folder within, where all is made ready: on the same file system, and no file. One that an installation left which was
/// killed goes with the next.
const STAGING: &str = ".cni-plugins";

/// The running executable, also when its file has been replaced or removed (proc_pid_exe(5)).
const OWN: &str = "/proc/self/exe";

/// Puts the named plugins into `dir`. When it fails before all are ready, nothing has changed.
pub(crate) fn install(dir: &Path, names: &[&str]) -> Result<(), String> {
    fs::create_dir_all(dir).map_err(|error| cannot("create", dir, &error))?;
    // Until the process ends: of two installations at once one comes after the other, so that all names are of one of them.
    let folder = File::open(dir).map_err(|error| cannot("open", dir, &error))?;
    folder.lock().map_err(|error| cannot("lock", dir, &error))?;

    let staging = dir.join(STAGING);
    remove(&staging)?;
    let placed = place(dir, &staging, names);
    let removed = remove(&staging);
    placed.and(removed)?;
    folder.sync_all().map_err(|error| cannot("write", dir, &error))
}

fn place(dir: &Path, staging: &Path, names: &[&str]) -> Result<(), String> {
    fs::create_dir(staging).map_err(|error| cannot("create", staging, &error))?;
    let (mut ready, mut first) = (Vec::new(), None);
    for name in names {
        let path = staging.join(name);
        match &first {
            None => copy(&path).map_err(|error| cannot("write", &path, &error))?,
            // Not every file system has hard links.
            Some(first) => {
                fs::hard_link(first, &path)
                    .or_else(|_| copy(&path))
                    .map_err(|error| cannot("write", &path, &error))?;
            }
        }
        first.get_or_insert_with(|| path.clone());
        ready.push((path, dir.join(name)));
    }
    for (path, to) in ready {
        fs::rename(&path, &to).map_err(|error| cannot("replace", &to, &error))?;
    }
    Ok(())
}

fn copy(to: &Path) -> io::Result<()> {
    let mut target = File::create_new(to)?;
    io::copy(&mut File::open(OWN)?, &mut target)?;
    target.set_permissions(Permissions::from_mode(0o755))?;
    // Before the rename, or a power loss could leave an empty file under the plugin's name.
    target.sync_all()
}

fn remove(staging: &Path) -> Result<(), String> {
    match fs::remove_dir_all(staging) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot("remove", staging, &error)),
        _ => Ok(()),
    }
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {verb} {}: {error}", path.display())
}
