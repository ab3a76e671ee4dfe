//! What the kernel holds of a table, byte for byte, but for numbers that differ each time.

use cni_netlink::raw::{Attrs, Connection, Protocol, Writer, string};
use cni_nftables::Table;

/// enum nf_tables_msg_types
const GETCHAIN: u16 = 4;
const GETRULE: u16 = 7;
const GETSET: u16 = 10;
const GETSETELEM: u16 = 13;

/// NFTA_CHAIN_HANDLE, NFTA_RULE_HANDLE and NFTA_RULE_POSITION, NFTA_SET_HANDLE and NFTA_SET_USERDATA: nft puts into the last how
/// a concatenation was written, which it does not need to print the set.
const CHAIN_IGNORED: &[u16] = &[2];
const RULE_IGNORED: &[u16] = &[3, 6];
const SET_IGNORED: &[u16] = &[13, 16];

/// Chains, rules, sets and elements of a table as attributes in hexadecimal digits, one per line; elements in order.
pub(crate) fn dump(table: &Table, family: u8) -> Vec<String> {
    let mut connection = Connection::open(Protocol::Netfilter).unwrap();
    let mut lines = objects(&mut connection, GETCHAIN, CHAIN_IGNORED, table, family, None);
    lines.extend(objects(&mut connection, GETRULE, RULE_IGNORED, table, family, None));
    lines.extend(objects(&mut connection, GETSET, SET_IGNORED, table, family, None));
    for set in names(&mut connection, table, family) {
        lines.push(format!("elements of {set}"));
        lines.extend(objects(&mut connection, GETSETELEM, &[], table, family, Some(&set)));
    }
    lines
}

fn request(kind: u16, table: &Table, family: u8, set: Option<&str>) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.message(10 << 8 | kind, 0x301, 0, &[family, 0, 0, 0], |writer| {
        writer.string(1, &table.name);
        if let Some(set) = set {
            writer.string(2, set);
        }
    });
    writer.into_bytes()
}

fn names(connection: &mut Connection, table: &Table, family: u8) -> Vec<String> {
    let op = || "list sets".to_string();
    let parse = |payload: &[u8]| Attrs::after(payload, 4).find(2).map(string);
    connection.read(&mut request(GETSET, table, family, None), &op, parse).unwrap()
}

fn objects(
    connection: &mut Connection,
    kind: u16,
    ignored: &[u16],
    table: &Table,
    family: u8,
    set: Option<&str>,
) -> Vec<String> {
    let op = || "dump".to_string();
    let found = connection.read(&mut request(kind, table, family, set), &op, |payload| {
        let attributes = Attrs::after(payload, 4).filter(|(kind, _)| !ignored.contains(kind));
        if set.is_none() {
            let line = attributes.map(|(kind, value)| format!("{kind}={}", hex(value)));
            return Some(vec![line.collect::<Vec<_>>().join(" ")]);
        }
        let list = Attrs::after(payload, 4).find(3).unwrap_or_default();
        Some(Attrs(list).map(|(_, element)| hex(element)).collect())
    });
    let mut lines = found.unwrap().concat();
    if set.is_some() {
        lines.sort();
    }
    lines
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
