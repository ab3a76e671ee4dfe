//! Tokens as people write them.

use quote::ToTokens;

/// What is joined, in the order in which it is; an arrow is one sign meanwhile, so that its end closes no list.
const JOINED: &[(&str, &str)] = &[
    ("->", "\u{2192}"),
    (" :: ", "::"),
    (":: ", "::"),
    (" :", ":"),
    (" <", "<"),
    ("< ", "<"),
    (" >", ">"),
    (" ,", ","),
    (" ;", ";"),
    ("& ", "&"),
    ("# [", "#["),
    ("[ ", "["),
    (" ]", "]"),
    ("( ", "("),
    (" )", ")"),
    (",)", ")"),
    (",>", ">"),
    ("\u{2192}", "->"),
];

/// The text of a type, a signature and the like.
pub(super) fn text(tokens: &impl ToTokens) -> String {
    let spaced = tokens.to_token_stream().to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let joined = JOINED.iter().fold(spaced, |text, (from, to)| text.replace(from, to));
    before_parentheses(&joined)
}

/// `Fn (T)` and `f (x)` are written without the space, `-> (A, B)` and `, (A, B)` with it.
fn before_parentheses(text: &str) -> String {
    let mut parts = text.split(" (");
    let mut joined = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_call = joined.ends_with(|char: char| char.is_alphanumeric() || char == '_')
            || joined.ends_with('>') && !joined.ends_with("->");
        joined.push_str(if is_call { "(" } else { " (" });
        joined.push_str(part);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_as_it_was_written() {
        for written in [
            "fn new() -> Self",
            "fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<(T, u8), Error>",
            "const fn map(table: Table, key: &'static [DataType], pair: (u8, &str)) -> Self",
            "fn rules<'a, W>(&'a mut self, plan: &mut dyn FnMut(&W) -> Option<[u8; 6]>) -> std::io::Result<()> where W: for<'b> Fn(&'b str)",
        ] {
            let signature: syn::Signature = syn::parse_str(written).unwrap();
            assert_eq!(text(&signature), written);
        }
    }
}
