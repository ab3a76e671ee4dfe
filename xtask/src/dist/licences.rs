//! The licences of what others wrote and is in the executables.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::packages::Package;
use crate::{Result, cargo, tools};

/// How the names of files with licences, notices and copyrights begin.
const NAMES: [&str; 6] = ["licence", "license", "copying", "copyright", "notice", "unlicense"];

/// Where Debian keeps the notices of the C library, which is linked in too, and the licence that they refer to.
const C_LIBRARY: [&str; 2] = ["/usr/share/doc/libc6-dev/copyright", "/usr/share/common-licenses/LGPL-2.1"];

/// The texts to go with the executables, by file name.
pub(super) fn gather(packages: &[Package]) -> Result<Vec<(String, Vec<u8>)>> {
    let read = |path: &Path| fs::read(path).map_err(|error| tools::cannot("read", path, error));
    let standard_library = cargo::sysroot()?.join("share/doc/rust/COPYRIGHT-library.html");
    let c_library = C_LIBRARY.map(|path| read(Path::new(path)));
    let c_library: Vec<Vec<u8>> = c_library.into_iter().collect::<Result<_>>()?;
    Ok(vec![
        ("LICENSE".to_owned(), read(&cargo::root().join("LICENSE"))?),
        ("licences/packages.txt".to_owned(), of_packages(packages)?.into_bytes()),
        ("licences/rust-standard-library.html".to_owned(), read(&standard_library)?),
        ("licences/glibc.txt".to_owned(), c_library.join(&b"\n\n"[..])),
    ])
}

/// Which package has which licence, and then each text once.
pub(super) fn of_packages(packages: &[Package]) -> Result<String> {
    // By the words alone, for many differ in line breaks only.
    let mut texts: BTreeMap<String, (String, Vec<&Package>)> = BTreeMap::new();
    let mut list =
        String::from("Packages in the executables, and their licences. The texts follow, each once.\n\n");
    for package in packages.iter().filter(|package| !package.is_own()) {
        let _ = writeln!(list, "{} {}: {}", package.name, package.version, package.licence);
        let files = files(&package.folder)?;
        if files.is_empty() {
            return Err(format!(
                "{} {} comes without the text of its licence",
                package.name, package.version
            ));
        }
        for path in files {
            let text = fs::read_to_string(&path).map_err(|error| tools::cannot("read", &path, error))?;
            let words: Vec<&str> = text.split_whitespace().collect();
            let known = texts.entry(words.join(" "));
            known.or_insert_with(|| (text, Vec::new())).1.push(package);
        }
    }
    // By the first that has it; the order of the texts themselves says nothing.
    let mut texts: Vec<(String, Vec<&Package>)> = texts.into_values().collect();
    texts.sort_by_key(|(text, users)| {
        (users.iter().map(|user| user.name.clone()).collect::<Vec<_>>(), text.clone())
    });
    for (text, users) in texts {
        let users: Vec<String> = users.iter().map(|user| format!("{} {}", user.name, user.version)).collect();
        let _ = write!(list, "\n{}\n{}\n\n{}\n", "=".repeat(80), users.join(", "), text.trim_end());
    }
    Ok(list)
}

/// The files with licences and notices at the top of a package, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| tools::cannot("read", folder, error))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| tools::cannot("read", folder, error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_file() && NAMES.iter().any(|start| name.starts_with(start)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(dir: &Path, name: &str, files: &[(&str, &str)]) -> Package {
        let folder = dir.join(name);
        fs::create_dir(&folder).unwrap();
        for (file, text) in files {
            fs::write(folder.join(file), text).unwrap();
        }
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: "MIT".to_owned(),
            checksum: Some("ab12".to_owned()),
            folder,
            depends_on: Vec::new(),
        }
    }

    #[test]
    fn each_text_is_there_once_with_all_who_have_it() {
        let dir = tempfile::tempdir().unwrap();
        let packages = [
            package(dir.path(), "a", &[("LICENSE-MIT", "Do what\nyou like.\n"), ("README", "not this")]),
            package(dir.path(), "b", &[("license.md", "Do what you like."), ("NOTICE", "by me")]),
        ];
        let text = of_packages(&packages).unwrap();
        let line = "=".repeat(80);
        let expected = format!(
            "Packages in the executables, and their licences. The texts follow, each once.\n\n\
             a 1.0.0: MIT\nb 1.0.0: MIT\n\n\
             {line}\na 1.0.0, b 1.0.0\n\nDo what\nyou like.\n\n\
             {line}\nb 1.0.0\n\nby me\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_package_without_a_text_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let packages = [package(dir.path(), "a", &[("README", "MIT, see elsewhere")])];
        assert_eq!(of_packages(&packages).unwrap_err(), "a 1.0.0 comes without the text of its licence");
    }
}
