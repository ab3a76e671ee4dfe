//! The serde deserializer behind [`super::from_slice`]. It reads values from text that is known to be JSON, and builds
//! nothing of what the type that is read does not have: keys that no field is called are skipped as they stand there.

use std::borrow::Cow;

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde_json::Number;

use super::error::{Error, described};
use super::variant::Variant;
use super::walk::{Entry, entries, visit_list, visit_object};

/// Hands one JSON value to a visitor.
#[derive(Clone, Copy)]
pub(super) struct TextReader<'de>(pub(super) &'de str);

impl<'de> TextReader<'de> {
    fn starts_with(self, byte: u8) -> bool {
        self.0.as_bytes().first() == Some(&byte)
    }

    fn is_null(self) -> bool {
        self.0 == "null"
    }

    fn mismatch(self, expected: &str) -> Error {
        Error::new(format!("invalid type: {}, expected {expected}", described(self.0)))
    }

    fn number(self) -> Option<Number> {
        let digit = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
        if !self.0.as_bytes().first().is_some_and(digit) {
            return None;
        }
        serde_json::from_str(self.0).ok()
    }

    /// A whole number; a fraction of zero is as good as none.
    fn integer(self, min: i128, max: i128) -> Result<i128, Error> {
        const U64_END: f64 = 18_446_744_073_709_551_616.0;
        const I64_START: f64 = -9_223_372_036_854_775_808.0;
        let number = self.number().ok_or_else(|| self.mismatch("a number"))?;
        let whole = match (number.as_i128(), number.as_f64()) {
            (Some(number), _) => number,
            (None, Some(n)) if n.fract() == 0.0 && (I64_START..U64_END).contains(&n) => n as i128,
            _ => return Err(self.mismatch("a whole number")),
        };
        if !(min..=max).contains(&whole) {
            let expected = format!("a number from {min} to {max}");
            return Err(Error::new(format!("invalid value: {}, expected {expected}", described(self.0))));
        }
        Ok(whole)
    }

    fn string(self) -> Result<Cow<'de, str>, Error> {
        if !self.starts_with(b'"') {
            return Err(self.mismatch("a string"));
        }
        match self.0.get(1..self.0.len() - 1) {
            Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain)),
            _ => serde_json::from_str(self.0).map(Cow::Owned).map_err(de::Error::custom),
        }
    }

    fn visit_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.string()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn list<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() {
            return visit_list("[]", visitor);
        }
        if !self.starts_with(b'[') {
            return Err(self.mismatch("a list"));
        }
        visit_list(self.0, visitor)
    }
}

macro_rules! read_integers {
    ($($method:ident $type:ident $visit:ident $wide:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let number = self.integer($type::MIN.into(), $type::MAX.into())?;
            visitor.$visit(number as $wide)
        })*
    };
}

/// `null` is an empty object and an empty list where Go has a struct, a map or a slice.
impl<'de> Deserializer<'de> for TextReader<'de> {
    type Error = Error;

    read_integers! {
        deserialize_i8 i8 visit_i64 i64
        deserialize_i16 i16 visit_i64 i64
        deserialize_i32 i32 visit_i64 i64
        deserialize_i64 i64 visit_i64 i64
        deserialize_u8 u8 visit_u64 u64
        deserialize_u16 u16 visit_u64 u64
        deserialize_u32 u32 visit_u64 u64
        deserialize_u64 u64 visit_u64 u64
    }

    /// Whoever wants any value gets what serde_json makes of it, and no more than 128 levels of it.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.as_bytes().first() {
            Some(b'"') => self.visit_string(visitor),
            Some(b'[' | b'{') => {
                let mut all = serde_json::Deserializer::from_str(self.0);
                all.deserialize_any(visitor).map_err(de::Error::custom)
            }
            Some(b'n') => visitor.visit_unit(),
            Some(b't' | b'f') => visitor.visit_bool(self.0 == "true"),
            _ => match self.number() {
                Some(number) => number.deserialize_any(visitor).map_err(de::Error::custom),
                None => Err(self.mismatch("a number that can be computed with")),
            },
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(self.mismatch("true or false")),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let number = self.number().and_then(|number| number.as_f64());
        visitor.visit_f64(number.ok_or_else(|| self.mismatch("a number"))?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit_string(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    /// An [`Unread`](super::Unread) takes the value's text.
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == super::UNREAD {
            return visitor.visit_borrowed_str(self.0);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.list(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.list(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            "null" => visit_object("{}", visitor),
            _ if self.starts_with(b'{') => visit_object(self.0, visitor),
            _ => Err(self.mismatch("an object")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if !self.is_null() && !self.starts_with(b'{') {
            let expected = Expecting(&visitor).to_string();
            let own = Some(expected.as_str()).filter(|text| !text.starts_with("struct "));
            return Err(self.mismatch(own.unwrap_or("an object")));
        }
        visitor.visit_map(Fields::of(self, fields)?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.starts_with(b'"') {
            return visitor.visit_enum(Variant { name: self.string()?, content: None });
        }
        let mut found = Vec::new();
        if self.starts_with(b'{') {
            entries(self.0, |_| true, |entry| found.push(entry))?;
        }
        match (found.pop(), found.is_empty()) {
            (Some(Entry { key, text }), true) => {
                visitor.visit_enum(Variant { name: key, content: Some(text) })
            }
            _ => Err(self.mismatch("a string")),
        }
    }

    serde::forward_to_deserialize_any! { i128 u128 char bytes byte_buf unit unit_struct identifier }
}

struct Expecting<'v, V>(&'v V);

impl<'de, V: Visitor<'de>> std::fmt::Display for Expecting<'_, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.expecting(f)
    }
}

/// The entries of an object that belong to a struct's fields, under the fields' own names.
struct Fields<'de> {
    left: std::vec::IntoIter<(&'static str, Entry<'de>)>,
    current: Option<Entry<'de>>,
}

impl<'de> Fields<'de> {
    fn of(object: TextReader<'de>, fields: &'static [&'static str]) -> Result<Self, Error> {
        let mut found: Vec<Option<Entry<'de>>> = fields.iter().map(|_| None).collect();
        let field_of = |key: &str| {
            let exact = fields.iter().position(|field| *field == key);
            exact.or_else(|| fields.iter().position(|field| field.eq_ignore_ascii_case(key)))
        };
        let take = |entry: Entry<'de>| {
            let Some(index) = field_of(&entry.key).filter(|_| entry.text != "null") else { return };
            let is_exact = |entry: &Entry<'_>| entry.key == fields[index];
            if is_exact(&entry) || !found[index].as_ref().is_some_and(is_exact) {
                found[index] = Some(entry);
            }
        };
        if !object.is_null() {
            entries(object.0, |key| field_of(key).is_some(), take)?;
        }
        let found = fields.iter().zip(found).filter_map(|(field, entry)| Some((*field, entry?)));
        Ok(Fields { left: found.collect::<Vec<_>>().into_iter(), current: None })
    }
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((field, entry)) = self.left.next() else { return Ok(None) };
        self.current = Some(entry);
        seed.deserialize(field.into_deserializer()).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        Entry::read(self.current.take(), seed)
    }
}
