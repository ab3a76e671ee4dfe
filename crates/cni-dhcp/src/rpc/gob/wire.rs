//! Numbers and bytes.

use super::GobError;

/// What is left of a message.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// One byte up to 127, or the negated count of bytes and then these, the highest first.
    pub(crate) fn uint(&mut self) -> Result<u64, GobError> {
        let first = self.take(1)?[0];
        if first < 128 {
            return Ok(first.into());
        }
        let count = usize::from(first.wrapping_neg());
        if count > 8 {
            return Err(GobError::Number);
        }
        Ok(self.take(count)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// The lowest bit says that the others are inverted.
    pub(crate) fn int(&mut self) -> Result<i64, GobError> {
        let bits = self.uint()?;
        let magnitude = i64::try_from(bits >> 1).map_err(|_| GobError::Number)?;
        Ok(if bits & 1 == 0 { magnitude } else { !magnitude })
    }

    /// Bytes behind their length.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], GobError> {
        let length = self.uint()?;
        self.take(usize::try_from(length).map_err(|_| GobError::Truncated)?)
    }

    /// A count of values, each of which takes a byte at least.
    pub(crate) fn count(&mut self) -> Result<usize, GobError> {
        let count = usize::try_from(self.uint()?).map_err(|_| GobError::Truncated)?;
        if count > self.0.len() { Err(GobError::Truncated) } else { Ok(count) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], GobError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(GobError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

pub(crate) fn put_uint(out: &mut Vec<u8>, value: u64) {
    if value < 128 {
        return out.extend(value.to_be_bytes().last());
    }
    let bytes = value.to_be_bytes();
    let significant = &bytes[value.leading_zeros() as usize / 8..];
    out.push((significant.len() as u8).wrapping_neg());
    out.extend(significant);
}

pub(crate) fn put_int(out: &mut Vec<u8>, value: i64) {
    let bits = (value ^ (value >> 63)) as u64;
    put_uint(out, bits << 1 | u64::from(value < 0));
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// Writes a struct's fields, which come by rising number; those that are zero are left out, as Go leaves them.
pub(crate) struct StructWriter<'a> {
    out: &'a mut Vec<u8>,
    next: u64,
}

impl<'a> StructWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        StructWriter { out, next: 0 }
    }

    pub(crate) fn bytes(&mut self, field: u64, value: &[u8]) -> &mut Self {
        if !value.is_empty() {
            put_bytes(self.field(field), value);
        }
        self
    }

    pub(crate) fn int(&mut self, field: u64, value: i64) -> &mut Self {
        if value != 0 {
            put_int(self.field(field), value);
        }
        self
    }

    pub(crate) fn uint(&mut self, field: u64, value: u64) -> &mut Self {
        if value != 0 {
            put_uint(self.field(field), value);
        }
        self
    }

    pub(crate) fn list<T>(
        &mut self,
        field: u64,
        values: &[T],
        write: impl Fn(&mut Vec<u8>, &T),
    ) -> &mut Self {
        if !values.is_empty() {
            let out = self.field(field);
            put_uint(out, values.len() as u64);
            values.iter().for_each(|value| write(out, value));
        }
        self
    }

    /// A struct is never left out.
    pub(crate) fn structure(&mut self, field: u64, write: impl FnOnce(&mut StructWriter<'_>)) -> &mut Self {
        let mut inner = StructWriter::new(self.field(field));
        write(&mut inner);
        inner.end();
        self
    }

    pub(crate) fn end(&mut self) {
        self.out.push(0);
    }

    fn field(&mut self, field: u64) -> &mut Vec<u8> {
        put_uint(self.out, (field + 1).saturating_sub(self.next));
        self.next = field + 1;
        self.out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uint(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_uint(&mut out, value);
        out
    }

    // The examples of the documentation of encoding/gob.
    #[test]
    fn numbers_are_as_go_writes_them() {
        assert_eq!(uint(0), [0]);
        assert_eq!(uint(7), [7]);
        assert_eq!(uint(127), [127]);
        assert_eq!(uint(128), [0xff, 128]);
        assert_eq!(uint(256), [0xfe, 1, 0]);
        assert_eq!(uint(u64::MAX), [0xf8, 255, 255, 255, 255, 255, 255, 255, 255]);
        let mut out = Vec::new();
        put_int(&mut out, -129);
        assert_eq!(out, [0xfe, 1, 1]);
    }

    #[test]
    fn a_number_that_is_none_is_told() {
        assert_eq!(Reader(&[]).uint(), Err(GobError::Truncated));
        assert_eq!(Reader(&[0xfe, 1]).uint(), Err(GobError::Truncated));
        assert_eq!(Reader(&[0xf7, 1, 2, 3, 4, 5, 6, 7, 8, 9]).uint(), Err(GobError::Number));
        assert_eq!(Reader(&[0x80]).uint(), Err(GobError::Number));
        assert_eq!(Reader(&[3, 1, 2]).bytes(), Err(GobError::Truncated));
        assert_eq!(Reader(&uint(u64::MAX)).bytes(), Err(GobError::Truncated));
        assert_eq!(Reader(&[3, 1, 2]).count(), Err(GobError::Truncated));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value: i64, bits: u64) {
            let mut out = uint(bits);
            put_int(&mut out, value);
            let mut reader = Reader(&out);
            prop_assert_eq!((reader.uint(), reader.int(), reader.0.len()), (Ok(bits), Ok(value), 0));
        }
    }
}
