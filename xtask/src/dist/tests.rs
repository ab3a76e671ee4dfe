//! All but the compiler's part: everything is made, of executables that are a few bytes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::*;

pub(super) fn release() -> Release {
    Release {
        version: "0.1.0",
        repository: "https://example.org/cni-plugins",
        arch: "amd64",
        time: 1_700_000_000,
        date: "2023-11-14T22:13:20Z".to_owned(),
    }
}

pub(super) fn content() -> Content {
    let named = |name: &str| (name.to_owned(), name.as_bytes().to_vec());
    Content {
        one: b"the plugins".to_vec(),
        cnitool: b"the tool".to_vec(),
        single: ["bandwidth", "bridge", "dhcp", "vrf"].map(named).into(),
        documents: ["LICENSE", "licences/packages.txt", "sbom.spdx.json"].map(named).into(),
        dockerfile: fs::read(cargo::root().join(DOCKERFILE)).unwrap(),
        units: units().unwrap(),
    }
}

#[test]
fn the_same_content_is_the_same_files() {
    let once = files(&release(), &content()).unwrap();
    assert!(once == files(&release(), &content()).unwrap());
    let names: Vec<&str> = once.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "cni-plugins-0.1.0-linux-amd64.tar.gz",
        "cni-plugins-single-0.1.0-linux-amd64.tar.gz",
        "cni-plugins-rs_0.1.0_amd64.deb",
        "SHA256SUMS",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_checksums_are_what_sha256sum_checks() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files(&release(), &content()).unwrap() {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let check = || {
        let output = Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(&dir).output().unwrap();
        output.status.success()
    };
    assert!(check());
    fs::write(dir.path().join("cni-plugins-rs_0.1.0_amd64.deb"), "another").unwrap();
    assert!(!check());
}

#[test]
fn each_archive_has_its_executables_and_all_licences_below_one_folder() {
    let paths = |archive: Archive| archive.paths().map(str::to_owned).collect::<Vec<_>>();
    let one = paths(archive_of_one("top", &content()));
    let documents = ["top/LICENSE", "top/licences/packages.txt", "top/sbom.spdx.json"];
    let units = ["top/systemd/cni-dhcp.service", "top/systemd/cni-dhcp.socket"];
    let expected = [
        "top/Dockerfile",
        documents[0],
        "top/cni-plugins",
        "top/cnitool",
        "top/dhcp",
        documents[1],
        documents[2],
        units[0],
        units[1],
    ];
    assert_eq!(one, expected);
    let single = paths(archive_of_single("top", &content()));
    let expected = [
        documents[0],
        "top/bin/bandwidth",
        "top/bin/bridge",
        "top/bin/dhcp",
        "top/bin/vrf",
        documents[1],
        documents[2],
    ];
    assert_eq!(single, expected);
}

/// The real ones: cargo knows them without building anything.
#[test]
fn all_that_is_linked_in_is_listed_with_its_licence() {
    let packages = packages::linked(&ROOTS).unwrap();
    let names: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    for linked in [
        "cni-plugins",
        "cni-bridge",
        "cni-host-local",
        "cnitool",
        "netlink-packet-route",
        "regex-lite",
        "libc",
    ] {
        assert!(names.contains(linked), "{linked}");
    }
    // What expands macros, what only tests or this task use, and what is for other systems.
    for absent in
        ["serde_derive", "proptest", "zbus", "tempfile", "cni-testing", "xtask", "flate2", "windows-sys"]
    {
        assert!(!names.contains(absent), "{absent}");
    }
    licences::of_packages(&packages).unwrap();
    let sbom =
        sbom::document(&release(), &packages, &ROOTS, &sbom::Libraries::of_machine().unwrap()).unwrap();
    let sbom: serde_json::Value = serde_json::from_slice(&sbom).unwrap();
    assert_eq!(sbom["packages"].as_array().unwrap().len(), packages.len() + 3);
}

/// <https://docs.docker.com/reference/dockerfile/>; that the arguments of the image's command are taken is tested with
/// cni-plugins.
#[test]
fn the_images_recipe_has_only_files_of_the_archive() {
    let archive = archive_of_one("top", &content());
    let there: BTreeSet<&str> = archive.paths().collect();
    let recipe = fs::read_to_string(cargo::root().join(DOCKERFILE)).unwrap();
    let lines = recipe.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let instructions: Vec<(&str, &str)> = lines.map(|line| line.split_once(' ').unwrap()).collect();
    assert_eq!(instructions.first(), Some(&("FROM", "scratch")));
    let mut copied = 0;
    for (instruction, rest) in &instructions {
        match *instruction {
            "COPY" => {
                let mut words: Vec<&str> = rest.split(' ').collect();
                assert!(words.pop().unwrap().starts_with('/'), "{rest}");
                for source in words {
                    let is_there = |path: &&str| {
                        let path = Path::new(path);
                        path.starts_with(Path::new("top").join(source))
                    };
                    assert!(there.iter().any(is_there), "{source} is not in the archive");
                    copied += 1;
                }
            }
            "FROM" | "LABEL" | "ENTRYPOINT" | "CMD" => {}
            other => panic!("is {other} an instruction?"),
        }
    }
    assert!(copied >= 2);
}
