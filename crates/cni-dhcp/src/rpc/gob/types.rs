//! What the numbers of types stand for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::value::{Fields, Value};
use super::wire::{StructWriter, put_int};
use super::{GobError, id};

/// The most types that a stream may define, and the most fields that all of them may have together. The reference's have ten and
/// thirty.
const MAX_TYPES: usize = 256;
const MAX_FIELDS: usize = 4096;

/// A type, as far as its values differ on the wire.
#[derive(Clone, Debug)]
pub(super) enum Type {
    Int,
    /// Booleans and floating-point numbers look the same.
    Uint,
    /// Text and what encodes itself look the same.
    Bytes,
    Complex,
    Interface,
    /// A list of any length, or an array.
    List(i64),
    Map {
        key: i64,
        element: i64,
    },
    Struct(Arc<[Field]>),
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: Arc<str>,
    pub(super) id: i64,
}

/// The types of a stream.
#[derive(Debug)]
pub(crate) struct Types {
    known: BTreeMap<i64, Type>,
    /// How many fields have been defined.
    fields: usize,
}

impl Types {
    /// Those that need no definition, and those that definitions are made of.
    pub(crate) fn new() -> Self {
        let structure = |fields: &[(&str, i64)]| {
            Type::Struct(fields.iter().map(|(name, id)| Field { name: (*name).into(), id: *id }).collect())
        };
        const COMMON: i64 = 18;
        let encoder = structure(&[("CommonType", COMMON)]);
        let known = [
            (id::BOOL, Type::Uint),
            (id::INT, Type::Int),
            (id::UINT, Type::Uint),
            (id::FLOAT, Type::Uint),
            (id::BYTES, Type::Bytes),
            (id::STRING, Type::Bytes),
            (id::COMPLEX, Type::Complex),
            (id::INTERFACE, Type::Interface),
            (
                id::WIRE_TYPE,
                structure(&[
                    ("ArrayT", 17),
                    ("SliceT", 19),
                    ("StructT", 20),
                    ("MapT", 23),
                    ("GobEncoderT", 24),
                    ("BinaryMarshalerT", 24),
                    ("TextMarshalerT", 24),
                ]),
            ),
            (17, structure(&[("CommonType", COMMON), ("Elem", id::INT), ("Len", id::INT)])),
            (COMMON, structure(&[("Name", id::STRING), ("Id", id::INT)])),
            (19, structure(&[("CommonType", COMMON), ("Elem", id::INT)])),
            (20, structure(&[("CommonType", COMMON), ("Field", 22)])),
            (21, structure(&[("Name", id::STRING), ("Id", id::INT)])),
            (22, Type::List(21)),
            (23, structure(&[("CommonType", COMMON), ("Key", id::INT), ("Elem", id::INT)])),
            (24, encoder),
        ];
        Types { known: known.into(), fields: 0 }
    }

    pub(super) fn get(&self, id: i64) -> Result<Type, GobError> {
        self.known.get(&id).cloned().ok_or(GobError::UnknownType(id))
    }

    /// Takes a definition, the value of a `wireType`.
    pub(crate) fn define(&mut self, id: i64, definition: &Value) -> Result<(), GobError> {
        if id < id::FIRST || self.known.contains_key(&id) {
            return Err(GobError::Definition(id));
        }
        if self.known.range(id::FIRST..).count() >= MAX_TYPES {
            return Err(GobError::TooMany { what: "types", most: MAX_TYPES });
        }
        let wire = definition.fields("wireType")?;
        let part = |name| wire.structure(name);
        let defined = if let Some(array) = part("ArrayT")?.or(part("SliceT")?) {
            Type::List(array.int("Elem")?)
        } else if let Some(structure) = part("StructT")? {
            Type::Struct(self.define_fields(&structure)?)
        } else if let Some(map) = part("MapT")? {
            Type::Map { key: map.int("Key")?, element: map.int("Elem")? }
        } else if wire.has(&["GobEncoderT", "BinaryMarshalerT", "TextMarshalerT"]) {
            Type::Bytes
        } else {
            return Err(GobError::Definition(id));
        };
        self.known.insert(id, defined);
        Ok(())
    }

    fn define_fields(&mut self, structure: &Fields<'_>) -> Result<Arc<[Field]>, GobError> {
        let fields = structure.list("Field")?;
        self.fields += fields.len();
        if self.fields > MAX_FIELDS {
            return Err(GobError::TooMany { what: "fields", most: MAX_FIELDS });
        }
        let field = |value: &Value| {
            let field = value.fields("Field")?;
            Ok(Field { name: String::from_utf8_lossy(field.bytes("Name")?).into(), id: field.int("Id")? })
        };
        fields.iter().map(field).collect()
    }
}

/// A type to be defined in a stream that is written.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) id: i64,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// Names and types of its fields.
    Struct(&'static [(&'static str, i64)]),
    /// The type of its elements.
    Slice(i64),
}

impl Definition {
    /// The message's contents.
    pub(crate) fn encode(&self) -> Vec<u8> {
        const SLICE: u64 = 1;
        const STRUCT: u64 = 2;
        let mut out = Vec::new();
        put_int(&mut out, -self.id);
        let common = |writer: &mut StructWriter<'_>| {
            writer.bytes(0, self.name.as_bytes()).int(1, self.id);
        };
        let mut wire = StructWriter::new(&mut out);
        match self.kind {
            Kind::Slice(element) => wire.structure(SLICE, |slice| {
                slice.structure(0, common).int(1, element);
            }),
            Kind::Struct(fields) => wire.structure(STRUCT, |structure| {
                structure.structure(0, common).list(1, fields, |out, (name, id)| {
                    StructWriter::new(out).bytes(0, name.as_bytes()).int(1, *id).end();
                });
            }),
        };
        wire.end();
        out
    }
}
