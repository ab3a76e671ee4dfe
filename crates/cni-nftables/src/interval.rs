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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn port(first: u16, last: u16) -> Value {
        Value::Range(Box::new(Value::Port(first)), Box::new(Value::Port(last)))
    }

    #[test]
    fn intervals_that_overlap_or_touch_are_one() {
        let set = intervals(DataType::InetService, &[port(85, 95), Value::Port(80), port(81, 90)]).unwrap();
        let border = |port: u16, kind| Border { key: port.to_be_bytes().to_vec(), kind };
        use BorderKind::{End, Start};
        assert_eq!(set.elements, [border(0, End), border(80, Start), border(96, End)]);
    }

    #[test]
    fn next_value_carries_and_ends() {
        assert_eq!(successor(&[1, 0xff, 0xff]), Some(vec![2, 0, 0]));
        assert_eq!(successor(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(successor(&[0xff, 0xff]), None);
    }

    #[test]
    fn values_twice_are_one() {
        let set =
            singles(DataType::InetService, &[Value::Port(80), Value::Port(80), Value::Port(81)]).unwrap();
        assert_eq!(set.elements.len(), 2);
    }

    proptest! {
        /// The kernel finds a value in the interval set when the last border not above it is a start.
        #[test]
        fn borders_hold_the_values(pairs: Vec<(u16, u16)>, asked: Vec<u16>) {
            let ordered: Vec<(u16, u16)> = pairs.iter().map(|(a, b)| (*a.min(b), *a.max(b))).collect();
            let values: Vec<Value> = ordered.iter().map(|(first, last)| port(*first, *last)).collect();
            let set = intervals(DataType::InetService, &values).unwrap();
            prop_assert!(set.elements.is_sorted_by(|a, b| a.key < b.key));
            for asked in asked.into_iter().chain(ordered.iter().flat_map(|(first, last)| {
                [first.saturating_sub(1), *first, *last, last.saturating_add(1)]
            })) {
                let before = set.elements.iter().rfind(|border| border.key <= asked.to_be_bytes().to_vec());
                let found = before.is_some_and(|border| border.kind != BorderKind::End);
                prop_assert_eq!(found, ordered.iter().any(|(first, last)| (first..=last).contains(&&asked)));
            }
        }
    }
}
