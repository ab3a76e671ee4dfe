//! What arrives on a connection: a greeting of HTTP, then messages of gob.

use super::RpcError;
use super::gob::{GobError, Reader, Types, Value, id, read_value};

/// The longest message that is taken. A configuration has kilobytes; one of GC names all valid attachments.
pub const MAX_MESSAGE: usize = 4 << 20;

/// The longest greeting: request or status line, and headers.
const MAX_GREETING: usize = 8 << 10;

#[derive(Debug)]
pub(super) struct Stream {
    buffer: Vec<u8>,
    types: Types,
}

impl Stream {
    pub(super) fn new() -> Self {
        Stream { buffer: Vec::new(), types: Types::new() }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), RpcError> {
        // A message and its length.
        if self.buffer.len() + bytes.len() > MAX_MESSAGE + 9 {
            return Err(RpcError::TooLong);
        }
        self.buffer.extend(bytes);
        Ok(())
    }

    /// The first line of a greeting, when the empty line that ends it is there. Headers say nothing of interest.
    pub(super) fn greeting(&mut self) -> Result<Option<String>, RpcError> {
        let lines = self.buffer.split_inclusive(|byte| *byte == b'\n');
        let mut end = 0;
        for line in lines {
            end += line.len();
            if end > MAX_GREETING {
                return Err(RpcError::TooLong);
            }
            if matches!(line, b"\n" | b"\r\n") {
                let line = self.buffer.split(|byte| *byte == b'\n').next().unwrap_or_default();
                let line = String::from_utf8_lossy(line).trim_end().to_owned();
                self.buffer.drain(..end);
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    /// The next value, when it is there; types that are defined before it are remembered.
    pub(super) fn value(&mut self) -> Result<Option<Value>, RpcError> {
        loop {
            let mut rest = Reader(&self.buffer);
            let length = match rest.uint() {
                Err(GobError::Truncated) => return Ok(None),
                length => length?,
            };
            let length = usize::try_from(length).ok().filter(|length| *length <= MAX_MESSAGE);
            let length = length.ok_or(RpcError::TooLong)?;
            let start = self.buffer.len() - rest.0.len();
            let Some(message) = self.buffer.get(start..start + length) else { return Ok(None) };
            let value = read_message(&mut self.types, message)?;
            self.buffer.drain(..start + length);
            if value.is_some() {
                return Ok(value);
            }
        }
    }
}

/// A value, or nothing but a definition.
fn read_message(types: &mut Types, message: &[u8]) -> Result<Option<Value>, GobError> {
    let mut reader = Reader(message);
    let number = reader.int()?;
    if number >= 0 {
        return read_value(types, number, &mut reader).map(Some);
    }
    let definition = read_value(types, id::WIRE_TYPE, &mut reader)?;
    types.define(number.checked_neg().ok_or(GobError::Number)?, &definition)?;
    Ok(None)
}
