use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn owner(network: &str, container_id: &str) -> Owner {
    Owner { network: network.into(), container_id: container_id.into(), ifname: "eth0".into() }
}

fn everything() -> Attributes {
    Attributes {
        mac: Some("02:00:00:00:00:01".parse().unwrap()),
        promisc: Some(false),
        mtu: Some(1500),
        allmulti: Some(true),
        txqlen: Some(0),
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// As json.MarshalIndent of the reference's plugin has it, with one key more.
#[test]
fn the_file_is_the_references_and_tells_its_owner() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("run/tuning");
    let owner = owner("blue", "c1");
    let file = BackupFile::of(&folder, &owner);
    file.write(&Backup { attributes: everything(), owner: owner.alias() }).unwrap();
    let path = folder.join("c1_eth0.json");
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "{\n \"mac\": \"02:00:00:00:00:01\",\n \"promisc\": false,\n \"mtu\": 1500,\n \"allmulti\": true,\n \
         \"txQLen\": 0,\n \"owner\": \"cni:blue:c1:eth0\"\n}"
    );
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(files(&folder), ["c1_eth0.json"]);
}

#[test]
fn what_is_written_is_read_back() {
    let root = tempfile::tempdir().unwrap();
    let file = BackupFile::of(root.path(), &owner("blue", "c1"));
    assert_eq!(file.read().unwrap(), None);
    let none = Attributes::default();
    for attributes in everything().each().chain([everything(), none]) {
        let backup = Backup { attributes, owner: "cni:blue:c1:eth0".into() };
        file.write(&backup).unwrap();
        assert_eq!(file.read().unwrap(), Some(backup));
    }
    for _ in 0..2 {
        file.put_back(None).unwrap();
        assert_eq!(files(root.path()), [""; 0]);
    }
}

#[test]
fn the_references_file_is_of_whoever_asks_and_anothers_is_not() {
    let read = |text: &str| Backup::from_json(text.as_bytes()).unwrap();
    let theirs = read("{\n \"mac\": \"02:00:00:00:00:01\",\n \"allmulti\": false\n}");
    assert!(theirs.is_of(&owner("blue", "c1")));
    let mac = Some("02:00:00:00:00:01".parse().unwrap());
    assert_eq!(theirs.attributes, Attributes { mac, allmulti: Some(false), ..Attributes::default() });
    let other = read(r#"{"mtu": 1500, "owner": "cni:green:c1:eth0"}"#);
    assert!(!other.is_of(&owner("blue", "c1")) && other.is_of(&owner("green", "c1")));
}

#[test]
fn gc_takes_only_what_is_known_to_be_of_nobody() {
    let root = tempfile::tempdir().unwrap();
    collect(&root.path().join("none"), "blue", &[]).unwrap();
    let all = [owner("blue", "valid"), owner("blue", "gone"), owner("green", "other")];
    for owner in &all {
        let backup = Backup { attributes: everything(), owner: owner.alias() };
        BackupFile::of(root.path(), owner).write(&backup).unwrap();
    }
    fs::write(root.path().join("go_eth0.json"), r#"{"mtu": 1500}"#).unwrap();
    fs::write(root.path().join("damaged_eth0.json"), "{").unwrap();
    // A write that was cut short after the text and before the name.
    fs::copy(root.path().join("gone_eth0.json"), root.path().join("gone_eth0.json.new")).unwrap();
    collect(root.path(), "blue", &all[..1]).unwrap();
    assert_eq!(
        files(root.path()),
        ["damaged_eth0.json", "go_eth0.json", "other_eth0.json", "valid_eth0.json"]
    );
}

#[test]
fn a_folder_that_cannot_be_is_found_out_beforehand() {
    let root = tempfile::tempdir().unwrap();
    is_usable(&root.path().join("not/yet/there")).unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    let error = is_usable(&root.path().join("file/below")).unwrap_err().to_string();
    assert!(error.starts_with("cannot make ") && error.ends_with("/file is not a folder"), "{error}");
    let file = BackupFile::of(&root.path().join("file"), &owner("blue", "c1"));
    let error = file.write(&Backup::default()).unwrap_err();
    assert_eq!(error.code().0, 5, "{error}");
    assert!(file.read().is_err());
}
