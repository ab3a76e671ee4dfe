//! Tap devices: made, attached to, sent through.

use std::io::{Read, Write};

use cni_host::{NetNs, NewTap, Tap};
use cni_netlink::{Link, LinkChange, Socket};

use crate::on_private_host;

const PLAIN: NewTap<'static> = NewTap { name: "t0", multi_queue: false, owner: None, group: None };

fn link(name: &str) -> Link {
    Socket::open().unwrap().link_by_name(name).unwrap()
}

#[test]
fn a_tap_has_all_that_was_asked_for_and_stays() {
    on_private_host(|| {
        Tap::status().unwrap();
        for (multi_queue, owner, group) in [
            (false, None, None),
            (true, Some(1000), None),
            (false, None, Some(0)),
            (true, Some(0), Some(1001)),
        ] {
            Tap::add(&NewTap { multi_queue, owner, group, ..PLAIN }).unwrap();
            let tap = link("t0");
            assert_eq!((tap.kind.as_str(), tap.up), ("tun", false));
            let tun = tap.tun.unwrap();
            assert!(tun.tap && tun.persist, "{tun:?}");
            assert_eq!((tun.multi_queue, tun.owner, tun.group), (multi_queue, owner, group));
            Socket::open().unwrap().link_del(tap.index).unwrap();
        }
    });
}

#[test]
fn a_tap_is_made_in_the_namespace_of_the_calling_thread() {
    on_private_host(|| {
        let host = NetNs::current().unwrap();
        std::thread::scope(|scope| {
            let elsewhere = || {
                crate::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                Tap::add(&PLAIN).unwrap();
                assert_eq!(link("t0").name, "t0");
            };
            scope.spawn(elsewhere).join().unwrap();
        });
        assert!(host.socket().unwrap().link_by_name("t0").unwrap_err().is_not_found());
    });
}

#[test]
fn frames_pass_between_the_link_and_who_is_attached() {
    on_private_host(|| {
        Tap::add(&PLAIN).unwrap();
        let mut socket = Socket::open().unwrap();
        let index = link("t0").index;
        socket.link_change(index, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
        let mut tap = Tap::attach("t0", false).unwrap();
        // A minimal frame for nobody: Linux counts it and lets it go.
        let frame = [[0xff; 6].as_slice(), &[2, 0, 0, 0, 0, 9], &[0x88, 0xb5], &[0; 46]].concat();
        assert_eq!(tap.write(&frame).unwrap(), frame.len());
        // The kernel greets the new neighbour by itself, since IPv6 looks for routers.
        let mut buffer = [0; 2048];
        let length = tap.read(&mut buffer).unwrap();
        assert_eq!(buffer[12..14], [0x86, 0xdd], "{:x?}", &buffer[..length]);
        assert_eq!(Some(buffer[6..12].try_into().unwrap()), link("t0").mac.map(|mac| mac.0));
    });
}

#[test]
fn a_name_that_is_taken_or_too_long_or_an_owner_that_cannot_be_leaves_nothing() {
    on_private_host(|| {
        Tap::add(&PLAIN).unwrap();
        let index = link("t0").index;
        let error = Tap::add(&PLAIN).unwrap_err().to_string();
        assert_eq!(error, "cannot add tap t0: Device or resource busy (os error 16)");
        assert_eq!(link("t0").index, index);

        let error = Tap::add(&NewTap { name: "a-name-too-long1", ..PLAIN }).unwrap_err().to_string();
        assert!(error.starts_with("cannot add tap a-name-too-long1: Invalid argument"), "{error}");

        // (uid_t) -1 is no user.
        let error = Tap::add(&NewTap { name: "t1", owner: Some(u32::MAX), ..PLAIN }).unwrap_err().to_string();
        assert!(error.starts_with("cannot set the owner of tap t1: Invalid argument"), "{error}");
        let error = Tap::add(&NewTap { name: "t1", group: Some(u32::MAX), ..PLAIN }).unwrap_err().to_string();
        assert!(error.starts_with("cannot set the group of tap t1: Invalid argument"), "{error}");
        assert!(Socket::open().unwrap().link_by_name("t1").unwrap_err().is_not_found());
    });
}

#[test]
fn attaching_wants_the_right_kind_of_queues() {
    on_private_host(|| {
        Tap::add(&NewTap { multi_queue: true, ..PLAIN }).unwrap();
        let error = Tap::attach("t0", false).unwrap_err().to_string();
        assert!(error.starts_with("cannot attach to tap t0: Invalid argument"), "{error}");
        let _both = [Tap::attach("t0", true).unwrap(), Tap::attach("t0", true).unwrap()];
    });
}
