//! Words of a line, as `iptables-save` writes them and `iptables-restore` reads them: separated by spaces, those with other
//! characters in double quotes, in which a backslash keeps the next character as it is (iptables, libxtables/xtables.c,
//! xtables_save_string; iptables/xshared.c, add_param_to_argv).

use crate::uapi::XT_EXTENSION_MAXNAMELEN;
use crate::{Error, Result};

/// A parameter of xshared.c's `struct xt_param_buf`, less its NUL.
const MAX_WORD: usize = 1023;
/// The buffer that iptables-restore reads a line into, less newline and NUL. A longer line would be read as two.
const MAX_LINE: usize = 10238;

/// Splits a line.
pub(crate) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = line.chars();
    let mut word = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                // A quote that closes ends the word; an empty one in quotes is a word too.
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => word.extend(chars.next()),
                        c => word.push(c),
                    }
                }
                words.push(std::mem::take(&mut word));
            }
            ' ' | '\t' if word.is_empty() => {}
            ' ' | '\t' => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Joins words to a line, quoted where needed.
pub(crate) fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<String> {
    let mut line = String::new();
    for word in words {
        let refuse = |reason| Err(Error::Text { text: word.to_owned(), reason });
        if word.contains(['\n', '\0']) {
            return refuse("it holds a newline or a NUL");
        }
        if word.len() > MAX_WORD {
            return refuse("it is longer than iptables-restore reads");
        }
        if !line.is_empty() {
            line.push(' ');
        }
        quote(word, &mut line);
        if line.len() > MAX_LINE {
            return refuse("the rule is longer than iptables-restore reads");
        }
    }
    Ok(line)
}

fn quote(word: &str, line: &mut String) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,=+%@[]!*#".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        line.push_str(word);
        return;
    }
    line.push('"');
    for c in word.chars() {
        if matches!(c, '"' | '\\' | '\'') {
            line.push('\\');
        }
        line.push(c);
    }
    line.push('"');
}

/// A chain's name, unless iptables would not take it for one. The kernel adds a NUL.
pub(crate) fn chain(name: &str) -> Result<&str> {
    let refuse = |reason| Err(Error::Text { text: name.to_owned(), reason });
    match name.as_bytes() {
        [] | [b'-' | b'!' | b':' | b'#', ..] => refuse("it is not the name of a chain"),
        bytes if bytes.len() >= XT_EXTENSION_MAXNAMELEN => refuse("a chain's name has at most 28 bytes"),
        bytes if !bytes.iter().all(|b| b.is_ascii_graphic() && !b"\"'\\".contains(b)) => {
            refuse("it is not the name of a chain")
        }
        _ => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_of_iptables_save_is_split() {
        let line =
            r#"-s 10.1.0.5/32 -m comment --comment "name: \"net\" id: \"it\'s\"" -m x --y "" -j CNI-a"#;
        let comment = r#"name: "net" id: "it's""#;
        let words =
            ["-s", "10.1.0.5/32", "-m", "comment", "--comment", comment, "-m", "x", "--y", "", "-j", "CNI-a"];
        assert_eq!(split(line), words);
    }

    #[test]
    fn what_would_be_read_as_another_line_is_refused() {
        for text in ["a\n-A INPUT -j ACCEPT", "a\0b", &"a".repeat(1024)] {
            assert!(matches!(join(["--comment", text]), Err(Error::Text { .. })), "{text:?}");
        }
        let long: Vec<&str> = std::iter::repeat_n("1234567890123456789", 600).collect();
        assert!(matches!(join(long), Err(Error::Text { .. })));
    }

    #[test]
    fn names_that_are_options_or_more_than_one_word_are_no_chains() {
        for name in ["", "-F", "!", ":INPUT", "a b", "a\n", "\"", &"a".repeat(29)] {
            assert!(chain(name).is_err(), "{name:?}");
        }
        for name in ["POSTROUTING", "CNI-HOSTPORT-DNAT", &"a".repeat(28)] {
            assert!(chain(name).is_ok(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_joined_is_split_again(words in proptest::collection::vec("[^\n\0]{0,20}", 1..8)) {
            let line = join(words.iter().map(String::as_str)).unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(split(&line), words);
        }
    }
}
