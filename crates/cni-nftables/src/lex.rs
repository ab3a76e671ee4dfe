//! Words of nft's syntax.

use std::fmt;

use crate::parse::Failure;

/// A word, a sign or a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Word(&'a str),
    /// Without its quotes.
    Quoted(&'a str),
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Word(word) => f.write_str(word),
            Token::Quoted(text) => write!(f, "\"{text}\""),
        }
    }
}

/// Signs that end a word, the longer first.
const SIGNS: [&str; 7] = ["==", "!=", "{", "}", ",", "&", "|"];

/// The words of a text.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Failure> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' {
            let Some(end) = rest[1..].find('"') else {
                return Err((rest.to_string(), "the quote is not closed".into()));
            };
            found.push(Token::Quoted(&rest[1..=end]));
            end + 2
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            found.push(Token::Word(sign));
            sign.len()
        } else {
            let end = rest.find(|char| !is_word(char)).unwrap_or(rest.len());
            if end == 0 {
                return Err((first.to_string(), "this sign has no place in a match".into()));
            }
            found.push(Token::Word(&rest[..end]));
            end
        };
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

/// What numbers, addresses, ranges and unquoted names are made of.
fn is_word(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '.' | ':' | '/' | '_' | '-' | '*' | '\\' | '@')
}
