//! Elements in the kernel's form: keys and data with each part of a concatenation padded to four bytes, comments in the user
//! data as libnftnl writes them (libnftnl, include/libnftnl/udata.h).

use cni_netlink::raw::{Attrs, Writer, be32, string};

use crate::expr::write_verdict;
use crate::value::Unfit;
use crate::{DataType, Element, Set, Value, Verdict};

/// NFT_DATA_VALUE_MAXLEN, in registers of four bytes.
const MAX_REGISTERS: usize = 16;

/// An element's user data has at most 256 bytes (NFT_USERDATA_MAXLEN).
const MAX_COMMENT: usize = 250;

/// NFT_NAME_MAXLEN, with the terminating zero.
const MAX_NAME: usize = 256;

/// NFTNL_UDATA_RULE_COMMENT and NFTNL_UDATA_SET_ELEM_COMMENT
const UDATA_COMMENT: u8 = 0;

/// enum nft_set_elem_attributes
const KEY: u16 = 1;
const DATA: u16 = 2;
const USERDATA: u16 = 6;

/// Refuses what cannot be the name of a table's object.
pub(crate) fn check_name(name: &str) -> Result<(), Unfit> {
    if name.is_empty() || name.len() >= MAX_NAME || name.contains(|char: char| char.is_control()) {
        return Err(format!("{name:?} is no name"));
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
    match types {
        [] => Err("it has no type".into()),
        [DataType::Verdict] => Ok(()),
        _ if types.contains(&DataType::Verdict) => Err("a verdict is no part of a key".into()),
        _ if registers > MAX_REGISTERS => Err(format!("it is longer than {} bytes", 4 * MAX_REGISTERS)),
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
    writer.nest(1, |writer| writer.nest(KEY, |writer| writer.attr(1, key)));
}

/// Writes it with data and comment.
pub(crate) fn write(writer: &mut Writer, set: &Set, element: &Element) -> Result<(), Unfit> {
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
    writer.nest(1, |writer| {
        writer.nest(KEY, |writer| writer.attr(1, &key));
        match data {
            Data::None => {}
            Data::Verdict(verdict) => writer.nest(DATA, |writer| write_verdict(writer, verdict)),
            Data::Value(bytes) => writer.nest(DATA, |writer| writer.attr(1, &bytes)),
        }
        if let Some(comment) = &element.comment {
            writer.attr(USERDATA, &comment_data(comment));
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
    let list = Attrs::after(payload, 4).find(3).unwrap_or_default();
    Attrs(list).filter_map(|(_, element)| read(element, set)).collect()
}

fn read(bytes: &[u8], set: &Set) -> Option<Element> {
    let attributes = Attrs(bytes);
    let key = Attrs(attributes.clone().find(KEY)?).find(1)?;
    let data = match set.data {
        [] => Vec::new(),
        [DataType::Verdict] => {
            let verdict = Attrs(attributes.clone().find(DATA)?).find(2)?;
            vec![Value::Verdict(read_verdict(verdict)?)]
        }
        types => decode(Attrs(attributes.clone().find(DATA)?).find(1)?, types)?,
    };
    let comment = attributes.find(USERDATA).and_then(read_comment);
    Some(Element { key: decode(key, set.key)?, data, comment })
}

fn read_verdict(bytes: &[u8]) -> Option<Verdict> {
    let chain = || Attrs(bytes).find(2).map(string);
    Some(match Attrs(bytes).find(1).and_then(be32)?.cast_signed() {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -3 => Verdict::Jump(chain()?),
        -4 => Verdict::Goto(chain()?),
        -5 => Verdict::Return,
        _ => return None,
    })
}

/// User data that is a comment: type, length, text with its terminating zero.
pub(crate) fn comment_data(text: &str) -> Vec<u8> {
    // No longer than MAX_COMMENT.
    let mut bytes = vec![UDATA_COMMENT, text.len() as u8 + 1];
    bytes.extend(text.as_bytes());
    bytes.push(0);
    bytes
}

/// The comment in the user data of an element or rule.
pub(crate) fn read_comment(mut bytes: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = bytes {
        let value = rest.get(..usize::from(*length))?;
        if *kind == UDATA_COMMENT {
            return Some(string(value));
        }
        bytes = &rest[value.len()..];
    }
    None
}
