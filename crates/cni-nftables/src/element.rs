//! Elements in the kernel's form: keys and data with each part of a concatenation padded to four bytes, comments in the user
//! data as libnftnl writes them (libnftnl, include/libnftnl/udata.h).

use cni_netlink::raw::{Attrs, Writer, be32, string};
use nix::libc::{NF_ACCEPT, NF_DROP, NFT_GOTO, NFT_JUMP, NFT_RETURN};

use crate::encode::NFGENMSG;
use crate::expr::{write_value, write_verdict};
use crate::uapi::*;
use crate::value::Unfit;
use crate::{DataType, Element, Set, Value, Verdict};

/// An element's user data has at most 256 bytes (NFT_USERDATA_MAXLEN).
const MAX_COMMENT: usize = 250;

/// Refuses what cannot be the name of a table's object.
pub(crate) fn check_name(name: &str) -> Result<(), Unfit> {
    // A terminating zero belongs to it.
    if name.is_empty() || name.len() >= NFT_NAME_MAXLEN || name.contains(|char: char| char.is_control()) {
        return Err(format!("{name:?} is not a name"));
    }
    Ok(())
}

/// Refuses a comment that the kernel or nft would not keep as it is.
pub(crate) fn check_comment(text: &str) -> Result<(), Unfit> {
    if text.len() > MAX_COMMENT {
        return Err(format!("the comment has more than {MAX_COMMENT} bytes"));
    }
    if text.contains(|char: char| char.is_control() || char == '"') {
        return Err(format!("the comment {text:?} has quotes or control characters"));
    }
    Ok(())
}

/// Refuses a key or data that has no part or does not fit into registers.
pub(crate) fn check_types(types: &[DataType]) -> Result<(), Unfit> {
    let registers: usize = types.iter().map(|data_type| data_type.registers()).sum();
    let length = registers * NFT_REG32_SIZE;
    match types {
        [] => Err("it has no type".into()),
        [DataType::Verdict] => Ok(()),
        _ if types.contains(&DataType::Verdict) => Err("a verdict cannot be part of a key".into()),
        _ if length > NFT_DATA_VALUE_MAXLEN => {
            Err(format!("it is longer than {NFT_DATA_VALUE_MAXLEN} bytes"))
        }
        _ => Ok(()),
    }
}

/// Length of a key or data of these types.
pub(crate) fn size(types: &[DataType]) -> usize {
    match types {
        [only] => only.size(),
        _ => types.iter().map(|data_type| 4 * data_type.registers()).sum(),
    }
}

/// nft's number for these types: six bits for each part.
pub(crate) fn type_number(types: &[DataType]) -> u32 {
    match types {
        [only] => only.number(),
        _ => types.iter().fold(0, |number, data_type| number << 6 | data_type.number()),
    }
}

/// A key or data as the kernel has it.
pub(crate) fn encode(values: &[Value], types: &[DataType]) -> Result<Vec<u8>, Unfit> {
    if values.len() != types.len() {
        return Err(format!("{} values where {} belong", values.len(), types.len()));
    }
    let mut bytes = Vec::with_capacity(size(types));
    for (value, data_type) in values.iter().zip(types) {
        bytes.extend(value.bytes(*data_type)?);
        if types.len() > 1 {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    Ok(bytes)
}

/// Reads a key or data; `None` when it is not of these types.
pub(crate) fn decode(mut bytes: &[u8], types: &[DataType]) -> Option<Vec<Value>> {
    if bytes.len() != size(types) {
        return None;
    }
    let mut values = Vec::with_capacity(types.len());
    for data_type in types {
        values.push(Value::from_bytes(bytes.get(..data_type.size())?, *data_type)?);
        bytes = bytes.get(4 * data_type.registers()..).unwrap_or_default();
    }
    Some(values)
}

/// Writes a list element of NFTA_SET_ELEM_LIST_ELEMENTS for the key alone, to find or delete it.
pub(crate) fn write_key(writer: &mut Writer, key: &[u8]) {
    writer.nest(NFTA_LIST_ELEM, |writer| write_value(writer, NFTA_SET_ELEM_KEY, key));
}

/// Writes it with data and comment; or, to have one that is there expire, with the shortest of timeouts, which the kernel rounds
/// up to its next tick.
pub(crate) fn write(writer: &mut Writer, set: &Set, element: &Element, expires: bool) -> Result<(), Unfit> {
    let key = encode(&element.key, set.key)?;
    let data = match (set.data, &element.data[..]) {
        ([], []) => Data::None,
        ([DataType::Verdict], [Value::Verdict(verdict)]) => {
            if let Verdict::Jump(chain) | Verdict::Goto(chain) = verdict {
                check_name(chain)?;
            }
            Data::Verdict(verdict)
        }
        (types, values) => Data::Value(encode(values, types)?),
    };
    element.comment.as_deref().map_or(Ok(()), check_comment)?;
    writer.nest(NFTA_LIST_ELEM, |writer| {
        write_value(writer, NFTA_SET_ELEM_KEY, &key);
        match data {
            Data::None => {}
            Data::Verdict(verdict) => {
                writer.nest(NFTA_SET_ELEM_DATA, |writer| write_verdict(writer, verdict))
            }
            Data::Value(bytes) => write_value(writer, NFTA_SET_ELEM_DATA, &bytes),
        }
        if expires {
            writer.be64(NFTA_SET_ELEM_TIMEOUT, 1);
        }
        if let Some(comment) = &element.comment {
            writer.attr(NFTA_SET_ELEM_USERDATA, &comment_data(comment));
        }
    });
    Ok(())
}

enum Data<'a> {
    None,
    Verdict(&'a Verdict),
    Value(Vec<u8>),
}

/// The elements in the payload of NFT_MSG_NEWSETELEM. Those that are not of the set's types are left out.
pub(crate) fn read_list(payload: &[u8], set: &Set) -> Vec<Element> {
    let list = Attrs::after(payload, NFGENMSG).find(NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    Attrs(list).filter_map(|(_, element)| read(element, set)).collect()
}

/// Whether every element in the payload is about to expire.
pub(crate) fn all_expire(payload: &[u8]) -> bool {
    let list = Attrs::after(payload, NFGENMSG).find(NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    Attrs(list).all(|(_, element)| Attrs(element).find(NFTA_SET_ELEM_EXPIRATION).is_some())
}

fn read(bytes: &[u8], set: &Set) -> Option<Element> {
    let attributes = Attrs(bytes);
    let key = Attrs(attributes.clone().find(NFTA_SET_ELEM_KEY)?).find(NFTA_DATA_VALUE)?;
    let data = match set.data {
        [] => Vec::new(),
        [DataType::Verdict] => {
            let data = Attrs(attributes.clone().find(NFTA_SET_ELEM_DATA)?);
            vec![Value::Verdict(read_verdict(data.find(NFTA_DATA_VERDICT)?)?)]
        }
        types => {
            let data = Attrs(attributes.clone().find(NFTA_SET_ELEM_DATA)?);
            decode(data.find(NFTA_DATA_VALUE)?, types)?
        }
    };
    // What is about to expire has no owner any more: whoever wants its key has to put an element of their own there.
    let expires = attributes.clone().find(NFTA_SET_ELEM_EXPIRATION).is_some();
    let comment = attributes.find(NFTA_SET_ELEM_USERDATA).filter(|_| !expires).and_then(read_comment);
    Some(Element { key: decode(key, set.key)?, data, comment })
}

pub(crate) fn read_verdict(bytes: &[u8]) -> Option<Verdict> {
    let chain = || Attrs(bytes).find(NFTA_VERDICT_CHAIN).map(string);
    Some(match Attrs(bytes).find(NFTA_VERDICT_CODE).and_then(be32)?.cast_signed() {
        NF_DROP => Verdict::Drop,
        NF_ACCEPT => Verdict::Accept,
        NFT_JUMP => Verdict::Jump(chain()?),
        NFT_GOTO => Verdict::Goto(chain()?),
        NFT_RETURN => Verdict::Return,
        _ => return None,
    })
}

/// User data that is a comment: type, length, text with its terminating zero.
pub(crate) fn comment_data(text: &str) -> Vec<u8> {
    // No longer than MAX_COMMENT.
    let mut bytes = vec![NFTNL_UDATA_SET_ELEM_COMMENT, text.len() as u8 + 1];
    bytes.extend(text.as_bytes());
    bytes.push(0);
    bytes
}

/// The comment in the user data of an element or rule.
pub(crate) fn read_comment(mut bytes: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = bytes {
        let value = rest.get(..usize::from(*length))?;
        if *kind == NFTNL_UDATA_SET_ELEM_COMMENT {
            return Some(string(value));
        }
        bytes = &rest[value.len()..];
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Family, Table};

    const TYPES: [DataType; 11] = [
        DataType::Ipv4Addr,
        DataType::Ipv6Addr,
        DataType::EtherAddr,
        DataType::InetProto,
        DataType::InetService,
        DataType::Mark,
        DataType::IfName,
        DataType::NfProto,
        DataType::FibAddrType,
        DataType::CtState,
        DataType::CtStatus,
    ];

    const fn set(key: &'static [DataType], data: &'static [DataType]) -> Set {
        Set::map(Table::new(Family::Inet, "t"), "s", key, data)
    }

    const SETS: [Set; 4] = [
        set(&[DataType::Ipv4Addr], &[]),
        set(&[DataType::InetProto, DataType::InetService], &[DataType::Ipv6Addr, DataType::InetService]),
        set(&[DataType::IfName, DataType::EtherAddr], &[DataType::Verdict]),
        set(&[DataType::InetService], &[DataType::Mark]),
    ];

    #[test]
    fn numbers_of_concatenations_are_those_of_nft() {
        let key = [DataType::Ipv4Addr, DataType::InetProto, DataType::InetService];
        assert_eq!((type_number(&key), size(&key)), (0x730d, 12));
        let key = [DataType::IfName, DataType::EtherAddr];
        assert_eq!((type_number(&key), size(&key)), (0xa49, 24));
        assert_eq!((type_number(&[DataType::EtherAddr]), size(&[DataType::EtherAddr])), (9, 6));
        assert_eq!((type_number(&[DataType::Verdict]), size(&[DataType::Verdict])), (0xffff_ff00, 0));
    }

    #[test]
    fn types_that_no_set_has_are_refused() {
        assert!(check_types(&[]).is_err());
        assert!(check_types(&[DataType::Verdict, DataType::Mark]).is_err());
        assert!(check_types(&[DataType::IfName; 4]).is_ok());
        assert!(
            check_types(&[
                DataType::IfName,
                DataType::IfName,
                DataType::IfName,
                DataType::IfName,
                DataType::Mark
            ])
            .is_err()
        );
    }

    #[test]
    fn comment_is_found_behind_other_user_data() {
        let mut bytes = vec![1, 4, 1, 0, 0, 0];
        bytes.extend(comment_data("net/id/eth0"));
        assert_eq!(read_comment(&bytes).as_deref(), Some("net/id/eth0"));
        assert_eq!(read_comment(&[1, 4, 1, 0, 0, 0]), None);
        assert_eq!(read_comment(&[0, 9, b'x']), None, "cut short");
    }

    #[test]
    fn data_that_is_not_the_set_s_is_refused() {
        let mut element = Element { key: vec![Value::Port(1)], data: vec![], comment: None };
        let map = &SETS[3];
        let mut refused = |data, set: &Set| {
            element.data = data;
            write(&mut Writer::default(), set, &element, false).unwrap_err()
        };
        assert_eq!(refused(vec![], map), "0 values where 1 belong");
        assert!(refused(vec![Value::Port(1)], map).contains("not a single mark"));
        assert!(refused(vec![Value::Verdict(Verdict::Drop)], map).contains("not a single mark"));
        assert!(refused(vec![Value::Mark(1)], &set(&[DataType::InetService], &[])).contains("0 belong"));
        let verdicts = set(&[DataType::InetService], &[DataType::Verdict]);
        assert!(refused(vec![Value::Mark(1)], &verdicts).contains("not a single verdict"));
        assert!(
            refused(vec![Value::Verdict(Verdict::Jump(String::new()))], &verdicts).contains("not a name")
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic_a_reader(bytes: Vec<u8>) {
            for set in &SETS {
                let _ = read_list(&bytes, set);
                let _ = read(&bytes, set);
            }
            let _ = (read_comment(&bytes), read_verdict(&bytes));
            for data_type in TYPES {
                let _ = decode(&bytes, &[data_type]);
                let _ = decode(&bytes, &[data_type, data_type]);
            }
        }

        /// Well-formed attributes with any contents get further.
        #[test]
        fn no_attributes_panic_a_reader(key: Vec<u8>, data: Vec<u8>, user: Vec<u8>, verdict: bool) {
            let mut writer = Writer::default();
            writer.message(0, 0, 0, &[0; 4], |writer| {
                writer.nest(3, |writer| writer.nest(1, |writer| {
                    writer.nest(NFTA_SET_ELEM_KEY, |writer| writer.attr(1, &key));
                    writer.nest(NFTA_SET_ELEM_DATA, |writer| writer.attr(if verdict { 2 } else { 1 }, &data));
                    writer.attr(NFTA_SET_ELEM_USERDATA, &user);
                }));
            });
            let bytes = writer.into_bytes();
            for set in &SETS {
                let _ = read_list(&bytes[16..], set);
            }
        }

        #[test]
        fn keys_come_back(bytes: [u8; 64], at in proptest::collection::vec(0..TYPES.len(), 1..4)) {
            let types: Vec<DataType> = at.iter().map(|at| TYPES[*at]).collect();
            // Any bytes are a key but for those of no interface's name.
            match decode(&bytes[..size(&types)], &types) {
                Some(values) => prop_assert_eq!(decode(&encode(&values, &types).unwrap(), &types), Some(values)),
                None => prop_assert!(types.contains(&DataType::IfName)),
            }
        }

        #[test]
        fn elements_come_back(port: u16, mark: u32, comment in "[^\"\\p{Cc}]{0,60}") {
            let map = &SETS[3];
            let element = Element {
                key: vec![Value::Port(port)],
                data: vec![Value::Mark(mark)],
                comment: Some(comment),
            };
            let mut writer = Writer::default();
            writer.message(0, 0, 0, &[0; 4], |writer| {
                writer.nest(3, |writer| write(writer, map, &element, false).unwrap());
            });
            prop_assert_eq!(read_list(&writer.into_bytes()[16..], map), [element]);
        }
    }
}
