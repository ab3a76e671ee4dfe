//! Archives that are the same bytes whoever makes them, wherever and whenever: their entries are sorted and belong to root, their
//! modes are fixed, and every time in them is the release's.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use flate2::{Compression, GzBuilder};
use tar::{EntryType, Header};

/// What an archive holds, by path. The folders above are added.
#[derive(Clone, Debug, Default)]
pub(super) struct Archive(BTreeMap<String, Entry>);

#[derive(Clone, Debug)]
enum Entry {
    File { content: Vec<u8>, mode: u32 },
    HardLink(String),
    Symlink(String),
}

impl Archive {
    /// Adds a file to be read.
    pub(super) fn file(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), Entry::File { content: content.into(), mode: 0o644 });
    }

    /// Adds a file to be run.
    pub(super) fn program(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), Entry::File { content: content.into(), mode: 0o755 });
    }

    /// Adds another name of a file, which must come before it in the alphabet, since it is unpacked in that order.
    pub(super) fn hard_link(&mut self, path: impl Into<String>, to: &str) {
        self.0.insert(path.into(), Entry::HardLink(to.to_owned()));
    }

    /// Adds a symbolic link.
    pub(super) fn symlink(&mut self, path: impl Into<String>, to: &str) {
        self.0.insert(path.into(), Entry::Symlink(to.to_owned()));
    }

    /// The paths of all that it holds.
    #[cfg(test)]
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The bytes of all files.
    pub(super) fn size(&self) -> usize {
        let size = |entry: &Entry| if let Entry::File { content, .. } = entry { content.len() } else { 0 };
        self.0.values().map(size).sum()
    }

    /// As tar, compressed by gzip, with this time in seconds since 1970.
    pub(super) fn tar_gz(&self, time: u64) -> std::io::Result<Vec<u8>> {
        // Without a name and a time of its own.
        let mut tar = tar::Builder::new(GzBuilder::new().write(Vec::new(), Compression::best()));
        for folder in self.folders() {
            tar.append_data(&mut header(EntryType::Directory, 0o755, time), folder, std::io::empty())?;
        }
        for (path, entry) in &self.0 {
            match entry {
                Entry::File { content, mode } => {
                    let mut header = header(EntryType::Regular, *mode, time);
                    header.set_size(content.len() as u64);
                    tar.append_data(&mut header, path, &**content)?;
                }
                Entry::HardLink(to) => {
                    tar.append_link(&mut header(EntryType::Link, 0o755, time), path, to)?;
                }
                Entry::Symlink(to) => {
                    tar.append_link(&mut header(EntryType::Symlink, 0o777, time), path, to)?;
                }
            }
        }
        let mut gzip = tar.into_inner()?;
        gzip.flush()?;
        gzip.finish()
    }

    fn folders(&self) -> BTreeSet<String> {
        let above = |path: &str| -> Vec<String> {
            let folders = Path::new(path).ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
            folders.map(|folder| format!("{}/", folder.display())).collect()
        };
        self.0.keys().flat_map(|path| above(path)).collect()
    }
}

fn header(kind: EntryType, mode: u32, time: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(mode);
    header.set_mtime(time);
    // Numbers are what counts to root, who unpacks; names would win over them.
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Files in the format of ar(5), as Debian's packages have it (deb(5)).
pub(super) fn ar(members: &[(&str, &[u8])], time: u64) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let (mode, size) = (0o100_644, content.len());
        // Writing to a vector does not fail.
        let _ = writeln!(archive, "{name:<16}{time:<12}{:<6}{:<6}{mode:<8o}{size:<10}`", 0, 0);
        archive.extend_from_slice(content);
        if size % 2 == 1 {
            archive.push(b'\n');
        }
    }
    archive
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [(&str, &str); 3] = [("top/b", "bee"), ("top/a", "ay"), ("top/in/c", "sea")];

    fn archive(files: &[(&str, &str)]) -> Archive {
        let mut archive = Archive::default();
        for (path, content) in files {
            archive.file(*path, *content);
        }
        archive.hard_link("top/x", "top/a");
        archive.symlink("top/y", "in/c");
        archive
    }

    #[test]
    fn the_same_content_is_the_same_bytes() {
        let mut turned = FILES;
        turned.reverse();
        let once = archive(&FILES).tar_gz(1_700_000_000).unwrap();
        // Were the clock in it, this would show.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        assert!(once == archive(&turned).tar_gz(1_700_000_000).unwrap());
        assert!(once != archive(&FILES).tar_gz(1_700_000_001).unwrap());
        // RFC 1952: no flags, and so no name; no time; the system is unknown.
        assert_eq!((once[3], &once[4..8], once[9]), (0, &[0; 4][..], 255));
    }

    #[test]
    fn every_entry_is_roots_with_the_time_and_a_fixed_mode() {
        let bytes = archive(&FILES).tar_gz(1_700_000_000).unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&*bytes));
        let mut seen = Vec::new();
        for entry in tar.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            assert_eq!(header.mtime().unwrap(), 1_700_000_000);
            let path = entry.path().unwrap().display().to_string();
            seen.push(format!("{:o} {path}", header.mode().unwrap()));
        }
        let expected =
            ["755 top/", "755 top/in/", "644 top/a", "644 top/b", "644 top/in/c", "755 top/x", "777 top/y"];
        assert_eq!(seen, expected);
    }

    #[test]
    fn tar_unpacks_what_was_put_in() {
        let dir = tempfile::tempdir().unwrap();
        let (file, top) = (dir.path().join("archive.tar.gz"), dir.path().join("top"));
        std::fs::write(&file, archive(&FILES).tar_gz(0).unwrap()).unwrap();
        let tar = std::process::Command::new("tar").arg("-xzf").arg(file).current_dir(&dir).status();
        assert!(tar.unwrap().success());
        for (name, content) in [("a", "ay"), ("b", "bee"), ("in/c", "sea"), ("x", "ay"), ("y", "sea")] {
            assert_eq!(std::fs::read_to_string(top.join(name)).unwrap(), content, "{name}");
        }
    }

    #[test]
    fn members_of_an_ar_begin_at_even_places() {
        let bytes = ar(&[("odd", b"abc"), ("even", b"ab")], 7);
        let expected = "!<arch>\n\
                        odd             7           0     0     100644  3         `\nabc\n\
                        even            7           0     0     100644  2         `\nab";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }
}
