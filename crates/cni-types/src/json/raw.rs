//! Text that is read when somebody asks for it.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, Visitor};

use super::de::TextReader;
use super::error::Error;
use super::walk::entries;
use super::{UNREAD, checked};
use crate::ConfError;

/// How many single values a forgiving reader lays aside before it goes on with all that is around them: each takes a walk
/// through the whole text.
const MAX_SINGLE: usize = 16;

/// A value as it stands in the text, for whoever may want to read it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread<'t>(&'t str);

impl<'t> Unread<'t> {
    /// Its text.
    pub fn text(self) -> &'t str {
        self.0
    }

    /// Reads it now.
    pub fn read<T: Deserialize<'t>>(self) -> Result<T, ConfError> {
        super::read(self.0)
    }
}

impl<'de: 't, 't> Deserialize<'de> for Unread<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(UNREAD, Text)
    }
}

struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Unread<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text that cni_types::json reads")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Unread<'de>, E> {
        Ok(Unread(text))
    }
}

/// A whole object as it came. It takes the memory of its text and no more, whatever is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawObject(Box<str>);

impl RawObject {
    /// Keeps text that is one JSON object.
    pub fn from_slice(json: &[u8]) -> Result<Self, ConfError> {
        match checked(json)? {
            text if text.starts_with('{') => Ok(RawObject(text.into())),
            _ => Err(ConfError::field("", "not an object")),
        }
    }

    /// Reads all keys that `T` has.
    pub fn read<'t, T: Deserialize<'t>>(&'t self) -> Result<T, ConfError> {
        super::read(&self.0)
    }

    /// Reads one key; `None` when it is unset. Errors are placed under the key.
    pub fn get<'t, T: Deserialize<'t>>(&'t self, key: &str) -> Result<Option<T>, ConfError> {
        let mut found = None;
        let take = |entry: super::walk::Entry<'t>| {
            if entry.text != "null" && (entry.key == key || found.is_none()) {
                found = Some(entry.text);
            }
        };
        let is_key = |other: &str| other.eq_ignore_ascii_case(key);
        entries(&self.0, is_key, take).map_err(Error::into_conf_error)?;
        found.map(|text| super::read(text).map_err(|error| error.under(key))).transpose()
    }

    /// Whether one of these keys is there, be it `null`.
    pub fn has_any(&self, keys: &[&str]) -> bool {
        let mut found = false;
        let is_one = |other: &str| keys.iter().any(|key| other.eq_ignore_ascii_case(key));
        entries(&self.0, is_one, |_| found = true).is_ok() && found
    }

    /// Reads all that can be read, and takes for unset what cannot; tells what that was. For who must do something even with
    /// a configuration that is broken. Fails only where `T` cannot be without what is broken.
    pub fn read_what_can_be<T: DeserializeOwned>(&self) -> Result<(T, Vec<ConfError>), ConfError> {
        let mut text = String::from(&*self.0);
        let mut faults = Vec::new();
        loop {
            let error = match T::deserialize(TextReader(&text)) {
                Ok(read) => return Ok((read, faults)),
                Err(error) => error,
            };
            let place = {
                let is_set = |(start, len): &(usize, usize)| &text[*start..*start + *len] != "null";
                let mut set = error.places(&text).filter(is_set);
                if faults.len() < MAX_SINGLE { set.next() } else { set.next_back() }
            };
            let error = error.into_conf_error();
            let Some((start, len)) = place else { return Err(error) };
            text.replace_range(start..start + len, "null");
            faults.push(error);
        }
    }
}
