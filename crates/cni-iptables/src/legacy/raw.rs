//! One entry of a table in bytes: the fields that all have, matches, a target.

use crate::legacy::layout::{Layout, part, u16_at};

/// What is wrong with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entry at byte {at} {what}")]
pub(super) struct Malformed {
    pub(super) at: usize,
    pub(super) what: &'static str,
}

/// An entry whose parts all lie within it.
pub(super) struct Raw<'b> {
    pub(super) layout: &'static Layout,
    /// Where it begins in the table.
    pub(super) at: usize,
    pub(super) bytes: &'b [u8],
    target: Part<'b>,
    target_offset: usize,
}

/// A match or a target.
#[derive(Clone, Copy)]
pub(super) struct Part<'b> {
    /// Up to the NUL.
    pub(super) name: &'b [u8],
    pub(super) revision: u8,
    /// Its own structure, with the alignment that follows.
    pub(super) info: &'b [u8],
}

impl<'b> Raw<'b> {
    /// Reads the entry that begins at `at`.
    pub(super) fn read(layout: &'static Layout, blob: &'b [u8], at: usize) -> Result<Self, Malformed> {
        let malformed = |what| Malformed { at, what };
        let rest = blob.get(at..).unwrap_or_default();
        let size = |offset| u16_at(rest, offset).map(usize::from).ok_or(malformed("is cut off"));
        let (target_offset, next_offset) = (size(layout.target_offset)?, size(layout.next_offset)?);
        let bytes = rest.get(..next_offset).ok_or(malformed("ends after the table"))?;
        if target_offset < layout.size {
            return Err(malformed("has its target in its head"));
        }
        let target = Part::read(bytes, target_offset).ok_or(malformed("has a target that ends after it"))?;
        let raw = Raw { layout, at, bytes, target: target.0, target_offset };
        let mut matches = raw.matches();
        matches.by_ref().for_each(drop);
        if matches.at != target_offset {
            return Err(malformed("has a match that ends after it"));
        }
        Ok(raw)
    }

    /// Where the next one begins.
    pub(super) fn end(&self) -> usize {
        self.at + self.bytes.len()
    }

    pub(super) fn matches(&self) -> Matches<'b> {
        let bytes = self.bytes.get(..self.target_offset).unwrap_or_default();
        Matches { bytes, at: self.layout.size }
    }

    pub(super) fn target(&self) -> Part<'b> {
        self.target
    }
}

/// An entry's matches, as long as they are sound.
pub(super) struct Matches<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Iterator for Matches<'b> {
    type Item = Part<'b>;

    fn next(&mut self) -> Option<Part<'b>> {
        let (part, size) = Part::read(self.bytes, self.at)?;
        self.at += size;
        Some(part)
    }
}

impl<'b> Part<'b> {
    /// Reads the part at `at`, and how many bytes it takes with its head. `None` when there are not as many as it says.
    fn read(bytes: &'b [u8], at: usize) -> Option<(Self, usize)> {
        let size = usize::from(u16_at(bytes, at)?);
        let bytes = bytes.get(at..)?.get(..size)?;
        let (head, info) = bytes.split_at_checked(part::SIZE)?;
        let name = until_nul(&head[part::NAME..part::REVISION]);
        Some((Part { name, revision: head[part::REVISION], info }, size))
    }
}

/// A text of C in a field of fixed length.
pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}
