//! Anonymous sets: the lists in rules. With a range, prefix or wildcard in it, a set holds the borders of intervals.

use crate::value::Unfit;
use crate::{DataType, Value};

/// A set that belongs to one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnonymousSet {
    pub(crate) data_type: DataType,
    pub(crate) interval: bool,
    pub(crate) elements: Vec<Border>,
}

impl AnonymousSet {
    /// For how many elements the kernel shall make room: as nft counts them, an interval without end has two as well.
    pub(crate) fn room(&self) -> usize {
        let open = self.elements.iter().filter(|element| element.kind == BorderKind::OpenStart);
        self.elements.len() + open.count()
    }
}

/// An element, which with intervals is where one begins or, the first value behind it, ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Border {
    pub(crate) key: Vec<u8>,
    pub(crate) kind: BorderKind,
}

/// What an element marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BorderKind {
    /// A value, or the first of an interval.
    Start,
    /// The first of an interval that has no end. nft marks it in the user data.
    OpenStart,
    End,
}

/// The set of values that are each one.
pub(crate) fn singles(data_type: DataType, values: &[Value]) -> Result<AnonymousSet, Unfit> {
    let mut elements: Vec<Border> = Vec::with_capacity(values.len());
    for value in values {
        let key = value.whole_if_name().bytes(data_type)?;
        if elements.iter().all(|element| element.key != key) {
            elements.push(Border { key, kind: BorderKind::Start });
        }
    }
    Ok(AnonymousSet { data_type, interval: false, elements })
}

/// The set of values of which some stand for many. Those that overlap or touch are one, as in nft.
pub(crate) fn intervals(data_type: DataType, values: &[Value]) -> Result<AnonymousSet, Unfit> {
    let mut sorted = values.iter().map(|value| value.interval(data_type)).collect::<Result<Vec<_>, _>>()?;
    sorted.sort();
    let mut merged: Vec<(Vec<u8>, Vec<u8>)> = Vec::with_capacity(sorted.len());
    for (first, last) in sorted {
        match merged.last_mut() {
            Some((_, end)) if successor(end).is_none_or(|next| first <= next) => {
                *end = last.max(std::mem::take(end));
            }
            _ => merged.push((first, last)),
        }
    }
    let mut elements = Vec::with_capacity(2 * merged.len() + 1);
    // The kernel's tree wants to be told what lies before the first interval.
    let lowest = vec![0; data_type.size()];
    if merged.first().is_some_and(|(first, _)| *first != lowest) {
        elements.push(Border { key: lowest, kind: BorderKind::End });
    }
    for (first, last) in merged {
        match successor(&last) {
            Some(end) => {
                elements.push(Border { key: first, kind: BorderKind::Start });
                elements.push(Border { key: end, kind: BorderKind::End });
            }
            None => elements.push(Border { key: first, kind: BorderKind::OpenStart }),
        }
    }
    Ok(AnonymousSet { data_type, interval: true, elements })
}

/// The next value, `None` behind the highest.
fn successor(bytes: &[u8]) -> Option<Vec<u8>> {
    let at = bytes.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = bytes.to_vec();
    next[at] += 1;
    next[at + 1..].fill(0);
    Some(next)
}
