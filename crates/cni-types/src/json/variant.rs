//! An enum's variant: a string, or an object whose one key is the variant's name.

use std::borrow::Cow;

use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor};

use super::de::TextReader;
use super::error::Error;

pub(super) struct Variant<'de> {
    pub(super) name: Cow<'de, str>,
    pub(super) content: Option<&'de str>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Error> {
        let variant = seed.deserialize(IntoDeserializer::<Error>::into_deserializer(&*self.name))?;
        Ok((variant, self))
    }
}

impl<'de> Variant<'de> {
    fn content(&self) -> Result<&'de str, Error> {
        let missing = || de::Error::custom(format_args!("{} needs a value", self.name));
        self.content.ok_or_else(missing)
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            None | Some("null") => Ok(()),
            Some(_) => Err(de::Error::custom(format_args!("{} takes no value", self.name))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        let text = self.content()?;
        seed.deserialize(TextReader(text)).map_err(|e| e.under_key(&self.name, text))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        let text = self.content()?;
        TextReader(text).deserialize_tuple(len, visitor).map_err(|e| e.under_key(&self.name, text))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let text = self.content()?;
        TextReader(text).deserialize_struct("", fields, visitor).map_err(|e| e.under_key(&self.name, text))
    }
}
