//! The list of what is in the executables, as an SPDX 2.3 document in JSON (<https://spdx.github.io/spdx-spec/v2.3/>).

use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::packages::Package;
use super::{Release, hex};
use crate::{Result, cargo};

/// The versions of the libraries that are linked in and are no packages of cargo's.
pub(super) struct Libraries {
    /// Rust's standard library.
    rust: String,
    /// The C library.
    glibc: String,
}

impl Libraries {
    /// Asks the compiler and the C library.
    pub(super) fn of_machine() -> Result<Self> {
        let text = cargo::output(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
        let text = String::from_utf8_lossy(&text);
        let glibc = text.trim().strip_prefix("glibc ");
        let glibc = glibc.ok_or_else(|| format!("the C library is no glibc but {text:?}"))?.to_owned();
        Ok(Libraries { rust: cargo::rustc_says("release")?, glibc })
    }
}

/// The document, for executables made of these packages, of which `roots` are the executables' own.
pub(super) fn document(
    release: &Release,
    packages: &[Package],
    roots: &[&str],
    libraries: &Libraries,
) -> Result<Vec<u8>> {
    let mut listed: Vec<Value> = packages.iter().map(|package| of_package(package, release)).collect();
    let mut relations = Vec::new();
    let mut relate = |from: &str, how: &str, to: &str| {
        relations.push(json!({ "spdxElementId": from, "relationshipType": how, "relatedSpdxElement": to }));
    };
    for package in packages {
        for dependency in package.depends_on.iter().filter_map(|index| packages.get(*index)) {
            relate(&id(package), "DEPENDS_ON", &id(dependency));
        }
    }
    let libraries = of_libraries(libraries);
    for root in packages.iter().filter(|package| package.is_own() && roots.contains(&&*package.name)) {
        relate("SPDXRef-DOCUMENT", "DESCRIBES", &id(root));
        for library in &libraries {
            relate(&id(root), "STATIC_LINK", library["SPDXID"].as_str().unwrap_or_default());
        }
    }
    listed.extend(libraries);

    let name = format!("cni-plugins-{}-linux-{}", release.version, release.arch);
    // The namespace must differ when the content does, and only then.
    let digest = hex(&Sha256::digest(Value::from(listed.clone()).to_string()));
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("{}/spdx/{name}-{digest}", release.repository),
        "creationInfo": {
            "created": release.date,
            "creators": [format!("Tool: cni-plugins-xtask-{}", release.version)],
        },
        "packages": listed,
        "relationships": relations,
    });
    let mut text = serde_json::to_vec_pretty(&document)
        .map_err(|error| format!("cannot write the list of packages: {error}"))?;
    text.push(b'\n');
    Ok(text)
}

fn of_package(package: &Package, release: &Release) -> Value {
    let (name, version) = (&package.name, &package.version);
    let mut value = json!({
        "SPDXID": id(package),
        "name": name,
        "versionInfo": version,
        "downloadLocation": format!("git+{}", release.repository),
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": package.licence,
        "copyrightText": "NOASSERTION",
    });
    if let Some(checksum) = &package.checksum {
        value["downloadLocation"] =
            format!("https://crates.io/api/v1/crates/{name}/{version}/download").into();
        value["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": checksum }]);
        value["externalRefs"] = json!([{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": format!("pkg:cargo/{name}@{version}"),
        }]);
    }
    value
}

fn of_libraries(versions: &Libraries) -> Vec<Value> {
    let library = |id: &str, name: &str, licence: &str| {
        json!({
            "SPDXID": id,
            "name": name,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": licence,
            "copyrightText": "NOASSERTION",
        })
    };
    let mut std = library("SPDXRef-rust-std", "rust-std", "MIT OR Apache-2.0");
    std["versionInfo"] = versions.rust.as_str().into();
    let mut glibc = library("SPDXRef-glibc", "glibc", "LGPL-2.1-or-later");
    glibc["versionInfo"] = versions.glibc.as_str().into();
    // The unwinder; nothing says of which release it is.
    let unwinder = library("SPDXRef-libgcc-eh", "libgcc_eh", "GPL-3.0-or-later WITH GCC-exception-3.1");
    vec![glibc, unwinder, std]
}

/// Letters, digits, points and hyphens are all that an identifier may have. Names that then would be the same are not allowed
/// to exist in the registry.
fn id(package: &Package) -> String {
    let text = format!("SPDXRef-{}-{}", package.name, package.version);
    text.replace(|char: char| !char.is_ascii_alphanumeric() && char != '.', "-")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::dist::tests::release;

    fn packages() -> Vec<Package> {
        let package = |name: &str, checksum: Option<&str>, depends_on| Package {
            name: name.to_owned(),
            version: "1.0.0+x".to_owned(),
            licence: "MIT".to_owned(),
            checksum: checksum.map(str::to_owned),
            folder: "/src".into(),
            depends_on,
        };
        vec![package("cnitool", None, vec![1]), package("serde_json", Some("ab12"), Vec::new())]
    }

    fn made() -> Value {
        let libraries = Libraries { rust: "1.95.0".to_owned(), glibc: "2.36".to_owned() };
        serde_json::from_slice(&document(&release(), &packages(), &["cnitool"], &libraries).unwrap()).unwrap()
    }

    /// The tables of sections 6, 7 and 11 of the specification: what has cardinality "mandatory, one".
    #[test]
    fn every_required_field_is_there() {
        let document = made();
        for field in ["spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace"] {
            assert!(document[field].is_string(), "{field}");
        }
        assert_eq!(document["creationInfo"]["created"], "2023-11-14T22:13:20Z");
        assert!(document["creationInfo"]["creators"][0].as_str().unwrap().starts_with("Tool: "));
        let mut ids = BTreeSet::from(["SPDXRef-DOCUMENT".to_owned()]);
        for package in document["packages"].as_array().unwrap() {
            for field in ["name", "SPDXID", "downloadLocation"] {
                assert!(package[field].is_string(), "{field} of {package}");
            }
            // Else a verification code would be required.
            assert_eq!(package["filesAnalyzed"], false);
            let id = package["SPDXID"].as_str().unwrap();
            let legal = |char: char| char.is_ascii_alphanumeric() || ".-".contains(char);
            assert!(id.strip_prefix("SPDXRef-").is_some_and(|rest| rest.chars().all(legal)), "{id}");
            assert!(ids.insert(id.to_owned()), "{id} twice");
        }
        for relation in document["relationships"].as_array().unwrap() {
            for end in ["spdxElementId", "relatedSpdxElement"] {
                assert!(ids.contains(relation[end].as_str().unwrap()), "{relation}");
            }
        }
    }

    #[test]
    fn packages_have_what_the_registry_and_the_lock_say() {
        let document = made();
        let serde = &document["packages"][1];
        assert_eq!(serde["checksums"], json!([{ "algorithm": "SHA256", "checksumValue": "ab12" }]));
        assert_eq!(serde["externalRefs"][0]["referenceLocator"], "pkg:cargo/serde_json@1.0.0+x");
        assert_eq!(serde["licenseDeclared"], "MIT");
        let relations: Vec<String> = document["relationships"]
            .as_array()
            .unwrap()
            .iter()
            .map(|relation| {
                let part =
                    |key: &str| relation[key].as_str().unwrap().trim_start_matches("SPDXRef-").to_owned();
                let ends = (part("spdxElementId"), part("relatedSpdxElement"));
                format!("{} {} {}", ends.0, part("relationshipType"), ends.1)
            })
            .collect();
        let expected = [
            "cnitool-1.0.0-x DEPENDS_ON serde-json-1.0.0-x",
            "DOCUMENT DESCRIBES cnitool-1.0.0-x",
            "cnitool-1.0.0-x STATIC_LINK glibc",
            "cnitool-1.0.0-x STATIC_LINK libgcc-eh",
            "cnitool-1.0.0-x STATIC_LINK rust-std",
        ];
        assert_eq!(relations, expected);
    }

    #[test]
    fn the_namespace_follows_the_content() {
        assert_eq!(made()["documentNamespace"], made()["documentNamespace"]);
        let libraries = Libraries { rust: "1.96.0".to_owned(), glibc: "2.36".to_owned() };
        let other = document(&release(), &packages(), &["cnitool"], &libraries).unwrap();
        let other: Value = serde_json::from_slice(&other).unwrap();
        assert_ne!(made()["documentNamespace"], other["documentNamespace"]);
    }
}
