//! A range in which hardly anything is free: the address that is next in turn is found, whatever the index says.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use super::*;
use crate::boot::Boot;
use crate::config::RangeConf;
use crate::range::{Range, RangeSet};
use crate::store::{Folder, Store};

/// 10.1.0.1, the gateway, to 10.1.3.254.
const ADDRESSES: u32 = 1022;

fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a01_0000 + number))
}

fn plan() -> Plan {
    let conf = RangeConf {
        subnet: Some("10.1.0.0/22".to_owned()),
        range_start: None,
        range_end: None,
        gateway: None,
    };
    let range = Range::new("ipam.ranges[0][0]".to_owned(), &conf).unwrap();
    let sets = vec![RangeSet::new("ipam.ranges[0]", vec![range]).unwrap()];
    Plan { data_dir: PathBuf::new(), sets, requested: Vec::new(), routes: Vec::new(), resolv_conf: None }
}

/// A folder in which all addresses are held but these, and `last` was handed out last.
fn full_but(dir: &Path, free: &[u32], last: u32) {
    let folder = dir.join("net");
    fs::create_dir_all(&folder).unwrap();
    for number in (2..=ADDRESSES).filter(|number| !free.contains(number)) {
        fs::write(folder.join(address(number).to_string()), format!("held{number}\r\neth0")).unwrap();
    }
    fs::write(folder.join("last_reserved_ip.0"), address(last).to_string()).unwrap();
}

fn add(dir: &Path, id: &str) -> Result<IpAddr, String> {
    let boot = Boot::current().unwrap();
    let store = Store::create(Folder::new(dir, "net"), boot).unwrap();
    let mut session = store.lock().unwrap();
    let got = allocate(&mut session, &plan(), Holder { id, ifname: "eth0" });
    got.map(|addresses| addresses[0]).map_err(|error| error.to_string())
}

fn del(dir: &Path, id: &str) {
    let store = Store::create(Folder::new(dir, "net"), Boot::current().unwrap()).unwrap();
    let mut session = store.lock().unwrap();
    let holder = Holder { id, ifname: "eth0" };
    for lease in session.held(holder, Miss::Doubted).unwrap() {
        session.release(lease.address).unwrap();
    }
    session.note(holder, &[]);
}

#[test]
fn free_addresses_far_away_are_handed_out_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    full_but(dir.path(), &[30, 400, 900], 500);
    for (id, expected) in [("a", 900), ("b", 30), ("c", 400)] {
        assert_eq!(add(dir.path(), id), Ok(address(expected)), "{id}");
    }
    assert!(add(dir.path(), "d").unwrap_err().contains("no IP addresses available"));
    // What is given back is next, though it lies before the turn.
    for number in [800, 20, 650] {
        del(dir.path(), &format!("held{number}"));
        assert_eq!(add(dir.path(), &format!("new{number}")), Ok(address(number)));
    }
}

#[test]
fn an_index_that_is_wrong_costs_time_and_nothing_else() {
    for byte in [0x00, 0xff] {
        let dir = tempfile::tempdir().unwrap();
        full_but(dir.path(), &[30, 400], 500);
        assert_eq!(add(dir.path(), "a"), Ok(address(30)));
        // All free, or all taken.
        let bits = dir.path().join(".net.index/taken-0a010000");
        let length = fs::metadata(&bits).unwrap().len() as usize;
        fs::write(&bits, vec![byte; length]).unwrap();
        assert_eq!(add(dir.path(), "b"), Ok(address(400)));
        assert!(add(dir.path(), "c").is_err());
    }
}

#[test]
fn what_others_take_and_give_back_in_between_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    full_but(dir.path(), &[30, 400], 500);
    assert_eq!(add(dir.path(), "a"), Ok(address(30)));
    let lease = |number: u32| dir.path().join("net").join(address(number).to_string());
    fs::write(lease(400), "theirs\r\neth0").unwrap();
    fs::remove_file(lease(700)).unwrap();
    assert_eq!(add(dir.path(), "b"), Ok(address(700)));
    assert!(add(dir.path(), "c").is_err());
}
