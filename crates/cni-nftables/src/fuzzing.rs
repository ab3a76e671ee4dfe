//! For the fuzz targets: everything that reads what a dump prints, over bytes that no kernel sent.

use crate::element::{encode, read_list};
use crate::nft::{read_chain, read_rule, read_set};
use crate::{DataType, Family, Set, Table};

const TABLE: Table = Table::new(Family::Inet, "t");

const fn set(key: &'static [DataType], data: &'static [DataType]) -> Set {
    Set::map(TABLE, "s", key, data)
}

/// Keys and data of every type.
const SETS: [Set; 5] = [
    set(
        &[DataType::Ipv4Addr, DataType::InetProto, DataType::InetService],
        &[DataType::Ipv4Addr, DataType::InetService],
    ),
    set(&[DataType::Ipv6Addr], &[DataType::Verdict]),
    set(&[DataType::IfName, DataType::IfName], &[]),
    set(&[DataType::IfName], &[DataType::Mark]),
    set(&[DataType::EtherAddr], &[]),
];

/// Reads the payload of one message as every kind of object. What was read must be what would be sent for it.
pub fn objects(payload: &[u8]) {
    let _ = (read_rule(payload, &TABLE, "c"), read_chain(payload, &TABLE), read_set(payload, &TABLE));
    for set in &SETS {
        for element in read_list(payload, set) {
            let key = encode(&element.key, set.key);
            assert!(key.is_ok(), "{element:?} cannot be asked for: {key:?}");
            let _ = element.text(set);
        }
    }
}
