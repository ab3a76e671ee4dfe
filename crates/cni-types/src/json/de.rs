//! The serde deserializer behind [`super::from_value`].

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde_json::{Map, Value};

use crate::ConfError;

/// A reason and where it applies. The steps of the path are collected from the inside out while the error travels up.
#[derive(Debug)]
pub(super) struct Error {
    reason: String,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Key(String),
    Index(usize),
}

impl Error {
    fn under_key(mut self, key: &str) -> Self {
        self.steps.push(Step::Key(key.to_owned()));
        self
    }

    fn under_index(mut self, index: usize) -> Self {
        self.steps.push(Step::Index(index));
        self
    }

    pub(super) fn into_conf_error(self) -> ConfError {
        let mut path = String::new();
        for step in self.steps.iter().rev() {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => path.extend([".", key]),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        ConfError::Field { path, reason: self.reason }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: std::fmt::Display>(reason: T) -> Self {
        Error { reason: reason.to_string(), steps: Vec::new() }
    }
}

/// Hands one JSON value to a visitor.
pub(super) struct ValueReader<'de>(pub(super) &'de Value);

/// `null` is an empty object and an empty list where Go has a struct, a map or a slice.
static NO_ITEMS: &[Value] = &[];

impl<'de> ValueReader<'de> {
    fn mismatch<V: Visitor<'de>>(&self, visitor: &V) -> Error {
        let found = match self.0 {
            Value::Null => Unexpected::Other("null"),
            Value::Bool(b) => Unexpected::Bool(*b),
            Value::Number(n) => Unexpected::Other(if n.is_f64() { "fraction" } else { "number" }),
            Value::String(s) => Unexpected::Str(s),
            Value::Array(_) => Unexpected::Other("list"),
            Value::Object(_) => Unexpected::Other("object"),
        };
        de::Error::invalid_type(found, visitor)
    }

    /// A fraction of zero is as good as none where an integer is wanted.
    fn integer<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        const U64_END: f64 = 18_446_744_073_709_551_616.0;
        const I64_START: f64 = -9_223_372_036_854_775_808.0;
        match self.0 {
            Value::Number(number) if number.is_f64() => match number.as_f64() {
                Some(n) if n.fract() == 0.0 && (0.0..U64_END).contains(&n) => visitor.visit_u64(n as u64),
                Some(n) if n.fract() == 0.0 && (I64_START..0.0).contains(&n) => visitor.visit_i64(n as i64),
                _ => self.deserialize_any(visitor),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn items<V: Visitor<'de>>(&self, visitor: &V) -> Result<&'de [Value], Error> {
        match self.0 {
            Value::Array(items) => Ok(items),
            Value::Null => Ok(NO_ITEMS),
            _ => Err(self.mismatch(visitor)),
        }
    }
}

fn visit_items<'de, V: Visitor<'de>>(items: &'de [Value], visitor: V) -> Result<V::Value, Error> {
    let mut list = Items { items: items.iter(), next: 0 };
    let value = visitor.visit_seq(&mut list)?;
    match list.items.len() {
        0 => Ok(value),
        _ => Err(de::Error::invalid_length(items.len(), &"fewer items")),
    }
}

/// The entries of an object as they are; no object has none.
fn visit_entries<'de, V: Visitor<'de>>(
    object: Option<&'de Map<String, Value>>,
    visitor: V,
) -> Result<V::Value, Error> {
    visitor.visit_map(Entries { left: object.map(Map::iter), current: None })
}

macro_rules! read_integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.integer(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for ValueReader<'de> {
    type Error = Error;

    read_integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Number(number) => number.deserialize_any(visitor).map_err(de::Error::custom),
            Value::String(s) => visitor.visit_borrowed_str(s),
            Value::Array(items) => visit_items(items, visitor),
            Value::Object(object) => visit_entries(Some(object), visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visit_items(self.items(&visitor)?, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(object) => visit_entries(Some(object), visitor),
            Value::Null => visit_entries(None, visitor),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(object) => ObjectReader(object).deserialize_struct(name, fields, visitor),
            Value::Null => visit_entries(None, visitor),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(Variant { name, content: None }),
            Value::Object(object) if object.len() == 1 => {
                let mut entries = object.iter();
                let (name, content) = entries.next().ok_or_else(|| self.mismatch(&visitor))?;
                visitor.visit_enum(Variant { name, content: Some(content) })
            }
            _ => Err(self.mismatch(&visitor)),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct identifier ignored_any
    }
}

/// The same for an object that is at hand without a [`Value`] around it.
pub(super) struct ObjectReader<'de>(pub(super) &'de Map<String, Value>);

impl<'de> Deserializer<'de> for ObjectReader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visit_entries(Some(self.0), visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Fields { object: self.0, all: fields, left: fields.iter(), current: None })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Items<'de> {
    items: std::slice::Iter<'de, Value>,
    next: usize,
}

impl<'de> SeqAccess<'de> for &mut Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        seed.deserialize(ValueReader(item)).map(Some).map_err(|e| e.under_index(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'de> {
    left: Option<serde_json::map::Iter<'de>>,
    current: Option<(&'de str, &'de Value)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let next = self.left.as_mut().and_then(Iterator::next);
        self.current = next.map(|(key, value)| (key.as_str(), value));
        let Some((key, _)) = self.current else { return Ok(None) };
        seed.deserialize(de::value::BorrowedStrDeserializer::new(key))
            .map(Some)
            .map_err(|e: Error| e.under_key(key))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        read_current(self.current.take(), seed)
    }
}

/// The entries of an object that belong to a struct's fields, under the fields' own names. Go looks for a key's field;
/// this looks for a field's key, which serde's visitors of structs make cheaper, with the same outcome.
struct Fields<'de> {
    object: &'de Map<String, Value>,
    all: &'static [&'static str],
    left: std::slice::Iter<'static, &'static str>,
    current: Option<(&'de str, &'de Value)>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        for field in self.left.by_ref() {
            // A key that spells another field exactly is that field's alone.
            let entry = super::entry(self.object, field);
            self.current = entry.filter(|(key, _)| key == field || !self.all.contains(key));
            if self.current.is_some() {
                return seed.deserialize((*field).into_deserializer()).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        read_current(self.current.take(), seed)
    }
}

fn read_current<'de, T: DeserializeSeed<'de>>(
    current: Option<(&'de str, &'de Value)>,
    seed: T,
) -> Result<T::Value, Error> {
    let (key, value) =
        current.ok_or_else(|| <Error as de::Error>::custom("a value was asked for before its key"))?;
    seed.deserialize(ValueReader(value)).map_err(|e| e.under_key(key))
}

/// An enum's variant: a string, or an object whose one key is the variant's name.
struct Variant<'de> {
    name: &'de str,
    content: Option<&'de Value>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Error> {
        let variant = seed.deserialize(de::value::BorrowedStrDeserializer::<Error>::new(self.name))?;
        Ok((variant, self))
    }
}

impl<'de> Variant<'de> {
    fn content(&self) -> Result<ValueReader<'de>, Error> {
        let missing = || de::Error::custom(format_args!("{} needs a value", self.name));
        self.content.map(ValueReader).ok_or_else(missing)
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            None | Some(Value::Null) => Ok(()),
            Some(_) => Err(de::Error::custom(format_args!("{} takes no value", self.name))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.content()?).map_err(|e| e.under_key(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.content()?.deserialize_tuple(len, visitor).map_err(|e| e.under_key(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.content()?.deserialize_struct("", fields, visitor).map_err(|e| e.under_key(self.name))
    }
}
