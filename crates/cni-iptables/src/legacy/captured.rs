//! Tables as a kernel answered them.

#![cfg(all(target_endian = "little", target_pointer_width = "64"))]

use super::tests::{extension, is, is_not, jump, masked};
use super::*;
use crate::entry::Target;

/// Bytes as the files of testdata have them, which say themselves where they are from.
fn captured(text: &str, table: &str) -> (Info, Vec<u8>) {
    let (head, entries) = text.split_once("entries\n").unwrap();
    let bytes = |text: &str| {
        let mut bytes = Vec::new();
        for (at, line) in text.lines().filter_map(|line| line.split_once(' ')) {
            bytes.resize(usize::from_str_radix(at, 16).unwrap(), 0);
            let byte = |at| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
            bytes.extend((0..line.len()).step_by(2).map(byte));
        }
        bytes
    };
    let info = Info::parse(table, &bytes(head.split_once("info\n").unwrap().1)).unwrap();
    let mut blob = bytes(entries);
    blob.resize(info.bytes, 0);
    (info, blob)
}

#[test]
fn a_table_of_ipv4_is_read_as_it_was_written() {
    let (info, blob) = captured(include_str!("../../testdata/nat.hex"), "nat");
    let tcp = [0, 0, 0xff, 0xff, 0x90, 0x1f, 0x90, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0];
    let expected = [
        (
            "PREROUTING",
            vec![Entry {
                matches: vec![extension("addrtype", 1, &[0, 0, 4, 0, 0, 0, 0, 0])],
                target: jump("CNI-a"),
                ..Entry::default()
            }],
        ),
        ("INPUT", vec![]),
        ("OUTPUT", vec![]),
        (
            "POSTROUTING",
            vec![Entry {
                source: is_not(masked("10.88.0.5", "255.255.0.255")),
                comment: Some("name: \"net\"".to_owned()),
                target: jump("CNI-b"),
                ..Entry::default()
            }],
        ),
        (
            "CNI-a",
            vec![
                Entry {
                    in_interface: is_not("eth+".to_owned()),
                    protocol: is(6),
                    matches: vec![extension("tcp", 0, &tcp)],
                    target: Target::Goto("CNI-b".to_owned()),
                    ..Entry::default()
                },
                Entry { target: Target::Return, unknown: true, ..Entry::default() },
            ],
        ),
        (
            "CNI-b",
            vec![
                Entry {
                    out_interface: is("br0".to_owned()),
                    target: Target::Extension(extension("MARK", 2, &[0, 0x20, 0, 0, 0, 0x20, 0, 0])),
                    ..Entry::default()
                },
                Entry::default(),
            ],
        ),
    ];
    assert_eq!(
        parse(Family::Ipv4, &info, &blob).unwrap(),
        expected.map(|(name, rules)| (name.to_owned(), rules))
    );
}

#[test]
fn a_table_of_ipv6_is_read_as_it_was_written() {
    let (info, blob) = captured(include_str!("../../testdata/filter6.hex"), "filter");
    let table = Table::new(Family::Ipv6, info, blob, 0).unwrap();
    assert_eq!(table.chains().collect::<Vec<_>>(), ["INPUT", "FORWARD", "OUTPUT", "CNI-a"]);
    assert!(table.has_chain("CNI-a") && !table.has_chain("ERROR") && table.entries("CNI-b").is_none());
    assert_eq!(table.entries("INPUT"), Some(vec![]));
    let forward = [
        Entry {
            destination: is(masked("fd00::", "ff00::")),
            protocol: is_not(17),
            target: jump("CNI-a"),
            ..Entry::default()
        },
        Entry { comment: Some("x".to_owned()), target: Target::Goto("CNI-a".to_owned()), ..Entry::default() },
    ];
    assert_eq!(table.entries("FORWARD").unwrap(), forward);
    let rules = table.entries("CNI-a").unwrap();
    let drop = Entry { out_interface: is_not("br0".to_owned()), target: Target::Drop, ..Entry::default() };
    assert_eq!(rules[0], drop);
    assert_eq!(rules[1].source, is(masked("fd00::5", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")));
    assert_eq!((&*rules[1].matches[0].name, &rules[1].target), ("limit", &Target::Accept));
}
