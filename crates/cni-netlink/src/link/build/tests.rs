use std::os::fd::AsFd;

use super::super::BridgePort;
use super::*;
use crate::golden::{CHANGE, CREATE_EXCL, assert_request};

fn assert_change(change: &LinkChange<'_>, expected: &str) {
    assert_request(super::change(3, change), CHANGE, expected);
}

/// ip link add name veth1234 numtxqueues 1 numrxqueues 1 address 02:00:00:00:00:02 mtu 1450 master br0 type veth
/// peer name eth0 numtxqueues 1 numrxqueues 1 address 02:00:00:00:00:03 mtu 1450 netns blue
#[test]
fn veth_pair_is_one_message_with_all_of_the_peer() {
    // In place of a namespace, since its number is always 0.
    let stdin = std::io::stdin();
    let veth = NewVeth {
        name: "veth1234",
        mac: MacAddr([2, 0, 0, 0, 0, 2]),
        master: Some(2),
        peer_name: "eth0",
        peer_mac: MacAddr([2, 0, 0, 0, 0, 3]),
        peer_netns: Some(stdin.as_fd()),
        mtu: Some(1450),
    };
    assert_request(
        super::veth(&veth),
        CREATE_EXCL,
        "bc000000 10000506 00000000 00000000
         00000000 00000000 00000000 00000000
         08001f00 01000000 08002000 01000000 0a000100 02000000 00020000 08000400 aa050000
         08000a00 02000000 0d000300 76657468 31323334 00000000
         60001200 09000100 76657468 00000000
         50000200 4c000100 00000000 00000000 00000000 00000000
         08001f00 01000000 08002000 01000000 0a000100 02000000 00030000 08000400 aa050000
         08001c00 00000000 09000300 65746830 00000000",
    );
}

/// ip link add name br1 address 02:00:00:00:00:09 mtu 1400 type bridge vlan_filtering 1
#[test]
fn bridge_with_everything() {
    let bridge = NewBridge {
        name: "br1",
        mac: Some(MacAddr([2, 0, 0, 0, 0, 9])),
        mtu: Some(1400),
        vlan_filtering: true,
    };
    assert_request(
        super::bridge(&bridge),
        CREATE_EXCL,
        "58000000 10000506 00000000 00000000
         00000000 00000000 00000000 00000000
         0a000100 02000000 00090000 08000400 78050000 08000300 62723100
         1c001200 0b000100 62726964 67650000 0c000200 05000700 01000000",
    );
}

/// ip link add name br2 type bridge
#[test]
fn bridge_with_nothing() {
    let bridge = NewBridge { name: "br2", mac: None, mtu: None, vlan_filtering: false };
    assert_request(
        super::bridge(&bridge),
        CREATE_EXCL,
        "38000000 10000506 00000000 00000000
         00000000 00000000 00000000 00000000
         08000300 62723200 10001200 0b000100 62726964 67650000",
    );
}

/// ip link set dev veth1234 type bridge_slave hairpin on isolated on
///
/// iproute2 names the kind "bridge_slave" in IFLA_INFO_KIND instead; the kernel goes by the master's driver and reads
/// neither word.
#[test]
fn port_settings() {
    assert_change(
        &LinkChange { port: Some(BridgePort { hairpin: true, isolated: true }), ..Default::default() },
        "44000000 10000500 00000000 00000000
         00000000 03000000 00000000 00000000
         24001200 0b000400 62726964 67650000
         14000500 05000400 01000000 05002100 01000000",
    );
}

/// ip link set dev br0 type bridge vlan_filtering 0
#[test]
fn vlan_filtering() {
    assert_change(
        &LinkChange { vlan_filtering: Some(false), ..Default::default() },
        "3c000000 10000500 00000000 00000000
         00000000 03000000 00000000 00000000
         1c001200 0b000100 62726964 67650000 0c000200 05000700 00000000",
    );
}

/// ip link set dev veth1234 up, down, promisc on
#[test]
fn flags_go_with_their_mask() {
    let expect = |flags: &str| format!("20000000 10000500 00000000 00000000 00000000 03000000 {flags}");
    let up = LinkChange { up: Some(true), ..Default::default() };
    assert_change(&up, &expect("01000000 01000000"));
    let down = LinkChange { up: Some(false), ..Default::default() };
    assert_change(&down, &expect("00000000 01000000"));
    let promisc = LinkChange { promisc: Some(true), ..Default::default() };
    assert_change(&promisc, &expect("00010000 00010000"));
    let both = LinkChange { up: Some(true), promisc: Some(false), ..Default::default() };
    assert_change(&both, &expect("01000000 01010000"));
}

/// ip link set dev veth1234 address 02:00:00:00:00:05 mtu 1300 txqueuelen 500 promisc on allmulticast off
#[test]
fn tuning_of_a_link() {
    assert_change(
        &LinkChange {
            mac: Some(MacAddr([2, 0, 0, 0, 0, 5])),
            mtu: Some(1300),
            txqlen: Some(500),
            promisc: Some(true),
            allmulti: Some(false),
            ..Default::default()
        },
        "3c000000 10000500 00000000 00000000
         00000000 03000000 00010000 00030000
         0a000100 02000000 00050000 08000400 14050000 08000d00 f4010000",
    );
}

/// ip link set dev veth1234 address 02:00:00:00:00:05 mtu 1300 name veth99 alias host-name master br0
#[test]
fn attributes_of_a_change() {
    assert_change(
        &LinkChange {
            mac: Some(MacAddr([2, 0, 0, 0, 0, 5])),
            mtu: Some(1300),
            name: Some("veth99"),
            alias: Some("host-name"),
            master: Some(Some(2)),
            ..Default::default()
        },
        "58000000 10000500 00000000 00000000
         00000000 03000000 00000000 00000000
         0a000100 02000000 00050000 08000400 14050000 0b000300 76657468 39390000
         0d001400 686f7374 2d6e616d 65000000 08000a00 02000000",
    );
}

/// ip link set dev veth1234 netns blue name eth0
#[test]
fn a_move_brings_the_new_name_along() {
    // In place of a namespace, since its number is always 0.
    let stdin = std::io::stdin();
    assert_change(
        &LinkChange { netns: Some(stdin.as_fd()), name: Some("eth0"), ..Default::default() },
        "34000000 10000500 00000000 00000000
         00000000 03000000 00000000 00000000
         08001c00 00000000 09000300 65746830 00000000",
    );
}

/// ip link property del dev veth1234 altname enp0s9
#[test]
fn an_alternative_name_is_taken_away_by_itself() {
    assert_request(
        altname_del(3, "enp0s9"),
        CHANGE,
        "30000000 6d000500 00000000 00000000
         00000000 03000000 00000000 00000000
         10003480 0b003500 656e7030 73390000",
    );
}

/// ip link set dev veth1234 nomaster, and without the alias, which iproute2 cannot say.
#[test]
fn what_is_taken_away() {
    assert_change(
        &LinkChange { alias: Some(""), master: Some(None), ..Default::default() },
        "2c000000 10000500 00000000 00000000
         00000000 03000000 00000000 00000000
         04001400 08000a00 00000000",
    );
}

/// ip link show dev NAME asks with RTEXT_FILTER_VF besides.
#[test]
fn lookup_by_name_and_by_long_alternative_name() {
    assert_request(
        get_by_name("veth99"),
        1,
        "34000000 12000100 00000000 00000000
         00000000 00000000 00000000 00000000
         08001d00 08000000 0b000300 76657468 39390000",
    );
    assert_request(
        get_by_name("a-name-longer-than-15"),
        1,
        "44000000 12000100 00000000 00000000
         00000000 00000000 00000000 00000000
         08001d00 08000000 1a003500 612d6e61 6d652d6c 6f6e6765 722d7468 616e2d31 35000000",
    );
}

/// ip link delete dev veth1234
#[test]
fn deletion_needs_the_index_alone() {
    assert_request(
        delete(3),
        CHANGE,
        "20000000 11000500 00000000 00000000 00000000 03000000 00000000 00000000",
    );
}

/// ip link show type veth, which asks for AF_PACKET and RTEXT_FILTER_VF.
#[test]
fn dump_of_one_kind() {
    assert_request(
        dump(Some("veth")),
        0x301,
        "38000000 12000103 00000000 00000000
         00000000 00000000 00000000 00000000
         08001d00 08000000 10001200 09000100 76657468 00000000",
    );
}
