//! Opening and entering namespaces.

use std::fs;
use std::os::fd::AsRawFd;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process;

use cni_host::{Error, NetNs};
use cni_netlink::Socket;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;

use crate::{NONE, fresh_file, fresh_netns, on_private_host, with_own_mounts};

/// Inode of the calling thread's namespace.
fn here() -> String {
    fs::read_link("/proc/thread-self/ns/net").unwrap().to_string_lossy().into_owned()
}

#[test]
fn a_namespace_is_entered_and_the_caller_stays_where_it_was() {
    on_private_host(|| {
        let (before, netns) = (here(), fresh_netns());
        let inside = netns.run(here).unwrap();
        assert_ne!(inside, before);
        assert_eq!(here(), before);
    });
}

#[test]
fn what_the_closure_borrows_and_returns_comes_back() {
    on_private_host(|| {
        let mut seen = Vec::new();
        let length = fresh_netns().run(|| {
            seen.push("inside");
            seen.len()
        });
        assert_eq!((length.unwrap(), seen), (1, vec!["inside"]));
    });
}

#[test]
fn a_panic_inside_goes_on_in_the_caller() {
    on_private_host(|| {
        let (before, netns) = (here(), fresh_netns());
        let inside = || netns.run(|| panic::resume_unwind(Box::new("from inside")));
        let panic = panic::catch_unwind(AssertUnwindSafe(inside)).map(drop).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"from inside"));
        assert_eq!(here(), before);
    });
}

#[test]
fn a_socket_belongs_to_the_namespace() {
    on_private_host(|| {
        let netns = fresh_netns();
        crate::bridge(&mut netns.socket().unwrap());
        assert!(netns.socket().unwrap().link_by_name("br0").is_ok());
        assert!(Socket::open().unwrap().link_by_name("br0").unwrap_err().is_not_found());
    });
}

#[test]
fn two_paths_of_one_namespace_are_the_same_and_two_namespaces_are_not() {
    on_private_host(|| {
        let file = fresh_file();
        let one = NetNs::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        let other = NetNs::open(format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd())).unwrap();
        assert!(one.is_same(&other).unwrap());
        assert!(!one.is_same(&NetNs::current().unwrap()).unwrap());
        // The first thread's is the machine's own, this thread's the private host's.
        let first = NetNs::open("/proc/self/ns/net").unwrap();
        assert!(!first.is_same(&NetNs::current().unwrap()).unwrap());
    });
}

fn assert_gone(path: impl AsRef<Path>, reason: &str) {
    let error = NetNs::open(&path).unwrap_err();
    assert!(error.is_netns_gone(), "{error}");
    let path = path.as_ref().display();
    assert_eq!(error.to_string(), format!("network namespace {path} is gone: {reason}"));
}

fn assert_broken(path: impl AsRef<Path>, reason: &str) {
    let error = NetNs::open(&path).unwrap_err();
    assert!(matches!(error, Error::NetNsBroken { .. }), "{error}");
    let path = path.as_ref().display();
    assert_eq!(error.to_string(), format!("cannot use network namespace {path}: {reason}"));
}

#[test]
fn a_path_that_is_not_there_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    assert_gone(folder.path().join("blue"), "no such path");
    assert_gone("/proc/self/fd/99999", "no such path");
    // More than the kernel ever gives (PID_MAX_LIMIT).
    assert_gone("/proc/4194305/ns/net", "no such path");
    assert_gone("", "no such path");
    let dangling = folder.path().join("dangling");
    std::os::unix::fs::symlink("/proc/4194305/ns/net", &dangling).unwrap();
    assert_gone(dangling, "no such path");
}

#[test]
fn a_process_that_has_ended_but_was_not_waited_for_is_gone() {
    #[allow(clippy::disallowed_methods, reason = "a test wants a dead process")]
    let mut child =
        process::Command::new("/proc/self/exe").arg("--list").stdout(process::Stdio::null()).spawn().unwrap();
    let path = format!("/proc/{}/ns/net", child.id());
    let stat = format!("/proc/{}/stat", child.id());
    while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let error = NetNs::open(&path).unwrap_err();
    assert!(error.is_netns_gone(), "{error}");
    child.wait().unwrap();
    assert_gone(path, "no such path");
}

#[test]
fn the_file_that_an_unmounted_namespace_leaves_is_gone() {
    on_private_host(|| {
        with_own_mounts();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blue");
        fs::write(&path, "").unwrap();
        let file = fresh_file();
        let source = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
        mount(Some(source.as_str()), &path, NONE, MsFlags::MS_BIND, NONE).unwrap();
        assert!(NetNs::open(&path).is_ok());

        umount2(&path, MntFlags::MNT_DETACH).unwrap();
        assert_gone(&path, "only the empty file it was mounted on is left");
    });
}

#[test]
fn what_is_no_network_namespace_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("text"), "blue\n").unwrap();
    nix::unistd::mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();

    assert_broken(folder.path(), "it is not a namespace");
    assert_broken(path("text"), "it is not a namespace");
    // Opening it would wait for a writer for ever.
    assert_broken(path("fifo"), "it is not a namespace");
    assert_broken("/dev/null", "it is not a namespace");
    // Empty by its size, but not a mount point's file.
    assert_broken("/proc/self/status", "it is not a namespace");
    assert_broken("/proc/self/ns/mnt", "it is a namespace of another kind");
    assert_broken(path("text").join("blue"), "Not a directory (os error 20)");
}
