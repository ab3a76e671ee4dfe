//! The container ID that stands for a namespace, by the reference's rule, so that either tool finds what the other
//! attached.

use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha512};

/// `cnitool-` and the first ten bytes of the SHA-512 of the namespace's absolute path, in hexadecimal
/// (cnitool/cmd/root.go).
pub(crate) fn container_id(netns: &str) -> String {
    let mut id = "cnitool-".to_string();
    for byte in &Sha512::digest(netns)[..10] {
        // Writing to a string cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
}

/// The absolute path without `.`, `..` and doubled slashes. As Go's filepath.Abs it looks at the text alone: symbolic
/// links, such as /var/run, stay.
pub(crate) fn absolute(path: &Path, current_dir: &Path) -> PathBuf {
    let mut absolute = PathBuf::from("/");
    for component in current_dir.join(path).components() {
        match component {
            Component::Normal(name) => absolute.push(name),
            Component::ParentDir => {
                absolute.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    absolute
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_id_is_a_hash_of_the_path() {
        // printf /var/run/netns/testing | sha512sum
        assert_eq!(container_id("/var/run/netns/testing"), "cnitool-77383ca0a0715733ca6f");
    }

    #[test]
    fn paths_are_made_absolute_by_their_text() {
        let of = |path: &str| absolute(Path::new(path), Path::new("/srv/a")).display().to_string();
        assert_eq!(of("/var/run//netns/./x"), "/var/run/netns/x");
        assert_eq!(of("../b/x"), "/srv/b/x");
        assert_eq!(of("/../../x/"), "/x");
        assert_eq!(of("x"), "/srv/a/x");
    }
}
