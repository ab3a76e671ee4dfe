//! Whose code is in the executables: the normal dependencies of what is shipped, on this machine's target. Procedural macros and
//! build scripts run while it is built, and are not in it.
//!
//! Which these are is asked of `cargo tree`, for `cargo metadata` counts the features of dependencies too that only tests ask for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::cargo::{self, cargo};
use crate::{Result, tools};

/// A package that is linked in.
#[derive(Clone, Debug)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// An SPDX licence expression.
    pub(super) licence: String,
    /// Of its archive in the registry, in SHA-256. The project's own packages have none.
    pub(super) checksum: Option<String>,
    /// Where its sources are unpacked.
    pub(super) folder: PathBuf,
    /// Indices of packages in the same list.
    pub(super) depends_on: Vec<usize>,
}

impl Package {
    /// Whether it is the project's own.
    pub(super) fn is_own(&self) -> bool {
        self.checksum.is_none()
    }
}

/// The part of `cargo metadata` (format version 1) that is used here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Manifest>,
}

#[derive(Deserialize)]
struct Manifest {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: PathBuf,
}

/// All packages that these of the workspace have in their executables, themselves included, sorted by name and version.
pub(super) fn linked(roots: &[&str]) -> Result<Vec<Package>> {
    let triple = cargo::host_triple()?;
    let mut tree = cargo();
    tree.args([
        "tree",
        "--locked",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "depth",
        "--format",
        " {p}",
    ]);
    tree.args(["--target", &triple]).args(roots.iter().flat_map(|root| ["--package", root]));
    let tree = cargo::output(&mut tree)?;
    let mut metadata = cargo();
    metadata.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", &triple]);
    let metadata: Metadata = serde_json::from_slice(&cargo::output(&mut metadata)?)
        .map_err(|error| format!("cannot read cargo's metadata: {error}"))?;
    let lock = cargo::root().join("Cargo.lock");
    let lock = std::fs::read_to_string(&lock).map_err(|error| tools::cannot("read", &lock, error))?;
    select(&edges(&String::from_utf8_lossy(&tree))?, &metadata, &checksums(&lock))
}

/// A package's name and version.
type Key = (String, String);

/// What each package depends on, from lines like `2 serde v1.0.229 (*)`, the first word of which is the depth.
fn edges(tree: &str) -> Result<BTreeMap<Key, Vec<Key>>> {
    let mut edges: BTreeMap<Key, Vec<Key>> = BTreeMap::new();
    let mut above: Vec<Key> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let depth = words.next().and_then(|depth| depth.parse().ok());
        let key = words.next().zip(words.next().and_then(|version| version.strip_prefix('v')));
        let (Some(depth), Some((name, version))) = (depth, key) else {
            return Err(format!("cannot read cargo's tree: {line:?}"));
        };
        let key = (name.to_owned(), version.to_owned());
        above.truncate(depth);
        if let Some(parent) = above.last() {
            edges.entry(parent.clone()).or_default().push(key.clone());
        }
        edges.entry(key.clone()).or_default();
        above.push(key);
    }
    Ok(edges)
}

fn select(
    edges: &BTreeMap<Key, Vec<Key>>,
    metadata: &Metadata,
    checksums: &BTreeMap<Key, String>,
) -> Result<Vec<Package>> {
    let index = |key: &Key| edges.keys().position(|known| known == key);
    let packages = edges.iter().map(|(key, depends_on)| {
        let (name, version) = key;
        let manifest =
            metadata.packages.iter().find(|package| package.name == *name && package.version == *version);
        let manifest = manifest.ok_or_else(|| format!("cargo's metadata lacks {name} {version}"))?;
        let checksum = checksums.get(key).cloned();
        if checksum.is_none() && manifest.source.is_some() {
            return Err(format!("Cargo.lock has no checksum of {name} {version}"));
        }
        let mut depends_on: Vec<usize> = depends_on.iter().filter_map(index).collect();
        depends_on.sort_unstable();
        depends_on.dedup();
        Ok(Package {
            name: name.clone(),
            version: version.clone(),
            licence: manifest.licence()?,
            checksum,
            folder: manifest.manifest_path.parent().map(PathBuf::from).unwrap_or_default(),
            depends_on,
        })
    });
    packages.collect()
}

impl Manifest {
    /// Older packages separate alternatives by a slash, which SPDX does not know.
    fn licence(&self) -> Result<String> {
        let licence = self.license.as_ref().map(|licence| licence.replace('/', " OR "));
        licence.ok_or_else(|| format!("{} {} names no licence", self.name, self.version))
    }
}

/// The checksums in Cargo.lock, which cargo writes one key a line, name and version before the checksum.
fn checksums(lock: &str) -> BTreeMap<Key, String> {
    let (mut name, mut version, mut checksums) = ("", "", BTreeMap::new());
    for line in lock.lines() {
        let Some((key, value)) = line.split_once(" = ") else { continue };
        let value = value.trim_matches('"');
        match key {
            "name" => name = value,
            "version" => version = value,
            "checksum" => {
                checksums.insert((name.to_owned(), version.to_owned()), value.to_owned());
            }
            _ => {}
        }
    }
    checksums
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "0 app v0.1.0 (/src/app)\n1 lib v1.2.3\n2 base v2.0.0\n1 base v2.0.0 (*)\n\n\
                        0 tool v0.1.0 (/src/tool)\n1 lib v1.2.3 (*)\n";

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\n \"lib\",\n]\n\n\
                        [[package]]\nname = \"base\"\nversion = \"2.0.0\"\nsource = \"registry+x\"\nchecksum = \"cd\"\n\n\
                        [[package]]\nname = \"lib\"\nversion = \"1.2.3\"\nsource = \"registry+x\"\nchecksum = \"ab\"\n";

    fn selected(tree: &str, lock: &str) -> Result<Vec<String>> {
        let manifest = |name: &str, version: &str, source: Option<&str>| {
            serde_json::json!({
                "name": name, "version": version, "license": "MIT/Apache-2.0", "source": source,
                "manifest_path": format!("/src/{name}/Cargo.toml"),
            })
        };
        let metadata = serde_json::json!({ "packages": [
            manifest("lib", "1.0.0", Some("registry+x")),
            manifest("lib", "1.2.3", Some("registry+x")),
            manifest("base", "2.0.0", Some("registry+x")),
            manifest("app", "0.1.0", None),
            manifest("tool", "0.1.0", None),
        ] });
        let packages = select(&edges(tree)?, &serde_json::from_value(metadata).unwrap(), &checksums(lock))?;
        let show = |p: &Package| {
            let (own, folder) = (p.is_own(), p.folder.display());
            format!("{} {} {} {own} {folder} {:?}", p.name, p.version, p.licence, p.depends_on)
        };
        Ok(packages.iter().map(show).collect())
    }

    #[test]
    fn each_package_is_there_once_with_all_that_it_depends_on() {
        let expected = [
            "app 0.1.0 MIT OR Apache-2.0 true /src/app [1, 2]",
            "base 2.0.0 MIT OR Apache-2.0 false /src/base []",
            "lib 1.2.3 MIT OR Apache-2.0 false /src/lib [1]",
            "tool 0.1.0 MIT OR Apache-2.0 true /src/tool [2]",
        ];
        assert_eq!(selected(TREE, LOCK).unwrap(), expected);
    }

    #[test]
    fn what_is_not_understood_or_incomplete_is_an_error() {
        let error = selected(TREE, "").unwrap_err();
        assert_eq!(error, "Cargo.lock has no checksum of base 2.0.0");
        assert!(selected("app v0.1.0\n", LOCK).unwrap_err().starts_with("cannot read cargo's tree: "));
        assert!(selected("0 other v0.1.0\n", LOCK).unwrap_err().contains("lacks other 0.1.0"));
    }
}
