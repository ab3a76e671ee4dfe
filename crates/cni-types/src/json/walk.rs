//! Going through the entries of one object or list, whose values stay the text that they are until somebody reads them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use super::de::TextReader;
use super::error::Error;

/// A key and the text of its value.
pub(super) struct Entry<'de> {
    pub(super) key: Cow<'de, str>,
    pub(super) text: &'de str,
}

impl<'de> Entry<'de> {
    /// The value of the entry that is at hand.
    pub(super) fn read<T: DeserializeSeed<'de>>(entry: Option<Self>, seed: T) -> Result<T::Value, Error> {
        let Entry { key, text } =
            entry.ok_or_else(|| <Error as de::Error>::custom("a value was asked for before its key"))?;
        seed.deserialize(TextReader(text)).map_err(|e| e.under_key(&key, text))
    }
}

/// Hands over the entries whose keys are wanted, in order.
pub(super) fn entries<'de>(
    object: &'de str,
    wanted: impl Fn(&str) -> bool,
    found: impl FnMut(Entry<'de>),
) -> Result<(), Error> {
    let mut json = serde_json::Deserializer::from_str(object);
    json.deserialize_map(Find { wanted, found }).map_err(de::Error::custom)
}

struct Find<W, F> {
    wanted: W,
    found: F,
}

impl<'de, W: Fn(&str) -> bool, F: FnMut(Entry<'de>)> Visitor<'de> for Find<W, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(KeyText)? {
            if (self.wanted)(&key) {
                let text = map.next_value::<&'de RawValue>()?.get();
                (self.found)(Entry { key, text });
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// A key, borrowed where it is written without escapes.
struct KeyText;

impl<'de> DeserializeSeed<'de> for KeyText {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for KeyText {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// Shows a visitor the entries of an object as they are.
pub(super) fn visit_object<'de, V: Visitor<'de>>(object: &'de str, visitor: V) -> Result<V::Value, Error> {
    let mut error = None;
    let mut json = serde_json::Deserializer::from_str(object);
    let outcome = json.deserialize_map(Through { visitor, error: &mut error });
    outcome.map_err(|other| error.unwrap_or_else(|| de::Error::custom(other)))
}

/// The same with a list. A visitor that has enough before its end is an error.
pub(super) fn visit_list<'de, V: Visitor<'de>>(list: &'de str, visitor: V) -> Result<V::Value, Error> {
    let mut error = None;
    let mut json = serde_json::Deserializer::from_str(list);
    let outcome = json.deserialize_seq(Through { visitor, error: &mut error });
    outcome.map_err(|other| error.unwrap_or_else(|| de::Error::custom(other)))
}

/// Stands between serde_json and a visitor: values come to it through [`TextReader`], and its error gets past serde_json's.
struct Through<'e, V> {
    visitor: V,
    error: &'e mut Option<Error>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Through<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let outcome = self.visitor.visit_map(Entries { map, current: None });
        outcome.map_err(|error| {
            *self.error = Some(error);
            de::Error::custom("")
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        let mut items = Items { list, next: 0 };
        let outcome = self.visitor.visit_seq(&mut items).and_then(|value| items.end().map(|()| value));
        outcome.map_err(|error| {
            *self.error = Some(error);
            de::Error::custom("")
        })
    }
}

struct Items<A> {
    list: A,
    next: usize,
}

impl<'de, A: SeqAccess<'de>> Items<A> {
    fn end(&mut self) -> Result<(), Error> {
        let taken = self.next;
        while self.list.next_element::<IgnoredAny>().map_err(de::Error::custom)?.is_some() {
            self.next += 1;
        }
        if self.next == taken {
            return Ok(());
        }
        Err(de::Error::invalid_length(self.next, &"fewer items"))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for &mut Items<A> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let item = self.list.next_element::<&'de RawValue>().map_err(de::Error::custom)?;
        let Some(text) = item.map(RawValue::get) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        seed.deserialize(TextReader(text)).map(Some).map_err(|e| e.under_index(index, text))
    }
}

struct Entries<'de, A> {
    map: A,
    current: Option<Entry<'de>>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'de, A> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(key) = self.map.next_key_seed(KeyText).map_err(de::Error::custom)? else { return Ok(None) };
        let text = self.map.next_value::<&'de RawValue>().map_err(de::Error::custom)?.get();
        let Entry { key, .. } = self.current.insert(Entry { key, text });
        let read = seed.deserialize(IntoDeserializer::<Error>::into_deserializer(&**key));
        read.map(Some).map_err(|e| e.under_key(key, text))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        Entry::read(self.current.take(), seed)
    }
}
