//! Why a value could not be read, and where it stands.

use std::borrow::Cow;

use serde::de;

use crate::ConfError;

/// A reason and where it applies. The steps of the path are collected from the inside out while the error travels up.
#[derive(Debug)]
pub(super) struct Error {
    reason: String,
    steps: Vec<(Step, Place)>,
}

#[derive(Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// A value's text by its address in memory, from which its place in the whole text follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    address: usize,
    len: usize,
}

impl Place {
    pub(super) fn of(text: &str) -> Self {
        Place { address: text.as_ptr() as usize, len: text.len() }
    }
}

impl Error {
    pub(super) fn new(reason: String) -> Self {
        Error { reason, steps: Vec::new() }
    }

    /// The error of the value `text`, seen from the object in which it has this key.
    pub(super) fn under_key(mut self, key: &str, text: &str) -> Self {
        self.steps.push((Step::Key(key.to_owned()), Place::of(text)));
        self
    }

    /// The same in a list.
    pub(super) fn under_index(mut self, index: usize, text: &str) -> Self {
        self.steps.push((Step::Index(index), Place::of(text)));
        self
    }

    /// The values around the fault, from the innermost one, as places in the text that was read.
    pub(super) fn places<'e>(&'e self, whole: &str) -> impl DoubleEndedIterator<Item = (usize, usize)> + 'e {
        let start = whole.as_ptr() as usize;
        self.steps.iter().map(move |(_, place)| (place.address - start, place.len))
    }

    pub(super) fn into_conf_error(self) -> ConfError {
        let mut path = String::new();
        for (step, _) in self.steps.iter().rev() {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => path.extend([".", key]),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        ConfError::Field { path, reason: self.reason }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: std::fmt::Display>(reason: T) -> Self {
        Error::new(reason.to_string())
    }
}

/// A value in an error's words: what kind it is of, and itself where that says more and is not long.
pub(super) fn described(text: &str) -> Cow<'_, str> {
    const MAX_SHOWN: usize = 100;
    let fits = text.len() <= MAX_SHOWN;
    match text.as_bytes().first() {
        Some(b'n') => "null".into(),
        Some(b't' | b'f') => format!("boolean {text}").into(),
        Some(b'[') => "list".into(),
        Some(b'{') => "object".into(),
        Some(b'"') if fits => format!("string {text}").into(),
        Some(b'"') => "long string".into(),
        _ if fits => format!("number {text}").into(),
        _ => "long number".into(),
    }
}
