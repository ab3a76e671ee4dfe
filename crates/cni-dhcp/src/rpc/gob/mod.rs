//! Go's encoding/gob, as much of it as the messages of this protocol take to be written, and all of it to be read: another version
//! of the other side may say more than is known here, in any order and under any type numbers.
//!
//! A stream is messages, each behind its length: definitions of types, under negated numbers, and values, under the number of
//! their type. A struct's value has those of its fields that are not zero, each behind how far it is from the one before.

mod types;
mod value;
mod wire;

pub(super) use types::{Definition, Kind, Types};
pub(super) use value::{Fields, Value, read_value};
pub(super) use wire::{Reader, StructWriter, put_bytes, put_int};

/// The numbers that types have from the beginning.
pub(super) mod id {
    pub(crate) const BOOL: i64 = 1;
    pub(crate) const INT: i64 = 2;
    pub(crate) const UINT: i64 = 3;
    pub(crate) const FLOAT: i64 = 4;
    pub(crate) const BYTES: i64 = 5;
    pub(crate) const STRING: i64 = 6;
    pub(crate) const COMPLEX: i64 = 7;
    pub(crate) const INTERFACE: i64 = 8;
    /// A definition is a value of this type.
    pub(crate) const WIRE_TYPE: i64 = 16;
    /// The first that a stream may define.
    pub(crate) const FIRST: i64 = 64;
}

/// Why bytes are no gob, or not one that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GobError {
    /// A message ends within a value.
    #[error("a message ends within a value")]
    Truncated,
    /// Something follows a message's value.
    #[error("something follows the value of a message")]
    Extra,
    /// A number of more than 64 bits.
    #[error("a number has more than 8 bytes")]
    Number,
    /// A type that the stream has not defined.
    #[error("type {0} is not defined")]
    UnknownType(i64),
    /// A definition of what is defined, of a number that cannot be, or of nothing.
    #[error("type {0} cannot be defined so")]
    Definition(i64),
    /// A field that the struct's type does not have.
    #[error("a struct has a field beyond those of its type")]
    Field,
    /// More than is ever needed.
    #[error("there are more {what} than {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most that is taken.
        most: usize,
    },
    /// A field of another type than the one that is known.
    #[error("{0} is not of the type that it should be")]
    Mismatch(&'static str),
}
