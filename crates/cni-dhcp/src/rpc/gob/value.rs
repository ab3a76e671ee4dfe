//! Values, of any type.

use std::sync::Arc;

use super::types::{Type, Types};
use super::wire::Reader;
use super::{GobError, id};

/// The most values that a message may hold, each within the other, and one within the next. The reference's results have some tens,
/// four deep.
const MAX_VALUES: usize = 1 << 16;
const MAX_DEPTH: usize = 32;

/// A value. What no message of this protocol has is read, so that what follows is, and is not kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Int(i64),
    Uint(u64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Struct(Vec<(Arc<str>, Value)>),
    Other,
}

/// A struct's fields; those that are missing are zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(&'a [(Arc<str>, Value)]);

impl Value {
    pub(crate) fn fields(&self, what: &'static str) -> Result<Fields<'_>, GobError> {
        match self {
            Value::Struct(fields) => Ok(Fields(fields)),
            _ => Err(GobError::Mismatch(what)),
        }
    }
}

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
    }

    pub(crate) fn has(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.get(name).is_some())
    }

    pub(crate) fn int(&self, name: &'static str) -> Result<i64, GobError> {
        match self.get(name) {
            None => Ok(0),
            Some(Value::Int(value)) => Ok(*value),
            Some(_) => Err(GobError::Mismatch(name)),
        }
    }

    pub(crate) fn uint(&self, name: &'static str) -> Result<u64, GobError> {
        match self.get(name) {
            None => Ok(0),
            Some(Value::Uint(value)) => Ok(*value),
            Some(_) => Err(GobError::Mismatch(name)),
        }
    }

    pub(crate) fn bytes(&self, name: &'static str) -> Result<&'a [u8], GobError> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Bytes(value)) => Ok(value),
            Some(_) => Err(GobError::Mismatch(name)),
        }
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<String, GobError> {
        let text = std::str::from_utf8(self.bytes(name)?);
        text.map(str::to_owned).map_err(|_| GobError::Mismatch(name))
    }

    pub(crate) fn list(&self, name: &'static str) -> Result<&'a [Value], GobError> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::List(values)) => Ok(values),
            Some(_) => Err(GobError::Mismatch(name)),
        }
    }

    pub(crate) fn structure(&self, name: &'static str) -> Result<Option<Fields<'a>>, GobError> {
        self.get(name).map(|value| value.fields(name)).transpose()
    }
}

/// Reads the value of a message, of the type with this number. What is not a struct comes behind a zero.
pub(crate) fn read_value(types: &mut Types, id: i64, reader: &mut Reader<'_>) -> Result<Value, GobError> {
    let is_struct = matches!(types.get(id)?, Type::Struct(_));
    if !is_struct && reader.uint()? != 0 {
        return Err(GobError::Field);
    }
    let value = Walk { types, values: 0 }.value(id, reader, 0)?;
    if reader.0.is_empty() { Ok(value) } else { Err(GobError::Extra) }
}

struct Walk<'a> {
    types: &'a mut Types,
    values: usize,
}

impl Walk<'_> {
    fn value(&mut self, id: i64, reader: &mut Reader<'_>, depth: usize) -> Result<Value, GobError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(GobError::TooMany { what: "values", most: MAX_VALUES });
        }
        if depth > MAX_DEPTH {
            return Err(GobError::TooMany { what: "values within values", most: MAX_DEPTH });
        }
        Ok(match self.types.get(id)? {
            Type::Int => Value::Int(reader.int()?),
            Type::Uint => Value::Uint(reader.uint()?),
            Type::Bytes => Value::Bytes(reader.bytes()?.to_vec()),
            Type::Complex => {
                reader.uint()?;
                reader.uint()?;
                Value::Other
            }
            Type::Interface => self.interface(reader, depth)?,
            Type::List(element) => {
                let count = reader.count()?;
                let values = (0..count).map(|_| self.value(element, reader, depth + 1));
                Value::List(values.collect::<Result<_, _>>()?)
            }
            Type::Map { key, element } => {
                for _ in 0..reader.count()? {
                    self.value(key, reader, depth + 1)?;
                    self.value(element, reader, depth + 1)?;
                }
                Value::Other
            }
            Type::Struct(fields) => {
                let mut values = Vec::new();
                let mut next = 0_usize;
                loop {
                    let distance = usize::try_from(reader.uint()?).map_err(|_| GobError::Field)?;
                    if distance == 0 {
                        break;
                    }
                    next = next.checked_add(distance).ok_or(GobError::Field)?;
                    let field = fields.get(next - 1).ok_or(GobError::Field)?;
                    values.push((field.name.clone(), self.value(field.id, reader, depth + 1)?));
                }
                Value::Struct(values)
            }
        })
    }

    /// The name of a type and its number, before which it may be defined, and the value behind its length; nothing but an empty name
    /// for none.
    fn interface(&mut self, reader: &mut Reader<'_>, depth: usize) -> Result<Value, GobError> {
        if reader.bytes()?.is_empty() {
            return Ok(Value::Other);
        }
        loop {
            let number = reader.int()?;
            if number >= 0 {
                break;
            }
            let definition = self.value(id::WIRE_TYPE, reader, depth + 1)?;
            self.types.define(number.checked_neg().ok_or(GobError::Number)?, &definition)?;
            // The length of what follows.
            reader.uint()?;
        }
        reader.bytes()?;
        Ok(Value::Other)
    }
}
