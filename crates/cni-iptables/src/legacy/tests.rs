//! Tables as no kernel would answer them, and how an entry says what.

use proptest::prelude::*;

use super::layout::part;
use super::*;
use crate::entry::{Extension, Is, Masked, Target};
use crate::legacy::kernel::Hook;

pub(super) fn is<T>(value: T) -> Option<Is<T>> {
    Some(Is { negated: false, value })
}

pub(super) fn is_not<T>(value: T) -> Option<Is<T>> {
    Some(Is { negated: true, value })
}

pub(super) fn masked(address: &str, mask: &str) -> Masked {
    Masked { address: address.parse().unwrap(), mask: mask.parse().unwrap() }
}

pub(super) fn extension(name: &str, revision: u8, info: &[u8]) -> Extension {
    Extension { name: name.to_owned(), revision, info: info.to_vec() }
}

pub(super) fn jump(chain: &str) -> Target {
    Target::Jump(chain.to_owned())
}

/// A match or a target in bytes.
fn part(name: &str, info: &[u8]) -> Vec<u8> {
    let size = u16::try_from(part::SIZE + info.len()).unwrap();
    let mut bytes = size.to_ne_bytes().to_vec();
    bytes.extend(name.bytes());
    bytes.resize(part::SIZE, 0);
    bytes.extend(info);
    bytes
}

fn verdict(number: i32) -> Vec<u8> {
    part("", &[number.to_ne_bytes(), [0; 4]].concat())
}

/// An entry in bytes, whose head `edit` fills in.
fn made(family: Family, matches: &[Vec<u8>], target: &[u8], edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let layout = Layout::of(family);
    let mut bytes = vec![0; layout.size];
    bytes.extend(matches.concat());
    let target_offset = u16::try_from(bytes.len()).unwrap();
    bytes.extend(target);
    let next_offset = u16::try_from(bytes.len()).unwrap();
    bytes[layout.target_offset..][..2].copy_from_slice(&target_offset.to_ne_bytes());
    bytes[layout.next_offset..][..2].copy_from_slice(&next_offset.to_ne_bytes());
    edit(&mut bytes);
    bytes
}

/// A table of an OUTPUT of these rules and a chain `a` of none.
fn table(family: Family, rules: &[Vec<u8>]) -> (Info, Vec<u8>) {
    let standard = |number| made(family, &[], &verdict(number), |_| {});
    let error = |name: &str| {
        let mut info = name.as_bytes().to_vec();
        info.resize(32, 0);
        made(family, &[], &part("ERROR", &info), |_| {})
    };
    let mut blob = rules.concat();
    let underflow = blob.len();
    for entry in [standard(-2), error("a"), standard(-5), error("ERROR")] {
        blob.extend(entry);
    }
    let hooks = vec![Hook { chain: "OUTPUT", entry: 0, underflow }];
    (Info { table: "filter".to_owned(), hooks, entries: rules.len() + 4, bytes: blob.len() }, blob)
}

/// The only rule of a table.
fn read(family: Family, rule: Vec<u8>) -> Entry {
    let (info, blob) = table(family, &[rule]);
    parse(family, &info, &blob).unwrap()[0].1[0].clone()
}

const BOTH: [Family; 2] = [Family::Ipv4, Family::Ipv6];

#[test]
fn a_head_that_iptables_would_not_write_is_unknown() {
    for family in BOTH {
        let layout = Layout::of(family);
        let interface = |name: &'static str, covered| {
            move |head: &mut [u8]| {
                head[layout.in_interface..][..name.len()].copy_from_slice(name.as_bytes());
                head[layout.in_interface_mask..][..covered].fill(0xff);
            }
        };
        let with = |edit: &dyn Fn(&mut [u8])| read(family, made(family, &[], &verdict(-2), edit));
        assert_eq!(with(&interface("eth0", 5)).in_interface, is("eth0".to_owned()));
        assert_eq!(with(&interface("eth0", 4)).in_interface, is("eth0+".to_owned()));
        assert_eq!(with(&interface("eth0", 0)).in_interface, None);
        assert_eq!(with(&interface("a23456789012345", 16)).in_interface, is("a23456789012345".to_owned()));
        for (name, covered) in
            [("eth0", 6), ("eth0", 16), ("eth+", 5), ("", 1), ("a234567890123456", 16), ("\u{e4}", 1)]
        {
            assert!(with(&interface(name, covered)).unknown, "{name} {covered}");
        }
        assert!(with(&|head| head[layout.in_interface_mask + 1] = 0xff).unknown, "a mask with a hole");
        assert!(with(&|head| head[layout.in_interface_mask] = 0x0f).unknown, "half a character");
        assert!(with(&|head| head[layout.flags] = 0x80).unknown, "a flag that is not known");
        for inverse in [0x04, 0x20, 0x40, 0x80] {
            assert!(with(&|head| head[layout.inverse] = inverse).unknown, "inverse {inverse:#x}");
        }
        assert!(!with(&|head| head[layout.inverse] = 0x1b).unknown);
        let protocol = 256_u16.to_ne_bytes();
        assert!(with(&|head| head[layout.protocol..][..2].copy_from_slice(&protocol)).unknown);
    }
    let layout = Layout::of(Family::Ipv6);
    let protocol = |head: &mut [u8]| head[layout.protocol..][..2].copy_from_slice(&6_u16.to_ne_bytes());
    let entry = read(Family::Ipv6, made(Family::Ipv6, &[], &verdict(-2), protocol));
    assert!(entry.protocol.is_none() && entry.unknown, "a protocol that the kernel does not look at");
}

#[test]
fn any_address_is_something_to_a_rule_only_when_negated() {
    let layout = Layout::of(Family::Ipv4);
    let with = |edit: &dyn Fn(&mut [u8])| read(Family::Ipv4, made(Family::Ipv4, &[], &verdict(-2), edit));
    assert_eq!(with(&|_| {}).source, None);
    let any = masked("0.0.0.0", "0.0.0.0");
    assert_eq!(with(&|head| head[layout.inverse] = 0x08).source, is_not(any));
    assert_eq!(with(&|head| head[layout.inverse] = 0x10).destination, is_not(any));
    assert_eq!(with(&|head| head[layout.source] = 10).source, is(masked("10.0.0.0", "0.0.0.0")));
    assert_eq!(with(&|head| head[layout.inverse] = 0x01).in_interface, is_not("+".to_owned()));
}

#[test]
fn targets_are_verdicts_chains_or_unknown() {
    for family in BOTH {
        let layout = Layout::of(family);
        let size = i32::try_from(layout.size + 40).unwrap();
        let chain = size * 2 + i32::try_from(layout.size + 64).unwrap();
        let goto = if family == Family::Ipv4 { IPV4_GOTO } else { IPV6_GOTO };
        for (number, expected) in [
            (-1, Some(Target::Drop)),
            (-2, Some(Target::Accept)),
            (-4, None),
            (-5, Some(Target::Return)),
            (size, Some(Target::None)),
            (chain, Some(jump("a"))),
            (chain + 1, None),
            (0, None),
            (i32::MAX, None),
            (i32::MIN, None),
        ] {
            let found = read(family, made(family, &[], &verdict(number), |_| {}));
            assert_eq!((!found.unknown).then_some(found.target), expected, "{number}");
            let found = read(family, made(family, &[], &verdict(number), |head| head[layout.flags] = goto));
            let expected = (number == chain).then(|| Target::Goto("a".to_owned()));
            assert_eq!((!found.unknown).then_some(found.target), expected, "goto {number}");
        }
        let short = made(family, &[], &part("", &[0; 2]), |_| {});
        assert!(read(family, short).unknown);
    }
}

const IPV4_GOTO: u8 = 0x02;
const IPV6_GOTO: u8 = 0x04;

#[test]
fn one_comment_is_apart_from_matches() {
    let comment = |text: &[u8]| {
        let mut info = text.to_vec();
        info.resize(256, 0);
        part("comment", &info)
    };
    let with = |matches: &[Vec<u8>]| read(Family::Ipv4, made(Family::Ipv4, matches, &verdict(-2), |_| {}));
    let entry = with(&[part("x", &[1; 8]), comment(b"a"), comment(b"b")]);
    assert_eq!(entry.comment.as_deref(), Some("a"));
    let names: Vec<&str> = entry.matches.iter().map(|found| &*found.name).collect();
    assert_eq!((names, entry.unknown), (vec!["x", "comment"], false));
    for odd in [comment(b"\xff"), comment(&[b'a'; 256]), part("comment", b"a\0\0\0\0\0\0\0")] {
        let entry = with(&[odd]);
        assert_eq!((entry.comment, entry.matches.len()), (None, 1));
    }
}

#[test]
fn a_table_that_does_not_add_up_is_an_error_that_says_where() {
    let rule = |edit: &dyn Fn(&mut [u8])| made(Family::Ipv4, &[part("x", &[])], &verdict(-2), edit);
    let layout = Layout::of(Family::Ipv4);
    let number = |at: usize, number: u16| {
        move |bytes: &mut [u8]| bytes[at..][..2].copy_from_slice(&number.to_ne_bytes())
    };
    for (edit, what) in [
        (number(layout.target_offset, 20), "the entry at byte 0 has its target in its head"),
        (number(layout.target_offset, 0xffff), "the entry at byte 0 has a target that ends after it"),
        (number(layout.next_offset, 0), "the entry at byte 0 has a target that ends after it"),
        (number(layout.next_offset, 0xffff), "the entry at byte 0 ends after the table"),
        (number(layout.size, 0), "the entry at byte 0 has a match that ends after it"),
        (number(layout.size, 80), "the entry at byte 0 has a match that ends after it"),
    ] {
        let (info, blob) = table(Family::Ipv4, &[rule(&edit)]);
        let error = parse(Family::Ipv4, &info, &blob).unwrap_err().to_string();
        assert_eq!(error, format!("cannot read table filter by IPT_SO_GET_ENTRIES: {what}"));
    }
    let (info, blob) = table(Family::Ipv4, &[rule(&|_| {})]);
    let fails = |info: &Info, blob: &[u8]| parse(Family::Ipv4, info, blob).is_err();
    assert!(!fails(&info, &blob));
    assert!(fails(&info, &blob[..blob.len() - 1]) && fails(&info, &[]));
    assert!(fails(&Info { entries: 4, ..info.clone() }, &blob));
    for (entry, underflow) in [(1, 184), (0, 185), (184, 0), (0, 1 << 20)] {
        let hooks = vec![Hook { chain: "OUTPUT", entry, underflow }];
        assert!(fails(&Info { hooks, ..info.clone() }, &blob), "{entry} {underflow}");
    }
    let without_end = blob.len() - (layout.size + 64);
    let shorter = Info { entries: 4, bytes: without_end, ..info };
    assert!(fails(&shorter, &blob[..without_end]), "a chain without an end");
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)]
}

proptest! {
    #[test]
    fn no_bytes_panic(
        family in family(),
        head in prop::collection::vec(any::<u8>(), 0..100),
        blob in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        if let Some(info) = Info::parse("nat", &head) {
            let _ = parse(family, &Info { bytes: blob.len(), ..info }, &blob);
        }
    }

    #[test]
    fn no_damage_panics(
        family in family(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        entry in 0..400_usize,
    ) {
        let rules = [-1, 0, 160, 500].map(|number| made(family, &[part("x", &[0; 8])], &verdict(number), |_| {}));
        let (mut info, mut blob) = table(family, &rules);
        if entry < 100 {
            info.hooks[0].entry = entry;
        }
        for (index, byte) in damage {
            let at = index.index(blob.len());
            blob[at] = byte;
        }
        if let Ok(chains) = parse(family, &info, &blob) {
            prop_assert!(!chains.is_empty());
        }
    }
}
