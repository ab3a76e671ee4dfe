//! The executable as it is called: by which names it is which plugin, what it says by others, and how it installs itself.

#![allow(clippy::unwrap_used, reason = "what panics here is a test that fails")]
#![allow(clippy::disallowed_methods, reason = "the program under test")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

mod packaging;

const ONE: &str = env!("CARGO_BIN_EXE_cni-plugins");

/// A run of a program that inherits nothing.
pub(crate) fn run(program: impl AsRef<Path>, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program.as_ref());
    command.args(args).env_clear().envs(env.iter().copied()).stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("cannot run {}: {error}", program.as_ref().display()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What an execution that must succeed printed.
fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

fn install(dir: &Path, names: &[&str]) -> Output {
    run(ONE, &[&["install", "--dir", dir.to_str().unwrap()], names].concat(), &[])
}

fn names() -> Vec<String> {
    stdout(&run(ONE, &["list"], &[])).lines().map(str::to_owned).collect()
}

fn in_folder(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_plugin_of_the_project_is_in_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let all: BTreeSet<String> =
        in_folder(&root.join("plugins")).union(&in_folder(&root.join("ipam"))).cloned().collect();
    // In alphabetical order, as a list for people is.
    assert_eq!(names(), Vec::from_iter(all));
}

/// Three ways to call it, each with the program and its arguments.
fn ways(dir: &Path, name: &str) -> [(PathBuf, Vec<String>); 3] {
    let (hard, soft) = (dir.join(name), dir.join("soft").join(name));
    fs::create_dir_all(dir.join("soft")).unwrap();
    symlink(ONE, &soft).unwrap();
    [(hard, Vec::new()), (soft, Vec::new()), (ONE.into(), vec![name.to_owned()])]
}

#[test]
fn it_is_the_plugin_by_whose_name_it_is_called() {
    let dir = tempfile::tempdir().unwrap();
    stdout(&install(dir.path(), &[]));
    for name in names() {
        let mut seen = BTreeSet::new();
        for (program, args) in ways(dir.path(), &name) {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let about = run(&program, &args, &[]);
            assert!(about.status.success() && about.stdout.is_empty(), "{about:?}");
            let banner = format!("CNI {name} plugin v1.10.0+rs.{}\n", env!("CARGO_PKG_VERSION"));
            assert!(text(&about.stderr).starts_with(&banner), "{}: {about:?}", program.display());

            let answer = stdout(&run(&program, &args, &[("CNI_COMMAND", "VERSION")]));
            let version: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(version["cniVersion"], "1.1.0");
            let supported = version["supportedVersions"].as_array().unwrap();
            let supported: Vec<&str> = supported.iter().map(|version| version.as_str().unwrap()).collect();
            assert!(text(&about.stderr).ends_with(&format!(": {}\n", supported.join(", "))), "{about:?}");
            seen.insert(answer);
        }
        assert_eq!(seen.len(), 1, "{name}: {seen:?}");
    }
}

#[test]
fn a_link_is_the_plugin_also_when_its_first_argument_names_another() {
    let dir = tempfile::tempdir().unwrap();
    stdout(&install(dir.path(), &["bridge"]));
    let about = run(dir.path().join("bridge"), &["loopback"], &[]);
    assert!(text(&about.stderr).starts_with("CNI bridge plugin "), "{about:?}");
}

/// A runtime calls whatever the configuration's `type` names, and reads nothing but JSON on standard output.
#[test]
fn a_request_to_no_plugin_is_answered_with_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let flannel = dir.path().join("flannel");
    symlink(ONE, &flannel).unwrap();
    for (program, args, name) in [
        (flannel.as_path(), &[][..], "flannel"),
        (Path::new(ONE), &[], "cni-plugins"),
        (Path::new(ONE), &["brige"], "brige"),
    ] {
        for command in ["ADD", "VERSION", "FROB"] {
            let output = run(program, args, &[("CNI_COMMAND", command)]);
            assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), String::new()));
            let error: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!((&error["cniVersion"], &error["code"]), (&json!("1.1.0"), &json!(999)));
            let msg = error["msg"].as_str().unwrap();
            assert!(
                msg.starts_with(&format!("cannot be plugin {name:?}: ")) && msg.contains("bridge"),
                "{msg}"
            );
        }
    }
}

/// Nomad runs every file of the plugins' folder so, and takes the first version in what it prints.
#[test]
fn without_arguments_it_says_what_it_is_and_succeeds() {
    let output = run(ONE, &[], &[("CNI_COMMAND", "")]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), String::new()));
    let expected = format!(
        "CNI plugins v1.10.0+rs.{} in one executable: bandwidth, bridge, ",
        env!("CARGO_PKG_VERSION")
    );
    assert!(text(&output.stderr).starts_with(&expected), "{output:?}");
}

#[test]
fn people_are_told_of_commands_and_of_what_was_mistyped() {
    assert!(stdout(&run(ONE, &["--help"], &[])).contains("install"));
    let version = stdout(&run(ONE, &["--version"], &[]));
    assert_eq!(version, format!("cni-plugins 1.10.0+rs.{}\n", env!("CARGO_PKG_VERSION")));
    for args in [&["brige"][..], &["install"], &["install", "--dir", "/nonexistent", "brige"]] {
        let output = run(ONE, args, &[]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{output:?}");
    }
    assert!(!Path::new("/nonexistent").exists());
}

#[test]
fn install_makes_one_file_with_all_names_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("opt/cni/bin");
    // A file of somebody else, a link that an earlier installation of something made, and what a killed one left.
    fs::create_dir_all(bin.join(".cni-plugins")).unwrap();
    fs::write(bin.join(".cni-plugins/bridge"), "half").unwrap();
    fs::write(bin.join("calico"), "another's").unwrap();
    fs::write(dir.path().join("target"), "the link's").unwrap();
    symlink(dir.path().join("target"), bin.join("bridge")).unwrap();

    let said = stdout(&install(&bin, &[]));
    assert_eq!(said.lines().count(), names().len(), "{said}");
    let mut expected = BTreeSet::from_iter(names());
    let inodes: BTreeSet<u64> =
        names().iter().map(|name| fs::symlink_metadata(bin.join(name)).unwrap().ino()).collect();
    assert_eq!(inodes.len(), 1);
    expected.insert("calico".to_owned());
    assert_eq!(in_folder(&bin), expected);
    assert_eq!(fs::read_to_string(dir.path().join("target")).unwrap(), "the link's");
    assert_eq!(fs::metadata(bin.join("vrf")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert!(fs::read(bin.join("vrf")).unwrap() == fs::read(ONE).unwrap());
}

#[test]
fn install_takes_the_named_plugins_only() {
    let dir = tempfile::tempdir().unwrap();
    stdout(&install(dir.path(), &["portmap", "bridge", "portmap"]));
    assert_eq!(in_folder(dir.path()), BTreeSet::from(["bridge".to_owned(), "portmap".to_owned()]));
    // Again, from one of its own links, over itself.
    let link = dir.path().join("link");
    symlink(dir.path().join("bridge"), &link).unwrap();
    stdout(&run(&link, &["install", "--dir", dir.path().to_str().unwrap(), "bridge"], &[]));
    assert!(text(&run(dir.path().join("bridge"), &[], &[]).stderr).starts_with("CNI bridge plugin "));
}

#[test]
fn an_executable_that_is_running_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let bridge = dir.path().join("bridge");
    fs::copy("/bin/sleep", &bridge).unwrap();
    let mut running = Command::new(&bridge).arg("60").spawn().unwrap();
    let first = install(dir.path(), &[]);
    // Over its own as well, while it waits for the configuration.
    let mut waiting =
        Command::new(&bridge).env_clear().envs(REQUEST).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let waiting = waiting.as_mut().unwrap();
    let before = fs::metadata(&bridge).unwrap().ino();
    let second = install(dir.path(), &[]);
    running.kill().unwrap();
    running.wait().unwrap();
    drop(waiting.stdin.take());
    // It still runs and answers, though its file is gone.
    assert_eq!(waiting.wait().unwrap().code(), Some(1));
    stdout(&first);
    stdout(&second);
    assert_ne!(fs::metadata(&bridge).unwrap().ino(), before);
}

const REQUEST: [(&str, &str); 5] = [
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "c1"),
    ("CNI_NETNS", "/nonexistent"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_PATH", "/nonexistent"),
];

#[test]
fn what_cannot_be_installed_is_said_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    // A folder by a plugin's name cannot be replaced.
    let taken = dir.path().join("taken");
    fs::create_dir_all(taken.join("bridge/full")).unwrap();
    for (folder, message) in [
        (file.clone(), format!("cannot create {}: File exists", file.display())),
        (file.join("bin"), format!("cannot create {}: Not a directory", file.join("bin").display())),
        // A file system that nobody writes to, root included.
        ("/proc/sys/net".into(), "cannot create /proc/sys/net/.cni-plugins: ".to_owned()),
        (taken.clone(), format!("cannot replace {}: Is a directory", taken.join("bridge").display())),
    ] {
        let output = install(&folder, &["bridge"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let stderr = text(&output.stderr);
        assert!(stderr.starts_with(&format!("cni-plugins: {message}")), "{stderr}");
    }
    assert_eq!(in_folder(&taken), BTreeSet::from(["bridge".to_owned()]));
}

/// In the end all names are of one installation, and each worked at any time.
#[test]
fn two_installations_at_once_come_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    stdout(&install(dir.path(), &[]));
    let start = || {
        let mut command = Command::new(ONE);
        command.args(["install", "--dir"]).arg(dir.path()).env_clear().stdout(Stdio::null()).spawn().unwrap()
    };
    for _ in 0..5 {
        let mut both = [start(), start()];
        while both.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
            let about = run(dir.path().join("vrf"), &[], &[]);
            assert!(text(&about.stderr).starts_with("CNI vrf plugin "), "{about:?}");
        }
        assert!(both.iter_mut().all(|child| child.wait().unwrap().success()));
        let inodes: BTreeSet<u64> =
            names().iter().map(|name| fs::metadata(dir.path().join(name)).unwrap().ino()).collect();
        assert_eq!(inodes.len(), 1);
    }
    assert_eq!(in_folder(dir.path()), BTreeSet::from_iter(names()));
}
