//! Domain names that a server gives. They end up in a container's resolv.conf, so nothing passes that could be more than a name.

use super::code;
use super::error::OptionError;

/// The longest name (RFC 1035, section 2.3.4), and the most of them that are taken: a few pointers can stand for many bytes.
const MAX_NAME: usize = 253;
const MAX_NAMES: usize = 64;

/// Option 15. Some servers end it with a null, which RFC 2132, section 2, tells receivers to expect.
pub(super) fn name(value: &[u8]) -> Result<String, OptionError> {
    let bad = || {
        let shown = String::from_utf8_lossy(value);
        OptionError::value(code::DOMAIN_NAME, format!("{shown:?} is not a domain name"))
    };
    let end = value.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let text = value.get(..end).and_then(|text| std::str::from_utf8(text).ok()).ok_or_else(bad)?;
    let labels = text.strip_suffix('.').unwrap_or(text);
    if text.len() > MAX_NAME || !labels.split('.').all(|label| is_label(label.as_bytes())) {
        return Err(bad());
    }
    Ok(text.to_owned())
}

/// Option 119: names in the form of RFC 1035, section 4.1.4, one after the other; pointers count from the option's first byte,
/// all its pieces together (RFC 3397, section 2).
pub(super) fn search_list(value: &[u8]) -> Result<Vec<String>, OptionError> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < value.len() {
        if names.len() == MAX_NAMES {
            return Err(problem(format!("more than {MAX_NAMES} names")));
        }
        let (name, next) = compressed(value, at)?;
        names.push(name);
        at = next;
    }
    if names.is_empty() { Err(problem("no name")) } else { Ok(names) }
}

/// The name that starts here, and where the next one does.
fn compressed(value: &[u8], start: usize) -> Result<(String, usize), OptionError> {
    let (mut name, mut at) = (String::new(), start);
    // Where the next name starts: behind the first pointer. And how far back a pointer must go: behind where the bytes in which
    // it was found began, so that none is followed twice.
    let (mut next, mut before) = (None, start);
    loop {
        let truncated = || problem("a name reaches beyond the end");
        let (length, rest) = value.get(at..).and_then(<[u8]>::split_first).ok_or_else(truncated)?;
        match length {
            0 => break,
            1..=63 => {
                let label = rest.get(..usize::from(*length)).ok_or_else(truncated)?;
                append(&mut name, label)?;
                at += 1 + label.len();
            }
            192.. => {
                let low = rest.first().ok_or_else(truncated)?;
                let target = usize::from(length & 63) << 8 | usize::from(*low);
                if target >= before {
                    return Err(problem("a pointer does not go back"));
                }
                next = next.or(Some(at + 2));
                (at, before) = (target, target);
            }
            _ => return Err(problem(format!("a label begins with {length}"))),
        }
    }
    if name.is_empty() {
        return Err(problem("an empty name"));
    }
    Ok((name, next.unwrap_or(at + 1)))
}

fn append(name: &mut String, label: &[u8]) -> Result<(), OptionError> {
    let text = std::str::from_utf8(label).ok().filter(|_| is_label(label));
    let text = text.ok_or_else(|| problem(format!("{:?} is not a label", String::from_utf8_lossy(label))))?;
    if !name.is_empty() {
        name.push('.');
    }
    name.push_str(text);
    if name.len() > MAX_NAME { Err(problem("a name is too long")) } else { Ok(()) }
}

/// A host's label, or a service's with its underscore.
fn is_label(label: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&label.len()) && label.iter().all(allowed)
}

fn problem(text: impl Into<String>) -> OptionError {
    OptionError::value(code::DOMAIN_SEARCH, text)
}
