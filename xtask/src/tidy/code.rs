//! Rust source text reduced to its code, so that a word in a comment or in a message is not taken for a use.

/// The text with the insides of comments, strings and characters gone, every line break kept.
pub(super) fn only_code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest),
            '\'' => character(rest),
            'r' if !ends_in_word(&code) => raw_string(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..skipped].chars().filter(|char| *char == '\n'));
            rest = &rest[skipped..];
        }
    }
    code
}

/// The length of a comment that starts here; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of a string that starts here.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a string like `r#"..."#`; 0 for any other word with an r.
fn raw_string(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    if text.as_bytes().get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let (start, end) = (hashes + 2, format!("\"{}", "#".repeat(hashes)));
    text[start..].find(&end).map_or(text.len(), |at| start + at + end.len())
}

/// The length of a character like `'"'` or `'\n'`; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        // The escaped one may be a quote itself.
        Some((_, '\\')) => chars.skip(1).find(|(_, char)| *char == '\'').map_or(0, |(at, _)| at + 1),
        Some(_) => chars.next().filter(|(_, char)| *char == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

fn ends_in_word(code: &str) -> bool {
    // `br"..."` is a string too; its b is left over and does no harm.
    code.ends_with(|char: char| char.is_alphanumeric() || char == '_') && !code.ends_with('b')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_go_and_line_breaks_stay() {
        let text = "a // unsafe\nb /* x /* y */ \n z */ c \"\\\"unsafe\n\" d r#\"un\"safe\"# e '\"' '\\'' f<'a> br\"x\" for";
        assert_eq!(only_code(text), "a \nb \n c \n d  e   f<'a> b for");
    }

    #[test]
    fn what_never_ends_ends_with_the_text() {
        for text in ["\"x", "/* x", "// x", "r#\"x", "'", "'\\", "r", "r#"] {
            assert!(only_code(text).len() <= text.len(), "{text}");
        }
    }
}
