//! What a registry shows of a package, and what whoever finds it there needs.

use std::fs;

use crate::cargo::Package;

/// The most that a registry takes, of keywords and of categories.
const MOST: usize = 5;

/// Sentences that say what a package lacks to be published.
pub(super) fn is_fit(package: &Package) -> Vec<String> {
    if !package.is_published() {
        return Vec::new();
    }
    let text = |name: &str| fs::read_to_string(package.dir().join(name)).unwrap_or_default();
    let readme = package.readme.as_ref().map(|readme| text(&readme.to_string_lossy())).unwrap_or_default();
    let lacks = [
        (package.description.is_none(), "a description"),
        (!is_list(&package.keywords), "one to five keywords"),
        (!is_list(&package.categories), "one to five categories"),
        (readme.is_empty(), "a README.md"),
        (text("LICENSE").is_empty(), "a LICENSE, a link to the workspace's"),
    ];
    let lacks = lacks.into_iter().filter(|(is_lacking, _)| *is_lacking);
    let mut violations: Vec<String> =
        lacks.map(|(_, what)| format!("{} is published without {what}", package.name)).collect();
    violations.extend(tells_its_compiler(package, &readme));
    violations
}

fn is_list(words: &[String]) -> bool {
    (1..=MOST).contains(&words.len())
}

/// A library's own page, which is not the project's, names the oldest compiler that does.
fn tells_its_compiler(package: &Package, readme: &str) -> Option<String> {
    let version = package.rust_version.as_ref()?;
    let is_own = package.readme.as_ref().is_some_and(|readme| readme.components().count() == 1);
    let told = readme.contains(&format!("Rust {version} or later"));
    (is_own && !told)
        .then(|| format!("{}'s README.md does not say \"Rust {version} or later\"", package.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> Package {
        Package {
            name: "cni-x".into(),
            description: Some("Does x".into()),
            keywords: vec!["cni".into()],
            categories: vec!["network-programming".into()],
            readme: Some("README.md".into()),
            rust_version: Some("1.89".into()),
            ..Package::default()
        }
    }

    #[test]
    fn what_a_registry_would_miss_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let at = |package: Package| Package { manifest_path: dir.path().join("Cargo.toml"), ..package };
        fs::write(dir.path().join("README.md"), "# cni-x\n\nRust 1.89 or later.\n").unwrap();
        fs::write(dir.path().join("LICENSE"), "Apache License\n").unwrap();
        assert!(is_fit(&at(package())).is_empty());

        let newer = Package { rust_version: Some("1.90".into()), ..package() };
        assert_eq!(is_fit(&at(newer)).len(), 1);
        let nothing =
            Package { name: "cni-x".into(), manifest_path: "/x/Cargo.toml".into(), ..Package::default() };
        assert_eq!(is_fit(&nothing).len(), 5);
        let six = Package { keywords: vec!["x".into(); 6], ..package() };
        assert_eq!(is_fit(&at(six)).len(), 1);
    }
}
